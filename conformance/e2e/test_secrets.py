"""A secret variable reaches its component and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowcell_conformance import docker
from flowcell_conformance.flows import VARIABLES

if TYPE_CHECKING:
    from pathlib import Path

    from flowcell_conformance.bench import Flowcell

CANARY = next(value for name, value, _ in VARIABLES if name == "CONFORMANCE_TOKEN")
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
