"""Runs that wait for a person: as with Langflow, and beyond the life of every process."""

from __future__ import annotations

import re
import subprocess
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, cast

import pytest

from flowcell_conformance.compare import differences
from flowcell_conformance.flowcell_server import Options
from flowcell_conformance.human_routes import ROUTES, TALKS, converse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flowcell_conformance.bench import Flowcell
    from flowcell_conformance.human_routes import Talk
    from flowcell_conformance.model_server import ModelServer
    from flowcell_conformance.normalise import Json
    from flowcell_conformance.session import Session

SUSPENDED = frozenset({"suspended"})
MODEL: dict[str, Json] = {
    "LanguageModelComponent-mmmmm": {"model": [{"name": "gpt-4o-mini", "provider": "OpenAI"}]}
}


@pytest.mark.parametrize("talk", TALKS, ids=[talk.name for talk in TALKS])
def test_a_conversation_goes_as_with_langflow(
    talk: Talk,
    flowcell: Flowcell,
    model: ModelServer | None,
    recording: dict[str, Json] | None,
    langflow: Callable[[], Session],
) -> None:
    if model is None:
        pytest.skip("FLOWCELL_MODEL_SERVER is not set")
    title = f"{ROUTES}/{talk.name}"
    expected = (
        cast("dict[str, Json]", recording[title])
        if recording is not None
        else converse(langflow(), talk, model)
    )
    found = list(differences(cast("Json", expected), cast("Json", converse(flowcell.session, talk, model))))
    told = [one for one in found if not any(fnmatchcase(one.path, d.path) for d in talk.deviations)]
    assert not told


@pytest.mark.parametrize("isolation", ["component", "chain", "run"])
def test_work_before_a_question_is_not_done_again(
    flowcell: Flowcell, model: ModelServer | None, isolation: str
) -> None:
    if model is None:
        pytest.skip("FLOWCELL_MODEL_SERVER is not set")
    model.forget()
    run = flowcell.run("human_branches", "Bob", tweaks=MODEL, isolation=isolation)
    flowcell.runs.wait_state(run, SUSPENDED, seconds=200)
    assert flowcell.runs.decide(run, "approve").status_code == 202
    assert flowcell.runs.wait(run, seconds=200).text.startswith("Sent: Hello from")
    assert len(model.recorded()) == 1


def test_a_question_outlives_every_process(
    make_flowcell: Callable[[Options], Flowcell], model: ModelServer | None
) -> None:
    if model is None:
        pytest.skip("FLOWCELL_MODEL_SERVER is not set")
    flowcell = make_flowcell(Options(slots=1, pool=1))
    model.forget()
    run = flowcell.run("human_branches", "Bob", tweaks=MODEL)
    agent = flowcell.run("agent_approval", "ask before you act")
    waiting = flowcell.runs.wait_state(run, SUSPENDED, seconds=200)
    flowcell.runs.wait_state(agent, SUSPENDED, seconds=200)
    flowcell.server.wait_gone(waiting.containers, seconds=10)
    before = flowcell.runs.requests(run)
    flowcell.crash_and_restart()
    assert flowcell.runs.requests(run) == before
    # The only slot is free for others meanwhile.
    assert flowcell.runs.wait(flowcell.run("echo", "Eve"), seconds=200).text == "Hello Eve!"
    flowcell.crash_and_restart()
    assert flowcell.runs.decide(run, "reject").status_code == 202
    flowcell.crash_and_restart()
    done = flowcell.runs.wait(run, seconds=200)
    assert done.text.startswith("Kept back: Hello from")
    states = {task.cell: task.state for task in done.tasks}
    assert states["ChatOutput-sssss"] == "skipped"
    assert flowcell.runs.decide(agent, "edit", args={"text": "other words"}).status_code == 202
    assert flowcell.runs.wait(agent, seconds=200).text == "The tool has spoken."
    asked = [entry for entry in model.recorded() if "OTHER WORDS" in str(entry)]
    assert len(asked) == 1
    assert len(model.recorded()) == 3


def test_a_decision_counts_once(flowcell: Flowcell) -> None:
    run = flowcell.run("human_twice", "Bob")
    flowcell.runs.wait_state(run, SUSPENDED, seconds=200)
    assert flowcell.runs.decide(run, "escalate").status_code == 422
    assert flowcell.runs.decide(run, "reject").status_code == 202
    assert flowcell.runs.decide(run, "reject").status_code == 200
    assert flowcell.runs.decide(run, "approve").status_code == 409
    assert flowcell.runs.wait(run, seconds=200).text == "Bob"


def test_two_questions_at_once_are_answered_one_by_one(flowcell: Flowcell) -> None:
    run = flowcell.run("human_beside", "Bob")
    flowcell.runs.wait_state(run, SUSPENDED, seconds=200)
    first, second = sorted(str(asked["request_id"]) for asked in flowcell.runs.requests(run))
    assert flowcell.runs.decide(run, "approve").status_code == 422
    assert flowcell.runs.decide(run, "approve", request=first).status_code == 202
    assert flowcell.runs.decide(run, "reject", request=second).status_code == 202
    run_ended = flowcell.runs.wait(run, seconds=200)
    states = {task.cell: task.state for task in run_ended.tasks}
    assert states["ChatOutput-aaaa1"] == "done"
    assert states["ChatOutput-aaaa2"] == "skipped"
    assert states["ChatOutput-bbbb1"] == "skipped"
    assert states["ChatOutput-bbbb2"] == "done"


def test_a_suspended_run_can_be_cancelled(flowcell: Flowcell) -> None:
    run = flowcell.run("human_twice", "Bob")
    flowcell.runs.wait_state(run, SUSPENDED, seconds=200)
    assert flowcell.runs.cancel(run).status_code == 202
    assert flowcell.runs.wait(run, seconds=10).state == "cancelled"
    assert flowcell.runs.decide(run, "approve").status_code == 409


def test_the_events_tell_what_is_asked(flowcell: Flowcell) -> None:
    run = flowcell.run("human_twice", "Bob")
    flowcell.runs.wait_state(run, SUSPENDED, seconds=200)
    flowcell.runs.decide(run, "reject")
    flowcell.runs.wait(run, seconds=200)
    events = flowcell.runs.sse(run)
    kinds = [event.kind for event in events]
    told = ["task.paused", "run.suspended", "run.resumed", "run.completed"]
    assert [kind for kind in kinds if kind in told] == told
    asked = next(event.body["request"] for event in events if event.kind == "task.paused")
    assert cast("dict[str, Json]", asked)["prompt"] == "Bob"


def test_the_command_line_shows_the_question_and_answers_it(
    flowcell: Flowcell, flowcell_binary: Path
) -> None:
    credentials = flowcell.server.credentials
    environment = {"FLOWCELL_URL": credentials.url, "FLOWCELL_API_KEY": credentials.api_key}

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603
            [str(flowcell_binary), *arguments],
            env=environment | {"HOME": str(flowcell.server.data.parent)},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )

    asked = command("run", flowcell.flow("human_twice"), "--input", "Bob")
    assert "approve | reject" in asked.stderr
    run = re.search(r"flowcell resume (\S+) DECISION", asked.stderr)
    assert run is not None
    again = command("resume", run[1], "approve")
    assert "> Once approved: Bob" in again.stderr
    assert command("resume", run[1], "approve").stdout.strip() == "Once approved: Bob"
    refused = subprocess.run(  # noqa: S603
        [str(flowcell_binary), "resume", run[1], "reject", "--detach"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert refused.returncode == 1
