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
        self._graph = graph
        self._excluding: set[str] = set()
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

    def _wrap(self, graph: Graph, name: str, describe: Callable[..., dict[str, Any]]) -> None:
        original = getattr(graph, name)

        @functools.wraps(original)
        def recording(*args: Any, **kwargs: Any) -> Any:
            # One decision of a component may be made of several of lfx's; only the first is the component's.
            if self._inside:
                return original(*args, **kwargs)
            self._record({"op": name, **describe(*args, **kwargs)})
            self._inside = True
            try:
                return original(*args, **kwargs)
            finally:
                self._inside = False
                self._excluding.update(graph.conditional_exclusion_sources)

        setattr(graph, name, recording)

    def _record(self, decision: dict[str, Any]) -> None:
        # A loop that holds back its exit says so at every turn.
        if not self.recorded or self.recorded[-1] != decision:
            self.recorded.append(decision)

    def settle(self, never_reached: list[str]) -> list[dict[str, Any]]:
        """Return every decision, with what components and lfx decided without asking the graph.

        An If-Else that has turned often enough takes back its exclusion by editing the
        graph's sets. And what lfx never came to build, in a circle that did not start or
        did not end, keeps everything behind it from running.
        """
        for node in sorted(self._excluding - self._graph.conditional_exclusion_sources.keys()):
            self._record({"op": "exclude_branches_conditionally", "node": node, "outputs": []})
        for node in never_reached:
            self._record({"op": "mark_branch", "node": node, "output": None, "state": "INACTIVE"})
        return self.recorded
