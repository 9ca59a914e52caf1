"""Asks a server one case, and says where two servers' answers differ."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, cast

from .case import SESSION, WEB
from .normalise import Json, Normaliser
from .parts import built_part
from .target import ANSWER_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .case import Case
    from .model_server import ModelServer
    from .target import FlowRef, Reply, Target
    from .web_server import WebServer

UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"
UNKNOWN_NAME = "no-such-flow"
WRONG_KEY = "sk-not-a-key-of-anyone"
ABSENT = "<absent>"


@dataclass(frozen=True)
class Difference:
    """A place in the answer, and what each side has there."""

    path: str
    left: Json
    right: Json


@dataclass(frozen=True)
class Question:
    """A case with the stream on, off, or not mentioned."""

    case: Case
    stream: bool | None

    @property
    def title(self) -> str:
        """Unique among all questions; what a recording is filed under."""
        mode = {None: "default", False: "plain", True: "stream"}[self.stream]
        return f"{self.case.flow}/{self.case.name}/{mode}"


@dataclass(frozen=True)
class Servers:
    """The scripted servers that both sides reach."""

    model: ModelServer | None
    web: WebServer | None = None

    def forget(self) -> None:
        """Clear their records."""
        for server in (self.model, self.web):
            if server is not None:
                server.forget()

    @property
    def names(self) -> dict[str, str]:
        """Their addresses, which change with every start."""
        names = {self.model.address: "model-server"} if self.model else {}
        if self.web is not None:
            plain, tls = (f"{host}:{port}" for host, port in self.web.hosts_and_ports)
            names |= {plain: "web-server", tls: "web-server-tls"}
        return names


@dataclass(frozen=True)
class Words:
    """A server's own values."""

    stands: dict[str, str]
    """What stands for them in bodies."""
    names: dict[str, str]
    """What they are called in a comparison."""


def observe(
    target: Target,
    flow: FlowRef,
    question: Question,
    servers: Servers,
    words: Words | None = None,
) -> dict[str, Json]:
    """Everything comparable of one answer, normalised."""
    case = question.case
    session = f"conformance-{uuid.uuid4().hex[:12]}"
    stands = {
        SESSION: session,
        WEB: servers.web.url if servers.web else WEB,
        **(words.stands if words else {}),
    }
    for body in case.before:
        target.run(flow.endpoint_name, case.content(body, stands), stream=False)
    servers.forget()
    if case.part is not None:
        return {"built": cast("Json", built_part(target, flow, case.part))}
    if case.in_background:
        target.forget_messages(flow.id)
    reply = _ask(target, flow, question, stands)
    names = {flow.id: "flow", flow.endpoint_name: "flow-name", session: "session", target.url: "server"}
    normaliser = Normaliser(names | servers.names | (words.names if words else {}))
    if case.interleaved:
        reply = replace(reply, events=sorted(reply.events, key=lambda event: event.name))
    seen = normalised_reply(reply, normaliser)
    if case.messages:
        stored = target.messages(session)
        seen["messages"] = normaliser.value(_by_flow(stored, flow) if case.other_flows else stored)
    if case.in_background:
        seen["messages"] = normaliser.value(target.finished_messages(flow.id, case.in_background))
    if case.uses_model and servers.model is not None:
        requests = _tools_sorted(servers.model.recorded())
        seen["model_requests"] = normaliser.value(requests if not case.interleaved else _sorted(requests))
    if case.uses_web and servers.web is not None:
        seen["web_requests"] = normaliser.value(servers.web.recorded())
    return seen


def _by_flow(messages: Json, flow: FlowRef) -> Json:
    """The flow's own messages first, then those of others."""
    stored = cast("list[dict[str, Json]]", messages)
    order = sorted(
        stored, key=lambda said: (said["flow_id"] != flow.id, str(said["sender"]), str(said["text"]))
    )
    return cast("Json", order)


def _tools_sorted(requests: list[Json]) -> list[Json]:
    """Langflow keeps edges in a set, so an agent's tools come in another order in every process."""
    for request in cast("list[dict[str, dict[str, Json]]]", requests):
        tools = request["body"].get("tools")
        if isinstance(tools, list):
            tools.sort(key=_tool_name)
    return requests


def _sorted(requests: list[Json]) -> list[Json]:
    return sorted(requests, key=lambda request: json.dumps(request, sort_keys=True))


def _tool_name(tool: Json) -> str:
    return cast("dict[str, dict[str, str]]", tool)["function"]["name"]


def _ask(target: Target, flow: FlowRef, question: Question, stands: Mapping[str, str]) -> Reply:
    case = question.case
    address = {
        "name": flow.endpoint_name,
        "id": flow.id,
        "unknown-name": UNKNOWN_NAME,
        "unknown-id": UNKNOWN_ID,
    }[case.address]
    return target.run(
        address,
        case.raw if case.raw is not None else case.content(case.body, stands),
        stream=question.stream,
        headers=case.headers,
        key={"right": None, "wrong": WRONG_KEY, "none": ""}[case.key],
        route=case.route,
        seconds=case.seconds or ANSWER_SECONDS,
    )


def normalised_reply(reply: Reply, normaliser: Normaliser) -> dict[str, Json]:
    """The comparable form of an answer."""
    seen: dict[str, Json] = {"status": reply.status, "content_type": reply.content_type}
    if reply.content_type.startswith("text/event-stream"):
        seen["event_names"] = cast("Json", _run_lengths([event.name for event in reply.events]))
        seen["events"] = [
            {"event": event.name, "data": normaliser.value(event.data)} for event in reply.events
        ]
    elif reply.body is not None or reply.text == "null":
        seen["body"] = normaliser.value(reply.body)
    else:
        seen["text"] = normaliser.text(reply.text)
    return seen


def _run_lengths(names: list[str]) -> list[str]:
    """Consecutive equal names as `token x7`, so that a difference reads at a glance."""
    runs: list[tuple[str, int]] = []
    for name in names:
        if runs and runs[-1][0] == name:
            runs[-1] = (name, runs[-1][1] + 1)
        else:
            runs.append((name, 1))
    return [name if count == 1 else f"{name} x{count}" for name, count in runs]


def differences(left: Json, right: Json, path: str = "") -> Iterator[Difference]:
    """Every place where two normalised answers are not the same, in reading order."""
    if isinstance(left, dict) and isinstance(right, dict):
        for key in [*left, *(key for key in right if key not in left)]:
            yield from differences(left.get(key, ABSENT), right.get(key, ABSENT), f"{path}.{key}")
    elif isinstance(left, list) and isinstance(right, list):
        for index in range(max(len(left), len(right))):
            yield from differences(
                left[index] if index < len(left) else ABSENT,
                right[index] if index < len(right) else ABSENT,
                f"{path}[{index}]",
            )
    elif type(left) is not type(right) or left != right:
        yield Difference(path.removeprefix("."), left, right)


@dataclass(frozen=True)
class Verdict:
    """One question and how the two answers differ, if they do."""

    title: str
    differences: tuple[Difference, ...] = ()
    deviations: tuple[str, ...] = ()
    """Reasons of the intended differences that were seen."""
    error: str | None = None
    open: str | None = None
    """Why a difference is expected, for now."""

    @property
    def equal(self) -> bool:
        """Whether nothing differs but on purpose, and both sides could be asked."""
        return not self.differences and self.error is None

    def as_json(self) -> dict[str, Json]:
        """For `--json`."""
        return {
            "case": self.title,
            "equal": self.equal,
            "differences": [{"path": d.path, "left": d.left, "right": d.right} for d in self.differences],
            "deviations": list(self.deviations),
            "error": self.error,
            "open": self.open,
        }


def judge(question: Question, left: Json, right: Json) -> Verdict:
    """Compare two observations of one question."""
    found: list[Difference] = []
    reasons: dict[str, None] = {}
    for difference in differences(left, right):
        deviation = next((d for d in question.case.deviations if fnmatchcase(difference.path, d.path)), None)
        if deviation is None:
            found.append(difference)
        else:
            reasons[deviation.reason] = None
    return Verdict(question.title, tuple(found), tuple(reasons), open=question.case.open)
