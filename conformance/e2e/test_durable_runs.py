"""Background runs: submit, look, wait, cancel, and the errors on the way."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import pytest

from flowcell_conformance.flows import load_flow

if TYPE_CHECKING:
    from flowcell_conformance.bench import Flowcell

RUNNING = frozenset({"running"})
UNKNOWN = "00000000-0000-4000-8000-000000000000"


def test_a_run_completes_and_keeps_its_result(flowcell: Flowcell) -> None:
    accepted = flowcell.runs.start(flowcell.flow("echo"), "Bob")
    assert accepted.state in {"queued", "running"}
    links = accepted.raw["links"]
    assert isinstance(links, dict)
    assert links["events"] == f"/api/flowcell/v1/runs/{accepted.id}/events"
    run = flowcell.runs.wait(accepted.id)
    assert run.state == "completed"
    assert run.text == "Hello Bob!"
    assert {task.state for task in run.tasks} == {"done"}
    assert {task.cell for task in run.tasks} == {"ChatInput-aaaaa", "Prompt-bbbbb", "ChatOutput-zzzzz"}
    assert flowcell.runs.get(run.id) == run


def test_starting_answers_202(flowcell: Flowcell) -> None:
    answer = flowcell.runs.http.post("/runs", json={"flow": flowcell.flow("echo"), "input_value": "x"})
    assert answer.status_code == 202
    flowcell.runs.wait(answer.json()["id"])


def test_an_idempotency_key_starts_one_run(flowcell: Flowcell) -> None:
    key = uuid.uuid4().hex
    first = flowcell.runs.start_once(key, flowcell.flow("echo"), "once")
    again = flowcell.runs.start_once(key, flowcell.flow("echo"), "once")
    assert first.id == again.id
    assert flowcell.runs.wait(first.id).state == "completed"


def test_a_failed_run_says_why_and_where(flowcell: Flowcell) -> None:
    run = flowcell.runs.wait(flowcell.run("boom", "Bob"))
    assert run.state == "failed"
    assert run.failure is not None
    assert run.failure_kind == "component"
    assert run.failure["exception"] == "RuntimeError"
    assert run.failure["node"] == "Boom-bbbbb"
    assert "kaboom: Bob" in str(run.failure["message"])
    states = {task.cell: task.state for task in run.tasks}
    assert states == {"ChatInput-aaaaa": "done", "Boom-bbbbb": "failed", "ChatOutput-zzzzz": "cancelled"}


def test_a_components_own_error_is_not_tried_again(flowcell: Flowcell) -> None:
    run = flowcell.runs.wait(flowcell.run("boom", "Bob"))
    assert next(task.attempt for task in run.tasks if task.cell == "Boom-bbbbb") == 1


def test_the_branch_not_taken_is_skipped(flowcell: Flowcell) -> None:
    run = flowcell.runs.wait(flowcell.run("router", "yes"))
    states = {task.cell: task.state for task in run.tasks}
    assert states["ChatOutput-ttttt"] == "done"
    assert states["ChatOutput-fffff"] == "skipped"


def test_a_model_and_its_consumer_are_one_cell(flowcell: Flowcell) -> None:
    run = flowcell.runs.wait(flowcell.run("live_model", "why?"))
    assert run.text == "why? -> the scripted answer"
    assert {task.cell for task in run.tasks} == {"ChatInput-aaaaa", "AskModel-bbbbb", "ChatOutput-zzzzz"}


def test_what_proves_to_be_live_is_planned_around_and_learned(flowcell: Flowcell) -> None:
    # What is learned is kept by a component's code, and other tests run the same: this one is new.
    told = "an object that only lives in its process"
    exported = json.dumps(load_flow("disguised_twice"))
    assert told in exported
    exported = json.loads(exported.replace(told, f"{told} {uuid.uuid4()}"))
    flow = flowcell.target.upload_flow(exported).endpoint_name
    cells = {"ChatInput-aaaaa", "CountOn-ccccc", "CountOn-ddddd", "ChatOutput-zzzzz", "Disguised-bbbbb"}
    first = flowcell.runs.wait(flowcell.runs.start(flow, "x").id)
    assert first.text == "x x#1 x#2 x#3 x#4"
    assert {task.cell for task in first.tasks} == cells
    replaced = {task.cell for task in first.tasks if task.state == "replaced"}
    assert replaced == {"Disguised-bbbbb", "CountOn-ccccc", "CountOn-ddddd"}
    assert [event.kind for event in flowcell.runs.sse(first.id)].count("run.replanned") == 1
    # A rerun follows the same plan: the cell that took the place of three is one.
    for node, done in (("ChatOutput-zzzzz", 1), ("CountOn-ddddd", 2)):
        body = {"from": [node]}
        accepted = flowcell.runs.http.post(f"/runs/{first.id}/rerun", json=body).raise_for_status().json()
        rerun = flowcell.runs.wait(accepted["id"])
        assert (rerun.text, sum(task.attempt for task in rerun.tasks)) == (first.text, done)
    again = flowcell.runs.wait(flowcell.runs.start(flow, "y").id)
    assert again.text == "y y#1 y#2 y#3 y#4"
    assert {task.cell for task in again.tasks} == {"ChatInput-aaaaa", "CountOn-ddddd", "ChatOutput-zzzzz"}


def test_cancel_ends_a_running_cell_within_a_second_or_so(flowcell: Flowcell) -> None:
    run = flowcell.run("nap", "15")
    task = flowcell.runs.wait_task(run, "Nap-bbbbb", RUNNING)
    assert flowcell.runs.cancel(run).status_code in {200, 202}
    ended = flowcell.runs.wait(run, seconds=5)
    assert ended.state == "cancelled"
    if task.container:
        flowcell.server.wait_gone([task.container], seconds=5)


def test_cancel_of_an_ended_run_changes_nothing(flowcell: Flowcell) -> None:
    run = flowcell.runs.wait(flowcell.run("echo", "Bob"))
    assert flowcell.runs.cancel(run.id).status_code in {200, 202, 409}
    assert flowcell.runs.get(run.id).state == "completed"


def test_a_deadline_ends_a_run(flowcell: Flowcell) -> None:
    run = flowcell.runs.wait(flowcell.run("nap", "15", deadline_ms=4_000))
    assert run.state == "timed_out"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", f"/runs/{UNKNOWN}"), ("POST", f"/runs/{UNKNOWN}/cancel"), ("GET", f"/runs/{UNKNOWN}/events")],
)
def test_an_unknown_run_is_404_in_the_one_envelope(flowcell: Flowcell, method: str, path: str) -> None:
    answer = flowcell.runs.http.request(method, path)
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert error["code"]
    assert error["message"]


def test_an_unknown_flow_is_404(flowcell: Flowcell) -> None:
    assert flowcell.runs.http.post("/runs", json={"flow": "no-such-flow"}).status_code == 404


def test_an_unknown_field_is_refused(flowcell: Flowcell) -> None:
    body = {"flow": flowcell.flow("echo"), "input": "typo"}
    assert flowcell.runs.http.post("/runs", json=body).status_code in {400, 422}


@pytest.mark.parametrize("key", ["", "sk-not-a-key-of-anyone"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/runs"),
        ("GET", "/runs/{run}"),
        ("GET", "/runs/{run}/events"),
        ("POST", "/runs/{run}/cancel"),
    ],
)
def test_nothing_answers_without_a_key(flowcell: Flowcell, method: str, path: str, key: str) -> None:
    run = flowcell.runs.wait(flowcell.run("echo", "Bob")).id
    answer = flowcell.runs.http.request(method, path.format(run=run), headers={"x-api-key": key})
    assert answer.status_code in {401, 403}
