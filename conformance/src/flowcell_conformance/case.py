"""What a case is: one request, and what of the answer is compared."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .normalise import Json

SESSION = "$SESSION"
"""Stands in a body for a session id that is new in every execution."""

WEB = "$WEB"
"""Stands in a body for the address of the scripted web."""

MODEL_NAME = "gpt-4o-mini"
MODEL_CHOICE: Json = [{"name": MODEL_NAME, "provider": "OpenAI"}]

Address = Literal["name", "id", "unknown-name", "unknown-id"]
Key = Literal["right", "wrong", "none"]


@dataclass(frozen=True)
class Deviation:
    """A place where Flowcell answers otherwise on purpose; shown, but not counted as different."""

    path: str
    """Shell pattern of the places, for example `events[[]*].data.text`."""
    reason: str


@dataclass(frozen=True)
class Part:
    """Where a run starts and stops."""

    start: str | None = None
    stop: str | None = None


@dataclass(frozen=True)
class Case:
    """One request, asked with the stream on and off unless `streams` says otherwise."""

    name: str
    flow: str
    body: Json = None
    raw: bytes | None = None
    streams: tuple[bool | None, ...] = (False, True)
    headers: Mapping[str, str] = field(default_factory=dict)
    address: Address = "name"
    key: Key = "right"
    before: tuple[Json, ...] = ()
    """Bodies run first, in order, without a stream; their answers are not compared."""
    uses_model: bool = False
    messages: bool = False
    """Whether the stored messages of the session are compared too."""
    other_flows: bool = False
    """Whether other flows say something in the session too: their messages may have the very times
    of the flow's own, so that a server lists them in any order. They are sorted by flow and text."""
    interleaved: bool = False
    """Events of different names come in no fixed order, since Langflow sends them from several
    threads: only the order among events of one name is compared. Requests to the model are sorted."""
    uses_web: bool = False
    """Whether the requests that reached the scripted web are compared too."""
    uses_files: bool = False
    """Whether the body names files, in the words of `places.py`."""
    files: tuple[str, ...] = ()
    """Names of `sample_files`, uploaded before; `$FILE:<name>` in a body is the path that the server gave."""
    knowledge: tuple[str, ...] | None = None
    """What is in the knowledge base, which is then made anew for the case."""
    seconds: float | None = None
    """How long an answer may take, when longer than usual."""
    deviations: tuple[Deviation, ...] = ()
    route: Literal["run", "webhook"] = "run"
    part: Part | None = None
    """Which part of the flow to build; then only the nodes that were built are compared, since
    Langflow answers such requests on routes of its editor."""
    in_background: int = 0
    """Messages that the run stores after its answer, in the flow's own session: they are waited for
    and compared. Earlier ones of that session are deleted first."""
    open: str | None = None
    """Why Flowcell does not answer this as Langflow does, yet: the reason listed in DIFFERENCES.md."""

    def content(self, body: Json, values: Mapping[str, str]) -> bytes:
        """The bytes to send for a body of this case; `values` says what stands for what."""
        text = json.dumps(body)
        for name, value in values.items():
            text = text.replace(name, json.dumps(value)[1:-1])
        return text.encode()


def ask(text: str, **more: Json) -> dict[str, Json]:
    """The plain body of a chat, in a session of its own."""
    return {"input_value": text, "session_id": SESSION, **more}


def with_model(text: str, *nodes: str, **more: Json) -> dict[str, Json]:
    """The same with the scripted model set on these nodes."""
    tweaks: Json = {node: {"model": MODEL_CHOICE} for node in nodes}
    return ask(text, tweaks=tweaks, **more)
