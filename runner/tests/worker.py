"""A worker of a few lines: one runner process, one task, everything it said."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flowcell_runner import frames
from flowcell_runner.frames import Kind

_FROM_RUNNER = frozenset(kind for kind in Kind if kind >= Kind.READY)
Answer = Callable[[str, dict[str, Any]], Any]


class Refuse(Exception):  # noqa: N818 - an answer, not a fault
    """Raised by an answer function to send an error reply."""

    def __init__(self, kind: str, message: str = "no") -> None:
        super().__init__(message)
        self.kind = kind


@dataclass
class Store:
    """Messages and variables, as the control plane would keep them."""

    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)

    def __call__(self, op: str, args: dict[str, Any]) -> Any:
        """Answer one call."""
        if op == "message.store":
            row = {**args["message"], "id": str(uuid.uuid4())}
            self.messages[row["id"]] = row
            return row
        if op == "message.update":
            changes = args["message"]
            if changes["id"] not in self.messages:
                raise Refuse("not_found")
            self.messages[changes["id"]].update(changes)
            return self.messages[changes["id"]]
        if op == "messages.get":
            rows = [row for row in self.messages.values() if row["session_id"] == args.get("session_id")]
            return {"messages": rows[:: -1 if args["order"] == "DESC" else 1][: args.get("limit")]}
        if op == "messages.delete":
            return {"deleted": 1 if self.messages.pop(args.get("id", ""), None) else 0}
        if op == "variable.get":
            if args["name"] not in self.variables:
                raise Refuse("not_found")
            return {"value": self.variables[args["name"]]}
        raise Refuse("invalid", op)


@dataclass
class Outcome:
    """What one runner process said, in order."""

    ready: dict[str, Any] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    logs: list[dict[str, Any]] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    kinds: list[Kind] = field(default_factory=list)
    result: dict[str, Any] = field(default_factory=dict)
    failure: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None

    @property
    def event_names(self) -> list[str]:
        """Names only."""
        return [event["event"] for event in self.events]

    def text_of(self, stream: str) -> str:
        """Everything printed to one stream."""
        return "".join(log["text"] for log in self.logs if log["stream"] == stream)


class Runner:
    """A started runner process; `run` gives it its task."""

    def __init__(self, command: list[str] | None = None, directory: Path | None = None) -> None:
        self._own_directory = tempfile.TemporaryDirectory(prefix="fc-test-")
        self.directory = directory or Path(self._own_directory.name)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        path = self.directory / "cell.sock"
        self._listener.bind(str(path))
        path.chmod(0o777)
        self._listener.listen(1)
        self._listener.settimeout(180)
        environment = {**os.environ, "FLOWCELL_SOCKET": str(path), "SECRET_OF_THE_HOST": "s3cret"}
        self.process = subprocess.Popen(
            command or [sys.executable, "-P", "-m", "flowcell_runner"],
            stdin=subprocess.PIPE,
            env=environment,
        )

    def run(self, task: dict[str, Any], answer: Answer | None = None, timeout: float = 180) -> Outcome:
        """Give the task and collect everything until the process ends."""
        outcome = Outcome()
        watchdog = threading.Timer(timeout, self.process.kill)
        watchdog.start()
        try:
            connection, _ = self._listener.accept()
            with connection:
                self._converse(connection, task, answer or Store(), outcome)
            outcome.exit_code = self.process.wait(10)
        finally:
            watchdog.cancel()
            self.close()
        return outcome

    def close(self) -> None:
        """End the process, as a dying worker would."""
        assert self.process.stdin
        self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self.process.kill()
        self._listener.close()
        self._own_directory.cleanup()

    @staticmethod
    def _converse(connection: socket.socket, task: dict[str, Any], answer: Answer, outcome: Outcome) -> None:
        while True:
            try:
                frame = frames.read(connection, _FROM_RUNNER)
            except (frames.FrameError, ConnectionResetError):
                return
            if frame is None:
                return
            kind, payload = frame
            outcome.kinds.append(kind)
            if kind is Kind.READY:
                outcome.ready = payload
                connection.sendall(frames.encode(Kind.TASK, task))
            elif kind is Kind.EVENT:
                outcome.events.append(payload)
            elif kind is Kind.LOG:
                outcome.logs.append(payload)
            elif kind is Kind.CALL:
                outcome.calls.append(payload)
                try:
                    reply = {"id": payload["id"], "ok": answer(payload["op"], payload["args"])}
                except Refuse as refusal:
                    reply = {"id": payload["id"], "error": {"kind": refusal.kind, "message": str(refusal)}}
                connection.sendall(frames.encode(Kind.REPLY, reply))
            elif kind is Kind.RESULT:
                outcome.result = payload
            elif kind is Kind.FAILURE:
                outcome.failure = payload


def run_cell(task: dict[str, Any], answer: Answer | None = None, timeout: float = 180) -> Outcome:
    """Run one task in a fresh process."""
    return Runner().run(task, answer, timeout)
