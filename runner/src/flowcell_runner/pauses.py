"""Questions to people: what a node asks, what was decided before, and what it needs to go on.

lfx pauses a whole graph: the node asks `request_pause`, ends with a placeholder, and Langflow keeps
a checkpoint of everything. Here the other cells' results are stored anyway, so only two things are
kept: the question, and the pieces that lfx itself puts into its checkpoint store (an agent's
conversation up to the tool that needs approval).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lfx.graph.checkpoint.store import InMemoryCheckpointStore, set_default_checkpoint_store
from lfx.graph.exceptions import GraphPausedException

from flowcell_runner.events import to_api_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from lfx.graph.graph.base import Graph


class CellPausedError(GraphPausedException):
    """Ends the building of a cell. lfx's own, so that whoever drives the graph lets it through."""

    def __init__(self) -> None:
        super().__init__(checkpoint_id="", reason="human_input_required")


class Pauses:
    """Watches one graph for questions, and hands it the answers."""

    def __init__(self, task: dict[str, Any], graph: Graph, node: Callable[[], str | None]) -> None:
        """`node` says which node is being built."""
        self._allowed = bool(task.get("may_pause"))
        self._blobs = {(str(task["run_id"]), kind): blob for kind, blob in task.get("saved", {}).items()}
        self._asked: dict[str, Any] | None = None
        store = InMemoryCheckpointStore()
        store._blobs = self._blobs  # noqa: SLF001 - lfx writes them one by one, and reads none back by name
        graph.human_input_decisions = dict(task.get("decisions", {}))
        set_default_checkpoint_store(store)
        original = graph.request_pause

        def request_pause(reason: str = "pause_requested", data: dict[str, Any] | None = None) -> None:
            original(reason, data)
            # Of several questions at once lfx keeps the last; the first one is then asked again.
            request = to_api_json(data or {})
            self._asked = {"node": _node_of(request, task) or node() or "", "request": request}

        graph.request_pause = request_pause

    def check(self) -> None:
        """End the building if a node has asked something and may."""
        if self._allowed and self._asked is not None:
            raise CellPausedError

    def result(self) -> dict[str, Any]:
        """Return the result of a cell that asks."""
        saved = {kind: blob for (_, kind), blob in self._blobs.items()}
        return {"nodes": {}, "paused": {**(self._asked or {}), "saved": saved}}


def _node_of(request: dict[str, Any], task: dict[str, Any]) -> str | None:
    """Return the member that the request's id names: several may be being built."""
    name, _, _ = str(request.get("request_id", "")).partition(f":{task['run_id']}")
    return name if name in task["members"] else None
