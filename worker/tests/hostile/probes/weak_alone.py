"""The control of the probes that are judged from outside.

Each runs in a process namespace of its own, with a supervisor as its first process, a bystander,
and a reader of frames that believes everything. Whatever the barriers of a real cell would have
prevented is a finding: still alive after its time or after its result, gone without a word,
others ended, more output or longer words than allowed, frames believed.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Any

from hostile_kit import Probe, Scene, call, mark, name_of, pids

if TYPE_CHECKING:
    from collections.abc import Iterator

_AT_ONCE = 8
#: After its time, a cell would be gone.
_GRACE = 0.7
_FRAME_MAX = 33_554_432


def run(entries: list[Probe], scene: Scene) -> Iterator[dict[str, Any]]:
    """Run them, several at a time."""
    waiting, running = list(entries), {}
    while waiting or running:
        while waiting and len(running) < _AT_ONCE:
            entry = waiting.pop(0)
            read_end, write_end = os.pipe()
            child = os.fork()
            if child == 0:
                os.write(write_end, json.dumps(_observed(entry, scene)).encode())
                os._exit(0)
            os.close(write_end)
            running[read_end] = child
        for ready in select.select(list(running), [], [], 30)[0]:
            text = os.read(ready, 1 << 16)
            os.waitpid(running.pop(ready), 0)
            os.close(ready)
            yield json.loads(text)


def harmless(scene: Scene) -> dict[str, Any]:
    """A component that does nothing must give no finding, or the control would find everything."""
    entry = Probe("control.harmless", "", "", lambda: None, None, "alone", (), "weak", "", False, 8.0)
    outcome = _observe(entry, scene)
    return {**outcome, "id": "control.harmless"}


def _observed(entry: Probe, scene: Scene) -> dict[str, Any]:
    try:
        return _observe(entry, scene)
    except Exception as error:  # noqa: BLE001 - a mistake here must not end the driver's other children
        return {"id": entry.id, "finding": None, "why": "", "error": f"the control failed: {error!r}", "ms": 0}


def _observe(entry: Probe, scene: Scene) -> dict[str, Any]:
    scene = Scene(**{**vars(scene), "mark": f"hc{abs(hash(entry.id)) % 10**8}"})
    said, words = os.pipe(), os.pipe()
    call("unshare", 0x2000_0000)
    first = os.fork()
    if first == 0:
        _supervise(entry, scene, said[1], words[1])
    for descriptor in (said[1], words[1]):
        os.close(descriptor)
    seen = _follow(said[0], words[0], scene)
    findings = [*_judge(seen, scene)]
    if _has_ended(first):
        findings.append("the first process was ended")
    else:
        left = _left(scene.mark[:15])
        if left and seen["returned"]:
            findings.append(f"{len(left)} of its processes outlived it")
        elif left and not seen["ended"]:
            findings.append("it stayed beyond its time")
        os.kill(first, signal.SIGKILL)
        os.waitpid(first, 0)
    why = "; ".join(report["refused"] for report in seen["reports"] if report.get("refused"))
    return {"id": entry.id, "finding": "; ".join(findings)[:300] or None, "why": why, "error": None, "ms": 0}


def _left(name: str) -> list[int]:
    # Of processes that replace themselves every few milliseconds, one look may miss all.
    for _ in range(20):
        if left := [pid for pid in pids() if name_of(pid) == name]:
            return left
    return []


def _has_ended(child: int) -> bool:
    # The end of a first process takes its namespace with it, which takes a moment.
    for _ in range(10):
        if os.waitpid(child, os.WNOHANG)[0]:
            return True
        time.sleep(0.02)
    return False


def _follow(said: int, words: int, scene: Scene) -> dict[str, Any]:
    """Listen until everything has been said, or its time is over."""
    seen: dict[str, Any] = {"reports": [], "output": 0, "ended": False, "returned": False}
    text, until, open_ends = b"", time.monotonic() + scene.wall + 1 + _GRACE, [said, words]
    while open_ends and (left := until - time.monotonic()) > 0:
        for ready in select.select(open_ends, [], [], left)[0]:
            chunk = os.read(ready, 1 << 16)
            if not chunk:
                open_ends.remove(ready)
            elif ready == words:
                seen["output"] += len(chunk)
            else:
                text += chunk
        if b'"probe ended"' in text and b'"reader"' in text and open_ends != [words]:
            until = min(until, time.monotonic() + _GRACE)
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            seen["reports"].append(json.loads(line))
    seen["ended"] = any(report.get("what") == "probe ended" for report in seen["reports"])
    seen["returned"] = any(report.get("what") == "returned" for report in seen["reports"])
    return seen


def _judge(seen: dict[str, Any], scene: Scene) -> Iterator[str]:
    for report in seen["reports"]:
        what = report["what"]
        if what == "returned" and report["text"]:
            yield report["text"][:80]
        elif what == "raised" and report["length"] > scene.limits["output_bytes"]:
            yield f"an error of {report['length']} bytes was taken"
        elif what == "reader":
            yield from report["believed"]
        elif what == "bystander":
            yield "another process was ended"
        elif what == "probe ended" and not any(other["what"] in ("returned", "raised") for other in seen["reports"]):
            yield f"it was gone without a word ({report['code']})"
    if seen["output"] > scene.limits["log_bytes"]:
        yield f"{seen['output']} bytes of output were kept"


def _supervise(entry: Probe, scene: Scene, said: int, words: int) -> None:
    """The first process: starts the others and tells when one has ended."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: os._exit(1))
    # The reader makes the address, so that it is the reader's process that owns the other end.
    address = os.environ["FLOWCELL_SOCKET"] = f"/tmp/hc-reader-{entry.id}.sock"
    ready = os.pipe()
    _start(lambda: _read_and_believe(address, scene, said, ready[1]))
    os.read(ready[0], 1)
    bystander = _start(signal.pause)
    probe = _start(lambda: _be_the_probe(entry, scene, address, said, words))
    os.close(words)
    while True:
        try:
            child, state = os.wait()
        except ChildProcessError:
            signal.pause()
            continue
        code = os.waitstatus_to_exitcode(state)
        if child == probe:
            _tell(said, what="probe ended", code=code)
        elif child == bystander:
            _tell(said, what="bystander", code=code)


def _start(run) -> int:  # noqa: ANN001
    child = os.fork()
    if child == 0:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        run()
        os._exit(0)
    return child


def _tell(said: int, **report: Any) -> None:
    with contextlib.suppress(OSError):
        os.write(said, json.dumps(report).encode() + b"\n")


def _be_the_probe(entry: Probe, scene: Scene, address: str, said: int, words: int) -> None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(address)
    # Kept away from closing everything: what a reader hears last is the point.
    os.dup2(words, 1)
    os.dup2(words, 2)
    os.close(words)
    mark(scene)
    try:
        text = (entry.run(scene) if entry.run.__code__.co_argcount else entry.run()) or ""
        _tell(said, what="returned", text=text[:200])
    except OSError as error:
        _tell(said, what="returned", text="", refused=str(error))
    except BaseException as error:  # noqa: BLE001 - its size is what counts
        _tell(said, what="raised", length=len(str(error)))
    connection.close()
    # A real runner would end the process here; the weak one waits for its threads.
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001


# ---- the reader that believes everything ----


def _read_and_believe(address: str, scene: Scene, said: int, ready: int) -> None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(address)
    listener.listen()
    os.write(ready, b"x")
    connection, _ = listener.accept()
    believed = _Believer(scene)
    with contextlib.suppress(OSError):
        believed.read(connection)
    listener.settimeout(0.05)
    with contextlib.suppress(OSError):
        listener.accept()
        believed.said.append("a second connection was taken")
    _tell(said, what="reader", believed=believed.said)


class _Believer:
    """Takes frames as they come and notes what nobody should have taken."""

    def __init__(self, scene: Scene) -> None:
        self.said: list[str] = []
        self._limits = scene.limits
        self._until = time.monotonic() + scene.wall + 0.5
        self._frames = self._bytes = self._finals = 0
        self._ids: set[Any] = set()
        self._descriptors = 0

    def read(self, connection: socket.socket) -> None:
        """Read to the end, or until its patience ends."""
        while header := self._exactly(connection, 8):
            magic, version, kind, length = struct.unpack(">2sBBI", header)
            if magic != b"FC" or version != 1:
                self._note(f"took {header!r} for a frame")
            if length > _FRAME_MAX:
                self._note(f"set {length} bytes aside on the cell's word")
            body = self._exactly(connection, min(length, 1 << 26))
            self._take(kind, body or b"")
            if kind == 132:
                with contextlib.suppress(OSError):
                    connection.settimeout(0.01)
                    connection.sendall(struct.pack(">2sBBI", b"FC", 1, 2, 2) + b"{}")

    def _note(self, text: str) -> None:
        if text not in self.said and len(self.said) < 4:
            self.said.append(text)

    def _exactly(self, connection: socket.socket, count: int) -> bytes:
        data = b""
        while len(data) < count:
            left = self._until - time.monotonic()
            if left <= 0:
                if data:
                    self._note(f"waits for ever for {count - len(data)} bytes")
                return b""
            connection.settimeout(left)
            try:
                piece, extra, _, _ = connection.recvmsg(min(count - len(data), 1 << 20), 4096)
            except TimeoutError:
                continue
            self._descriptors += sum(len(data) // 4 for _, _, data in extra)
            if self._descriptors > 100:
                self._note("more than 100 descriptors were put into it")
            if not piece:
                if data:
                    self._note(f"took half a frame ({len(data)} of {count} bytes) for a whole one")
                return b""
            data += piece
        return data

    def _take(self, kind: int, body: bytes) -> None:
        self._frames += 1
        self._bytes += len(body)
        if kind not in (130, 131, 132, 133, 134):
            self._note(f"obeyed a frame of kind {kind}")
        if self._finals:
            self._note("went on after the result")
        self._finals += kind in (133, 134)
        try:
            payload = json.loads(body, parse_constant=self._constant)
        except (ValueError, RecursionError) as error:
            self._note(f"went on after a payload it could not read ({type(error).__name__})")
            return
        if kind == 132:
            number = payload.get("id")
            if number in self._ids or not isinstance(number, int) or number < 0:
                self._note(f"answered question {number}, which was no question")
            self._ids.add(number)
        if kind == 131 and len(payload.get("text", "")) > 65536:
            self._note("kept a log line of more than 64 KiB")
        if self._frames > self._limits["frames"]:
            self._note(f"took more than {self._limits['frames']} frames")
        if self._bytes > self._limits["output_bytes"]:
            self._note(f"took more than {self._limits['output_bytes']} bytes")

    def _constant(self, name: str) -> None:
        self._note(f"took {name} for a number")
