"""Branch decisions of components, recorded for the engine.

A component sees only the graph of its cell, so what lfx marks here reaches too
little. The decision itself (which node, which output) is all that counts; the
engine repeats it on the whole graph, in this order.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from lfx.graph.graph.base import Graph


class Decisions:
    """Wraps the graph's own methods; the graph still does what they do."""

    def __init__(self, graph: Graph) -> None:
        self.recorded: list[dict[str, Any]] = []
        self._inside = False
        self._wrap(
            graph,
            "mark_branch",
            lambda vertex_id, state, output_name=None: {
                "node": vertex_id,
                "output": output_name,
                "state": str(getattr(state, "value", state)),
            },
        )
        self._wrap(
            graph,
            "exclude_branch_conditionally",
            lambda vertex_id, output_name=None: {"node": vertex_id, "output": output_name or None},
        )
        self._wrap(
            graph,
            "exclude_branches_conditionally",
            lambda vertex_id, output_names: {"node": vertex_id, "outputs": list(output_names)},
        )
        self._wrap(
            graph,
            "request_pause",
            lambda reason="pause_requested", data=None: {"node": None, "reason": reason, "data": data or {}},
        )

    def _wrap(self, graph: Graph, name: str, describe: Callable[..., dict[str, Any]]) -> None:
        original = getattr(graph, name)

        @functools.wraps(original)
        def recording(*args: Any, **kwargs: Any) -> Any:
            # One decision of a component may be made of several of lfx's; only the first is the component's.
            if self._inside:
                return original(*args, **kwargs)
            self.recorded.append({"op": name, **describe(*args, **kwargs)})
            self._inside = True
            try:
                return original(*args, **kwargs)
            finally:
                self._inside = False

        setattr(graph, name, recording)
