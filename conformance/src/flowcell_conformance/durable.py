"""Flowcell's own API: durable runs, and their events by SSE and WebSocket.

Every name that is Flowcell's and not Langflow's is in this file.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import httpx
from websockets.sync.client import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .langflow_server import Credentials
    from .normalise import Json

PREFIX = "/api/flowcell/v1"
ENDED = frozenset({"completed", "failed", "cancelled", "timed_out"})
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class RunEvent:
    """One entry of a run's event log."""

    sequence: int
    kind: str
    body: dict[str, Json]

    @property
    def at(self) -> float:
        """When it was written."""
        return cast("float", self.body["at"])


@dataclass(frozen=True)
class Task:
    """One cell of a run."""

    cell: str
    state: str
    attempt: int
    container: str | None
    failure: dict[str, Json] | None


@dataclass(frozen=True)
class Run:
    """What `GET /runs/{id}` says."""

    id: str
    state: str
    tasks: tuple[Task, ...]
    failure: dict[str, Json] | None
    result: Json
    raw: dict[str, Json]

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in ENDED

    @property
    def failure_kind(self) -> str | None:
        """The stable code of why it failed."""
        return None if self.failure is None else cast("str", self.failure["kind"])

    @property
    def text(self) -> str:
        """The text of the first output."""
        outputs = cast("dict[str, list[dict[str, list[dict[str, dict[str, dict[str, str]]]]]]]", self.result)
        return outputs["outputs"][0]["outputs"][0]["results"]["message"]["text"]

    @property
    def containers(self) -> list[str]:
        """The containers its cells ran in."""
        return [task.container for task in self.tasks if task.container]


class DurableRuns:
    """A client of the durable runs of one server."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._key = {"x-api-key": credentials.api_key}
        self.http = httpx.Client(
            base_url=credentials.url + PREFIX, headers=self._key, timeout=60.0, trust_env=False
        )

    def close(self) -> None:
        """Give the connections back."""
        self.http.close()

    def allow_egress(self, host: str, port: int) -> None:
        """Let flows connect to an address inside the network, which nothing allows by default."""
        self.http.post("/egress", json={"host": host, "port": port, "private": True}).raise_for_status()

    def start(self, flow: str, input_value: str, **more: Json) -> Run:
        """Start a run; `more` are further fields of the body."""
        return self.start_once(None, flow, input_value, **more)

    def start_once(self, key: str | None, flow: str, input_value: str, **more: Json) -> Run:
        """The same with an idempotency key: a repeat names the first run."""
        answer = self.http.post(
            "/runs",
            json={"flow": flow, "input_value": input_value, "session_id": None, "tweaks": {}, **more},
            headers={"idempotency-key": key} if key else {},
        )
        answer.raise_for_status()
        body = answer.json()
        return Run(body["id"], body["state"], (), None, None, body)

    def get(self, run: str) -> Run:
        """Its state now."""
        body = self.http.get(f"/runs/{run}").raise_for_status().json()
        tasks = tuple(
            Task(task["cell"], task["state"], task["attempt"], task.get("container"), task.get("failure"))
            for task in body["tasks"]
        )
        return Run(body["id"], body["state"], tasks, body.get("failure"), body.get("result"), body)

    def cell_count(self, flow: str) -> int | None:
        """How many cells the plan of a flow has; None when it cannot run."""
        answer = self.http.get(f"/flows/{flow}/plan")
        return None if answer.is_error else len(answer.json()["cells"])

    def cancel(self, run: str) -> httpx.Response:
        """Ask for its end."""
        return self.http.post(f"/runs/{run}/cancel")

    def requests(self, run: str) -> list[dict[str, Json]]:
        """What it asked of people."""
        return cast("list[dict[str, Json]]", self.get(run).raw["requests"])

    def decide(self, run: str, action: str, *, request: str | None = None, **values: Json) -> httpx.Response:
        """Answer what it asks."""
        decision: Json = {"action_id": action, "values": values}
        return self.http.post(f"/runs/{run}/resume", json={"request_id": request, "decision": decision})

    def wait(self, run: str, *, seconds: float = 90.0) -> Run:
        """Wait until it has ended."""
        return self.wait_state(run, ENDED, seconds=seconds)

    def wait_state(self, run: str, states: frozenset[str], *, seconds: float = 60.0) -> Run:
        """Wait until it is in one of these states."""
        deadline = time.monotonic() + seconds
        while True:
            seen = self.get(run)
            if seen.state in states:
                return seen
            if time.monotonic() > deadline or seen.ended:
                message = f"run {run} is {seen.state}, not in {sorted(states)}: {json.dumps(seen.raw)[:4000]}"
                raise TimeoutError(message)
            time.sleep(POLL_SECONDS)

    def wait_task(self, run: str, cell: str, states: frozenset[str], *, seconds: float = 60.0) -> Task:
        """Wait until a cell is in one of these states."""
        deadline = time.monotonic() + seconds
        while True:
            seen = self.get(run)
            task = next((task for task in seen.tasks if task.cell == cell), None)
            if task is not None and task.state in states:
                return task
            if time.monotonic() > deadline or seen.ended:
                message = f"cell {cell} is {task}, not in {sorted(states)}; the run is {seen.state}"
                raise TimeoutError(message)
            time.sleep(POLL_SECONDS)

    def sse(self, run: str, *, after: int | None = None, limit: int | None = None) -> list[RunEvent]:
        """The events after a position, until the stream ends or `limit` of them came."""
        headers = {} if after is None else {"last-event-id": str(after)}
        events: list[RunEvent] = []
        with self.http.stream("GET", f"/runs/{run}/events", headers=headers) as response:
            response.read() if response.is_error else None
            response.raise_for_status()
            for event in parse_sse(response.iter_lines()):
                events.append(event)
                if len(events) == limit:
                    break
        return events

    def websocket(self, run: str, *, after: int | None = None, limit: int | None = None) -> list[RunEvent]:
        """The same by WebSocket."""
        url = self._credentials.url.replace("http", "ws", 1) + f"{PREFIX}/runs/{run}/ws"
        if after is not None:
            url += f"?after={after}"
        events: list[RunEvent] = []
        with connect(url, additional_headers=self._key, open_timeout=20, proxy=None) as socket:
            for message in socket:
                body = json.loads(message)
                inner = body.get("event", body)
                events.append(RunEvent(int(body["seq"]), inner["type"], inner))
                if len(events) == limit:
                    break
        return events


def parse_sse(lines: Iterator[str]) -> Iterator[RunEvent]:
    """Server-Sent Events with a numeric id and JSON data; comments are heartbeats."""
    sequence: int | None = None
    data: list[str] = []
    for line in lines:
        if line.startswith("id:"):
            sequence = int(line.removeprefix("id:"))
        elif line.startswith("data:"):
            data.append(line.removeprefix("data:").removeprefix(" "))
        elif not line and data:
            body = json.loads("\n".join(data))
            if sequence is None:
                message = f"an event without an id: {body}"
                raise ValueError(message)
            yield RunEvent(sequence, body["type"], body)
            sequence, data = None, []
