"""Standard output and error of a component, as log frames.

File descriptors 1 and 2 become pipes, so that C libraries and child processes
are caught as well. Past the limit they are pointed at /dev/null, which costs the
component nothing however much it prints; what still arrives through descriptors
that children inherited is read and thrown away, so nobody ever blocks.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import sys
import threading
from typing import TYPE_CHECKING, TextIO

from flowcell_runner.frames import Kind
from flowcell_runner.link import LinkClosedError

if TYPE_CHECKING:
    from flowcell_runner.link import Link

_CHUNK_BYTES = 1 << 16
#: How long the end of a cell waits for output that is still in the pipes.
_DRAIN_SECONDS = 2.0


class Capture:
    """Takes over both descriptors from `start` to `stop`."""

    def __init__(self, link: Link, bytes_max: int, lines_max: int | None = None) -> None:
        self._link = link
        self._bytes_max = bytes_max
        self._lines_max = lines_max
        self._bytes_seen = 0
        self._lines_seen = 0
        self._full = False
        self._lock = threading.Lock()
        self._null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Point both descriptors at pipes and read those in threads."""
        _flush()
        for descriptor, name in ((1, "stdout"), (2, "stderr")):
            read_end, write_end = os.pipe2(os.O_CLOEXEC)
            os.dup2(write_end, descriptor)
            os.close(write_end)
            thread = threading.Thread(target=self._pump, args=(read_end, name), name=f"flowcell-{name}", daemon=True)
            thread.start()
            self._threads.append(thread)
        # Lines should arrive when they are printed, not when the buffer is full. New objects,
        # because the old ones remember what kind of file they were opened on.
        sys.stdout, sys.stderr = _text(1), _text(2)
        vars(sys).update(__stdout__=sys.stdout, __stderr__=sys.stderr)

    def stop(self) -> None:
        """Send what is left and let go; after this no log frame follows."""
        _flush()
        self._silence()
        for thread in self._threads:
            thread.join(_DRAIN_SECONDS)
        with self._lock:
            self._full = True

    def _silence(self) -> None:
        for descriptor in (1, 2):
            os.dup2(self._null, descriptor)

    def _pump(self, read_end: int, name: str) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        with contextlib.suppress(LinkClosedError), os.fdopen(read_end, "rb", buffering=0) as pipe:
            while chunk := pipe.read(_CHUNK_BYTES):
                self._forward(name, decoder, chunk)
            self._forward(name, decoder, b"", final=True)

    def _forward(self, name: str, decoder: codecs.IncrementalDecoder, chunk: bytes, *, final: bool = False) -> None:
        # The lock also orders the two streams against the marker and against `stop`.
        with self._lock:
            if self._full:
                return
            room, limit = self._room(chunk)
            self._bytes_seen += len(chunk)
            self._lines_seen += chunk.count(b"\n")
            if text := decoder.decode(chunk[:room], final or len(chunk) > room):
                self._link.send(Kind.LOG, {"stream": name, "text": text})
            if len(chunk) > room:
                self._full = True
                self._silence()
                self._link.send(Kind.LOG, {"stream": name, "text": f"\n[{limit} reached, the rest is dropped]\n"})

    def _room(self, chunk: bytes) -> tuple[int, str]:
        """Return how many bytes are kept of the chunk, and the limit that says so."""
        room, limit = self._bytes_max - self._bytes_seen, f"log_bytes_max of {self._bytes_max}"
        if self._lines_max is not None:
            by_lines = _end_of_line(chunk, self._lines_max - self._lines_seen)
            if by_lines < min(room, len(chunk)):
                return by_lines, f"log_lines_max of {self._lines_max}"
        return room, limit


def _end_of_line(chunk: bytes, number: int) -> int:
    """Return where so many lines end in the chunk."""
    end = 0
    for _ in range(number):
        end = chunk.find(b"\n", end) + 1
        if end == 0:
            return len(chunk)
    return end


def _text(descriptor: int) -> TextIO:
    return open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
