"""A server under test, seen only through HTTP: Langflow and Flowcell answer the same routes."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self, cast

import httpx

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from .langflow_server import Credentials
    from .normalise import Json

# Langflow needs up to twenty seconds to format the traceback of one failing component.
ANSWER_SECONDS = 180.0
EVENT_END = b"\n\n"


@dataclass(frozen=True)
class FlowRef:
    """A flow as a server knows it."""

    id: str
    endpoint_name: str
    name: str = ""


@dataclass(frozen=True)
class StreamEvent:
    """One event of a streamed run, and when it arrived in seconds after the request."""

    name: str
    data: Json
    at_seconds: float


@dataclass(frozen=True)
class Reply:
    """Everything of an answer that a client can see."""

    status: int
    headers: Mapping[str, str]
    text: str
    body: Json = None
    events: list[StreamEvent] = field(default_factory=list)

    @property
    def content_type(self) -> str:
        """As sent, with its parameters."""
        return self.headers.get("content-type", "")


class Target:
    """A client of one server, with the key of one user."""

    def __init__(
        self, credentials: Credentials, *, name: str, transport: httpx.BaseTransport | None = None
    ) -> None:
        """`transport` takes the place of the network in the harness's own tests."""
        self.name = name
        self.url = credentials.url
        self.storage = credentials.storage
        self._key = {"x-api-key": credentials.api_key}
        # The machine's proxy settings are not for a server on loopback.
        self.http = httpx.Client(
            base_url=credentials.url, timeout=ANSWER_SECONDS, trust_env=False, transport=transport
        )

    def close(self) -> None:
        """Give the connections back."""
        self.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def call(
        self, method: str, path: str, *, body: Json = None, params: Mapping[str, str] | None = None
    ) -> Json:
        """The JSON that `send` is answered with."""
        reply = self.send(method, path, body=body, params=params)
        return cast("Json", reply.json()) if reply.content else None

    def send(
        self, method: str, path: str, *, body: Json = None, params: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """One authorised JSON request that must succeed."""
        reply = self.http.request(
            method, path, json=body, params=params, headers=self._key, follow_redirects=True
        )
        if reply.is_error:
            message = f"{self.name}: {method} {path}: {reply.status_code} {reply.text[:2000]}"
            raise RuntimeError(message)
        return reply

    def request(
        self, method: str, path: str, *, file: tuple[str, bytes] | None = None, body: Json = None
    ) -> httpx.Response:
        """One authorised request, whatever the answer."""
        files = {"file": file} if file is not None else None
        return self.http.request(
            method, path, files=files, json=body, headers=self._key, follow_redirects=True
        )

    def upload(self, path: str, name: str, content: bytes) -> Json:
        """Send a file in a form; must succeed."""
        reply = self.request("POST", path, file=(name, content))
        if reply.is_error:
            message = f"{self.name}: POST {path}: {reply.status_code} {reply.text[:2000]}"
            raise RuntimeError(message)
        return cast("Json", reply.json())

    def upload_flow(self, exported: dict[str, Json]) -> FlowRef:
        """Store an export; the server chooses the id, and another name if this one is taken."""
        made = cast("dict[str, str]", self.call("POST", "/api/v1/flows/", body=exported))
        return FlowRef(id=made["id"], endpoint_name=made["endpoint_name"], name=made["name"])

    def upload_file(self, name: str, content: bytes) -> str:
        """Store a file of the user; the path by which flows name it."""
        return str(cast("dict[str, Json]", self.upload("/api/v2/files/", name, content))["path"])

    def delete_flow(self, flow: FlowRef) -> None:
        """Remove a flow and what belongs to it."""
        self.call("DELETE", f"/api/v1/flows/{flow.id}")

    def set_variable(self, name: str, value: str, kind: str, default_fields: Sequence[str] = ()) -> None:
        """Create a variable (`Generic` or `Credential`), or replace the one of that name."""
        listed = cast("list[dict[str, str]]", self.call("GET", "/api/v1/variables/"))
        for variable in listed:
            if variable["name"] == name:
                self.call("DELETE", f"/api/v1/variables/{variable['id']}")
        body: Json = {"name": name, "value": value, "type": kind, "default_fields": [*default_fields]}
        self.call("POST", "/api/v1/variables/", body=body)

    def messages(self, session_id: str) -> Json:
        """The stored chat messages of a session."""
        return self.call(
            "GET", "/api/v1/monitor/messages", params={"session_id": session_id, "order_by": "timestamp"}
        )

    def forget_messages(self, session_id: str) -> None:
        """Delete the stored chat messages of a session."""
        self.call("DELETE", f"/api/v1/monitor/messages/session/{session_id}")

    def finished_messages(self, session_id: str, count: int) -> Json:
        """The messages of a session, as soon as there are so many and none is being written."""
        until = time.monotonic() + ANSWER_SECONDS
        while True:
            stored = cast("list[dict[str, Json]]", self.messages(session_id))
            states = [cast("dict[str, Json]", message["properties"])["state"] for message in stored]
            if len(stored) >= count and all(state == "complete" for state in states):
                return cast("Json", stored)
            if time.monotonic() > until:
                message = f"{self.name}: {len(stored)} of {count} messages were stored: {stored}"
                raise TimeoutError(message)
            time.sleep(0.2)

    def run(  # noqa: PLR0913  one request says that much
        self,
        flow: str,
        content: bytes,
        *,
        stream: bool | None,
        headers: Mapping[str, str] | None = None,
        key: str | None = None,
        route: str = "run",
        seconds: float = ANSWER_SECONDS,
    ) -> Reply:
        """Run a flow by id or name. `key` replaces the user's key; an empty one sends none."""
        sent = {"content-type": "application/json"} | (self._key if key is None else {})
        if key:
            sent["x-api-key"] = key
        started = time.monotonic()
        params = {} if stream is None else {"stream": "true" if stream else "false"}
        with self.http.stream(
            "POST",
            f"/api/v1/{route}/{flow}",
            params=params,
            content=content,
            headers=sent | dict(headers or {}),
            timeout=seconds,
        ) as response:
            if response.headers.get("content-type", "").startswith("text/event-stream"):
                return _read_stream(response, started)
            response.read()
            return Reply(
                status=response.status_code,
                headers=dict(response.headers),
                text=response.text,
                body=_json_or_none(response.text),
            )


def _read_stream(response: httpx.Response, started: float) -> Reply:
    """Split a stream at its blank lines as it arrives."""
    whole = b""
    rest = b""
    events: list[StreamEvent] = []
    for chunk in response.iter_bytes():
        whole += chunk
        rest += chunk
        while EVENT_END in rest:
            frame, rest = rest.split(EVENT_END, 1)
            if frame.strip():
                events.append(_event(frame, time.monotonic() - started))
    if rest.strip():
        events.append(StreamEvent("<unfinished>", rest.decode(errors="replace"), time.monotonic() - started))
    return Reply(
        status=response.status_code,
        headers=dict(response.headers),
        text=whole.decode(errors="replace"),
        events=events,
    )


def _event(frame: bytes, at_seconds: float) -> StreamEvent:
    """Langflow's framing is bare JSON; anything else is kept as text so that it shows up."""
    text = frame.decode(errors="replace")
    parsed = _json_or_none(text)
    if isinstance(parsed, dict) and set(parsed) == {"event", "data"} and isinstance(parsed["event"], str):
        return StreamEvent(parsed["event"], parsed["data"], at_seconds)
    return StreamEvent("<not an event>", text, at_seconds)


def _json_or_none(text: str) -> Json:
    try:
        # Python's servers write NaN, which is not JSON: it must show up, and compare equal to itself.
        return cast("Json", json.loads(text, parse_constant=lambda constant: f"<{constant}>"))
    except ValueError:
        return None
