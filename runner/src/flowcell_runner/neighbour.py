"""Finished neighbours of a cell, without their code.

lfx reads a predecessor in two ways: its result by output name, and, for the line
under a chat message that names the source, a few attributes of its component.
The stand-in offers exactly these; the neighbour's code never runs here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lfx.graph.schema import ResultData
from lfx.graph.vertex.exceptions import NoComponentInstanceError
from lfx.schema.message import Message
from lfx.schema.properties import Usage

from flowcell_runner.codec import usage_of

if TYPE_CHECKING:
    from lfx.graph.graph.base import Graph
    from lfx.graph.vertex.base import Vertex

#: What lfx's chat components look for, in their order.
_MODEL_ATTRIBUTES = ("model_name", "model_id", "model")


class Neighbour:
    """Stands in for the component of a finished node."""

    def __init__(self, vertex: Vertex, outputs: dict[str, Any]) -> None:
        node = vertex.data["node"]
        template = node.get("template") or {}
        self._vertex_id = vertex.id
        self._secret_values: set[str] = set()
        self._token_usage = None
        self.display_name = _name_in_messages(outputs, vertex.id) or node.get("display_name")
        self.icon = node.get("icon")
        for name in _MODEL_ATTRIBUTES:
            field = template.get(name)
            if isinstance(field, dict) and field.get("value"):
                setattr(self, name, field["value"])

    def get_id(self) -> str:
        """Return the node's id."""
        return self._vertex_id

    def get_output(self, _name: str) -> Any:
        """Send lfx to the vertex's results."""
        raise NoComponentInstanceError(self._vertex_id)

    def reset_all_output_values(self) -> None:
        """Keep what was handed in."""

    def set_event_manager(self, _manager: Any) -> None:
        """Emit nothing."""

    async def arequire_model_provider_policy(self, *_: Any, **__: Any) -> None:
        """Was checked where the component ran."""


def _name_in_messages(outputs: dict[str, Any], vertex_id: str) -> str | None:
    """Return the component's own name, if a message of it has it: a node may have been renamed in the editor."""
    for value in outputs.values():
        if isinstance(value, Message):
            source = value.properties.source
            if source.id == vertex_id and source.display_name:
                return source.display_name
    return None


def hydrate(
    graph: Graph,
    inputs: dict[str, dict[str, Any]],
    members: set[str],
    spent: dict[str, dict[str, int]] | None = None,
) -> None:
    """Mark finished neighbours as built; predecessors without a value did not take part in the run.

    `spent` is what each neighbour stands for in the sum that an output shows: its own tokens and
    those of nodes that this graph does not have.
    """
    for vertex_id, outputs in inputs.items():
        vertex = graph.get_vertex(vertex_id)
        vertex.built = True
        vertex.results = outputs
        vertex.custom_component = Neighbour(vertex, outputs)
        usage = _usage_in(outputs) if spent is None else _usage(spent.get(vertex_id))
        vertex.result = ResultData(component_id=vertex_id, token_usage=usage)
    for edge in graph.edges:
        if edge.target_id in members and edge.source_id not in members and edge.source_id not in inputs:
            # lfx then gives the input its default, as for any branch that was not taken.
            graph.conditionally_excluded_vertices.add(edge.source_id)


def _usage(tokens: dict[str, int] | None) -> Usage | None:
    return Usage(**tokens) if tokens else None


def _usage_in(outputs: dict[str, Any]) -> Usage | None:
    return next((usage for value in outputs.values() if (usage := usage_of(value))), None)
