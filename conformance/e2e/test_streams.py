"""The event log of a run by SSE and WebSocket: numbered, complete, resumable, also afterwards."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from flowcell_conformance.impatient_proxy import ImpatientProxy

from .test_control import command

if TYPE_CHECKING:
    from flowcell_conformance.bench import Flowcell
    from flowcell_conformance.durable import DurableRuns, RunEvent

TERMINAL = {"run.completed", "run.failed", "run.cancelled", "run.timed_out"}


def follow(
    runs: DurableRuns, way: str, run: str, *, after: int | None = None, limit: int | None = None
) -> list[RunEvent]:
    return (runs.sse if way == "sse" else runs.websocket)(run, after=after, limit=limit)


both = pytest.mark.parametrize("way", ["sse", "websocket"])


@both
def test_a_live_log_is_complete_and_has_no_gaps(flowcell: Flowcell, way: str) -> None:
    run = flowcell.run("tok", "Bob", stream=True)
    events = follow(flowcell.runs, way, run)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    kinds = [event.kind for event in events]
    assert kinds[0] == "run.started"
    assert kinds[-1] == "run.completed"
    assert sum(kind in TERMINAL for kind in kinds) == 1
    tokens = [e.body["data"] for e in events if e.kind == "langflow" and e.body["event"] == "token"]
    assert [token["chunk"] for token in tokens if isinstance(token, dict)] == [
        "one",
        " ",
        "two",
        " ",
        "three",
    ]


@both
def test_a_log_is_the_same_live_and_afterwards(flowcell: Flowcell, way: str) -> None:
    run = flowcell.run("echo", "Bob")
    live = follow(flowcell.runs, way, run)
    flowcell.runs.wait(run)
    assert follow(flowcell.runs, way, run) == live


def test_both_ways_tell_the_same(flowcell: Flowcell) -> None:
    run = flowcell.runs.wait(flowcell.run("diamond", "x")).id
    assert flowcell.runs.sse(run) == flowcell.runs.websocket(run)


@both
def test_resume_after_any_position_misses_and_repeats_nothing(flowcell: Flowcell, way: str) -> None:
    run = flowcell.runs.wait(flowcell.run("tok", "Bob", stream=True)).id
    whole = follow(flowcell.runs, way, run)
    for cut in range(len(whole)):
        assert follow(flowcell.runs, way, run, after=cut) == whole[cut:], f"after {cut}"


@both
def test_a_reader_that_leaves_and_comes_back_while_it_runs(flowcell: Flowcell, way: str) -> None:
    run = flowcell.run("nap", "2")
    first = follow(flowcell.runs, way, run, limit=3)
    rest = follow(flowcell.runs, way, run, after=first[-1].sequence)
    assert [event.sequence for event in first + rest] == list(range(1, len(first + rest) + 1))
    assert rest[-1].kind == "run.completed"


@both
def test_resume_after_the_last_event_of_an_ended_run_ends_at_once(flowcell: Flowcell, way: str) -> None:
    run = flowcell.runs.wait(flowcell.run("echo", "Bob")).id
    last = follow(flowcell.runs, way, run)[-1].sequence
    assert follow(flowcell.runs, way, run, after=last) == []


def test_tasks_appear_in_the_order_of_their_states(flowcell: Flowcell) -> None:
    run = flowcell.run("echo", "Bob")
    events = flowcell.runs.sse(run)
    for cell in ("ChatInput-aaaaa", "Prompt-bbbbb", "ChatOutput-zzzzz"):
        kinds = [e.kind for e in events if e.body.get("cell") == cell and e.kind.startswith("task.")]
        assert kinds == ["task.ready", "task.leased", "task.running", "task.done"]


def test_what_a_component_prints_is_in_the_log(flowcell: Flowcell) -> None:
    run = flowcell.runs.wait(flowcell.run("shout", "x")).id
    assert any(event.kind == "log" and event.body["stream"] == "stdout" for event in flowcell.runs.sse(run))


def test_the_end_of_an_answer_is_not_taken_for_the_end_of_the_run(flowcell: Flowcell) -> None:
    flow = flowcell.flow("tok")
    with ImpatientProxy(flowcell.server.credentials.url, events=2) as proxy:
        shown = command(flowcell, "run", flow, "--input", "Bob", "--stream", "--json", url=proxy.url)
    *events, last = [json.loads(line) for line in shown.splitlines()]
    assert last["state"] == "completed"
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert [event["seq"] for event in events] == [e.sequence for e in flowcell.runs.sse(last["id"])]
    assert len(proxy.ended) >= len(events) // 2, "it ended every answer"
