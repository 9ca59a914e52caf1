"""A secret variable reaches its component and nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from flowcell_conformance import docker
from flowcell_conformance.case import with_model
from flowcell_conformance.flowcell_server import Options
from flowcell_conformance.flows import VARIABLES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flowcell_conformance.bench import Flowcell
    from flowcell_conformance.model_server import ModelServer

CANARY = next(value for name, value, _ in VARIABLES if name == "CONFORMANCE_TOKEN")
MODEL_KEY = "sk-conformance-not-a-key"
RUNNING = frozenset({"running"})


def test_the_component_gets_the_secret(flowcell: Flowcell) -> None:
    run = flowcell.runs.wait(flowcell.run("variable", "Bob"))
    assert run.text == "Good day, Bob (token 527a4f86)"


def test_the_secret_is_in_no_answer_event_message_or_log(flowcell: Flowcell) -> None:
    run = flowcell.runs.wait(flowcell.run("leak", "Bob", session_id="leaky"))
    assert run.state == "completed"
    assert run.text.startswith("Bob: *")
    assert CANARY not in str(run.raw)
    events = flowcell.runs.sse(run.id)
    assert CANARY not in str(events)
    assert CANARY not in str(flowcell.target.messages("leaky"))
    ref = flowcell.session.flow("leak")
    for stream in (False, True):
        reply = flowcell.target.run(ref.id, b'{"input_value": "Bob", "output_type": "debug"}', stream=stream)
        assert CANARY not in reply.text
    assert CANARY not in flowcell.server.log.read_text(errors="replace")


def test_the_secret_is_in_no_file_of_the_server(flowcell: Flowcell) -> None:
    flowcell.runs.wait(flowcell.run("leak", "Bob"))
    needle = CANARY.encode()
    files = [file for file in flowcell.server.data.rglob("*") if file.is_file()]
    contents = {str(file): content for file in files if (content := _content(file)) is not None}
    assert contents
    assert [file for file, content in contents.items() if needle in content] == []


@pytest.mark.parametrize("text", ["use the secret tool", "break the secret tool", "fail please"])
def test_what_a_model_and_a_tool_use_is_nowhere(
    text: str, make_flowcell: Callable[[Options], Flowcell], model: ModelServer | None
) -> None:
    """The tool gives its secret to the model and to whoever reads; the model's key goes with each request."""
    if model is None:
        pytest.skip("FLOWCELL_MODEL_SERVER is not set")
    flowcell = make_flowcell(Options())
    body = with_model(text, "Agent-bbbbb")
    ref = flowcell.session.flow("agent_secret_tool")
    model.forget()
    shown = [
        flowcell.target.run(ref.id, json.dumps(body).encode(), stream=stream).text for stream in (False, True)
    ]
    started = flowcell.runs.start(ref.endpoint_name, text, tweaks=body["tweaks"])
    run = flowcell.runs.wait(started.id)
    shown += [str(run.raw), str(flowcell.runs.sse(run.id))]
    for route in (f"/api/flowcell/v1/runs/{run.id}/logs", "/api/v1/monitor/messages"):
        shown.append(str(flowcell.target.call("GET", route)))
    told = str(model.recorded())
    assert (CANARY in told) == ("secret tool" in text), "the model gets what the tool says"
    flowcell.server.stop()
    files = [file for file in flowcell.server.data.parent.rglob("*") if file.is_file()]
    assert len(files) > 3
    for secret in (CANARY, MODEL_KEY):
        assert [text for text in shown if secret in text] == []
        found = [str(file) for file in files if secret.encode() in (_content(file) or b"")]
        assert found == []


def _content(file: Path) -> bytes | None:
    """What a file holds; nothing of one that went with its cell in the meantime."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None


def test_containers_carry_no_secret_and_no_privilege(flowcell: Flowcell) -> None:
    run = flowcell.run("nap", "3")
    flowcell.runs.wait_task(run, "Nap-bbbbb", RUNNING)
    # A waiting container may go between the two questions; the one that naps does not.
    listed = map(docker.inspect, flowcell.server.containers(running_only=True))
    containers = [seen for seen in listed if seen is not None]
    assert containers
    for seen in containers:
        assert CANARY not in seen
        assert '"ReadonlyRootfs": true' in seen
        assert '"Privileged": false' in seen
        assert "no-new-privileges" in seen
    flowcell.runs.wait(run)
