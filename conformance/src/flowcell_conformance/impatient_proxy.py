"""A proxy that ends long answers in good order, as some do after a time: whoever follows a stream
through it has to know that the end of an answer is not the end of what it tells of.
"""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self

import httpx

if TYPE_CHECKING:
    from types import TracebackType

ANSWER_SECONDS = 30.0


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Read something."""
        self._forward(None)

    def do_POST(self) -> None:
        """Send something."""
        self._forward(self.rfile.read(int(self.headers.get("content-length") or 0)))

    def _forward(self, body: bytes | None) -> None:
        hop = ("host", "connection", "content-length", "accept-encoding")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in hop}
        url = self.server.upstream + self.path
        with httpx.stream(
            self.command, url, headers=headers, content=body, timeout=ANSWER_SECONDS, trust_env=False
        ) as answer:
            self.send_response(answer.status_code)
            self.send_header("content-type", answer.headers.get("content-type", ""))
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            if answer.headers.get("content-type", "").startswith("text/event-stream"):
                self._some_events(answer)
            else:
                self._chunk(answer.read())
        self._chunk(b"")

    def _some_events(self, answer: httpx.Response) -> None:
        """Pass some events on, each whole, and no more."""
        left = self.server.events
        for line in answer.iter_lines():
            self._chunk(f"{line}\n".encode())
            left -= line == ""
            if left == 0:
                self.server.ended.append(self.path)
                return

    def _chunk(self, content: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, upstream: str, events: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.events = events
        self.ended: list[str] = []


class ImpatientProxy:
    """Forwards to `upstream`; an answer that is a stream ends after so many events."""

    def __init__(self, upstream: str, *, events: int) -> None:
        self._server = _Server(upstream, events)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def ended(self) -> list[str]:
        """The paths of the answers that it ended."""
        return self._server.ended

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
