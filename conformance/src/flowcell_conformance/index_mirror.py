"""A package index on loopback that passes on the machine's own: a build may reach it by one rule."""

from __future__ import annotations

import os
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self
from urllib.parse import urljoin, urlsplit

import httpx

if TYPE_CHECKING:
    from types import TracebackType

SECONDS = 60.0
_LINK = re.compile(r'href="([^"#]+)')
_FILES = "/files/"


def machine_index() -> str:
    """The index that uv and pip use here."""
    found = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("PIP_INDEX_URL")
    return (found or "https://pypi.org/simple").rstrip("/")


class IndexMirror:
    """Runs while it is entered; `url` is its simple API, `asked` what was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        mirror = self
        upstream = httpx.Client(timeout=SECONDS, follow_redirects=True, headers={"accept": "text/html, */*"})

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                mirror.asked.append(self.path)
                url = _upstream(self.path)
                found = upstream.get(url)
                content = found.content
                kind = found.headers.get("content-type", "application/octet-stream")
                if self.path.startswith("/simple/"):
                    content = _with_local_links(url, found.text).encode()
                self.send_response(found.status_code)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._upstream = upstream
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """The simple API."""
        return f"http://127.0.0.1:{self._server.server_port}/simple"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._upstream.close()


def _upstream(path: str) -> str:
    if path.startswith(_FILES):
        scheme, rest = path.removeprefix(_FILES).split("/", 1)
        return f"{scheme}://{rest}"
    return machine_index() + path.removeprefix("/simple")


def _with_local_links(page: str, text: str) -> str:
    return _LINK.sub(lambda link: f'href="{_local(page, link.group(1))}', text)


def _local(page: str, link: str) -> str:
    place = urlsplit(urljoin(page, link))
    return f"{_FILES}{place.scheme}/{place.netloc}{place.path}"
