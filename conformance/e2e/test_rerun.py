"""Ended runs that run again with what they finished, and dead letters."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from .test_control import command

if TYPE_CHECKING:
    from flowcell_conformance.bench import Flowcell
    from flowcell_conformance.durable import Run
    from flowcell_conformance.normalise import Json


def attempts(run: Run) -> list[int]:
    """How often each cell was tried; 0 where an earlier run's result is kept."""
    return [task.attempt for task in run.tasks]


def letters(flowcell: Flowcell, flow: str) -> list[str]:
    """Ids of a flow's dead letters."""
    listed = command(flowcell, "dead-letters", "list", "--flow", flow)
    return [line.split()[0] for line in listed.splitlines()]


def test_a_cancelled_run_goes_on_where_it_was_and_again_from_a_node(flowcell: Flowcell) -> None:
    first = flowcell.run("nap", "6")
    nap = flowcell.runs.get(first).tasks[1].cell
    flowcell.runs.wait_task(first, nap, frozenset({"running"}), seconds=200)
    refused = flowcell.runs.http.post(f"/runs/{first}/rerun")
    assert (refused.status_code, "has not ended" in refused.text) == (409, True)
    flowcell.runs.cancel(first)
    flowcell.runs.wait(first)
    second = command(flowcell, "rerun", first, "--detach").strip()
    done = flowcell.runs.wait(second, seconds=200)
    assert (done.state, done.text, attempts(done)) == ("completed", "6", [0, 1, 1])
    assert done.raw["rerun_of"] == first
    with pytest.raises(AssertionError, match="from must name the nodes"):
        command(flowcell, "rerun", second)
    shown = command(flowcell, "rerun", second, "--from", "Chat Output")
    assert "6" in shown
    listed = flowcell.runs.http.get("/runs", params={"rerun_of": second}).json()["items"]
    third = flowcell.runs.get(listed[0]["id"])
    assert (third.text, attempts(third)) == ("6", [0, 0, 1])
    kinds = [event.kind for event in flowcell.runs.sse(third.id) if event.kind == "task.done"]
    assert len(kinds) == 1, "what is kept is not told again"


@pytest.mark.parametrize("text", ["yes", "no"])
def test_branches_are_as_they_were(flowcell: Flowcell, text: str) -> None:
    first = flowcell.runs.wait(flowcell.run("merge_if_else", text), seconds=200)
    for node, kept in (("GatherTexts-jjjjj", True), ("ConditionalRouter-bbbbb", False)):
        body = {"from": [node]}
        again = flowcell.runs.http.post(f"/runs/{first.id}/rerun", json=body).raise_for_status().json()
        second = flowcell.runs.wait(again["id"], seconds=200)
        assert second.text == first.text
        assert [task.state for task in second.tasks] == [task.state for task in first.tasks]
        router = next(task for task in second.tasks if task.cell == "ConditionalRouter-bbbbb")
        assert router.attempt == (0 if kept else 1)


def test_a_run_that_failed_alone_is_a_dead_letter_until_somebody_comes(flowcell: Flowcell) -> None:
    flow = flowcell.flow("boom")
    # Other tests have let runs of this flow fail.
    command(flowcell, "dead-letters", "dismiss", "--all", "--flow", flow)
    waited = flowcell.target.http.post(f"/api/v1/run/{flow}", json={"input_value": "Bob"})
    assert waited.is_error
    assert letters(flowcell, flow) == [], "its caller was told"
    first = flowcell.runs.wait(flowcell.run("boom", "Bob"), seconds=200)
    assert (first.state, letters(flowcell, flow)) == ("failed", [first.id])
    old, second = command(flowcell, "dead-letters", "redrive", first.id).split()
    assert old == first.id
    failed = flowcell.runs.wait(second, seconds=200)
    done = [task.cell for task in first.tasks if task.state == "done"]
    assert done
    assert [task.cell for task in failed.tasks if task.state == "done" and task.attempt == 0] == done
    assert letters(flowcell, flow) == [second]
    twice = subprocess.run(  # noqa: S603 - our own program
        [os.environ["FLOWCELL_BIN"], "dead-letters", "redrive", first.id],
        env=os.environ
        | {
            "FLOWCELL_URL": flowcell.server.credentials.url,
            "FLOWCELL_API_KEY": flowcell.server.credentials.api_key,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert twice.returncode != 0
    assert "already" in twice.stderr
    assert command(flowcell, "dead-letters", "dismiss", "--all", "--flow", flow).split() == [second]
    assert letters(flowcell, flow) == []


def test_what_a_changed_request_builds_otherwise_is_done_again(flowcell: Flowcell) -> None:
    first = flowcell.runs.wait(flowcell.run("echo", "Bob"), seconds=200)
    assert first.text == "Hello Bob!"

    def again(of: str, *arguments: str) -> Run:
        run = command(flowcell, "rerun", of, "--detach", *arguments).strip()
        return flowcell.runs.wait(run, seconds=200)

    def refused(body: dict[str, Json]) -> str:
        answer = flowcell.runs.http.post(f"/runs/{first.id}/rerun", json=body)
        assert answer.status_code == 422
        return answer.text

    assert "nothing of it is changed" in refused({"input_value": "Bob"})
    assert "Prompt-bbbbb.no_field" in refused({"tweaks": {"Prompt-bbbbb": {"no_field": 1}}})
    told = again(first.id, "--tweak", "Prompt-bbbbb.template=Bye {name}!")
    assert (told.text, attempts(told)) == ("Bye Bob!", [0, 1, 1])
    # What was changed before stays so where another thing is changed.
    other = again(told.id, "--input", "Ann")
    assert (other.text, attempts(other)) == ("Bye Ann!", [1, 1, 1])
    assert attempts(again(first.id, "--from-start")) == [1, 1, 1]
