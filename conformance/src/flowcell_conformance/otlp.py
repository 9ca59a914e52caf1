"""A collector of OpenTelemetry spans: OTLP over HTTP, as processes send it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from .model_server import ADDRESS

if TYPE_CHECKING:
    from types import TracebackType

    from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

CALLED = "/v1/traces"


@dataclass(frozen=True)
class Span:
    """One span; ids are in hexadecimal."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    start: int
    end: int
    attributes: dict[str, str]
    links: tuple[tuple[str, str], ...]


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.server.take(body)
        self.send_response(200 if self.path == CALLED else 404)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing: what came is in the spans."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((ADDRESS, 0), _Handler)
        self._lock = threading.Lock()
        self.bodies: list[bytes] = []
        self.spans: list[Span] = []

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        spans = [
            _span(span, _text(resource.resource.attributes).get("service.name", ""))
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        with self._lock:
            self.bodies.append(body)
            self.spans.extend(spans)


class Collector:
    """A running collector."""

    def __init__(self) -> None:
        self._server = _Server()
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """What goes into `telemetry.otlp`."""
        return f"http://{ADDRESS}:{self._server.server_port}"

    @property
    def bodies(self) -> bytes:
        """Everything that was received, as it came."""
        return b"\n".join(list(self._server.bodies))

    def trace(self, trace: str) -> list[Span]:
        """The spans of one trace so far."""
        return [span for span in list(self._server.spans) if span.trace == trace]

    @property
    def spans(self) -> list[Span]:
        """All spans so far."""
        return list(self._server.spans)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def _span(span: ProtoSpan, service: str) -> Span:
    return Span(
        service=service,
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        attributes=_text(span.attributes),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
    )


def _text(attributes: object) -> dict[str, str]:
    found: dict[str, str] = {}
    for attribute in attributes:  # type: ignore[attr-defined]
        kind = attribute.value.WhichOneof("value")
        found[attribute.key] = str(getattr(attribute.value, kind)) if kind else ""
    return found
