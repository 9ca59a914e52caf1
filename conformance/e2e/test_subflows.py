"""Flows that run flows: with one slot, without end, and when their caller goes away."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

from flowcell_conformance.flowcell_server import Limits, Options

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowcell_conformance.bench import Flowcell

# Nine containers, one inside the other's time, on a machine with two processors.
PATIENT = Limits(wall_ms=170_000)
DEPTH_MAX = 8


def children(flowcell: Flowcell, run: str) -> list[dict[str, str]]:
    return cast("list[dict[str, str]]", flowcell.runs.get(run).raw.get("children", []))


def test_one_slot_is_enough_for_flows_in_flows(make_flowcell: Callable[[Options], Flowcell]) -> None:
    flowcell = make_flowcell(Options(slots=1, pool=1, limits=PATIENT))
    started = [flowcell.run("subflow_deep", name) for name in ("Ada", "Bob", "Cy")]
    ended = [flowcell.runs.wait(run, seconds=170) for run in started]
    assert [run.text for run in ended] == [f"Below says: {name}" for name in ("Ada", "Bob", "Cy")]
    (child,) = children(flowcell, started[0])
    below = flowcell.runs.get(child["id"])
    assert below.raw["parent"] == {"id": started[0], "task": child["task"]}
    (grandchild,) = children(flowcell, child["id"])
    assert grandchild["state"] == "completed"
    # Each component in a container of its own, those of the other flows too.
    containers = [*ended[0].containers, *below.containers, *flowcell.runs.get(grandchild["id"]).containers]
    assert len(set(containers)) == len(containers) == 9


def test_a_flow_that_runs_itself_ends(make_flowcell: Callable[[Options], Flowcell]) -> None:
    flowcell = make_flowcell(Options(slots=2, pool=2, limits=PATIENT))
    run = flowcell.runs.wait(flowcell.run("subflow_itself", "x"), seconds=170)
    assert (run.state, run.failure_kind) == ("failed", "flows_too_deep")
    assert run.failure is not None
    assert "flow_depth_max" in str(run.failure["hint"])
    depth, below = 0, children(flowcell, run.id)
    while below:
        depth, below = depth + 1, children(flowcell, below[0]["id"])
    assert depth == DEPTH_MAX


def test_a_cancelled_run_leaves_no_run_behind(flowcell: Flowcell) -> None:
    run = flowcell.run("subflow_slow", "60")
    deadline = time.monotonic() + 60
    while not (below := children(flowcell, run)) and time.monotonic() < deadline:
        time.sleep(0.2)
    flowcell.runs.cancel(run).raise_for_status()
    assert flowcell.runs.wait(run).state == "cancelled"
    assert flowcell.runs.wait(below[0]["id"], seconds=20).state == "cancelled"


def test_what_a_flow_gave_is_not_made_again_after_a_crash(
    make_flowcell: Callable[[Options], Flowcell],
) -> None:
    flowcell = make_flowcell(Options(limits=PATIENT))
    run = flowcell.run("subflow_then_slow", "Bob")
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if [child["state"] for child in children(flowcell, run)][:1] == ["completed"]:
            break
        time.sleep(0.2)
    first = children(flowcell, run)[0]["id"]
    flowcell.crash_and_restart()
    ended = flowcell.runs.wait(run, seconds=170)
    assert ended.state == "completed", ended.raw
    made = [child["id"] for child in children(flowcell, run)]
    assert made[0] == first
    assert len(made) == 2, "each flow was run once, though the component was started twice"
    assert max(task.attempt for task in ended.tasks) > 1
