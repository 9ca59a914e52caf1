"""Cycles that lfx has to drive itself.

Langflow's current Loop runs its body inside its own build, so its cell is built
like any other. The Loop of older exports, and an If-Else that leads back, are
real cycles: lfx's scheduler must run them as one graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import networkx as nx
from lfx.graph.graph.schema import VertexBuildResult
from lfx.graph.schema import ResultData

if TYPE_CHECKING:
    from collections.abc import Callable

    from lfx.events.event_manager import EventManager
    from lfx.graph.graph.base import Graph

#: As often as any vertex may run; an honest loop over data ends by itself long before.
ITERATIONS_MAX = 1000
#: What the code of a Loop that drives itself calls.
_SELF_DRIVEN = "execute_loop_body"


def has_manual_cycle(graph: Graph, members: list[str]) -> bool:
    """Whether the members hold a cycle without a loop component that runs it."""
    inside = nx.DiGraph()
    inside.add_edges_from(
        (edge.source_id, edge.target_id)
        for edge in graph.edges
        if edge.source_id in members and edge.target_id in members
    )
    return any(
        (len(group) > 1 or inside.has_edge(*(2 * tuple(group))))
        and not any(_SELF_DRIVEN in _source(graph, node) for node in group)
        for group in nx.strongly_connected_components(inside)
    )


def _source(graph: Graph, node: str) -> str:
    code = graph.get_vertex(node).data["node"].get("template", {}).get("code", {})
    return str(code.get("value") or "") if isinstance(code, dict) else ""


async def drive_cycle(
    graph: Graph, members: list[str], user_id: str, events: EventManager, at: Callable[[str], Any]
) -> None:
    """Run the members as lfx would run them as a whole flow."""
    for member in members:
        # lfx clears a loop's cached outputs only on components that exist already.
        graph.get_vertex(member).instantiate_component(user_id)
    graph._set_cache_to_vertices_in_cycle()  # noqa: SLF001
    build = graph.build_vertex

    async def build_member(vertex_id: str, **kwargs: Any) -> Any:
        vertex = graph.get_vertex(vertex_id)
        if vertex_id not in members:
            # A neighbour's turn came: it has run already, or will run elsewhere.
            vertex.built = True
            result = vertex.result or ResultData(component_id=vertex_id)
            return VertexBuildResult(result_dict=result, params="", valid=True, artifacts={}, vertex=vertex)
        at(vertex_id)
        return await build(vertex_id, **{**kwargs, "event_manager": events, "user_id": user_id})

    graph.build_vertex = build_member
    # Without an event manager of its own, lfx does not announce this part as a whole build.
    async for _ in graph.async_start(max_iterations=ITERATIONS_MAX):
        pass
