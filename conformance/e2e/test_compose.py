"""The cluster of docker-compose.yml, as its operator has it: through the proxy, while parts die.

It needs a machine of its own, so it runs when it is asked for: start it with `scripts/compose up`, then
`FLOWCELL_COMPOSE=1 uv run pytest e2e/test_compose.py`.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, TypeVar
from uuid import uuid4

import httpx
import pytest

from flowcell_conformance.compare import Servers
from flowcell_conformance.docker import docker
from flowcell_conformance.durable import DurableRuns, Run
from flowcell_conformance.langflow_server import Credentials
from flowcell_conformance.process import wait_until
from flowcell_conformance.session import Session
from flowcell_conformance.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flowcell_conformance.durable import RunEvent

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
NAP = "Nap-bbbbb"
RUNS_AT_ONCE = 4
# A lease of eight seconds, the sweep that finds its end, a container, and what ran once more.
RECOVERY_SECONDS = 240.0
HEALTHY_SECONDS = 240.0
ROLL_SECONDS = 540.0
SUBMIT_EVERY_SECONDS = 3.0
# `upgrade` goes from the program that runs to FLOWCELL_BIN.
ROLL = os.environ.get("FLOWCELL_COMPOSE_ROLL", "roll")

pytestmark = pytest.mark.skipif(
    os.environ.get("FLOWCELL_COMPOSE") != "1", reason="needs `scripts/compose up` and FLOWCELL_COMPOSE=1"
)


class Compose:
    """The running cluster, and clients of its proxy."""

    def __init__(self) -> None:
        written = (ROOT / ".flowcell/compose/client.env").read_text()
        found = dict(re.findall(r"^export (\w+)='(.*)'$", written, re.MULTILINE))
        self.credentials = Credentials(found["FLOWCELL_URL"], found["FLOWCELL_API_KEY"])
        self.target = Target(self.credentials, name="compose")
        self.runs = DurableRuns(self.credentials)
        self.session = Session(self.target, Servers(None))

    def close(self) -> None:
        self.runs.close()
        self.target.close()

    def container(self, service: str) -> str:
        labels = ("com.docker.compose.project=flowcell", f"com.docker.compose.service={service}")
        filters = [part for label in labels for part in ("--filter", f"label={label}")]
        return docker("ps", "--all", "--quiet", *filters).split()[0]

    def wait_healthy(self, service: str) -> None:
        def is_healthy() -> bool:
            state = docker("inspect", "--format", "{{.State.Health.Status}}", self.container(service))
            return state.strip() == "healthy"

        wait_until(is_healthy, seconds=HEALTHY_SECONDS, what=f"the health of {service}")

    def again(self, ask: Callable[[], T]) -> T:
        """What a client does whose connection was cut: the same once more."""
        deadline = time.monotonic() + RECOVERY_SECONDS
        while True:
            try:
                return ask()
            except httpx.HTTPError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def start(self, flow: str, text: str) -> str:
        key = uuid4().hex
        return self.again(lambda: self.runs.start_once(key, self.session.flow(flow).id, text)).id

    def wait(self, run: str) -> Run:
        return self.again(lambda: self.runs.wait(run, seconds=RECOVERY_SECONDS))

    def follow(self, run: str) -> list[RunEvent]:
        """The whole log, from as many streams as it takes."""
        events: list[RunEvent] = []
        while not events or events[-1].kind != "run.completed":
            after = events[-1].sequence if events else None
            events += self.again(partial(self.runs.sse, run, after=after))
        return events


@pytest.fixture(scope="module")
def compose() -> Iterator[Compose]:
    compose = Compose()
    try:
        yield compose
    finally:
        compose.close()


def test_both_streams_pass_the_proxy_as_they_come(compose: Compose) -> None:
    run = compose.start("nap", "3")
    # The stream is open while the run goes on: an event arrives long before the end.
    first = compose.runs.sse(run, limit=1)
    assert compose.runs.get(run).state == "running"
    by_socket = compose.runs.websocket(run)
    assert first + compose.runs.sse(run, after=1) == by_socket
    assert [event.sequence for event in by_socket] == list(range(1, len(by_socket) + 1))
    assert by_socket[-1].kind == "run.completed"


def test_nothing_but_the_proxy_is_published() -> None:
    project = ("--filter", "label=com.docker.compose.project=flowcell")
    listed = docker("ps", *project, "--format", '{{.Label "com.docker.compose.service"}} {{.Ports}}')
    published = {line.split()[0] for line in listed.splitlines() if "->" in line}
    assert published == {"proxy"}


def test_workers_are_nobody_and_hold_no_socket_of_docker(compose: Compose) -> None:
    for service in ("worker-1", "worker-2"):
        container = compose.container(service)
        status = docker("exec", container, "cat", "/proc/self/status")
        assert re.search(r"^Uid:\t6554[12]\b", status, re.MULTILINE)
        assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)
        mounts = docker("inspect", "--format", "{{range .Mounts}}{{.Source}} {{end}}", container)
        assert "docker.sock" not in mounts


@pytest.mark.parametrize("service", ["api-1", "api-2", "scheduler-1", "scheduler-2", "worker-1", "worker-2"])
def test_a_kill_with_runs_going_on_loses_nothing(compose: Compose, service: str) -> None:
    runs = [compose.start("nap", "4") for _ in range(RUNS_AT_ONCE)]
    with ThreadPoolExecutor(RUNS_AT_ONCE) as readers:
        live = [readers.submit(compose.follow, run) for run in runs]
        wait = partial(compose.runs.wait_task, runs[0], NAP, seconds=RECOVERY_SECONDS)
        compose.again(lambda: wait(states=frozenset({"running"})))
        docker("kill", compose.container(service))
        try:
            ended = [compose.wait(run) for run in runs]
            logs = [log.result(timeout=RECOVERY_SECONDS) for log in live]
        finally:
            docker("start", compose.container(service))
    assert [run.state for run in ended] == ["completed"] * RUNS_AT_ONCE
    assert [run.text for run in ended] == ["4"] * RUNS_AT_ONCE
    for log in logs:
        assert [event.sequence for event in log] == list(range(1, len(log) + 1))
    compose.wait_healthy(service)


def test_a_rolling_restart_under_load_loses_nothing_and_repeats_nothing(compose: Compose) -> None:
    rolled = Event()

    def load() -> list[str]:
        started: list[str] = []
        while not rolled.is_set():
            started.append(compose.start("nap", "2"))
            rolled.wait(SUBMIT_EVERY_SECONDS)
        return started

    with ThreadPoolExecutor(1) as caller:
        calling = caller.submit(load)
        try:
            command = [str(ROOT / "scripts/compose"), ROLL]
            subprocess.run(command, check=True, timeout=ROLL_SECONDS)  # noqa: S603
        finally:
            rolled.set()
        started = calling.result()
    ended = [compose.wait(run) for run in started]
    assert {run.state for run in ended} == {"completed"}
    # Whoever is told to end finishes what it has: no cell was begun twice.
    attempts = [task.attempt for run in ended for task in run.tasks]
    assert set(attempts) == {1}, f"{len(ended)} runs, attempts {attempts}"
    print(f"{len(ended)} runs during the restart")
