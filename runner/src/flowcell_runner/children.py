"""A flow that a component runs: described in this process, run elsewhere.

Langflow builds the other flow's graph beside the component's own, and runs it there.
Here the graph is only a description: its components have no code and are never made.
When it is to run, the schedulers start a run of that flow, whose components get cells
of their own, and what its outputs gave comes back as Langflow would have handed it over.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

from lfx.graph.graph.base import Graph
from lfx.graph.schema import ResultData, RunOutputs
from lfx.graph.vertex.base import Vertex

from flowcell_runner.codec import CodecError, Encoder, decode, drain
from flowcell_runner.frames import dump_json
from flowcell_runner.link import CallError

if TYPE_CHECKING:
    from flowcell_runner.link import Link

#: Between two questions; a scheduler that can keeps the question for longer.
_ASK_AGAIN_S = 0.1
#: After a question that nobody could answer. How often it is repeated, the cell's time limit decides.
_UNAVAILABLE_S = 1.0

#: Names of the limit in a failure: as a scheduler refuses, and as a child of ours reports it.
_DEPTH_SETTING = "flow_depth_max"
_DEPTH_FAILURE = "flows_too_deep"

_OPEN = frozenset({"queued", "running"})


class Runs:
    """Starts runs of flows for one cell, and waits for their ends."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._asked: Counter[bytes] = Counter()
        self._lock = threading.Lock()
        #: The limit on flows that run flows, once it was reached.
        self.reached: str | None = None

    async def ask(self, op: str, args: dict[str, Any]) -> Any:
        """Ask until somebody answers: asking twice starts nothing twice."""
        while True:
            try:
                return await self._link.call(op, args)
            except CallError as error:
                if error.kind != "unavailable":
                    raise
            await asyncio.sleep(_UNAVAILABLE_S)

    async def outputs(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        """Run a flow and return what its outputs gave; a failure is raised as Langflow's graph would."""
        try:
            run = (await self.ask("flow.run", {**request, "repeated": self._repeated(request)}))["run"]
        except CallError as error:
            if error.kind == "limit":
                self.reached = _DEPTH_SETTING
            raise ValueError(str(error)) from None
        while True:
            answer = await self.ask("flow.wait", {"run": run})
            if answer["state"] not in _OPEN:
                break
            await asyncio.sleep(_ASK_AGAIN_S)
        if answer["state"] == "completed":
            return list(answer["outputs"])
        raise ValueError(self._words(answer))

    def _repeated(self, request: dict[str, Any]) -> int:
        """Return how often the same was asked for before; another attempt of this cell counts alike."""
        key = dump_json(request)
        with self._lock:
            self._asked[key] += 1
            return self._asked[key] - 1

    def _words(self, answer: dict[str, Any]) -> str:
        failure = answer.get("failure") or {}
        if failure.get("kind") == _DEPTH_FAILURE:
            self.reached = _DEPTH_SETTING
        words = str(failure.get("message") or f"the run was {answer['state']}".replace("_", " "))
        # Langflow finds out about a class that cannot be made before the graph runs.
        prefix = "Error running graph: "
        return words if words.startswith((prefix, "Error creating class")) else prefix + words


_runs: list[Runs] = []


def bind(link: Link) -> None:
    """Connect to the worker, for the one cell of this process."""
    _runs[:] = [Runs(link)]


def runs() -> Runs:
    """Return the cell's own."""
    return _runs[0]


def limit_reached() -> str | None:
    """Return the setting that kept a flow from running, in this cell or further down."""
    return next((runs.reached for runs in _runs), None)


class ChildGraph(Graph):
    """The graph of another flow, without its components."""

    #: As Langflow's tweaks of a flow that is not built yet.
    tweaks: dict[str, Any]
    #: What a component wrote over each vertex.
    overrides: dict[str, dict[str, Any]]
    answer: list[ResultData] | None

    @classmethod
    def from_payload(
        cls,
        payload: dict[str, Any],
        flow_id: str | None = None,
        flow_name: str | None = None,
        user_id: str | None = None,
        context: dict[str, Any] | None = None,
        **_: Any,
    ) -> Graph:
        """Return the graph; no code of the flow runs."""
        graph = super().from_payload(
            payload,
            flow_id=str(flow_id) if flow_id else None,
            flow_name=flow_name,
            user_id=user_id,
            context=context,
            instantiate_components=False,
            emit_extension_events=False,
        )
        graph.tweaks = {}
        graph.overrides = {vertex.id: _record(vertex) for vertex in graph.vertices}
        graph.answer = None
        return graph

    async def arun(
        self,
        inputs: list[dict[str, Any]],
        *,
        inputs_components: list[list[str]] | None = None,
        types: list[str | None] | None = None,
        outputs: list[str] | None = None,
        **_: Any,
    ) -> list[RunOutputs]:
        """Run the flow as a run of its own.

        Several inputs are one run: lfx would build for the first, and find everything built
        for the others.
        """
        given = inputs or [{}]
        for values in given:
            if not isinstance(values.get("input_value", ""), str):
                msg = f"Invalid input value: {values.get('input_value')}. Expected string"
                raise TypeError(msg)
        if self.answer is None:
            tweaks, handed = _parted(self.tweaks, self.vertices)
            request = {
                "id": self.flow_id,
                "input_value": given[0].get("input_value"),
                "input_type": next(iter(types or []), "chat") or "any",
                "components": next(iter(inputs_components or []), []),
                "output_type": "any",
                "outputs": outputs or [],
                "session_id": str(self.session_id or ""),
                # Some components have the other flow's messages name their own run.
                "graph_run_id": self._run_id or None,
                "tweaks": tweaks,
                "overrides": await _encoded({**self.overrides, **handed}),
            }
            self.answer = [_result(item) for item in await runs().outputs(request)]
        return [RunOutputs(inputs=values, outputs=self.answer) for values in given]


def _record(vertex: Vertex) -> dict[str, Any]:
    """Note what a component writes over a vertex, beside writing it."""
    written: dict[str, Any] = {}
    update = vertex.update_raw_params

    def recording(new_params: dict[str, Any], *, overwrite: bool = False) -> None:
        # As lfx decides: where an edge feeds one of the fields, none is written.
        if not any(isinstance(vertex.raw_params.get(name), Vertex) for name in new_params):
            written.update(new_params)
        update(new_params, overwrite=overwrite)

    vertex.update_raw_params = recording
    return written


def _parted(tweaks: dict[str, Any], vertices: list[Vertex]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Part tweaks that are plain JSON from values that only a component hands down, by node."""
    plain: dict[str, Any] = {}
    handed: dict[str, dict[str, Any]] = {}
    for key, value in tweaks.items():
        if not isinstance(value, dict):
            plain[key] = value
            continue
        plain[key] = {field: given for field, given in value.items() if _is_plain(given)}
        odd = {field: given for field, given in value.items() if not _is_plain(given)}
        for vertex in vertices if odd else []:
            if key in {vertex.id, vertex.display_name}:
                handed[vertex.id] = odd
    return plain, handed


def _is_plain(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


async def _encoded(overrides: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    encoder = Encoder()
    return {
        node: {field: encoder.encode(await drain(value)) for field, value in fields.items()}
        for node, fields in overrides.items()
        if fields
    }


def _result(item: dict[str, Any]) -> ResultData:
    """Return what lfx keeps of a built vertex: its record, with the values themselves."""
    record = dict(item["result"])
    values = record.get("results")
    if isinstance(values, dict):
        record["results"] = {name: _value(item["outputs"], name, shown) for name, shown in values.items()}
    return ResultData(**record)


def _value(outputs: dict[str, Any], name: str, shown: Any) -> Any:
    if name not in outputs:
        return shown
    try:
        return decode(outputs[name])
    except CodecError:
        # It lives in its own cell only; what people are shown of it is what there is.
        return shown
