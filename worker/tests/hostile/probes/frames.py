"""The connection to the worker, in the hands of a component.

Each of these has a cell to itself and is judged from outside: by how the attempt ended. In the
control the other end is a naive reader that believes everything it is told; it reports what it
believed.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading
import time

from hostile_kit import mark, probe

_CALL, _READY, _EVENT, _LOG, _RESULT, _FAILURE = 132, 129, 130, 131, 133, 134
#: Both are right for bytes that no frame may have.
_REFUSED = ("protocol_violation", "output_too_large")


def _connection() -> socket.socket:
    """The runner's connection, found among the descriptors as an attacker would."""
    for name in os.listdir("/proc/self/fd"):
        try:
            found = socket.socket(fileno=os.dup(int(name)))
        except (OSError, ValueError):
            continue
        with contextlib.suppress(OSError):
            is_stream = found.family == socket.AF_UNIX and found.type == socket.SOCK_STREAM
            peer = struct.unpack("=iII", found.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
            # Its other end is in no process of this one's; those of event loops are.
            if is_stream and peer != os.getpid() and not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                found.setblocking(True)
                return found
        found.close()
    msg = "no connection to the worker was found"
    raise ValueError(msg)


def _frame(kind: int, body: bytes | dict, *, magic: bytes = b"FC", version: int = 1, length: int | None = None) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return struct.pack(">2sBBI", magic, version, kind, len(data) if length is None else length) + data


def _result(text: str, node: str = "Probe-00001") -> dict:
    nodes = {node: {"outputs": {"output": text}, "result": {}, "valid": True}}
    return {"nodes": nodes, "operations": [], "context": {}, "live": [], "usage": None}


def _send(scene, *frames: bytes, then: float = 30.0) -> None:  # noqa: ANN001
    """Send, and keep quiet until somebody ends this."""
    mark(scene)
    with contextlib.suppress(OSError):
        connection = _connection()
        for frame in frames:
            connection.sendall(frame)
    time.sleep(min(then, scene.wall + 2))


@probe("forged result: the second one wins", mode="alone", ends=("done",))
def second_result(scene) -> str | None:  # noqa: ANN001
    """A second result takes the place of the first."""
    _send(scene, _frame(_RESULT, _result("first")), _frame(_RESULT, _result("finding: the second result won")))


@probe("forged result and failure", mode="alone", ends=("done",))
def failure_after_the_result(scene) -> str | None:  # noqa: ANN001
    """A failure after the result changes the outcome."""
    body = {"kind": "internal", "node": None, "component": None, "message": "finding: it did", "exception": None,
            "package": None, "traceback": None}  # fmt: skip
    _send(scene, _frame(_RESULT, _result("first")), _frame(_FAILURE, body))


@probe("forged blame: what is the platform's fault is tried again", mode="alone", ends=("component", *_REFUSED))
def blames_the_platform(scene) -> str | None:  # noqa: ANN001
    """A failure that a component made itself is taken for the platform's, and tried again."""
    body = {"kind": "internal", "node": None, "component": None, "message": "worker lost", "exception": None,
            "package": None, "traceback": None}  # fmt: skip
    _send(scene, _frame(_FAILURE, body))


@probe("two processes with one connection", mode="alone", ends=("done",))
def two_processes_answer(scene) -> str | None:  # noqa: ANN001
    """A forked copy of the runner sends a result too, in the middle of the other's."""
    mark(scene)
    connection = _connection()
    connection.sendall(_frame(_RESULT, _result("first")))
    if os.fork() == 0:
        for _ in range(20):
            with contextlib.suppress(OSError):
                connection.sendall(_frame(_RESULT, _result("finding: the copy's result won")))
        os._exit(0)
    time.sleep(min(5, scene.wall))


@probe("forged kind: the worker's own frames", mode="alone", ends=_REFUSED)
def workers_frames(scene) -> str | None:  # noqa: ANN001
    """The worker obeys a task or a reply that comes from a cell."""
    _send(scene, _frame(1, {"run_id": "x"}), _frame(2, {"id": 1, "ok": {}}))


@probe("unknown kinds", mode="alone", ends=_REFUSED)
def unknown_kind(scene) -> str | None:  # noqa: ANN001
    """A frame of an unknown kind is skipped instead of ending the task."""
    _send(scene, _frame(200, {}), _frame(_RESULT, _result("finding: a frame of an unknown kind was skipped")))


@probe("another version of the protocol", mode="alone", ends=_REFUSED)
def other_version(scene) -> str | None:  # noqa: ANN001
    """A frame of another version is taken."""
    _send(scene, _frame(_RESULT, _result("finding: version 2 was taken"), version=2))


@probe("garbage, then something valid", mode="alone", ends=_REFUSED)
def garbage(scene) -> str | None:  # noqa: ANN001
    """The reader finds its way back after garbage."""
    _send(scene, b"GET / HTTP/1.1\r\n\r\n" + os.urandom(64), _frame(_RESULT, _result("finding: resynchronised")))


@probe("a length of 4 GiB", mode="alone", ends=_REFUSED)
def oversized_header(scene) -> str | None:  # noqa: ANN001
    """Memory is reserved for a length that is only claimed."""
    _send(scene, _frame(_RESULT, b"", length=0xFFFF_FFFF))


@probe("a length just over the limit", mode="alone", ends=_REFUSED)
def just_too_long(scene) -> str | None:  # noqa: ANN001
    """A frame one byte over the limit is taken."""
    _send(scene, _frame(_RESULT, b"", length=33_554_433))


@probe("half a frame, and silence", mode="alone", ends=("timed_out",))
def half_a_frame_and_silence(scene) -> str | None:  # noqa: ANN001
    """A reader that waits for the rest waits for ever."""
    _send(scene, _frame(_RESULT, b'{"nodes"', length=1000))


@probe("half a frame, and the end", mode="alone", ends=("exited_early", *_REFUSED))
def half_a_frame_and_the_end(scene) -> str | None:  # noqa: ANN001
    """Half a result counts as one."""
    mark(scene)
    _connection().sendall(_frame(_RESULT, json.dumps(_result("finding: half a frame counted")).encode()[:-40], length=1000))
    os._exit(0)


@probe("one byte at a time: slow readers", mode="alone", ends=("timed_out",))
def one_byte_at_a_time(scene) -> str | None:  # noqa: ANN001
    """A frame that comes one byte at a time goes on past the deadline."""
    mark(scene)
    connection = _connection()
    until = time.monotonic() + scene.wall + 2
    for byte in _frame(_LOG, {"stream": "stdout", "text": "x" * 4000}):
        if time.monotonic() > until:
            break
        with contextlib.suppress(OSError):
            connection.send(bytes([byte]))
        time.sleep(0.01)


@probe("ready a second time", mode="alone", ends=_REFUSED)
def ready_again(scene) -> str | None:  # noqa: ANN001
    """A runner that is ready twice is taken for a fresh one."""
    body = {"runner": "0", "lfx": "0", "python": "3", "import_ms": 0}
    _send(scene, _frame(_READY, body), _frame(_RESULT, _result("finding: ready twice")))


@probe("JSON that is none", mode="alone", ends=_REFUSED)
def not_json(scene) -> str | None:  # noqa: ANN001
    """A payload that is no JSON is taken."""
    _send(scene, _frame(_EVENT, b"{'event': 1"), _frame(_RESULT, _result("finding: went on after bad JSON")))


@probe("NaN, which JSON does not have", mode="alone", ends=_REFUSED)
def not_a_number(scene) -> str | None:  # noqa: ANN001
    """A payload with NaN is taken."""
    _send(scene, _frame(_EVENT, b'{"event": "token", "data": {"x": NaN}}'), _frame(_RESULT, _result("finding: NaN was taken")))


@probe("nesting: a parser that recurses", mode="alone", ends=_REFUSED)
def nested_json(scene) -> str | None:  # noqa: ANN001
    """A deeply nested payload is taken, or ends the reader."""
    deep = b'{"event": "token", "data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    _send(scene, _frame(_EVENT, deep), _frame(_RESULT, _result("finding: 100000 levels were taken")))


@probe("bytes that are not UTF-8", mode="alone", ends=_REFUSED)
def not_utf8(scene) -> str | None:  # noqa: ANN001
    """A payload that is not UTF-8 is taken."""
    _send(scene, _frame(_LOG, b'{"stream": "stdout", "text": "\xff\xfe"}'), _frame(_RESULT, _result("finding: not UTF-8")))


@probe("a log line larger than a log line may be", mode="alone", ends=_REFUSED)
def huge_log_line(scene) -> str | None:  # noqa: ANN001
    """A log frame over 64 KiB is taken."""
    _send(scene, _frame(_LOG, {"stream": "stdout", "text": "x" * 100_000}), _frame(_RESULT, _result("finding: it was taken")))


@probe("forged questions: the same id twice, numbers that are none", mode="alone", ends=("done", *_REFUSED))
def forged_questions(scene) -> str | None:  # noqa: ANN001
    """A question is answered that was not asked properly."""
    mark(scene)
    connection = _connection()
    for body in ({"id": 1, "op": "variable.get", "args": {"name": "OTHERS_SECRET"}}, {"id": 1, "op": "message.store", "args": {}}):
        connection.sendall(_frame(_CALL, body))
    time.sleep(1)
    connection.sendall(_frame(_RESULT, _result("asked")))
    time.sleep(min(3, scene.wall))


@probe("a negative id, an operation of the scheduler", mode="alone", ends=_REFUSED)
def malformed_question(scene) -> str | None:  # noqa: ANN001
    """A question without a proper id is taken."""
    _send(scene, _frame(_CALL, {"id": -1, "op": "claim", "args": {}}), _frame(_RESULT, _result("finding: id -1 was taken")))


@probe("a flood of frames", mode="alone", ends=("too_many_frames",))
def flood_of_frames(scene) -> str | None:  # noqa: ANN001
    """More frames than allowed are taken."""
    mark(scene)
    connection, one = _connection(), _frame(_EVENT, {"event": "token", "data": {"chunk": "x"}})
    for _ in range(scene.limits["frames"] // 100 + 20):
        connection.sendall(one * 100)
    connection.sendall(_frame(_RESULT, _result("finding: all frames were taken")))
    time.sleep(min(3, scene.wall))


@probe("a flood of questions that nobody waits for", mode="alone", ends=("too_many_frames", "timed_out", *_REFUSED))
def flood_of_questions(scene) -> str | None:  # noqa: ANN001
    """More questions than allowed are taken."""
    mark(scene)
    connection = _connection()
    # Answers are read and dropped, or both sides would wait for each other.
    threading.Thread(target=lambda: [None for _ in iter(lambda: connection.recv(65536), b"")], daemon=True).start()
    with contextlib.suppress(OSError):
        for number in range(scene.limits["frames"] + 1000):
            connection.sendall(_frame(_CALL, {"id": number, "op": "messages.get", "args": {}}))
    time.sleep(scene.wall + 2)


@probe("a flood of bytes in events", mode="alone", ends=("output_too_large",))
def flood_of_bytes(scene) -> str | None:  # noqa: ANN001
    """More bytes than allowed are taken."""
    mark(scene)
    connection, one = _connection(), _frame(_EVENT, {"event": "token", "data": {"chunk": "x" * 100_000}})
    for _ in range(scene.limits["output_bytes"] // 100_000 + 10):
        connection.sendall(one)
    connection.sendall(_frame(_RESULT, _result("finding: all bytes were taken")))
    time.sleep(min(3, scene.wall))


@probe("frames after the result", mode="alone", ends=("done",))
def talks_after_the_result(scene) -> str | None:  # noqa: ANN001
    """Events after the result are taken as the cell's, or keep it alive."""
    mark(scene)
    connection = _connection()
    connection.sendall(_frame(_RESULT, _result("first")))
    until = time.monotonic() + scene.wall + 2
    with contextlib.suppress(OSError):
        while time.monotonic() < until:
            connection.sendall(_frame(_EVENT, {"event": "token", "data": {"chunk": "finding: after the result"}}))
            time.sleep(0.01)


@probe("the worker's buffer is full because the cell does not read", mode="alone", ends=("timed_out", "too_many_frames"))
def never_reads_its_answers(scene) -> str | None:  # noqa: ANN001
    """Answers that nobody reads pile up in the worker."""
    mark(scene)
    connection = _connection()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    until = time.monotonic() + scene.wall + 2
    # The runner's own reader would read them: it is stopped by taking its descriptor away.
    spare = socket.socketpair()[0]
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError, ValueError):
            number = int(name)
            if number != connection.fileno() and os.path.sameopenfile(number, connection.fileno()):
                os.dup2(spare.fileno(), number)
    number = 0
    with contextlib.suppress(OSError):
        while time.monotonic() < until:
            number += 1
            connection.sendall(_frame(_CALL, {"id": number, "op": "echo", "args": {"text": "x" * 4000}}))
    time.sleep(max(0.0, until - time.monotonic()))


@probe("a second connection to the worker's socket", mode="alone", ends=("done",))
def connects_again(scene) -> str | None:  # noqa: ANN001
    """The worker's socket takes a second connection."""
    mark(scene)
    for path in ("/run/flowcell/cell.sock", os.environ.get("FLOWCELL_SOCKET", "/run/flowcell/cell.sock")):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as second:
            second.settimeout(2)
            second.connect(path)
            second.sendall(_frame(_READY, {"runner": "0", "lfx": "0", "python": "3", "import_ms": 0}))
            return "finding: a second connection was taken"
    return None


@probe("SCM_RIGHTS: descriptors sent to the worker until it has no more", mode="alone", ends=("done",))
def sends_descriptors(scene) -> str | None:  # noqa: ANN001
    """Descriptors that are sent along with a frame pile up in the worker."""
    mark(scene)
    connection, held = _connection(), [os.open("/dev/null", os.O_RDONLY) for _ in range(100)]
    frame = _frame(_EVENT, {"event": "token", "data": {"chunk": "x"}})
    with contextlib.suppress(OSError):
        for _ in range(50):
            rights = struct.pack(f"={len(held)}i", *held)
            connection.sendmsg([frame], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    connection.sendall(_frame(_RESULT, _result("sent")))
    time.sleep(min(3, scene.wall))
