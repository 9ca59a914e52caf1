"""A child process in its own session, with a log file and a wait that shows progress."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

POLL_SECONDS = 0.1
PROGRESS_SECONDS = 5.0
LOG_TAIL_LINES = 40


class ProcessFailedError(RuntimeError):
    """The child ended, or did not become ready in time; carries the end of its log."""


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Poll until `condition` holds; raise `TimeoutError` that names what was waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            message = f"{what} did not happen within {seconds:g} s"
            raise TimeoutError(message)
        time.sleep(POLL_SECONDS)


class Process:
    """Starts a program; `stop` ends it and every process of its session."""

    def __init__(self, argv: Sequence[str], *, environment: Mapping[str, str], log: Path, name: str) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as sink:
            self._child = subprocess.Popen(  # noqa: S603
                list(argv),
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Id of the child, which is also the id of its session and process group."""
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._child.poll()

    def log_tail(self) -> str:
        """The last lines of the log, for error messages."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])

    def wait_ready(self, ready: Callable[[], bool], *, seconds: float) -> None:
        """Wait until `ready` holds, telling stderr every few seconds that it still waits."""
        started = time.monotonic()
        told = started
        while not ready():
            now = time.monotonic()
            if self.exit_code is not None:
                message = f"{self.name} ended with code {self.exit_code}\n{self.log_tail()}"
                raise ProcessFailedError(message)
            if now - started > seconds:
                message = f"{self.name} was not ready after {seconds:g} s\n{self.log_tail()}"
                raise ProcessFailedError(message)
            if now - told > PROGRESS_SECONDS:
                told = now
                print(f"waiting for {self.name} ({now - started:.0f} s)", file=sys.stderr)
            time.sleep(POLL_SECONDS)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the child alone; nothing happens when it has ended."""
        if self.exit_code is None:
            os.kill(self.pid, number)

    def stop(self, *, grace_seconds: float = 15.0) -> int:
        """SIGTERM, then SIGKILL to what is left of the session; returns the exit code."""
        self.signal(signal.SIGTERM)
        try:
            self._child.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        return self._child.wait()

    def kill(self) -> int:
        """SIGKILL to the child alone, as a crash would."""
        self.signal(signal.SIGKILL)
        return self._child.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
