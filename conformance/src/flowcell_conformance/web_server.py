"""The scripted web: pages, a search engine, feeds and APIs that components ask, over HTTP and TLS.

It stands for every address that a flow's components reach but the model; `substitutes.py` says
which component is pointed at which part of it.
"""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qsl, urlsplit

from . import mcp_server
from .model_server import ADDRESS
from .web_pages import Page, page_of

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from .normalise import Json

CERTIFICATE_DAYS = "2"


class _Handler(BaseHTTPRequestHandler):
    """Answers from `web_pages`, and records what was asked."""

    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Read something."""
        self._answer("GET", b"")

    def do_POST(self) -> None:
        """Send something."""
        self._answer("POST", self.rfile.read(int(self.headers.get("content-length") or 0)))

    def _answer(self, method: str, body: bytes) -> None:
        asked = urlsplit(self.path)
        query = dict(parse_qsl(asked.query))
        self.server.record(method, self.path, body)
        if asked.path == mcp_server.PATH:
            self._send(_mcp(method, body))
            return
        page = page_of(self.server.url, asked.path, query, self.headers.get("x-word", ""))
        self._send(page)

    def _send(self, page: Page) -> None:
        content = page.text.encode()
        self.send_response(page.status)
        self.send_header("content-type", page.content_type)
        self.send_header("content-length", str(len(content)))
        if page.location:
            self.send_header("location", page.location)
        self.end_headers()
        self.wfile.write(content)

    def date_time_string(self, timestamp: float | None = None) -> str:  # noqa: ARG002
        """A date that no two answers differ in."""
        return "Fri, 02 Jan 2026 03:04:05 GMT"

    def version_string(self) -> str:
        """A name without Python's version."""
        return "conformance"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing: the record says what was asked."""


def _mcp(method: str, body: bytes) -> Page:
    """The MCP server's answer. It has no stream of its own to read."""
    status, text = mcp_server.reply(body) if method == "POST" else (405, "")
    return Page(text, content_type="application/json", status=status)


class _Server(ThreadingHTTPServer):
    """One listener, plain or TLS."""

    daemon_threads = True

    def __init__(self, scheme: str, context: ssl.SSLContext | None = None) -> None:
        super().__init__((ADDRESS, 0), _Handler)
        self.url = f"{scheme}://{ADDRESS}:{self.server_port}"
        self.requests: list[dict[str, Json]] = []
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)

    def record(self, method: str, path: str, body: bytes) -> None:
        """Remember a request."""
        self.requests.append({"method": method, "path": path, "body": body.decode(errors="replace")})


class WebServer:
    """Both listeners, running until `stop`."""

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.authority, context = _certificates(home)
        self._plain, self._tls = _Server("http"), _Server("https", context)
        for server in (self._plain, self._tls):
            threading.Thread(target=server.serve_forever, daemon=True).start()
        self.url, self.tls_url = self._plain.url, self._tls.url

    @property
    def hosts_and_ports(self) -> list[tuple[str, int]]:
        """What has to be reachable."""
        return [(ADDRESS, server.server_port) for server in (self._plain, self._tls)]

    def forget(self) -> None:
        """Clear the record."""
        for server in (self._plain, self._tls):
            server.requests.clear()

    def recorded(self) -> list[Json]:
        """The requests since the record was cleared, sorted: components ask from threads."""
        asked = [*self._plain.requests, *self._tls.requests]
        return sorted(asked, key=json.dumps)

    def stop(self) -> None:
        """End both listeners."""
        for server in (self._plain, self._tls):
            server.shutdown()
            server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _certificates(home: Path) -> tuple[str, ssl.SSLContext]:
    """A certificate authority of this run's own, and a server context that it vouches for."""
    authority, authority_key = home / "authority.pem", home / "authority.key"
    request, key, certificate = home / "server.csr", home / "server.key", home / "server.pem"
    extensions = home / "extensions"
    extensions.write_text(f"subjectAltName=IP:{ADDRESS}\nbasicConstraints=CA:FALSE\n")
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    _openssl(
        "req", "-x509", *new_key, "-days", CERTIFICATE_DAYS, "-subj", "/CN=conformance authority",
        "-addext", "keyUsage=critical,keyCertSign", "-keyout", str(authority_key), "-out", str(authority),
    )  # fmt: skip
    _openssl("req", *new_key, "-subj", "/CN=conformance web", "-keyout", str(key), "-out", str(request))
    _openssl(
        "x509", "-req", "-in", str(request), "-CA", str(authority), "-CAkey", str(authority_key),
        "-CAcreateserial", "-days", CERTIFICATE_DAYS, "-extfile", str(extensions), "-out", str(certificate),
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return authority.read_text(), context


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)  # noqa: S603, S607
