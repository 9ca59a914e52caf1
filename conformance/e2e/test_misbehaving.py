"""Components that would take Langflow down: a typed failure within the limit, and the next run is fine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from flowcell_conformance.flowcell_server import Limits

if TYPE_CHECKING:
    from flowcell_conformance.bench import Flowcell

LIMITS = Limits()
WALL_SECONDS = LIMITS.wall_ms / 1000
# Getting a container and telling the end of a run, on a busy machine.
SLACK_SECONDS = 20.0


@pytest.mark.parametrize(
    ("flow", "text", "kind", "seconds"),
    [
        ("spin", "x", "timed_out", WALL_SECONDS),
        ("hog", "x", "out_of_memory", WALL_SECONDS),
        # Copies of a Python process also cost memory: either limit may come first.
        ("fork_bomb", "x", "too_many_processes|out_of_memory", WALL_SECONDS),
        ("vanish", "0", "exited_early", 5.0),
        ("vanish", "3", "exited_early", 5.0),
        ("bad_import", "x", "package_missing", 5.0),
    ],
)
def test_a_typed_failure_and_a_healthy_next_run(
    flowcell: Flowcell, flow: str, text: str, kind: str, seconds: float
) -> None:
    started = time.monotonic()
    run = flowcell.runs.wait(flowcell.run(flow, text), seconds=seconds + SLACK_SECONDS)
    took = time.monotonic() - started
    assert run.state == "failed", run.raw
    assert run.failure_kind in kind.split("|"), run.failure
    assert run.failure is not None
    assert run.failure["message"]
    assert took < seconds + SLACK_SECONDS
    flowcell.server.wait_gone(run.containers, seconds=15)
    assert flowcell.runs.wait(flowcell.run("echo", "next")).text == "Hello next!"


def test_the_failure_names_its_figures(flowcell: Flowcell) -> None:
    spun = flowcell.runs.wait(flowcell.run("spin", "x"), seconds=WALL_SECONDS + SLACK_SECONDS)
    assert spun.failure is not None
    assert spun.failure["limit_ms"] == LIMITS.wall_ms
    assert spun.failure["setting"] == "wall_ms"
    hogged = flowcell.runs.wait(flowcell.run("hog", "x"), seconds=WALL_SECONDS + SLACK_SECONDS)
    assert hogged.failure is not None
    assert hogged.failure["limit_bytes"] == LIMITS.memory_bytes
    missing = flowcell.runs.wait(flowcell.run("bad_import", "x"))
    assert missing.failure is not None
    assert missing.failure["package"] == "no_such_module_of_flowcell"


def test_a_hundred_megabytes_of_output_are_cut(flowcell: Flowcell) -> None:
    run = flowcell.runs.wait(flowcell.run("shout", "x"), seconds=WALL_SECONDS + SLACK_SECONDS)
    assert run.state == "completed" or run.failure_kind == "output_too_large"
    kept = sum(len(str(event.body["text"])) for event in flowcell.runs.sse(run.id) if event.kind == "log")
    assert 0 < kept <= 2 * LIMITS.log_bytes_max


@pytest.mark.parametrize("flow", ["spin", "vanish"])
def test_a_caller_of_langflows_endpoint_gets_an_error_not_silence(flowcell: Flowcell, flow: str) -> None:
    ref = flowcell.session.flow(flow)
    reply = flowcell.target.run(ref.id, b'{"input_value": "1"}', stream=False)
    assert reply.status >= 400
    assert reply.body is not None
    streamed = flowcell.target.run(ref.id, b'{"input_value": "1"}', stream=True)
    assert [event.name for event in streamed.events][-1] == "error"


def test_a_misbehaving_run_does_not_hold_up_another(flowcell: Flowcell) -> None:
    spinning = flowcell.run("spin", "x")
    flowcell.runs.wait_task(spinning, "Spin-bbbbb", frozenset({"running"}))
    beside = flowcell.runs.wait(flowcell.run("echo", "beside"))
    assert beside.text == "Hello beside!"
    assert flowcell.runs.wait(spinning).failure_kind == "timed_out"
    # By the log and not by a clock of our own: a busy machine makes both slow.
    started = min(e.at for e in flowcell.runs.sse(beside.id) if e.kind == "task.running")
    failed = max(e.at for e in flowcell.runs.sse(spinning) if e.kind == "task.failed")
    assert started < failed
