"""The connection to the worker: frames out from any thread, questions and answers.

Writes are whole frames under one lock, straight to the socket: the kernel's
buffer is the bounded queue, and a worker that does not keep up blocks the
component that talks too much, which is the back-pressure wanted here. Reads have
a thread of their own, because components may block every event loop there is
(lfx starts loops in threads and waits for them) and an answer must still arrive.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
from concurrent.futures import Future
from typing import Any

from flowcell_runner import frames
from flowcell_runner.frames import FrameError, Kind

#: Enough for a burst of tokens, small enough that a stuck worker is noticed.
SEND_BUFFER_BYTES = 1 << 20
#: Questions waiting for an answer; a component that asks without waiting is stopped here.
CALLS_OUTSTANDING_MAX = 256

#: A worker that has read the final frame lets go at once.
LINGER_S_MAX = 5.0

_TASK_ONLY = frozenset({Kind.TASK})
_REPLY_ONLY = frozenset({Kind.REPLY})


class LinkClosedError(Exception):
    """The worker is gone; there is nobody to report to."""


class CallError(Exception):
    """The worker refused or could not answer a question."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Link:
    """One connection, for one task."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._write_lock = threading.Lock()
        self._state_lock = threading.Lock()
        self._ids = itertools.count(1)
        self._waiting: dict[int, Future[Any]] = {}
        self._slots = threading.BoundedSemaphore(CALLS_OUTSTANDING_MAX)
        self._closed = False
        self._reader: threading.Thread | None = None

    @classmethod
    def connect(cls, path: str) -> Link:
        """Connect to the worker's socket."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        connection.connect(path)
        return cls(connection)

    def receive_task(self) -> dict[str, Any] | None:
        """Wait for the one task; None when the worker closed instead of sending one."""
        frame = frames.read(self._socket, _TASK_ONLY)
        if frame is None:
            return None
        self._reader = threading.Thread(target=self._read_replies, name="flowcell-replies", daemon=True)
        self._reader.start()
        return frame[1]

    def send(self, kind: Kind, payload: dict[str, Any]) -> int:
        """Send one frame and return its size; blocks while the worker does not read."""
        data = frames.encode(kind, payload)
        with self._write_lock:
            try:
                self._socket.sendall(data)
            except OSError as error:
                raise LinkClosedError(str(error)) from error
        return len(data)

    async def call(self, op: str, args: dict[str, Any]) -> Any:
        """Ask the worker from any event loop; raises `CallError` with its answer if that is an error."""
        return await asyncio.wrap_future(self._ask(op, args))

    def call_blocking(self, op: str, args: dict[str, Any]) -> Any:
        """Ask the worker from a plain thread."""
        return self._ask(op, args).result()

    def finish(self) -> None:
        """Close after the final frame, so that the worker sees it and then the end.

        Then wait until the worker has closed too: what the kernel has counted for this
        cell can be read as long as a process is in it.
        """
        with self._write_lock:
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:
                return
        if self._reader is not None:
            self._reader.join(LINGER_S_MAX)

    def _ask(self, op: str, args: dict[str, Any]) -> Future[Any]:
        if not self._slots.acquire(blocking=False):
            raise CallError("invalid", f"more than {CALLS_OUTSTANDING_MAX} questions at once")
        answer: Future[Any] = Future()
        answer.add_done_callback(lambda _: self._slots.release())
        with self._state_lock:
            if self._closed:
                answer.set_exception(LinkClosedError("the worker closed the connection"))
                return answer
            number = next(self._ids)
            self._waiting[number] = answer
        try:
            self.send(Kind.CALL, {"id": number, "op": op, "args": args})
        except BaseException as error:  # noqa: BLE001 - whatever it is, the waiter must hear of it
            with self._state_lock:
                self._waiting.pop(number, None)
            _settle(answer, error=error)
        return answer

    def _read_replies(self) -> None:
        reason: BaseException = LinkClosedError("the worker closed the connection")
        try:
            while (frame := frames.read(self._socket, _REPLY_ONLY)) is not None:
                self._settle_reply(frame[1])
        except (FrameError, OSError) as error:
            reason = error
        with self._state_lock:
            self._closed = True
            waiting, self._waiting = self._waiting, {}
        for answer in waiting.values():
            _settle(answer, error=reason)

    def _settle_reply(self, reply: dict[str, Any]) -> None:
        number = reply.get("id")
        with self._state_lock:
            answer = self._waiting.pop(number, None) if isinstance(number, int) else None
        if answer is None:
            msg = f"a reply to no question of ours: {number!r}"
            raise FrameError(msg)
        error = reply.get("error")
        if isinstance(error, dict):
            _settle(answer, error=CallError(str(error.get("kind")), str(error.get("message"))))
        else:
            _settle(answer, value=reply.get("ok"))


def _settle(answer: Future[Any], value: Any = None, error: BaseException | None = None) -> None:
    # A cancelled asker (its component was torn down) is not interested any more.
    if not answer.set_running_or_notify_cancel():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(value)
