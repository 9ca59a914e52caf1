"""Runs that wait for a person, as conversations on the routes of Langflow's workflows.

Each conversation starts one run in the background and says what is asked of it next; later
steps use the questions that earlier ones showed.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from .case import MODEL_CHOICE, Deviation
from .normalise import Normaliser

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import httpx

    from .model_server import ModelServer
    from .normalise import Json
    from .session import Session
    from .target import FlowRef, Target

ROUTES = "human/routes"
"""What a recording of these answers is filed under."""
WORKFLOWS = "/api/v2/workflows"
STRANGER = "00000000-0000-4000-8000-00000000abcd"
WAIT_SECONDS = 120.0
MOVING = frozenset({"queued", "in_progress"})
_MARK = re.compile(r":[0-9a-f]{32}$")
FLEETING = frozenset({"created_timestamp", "created_at", "paused_at"})


@dataclass(frozen=True)
class Step:
    """One thing to ask. `body` and `path` may say `{job}`, `{request}`, `{earlier}` and `{flow}`."""

    name: str
    method: str = "GET"
    path: str = ""
    body: Json = None
    wait: bool = False
    """Ask until the run rests."""


@dataclass(frozen=True)
class Talk:
    """One run from its start, and what is asked of it."""

    name: str
    flow: str
    steps: tuple[Step, ...]
    models: tuple[str, ...] = ()
    """Nodes that get the scripted model."""
    body: Mapping[str, Json] = field(default_factory=dict)
    deviations: tuple[Deviation, ...] = ()


_USAGE = Deviation(
    "messages[[]2].properties.usage",
    "Langflow forgets at a question which tokens were spent before it",
)
_MERGE = "Langflow ends without the node where an answer's branches meet again, and without an answer"


def _rests(name: str) -> Step:
    return Step(name, path="?job_id={job}", wait=True)


def _pending(name: str = "pending") -> Step:
    return Step(name, path="/pending?flow_id={flow}")


def _resume(
    name: str,
    action: str | None,
    values: Mapping[str, Json] | None = None,
    *,
    request: str = "{request}",
    job: str = "{job}",
) -> Step:
    decision: Json = None if action is None else {"action_id": action, "values": dict(values or {})}
    return Step(name, "POST", f"/{job}/resume", {"request_id": request, "decision": decision})


def _stop(name: str = "stop") -> Step:
    return Step(name, "POST", "/stop", {"job_id": "{job}"})


def _tool(name: str, action: str, **values: Json) -> Talk:
    """An agent that asks before it uses its tool."""
    steps = (_rests("asks"), _pending(), _resume(action, action, values), _rests("ends"))
    return Talk(name, "agent_approval", steps, body={"input_value": "ask before you act"})


TALKS: tuple[Talk, ...] = (
    Talk(
        "approve",
        "human_branches",
        (
            _rests("asks"),
            _pending(),
            _resume("approve", "approve"),
            _rests("ends"),
            _resume("same-again", "approve"),
            _resume("other", "reject"),
            _pending("nothing-pending"),
            _stop("stop-ended"),
        ),
        models=("LanguageModelComponent-mmmmm",),
        deviations=(_USAGE,),
    ),
    Talk(
        "reject",
        "human_branches",
        (_rests("asks"), _pending(), _resume("reject", "reject"), _rests("ends")),
        models=("LanguageModelComponent-mmmmm",),
        deviations=(_USAGE,),
    ),
    Talk(
        "refused",
        "human_branches",
        (
            _rests("asks"),
            _pending(),
            _resume("not-offered", "escalate"),
            _resume("nothing", None),
            _resume("stale", "approve", request="HumanInput-bbbbb:nonsense"),
            _resume("unknown-run", "approve", job=STRANGER),
            _resume("no-id", "approve", job="nonsense"),
            Step("no-request-id", "POST", "/{job}/resume", {"decision": {"action_id": "approve"}}),
            Step("pending-of-nothing", path="/pending"),
            Step("pending-of-unknown", path=f"/pending?flow_id={STRANGER}"),
            Step("pending-of-no-id", path="/pending?flow_id=nonsense"),
            Step("status-of-nothing", path=""),
            Step("status-of-unknown", path=f"?job_id={STRANGER}"),
            Step("status-of-no-id", path="?job_id=nonsense"),
            _resume("approve", "approve"),
            _rests("ends"),
        ),
        models=("LanguageModelComponent-mmmmm",),
        deviations=(_USAGE,),
    ),
    Talk(
        "stopped",
        "human_branches",
        (
            _rests("asks"),
            _pending(),
            _stop(),
            _rests("ends"),
            _pending("nothing-pending"),
            _resume("too-late", "approve"),
            _stop("again"),
            Step("stop-unknown", "POST", "/stop", {"job_id": STRANGER}),
            Step("stop-nothing", "POST", "/stop", {}),
        ),
        models=("LanguageModelComponent-mmmmm",),
    ),
    Talk(
        "twice",
        "human_twice",
        (
            _rests("asks"),
            _pending(),
            _resume("approve", "approve"),
            _rests("asks-again"),
            _pending("second"),
            _resume("the-first-again", "approve", request="{earlier}"),
            _resume("reject", "reject"),
            _rests("ends"),
        ),
    ),
    Talk(
        "first-rejected",
        "human_twice",
        (_rests("asks"), _pending(), _resume("reject", "reject"), _rests("ends")),
    ),
    Talk(
        "merge",
        "human_merge",
        (_rests("asks"), _pending(), _resume("approve", "approve"), _rests("ends")),
        deviations=(Deviation("ends.body.output*", _MERGE), Deviation("messages[[]2]", _MERGE)),
    ),
    Talk(
        "not-asked",
        "echo",
        (
            _rests("ends"),
            _pending(),
            _resume("nothing-to-answer", "approve", request="x"),
            _stop("stop-ended"),
        ),
    ),
    Talk("fails", "boom", (_rests("ends"), _pending())),
    _tool("tool-approve", "approve"),
    _tool("tool-edit", "edit", args={"text": "other words"}),
    _tool("tool-reject", "reject", message="No."),
    _tool("tool-respond", "respond", message="SAID"),
)


def converse(session: Session, talk: Talk, model: ModelServer | None) -> dict[str, Json]:
    """All steps of one conversation, the messages that it stored, and what the model was asked."""
    flow = session.flow(talk.flow)
    run = f"human-{talk.name}-{time.monotonic_ns()}"
    normaliser = Normaliser({flow.id: "flow", run: "session"})

    def comparable(value: Json) -> Json:
        return _without_marks(normaliser.value(value))

    if model is not None:
        model.forget()
    seen: dict[str, Json] = {}
    for name, reply in _replies(session.target, flow, talk, run):
        seen[name] = comparable(_shown(reply))
    seen["messages"] = comparable(session.target.messages(run))
    seen["model"] = comparable([] if model is None else cast("Json", model.recorded()))
    return seen


def _replies(target: Target, flow: FlowRef, talk: Talk, run: str) -> Iterator[tuple[str, httpx.Response]]:
    tweaks: Json = {node: {"model": MODEL_CHOICE} for node in talk.models}
    body: dict[str, Json] = {"flow_id": flow.id, "input_value": "Bob", "mode": "background"}
    body |= {"session_id": run, "tweaks": tweaks, **talk.body}
    started = target.request("POST", WORKFLOWS, body=body)
    yield "start", started
    words = {"flow": flow.id, "job": started.json()["job_id"], "request": "", "earlier": ""}
    for step in talk.steps:
        reply = _asked(target, step, words)
        yield step.name, reply
        listed = cast("Json", reply.json())
        if step.path.startswith("/pending") and isinstance(listed, list) and listed:
            asked = [row for row in listed if isinstance(row, dict) and row["job_id"] == words["job"]]
            words |= {"earlier": words["request"], "request": str(asked[0]["request_id"])}


def _asked(target: Target, step: Step, words: Mapping[str, str]) -> httpx.Response:
    until = time.monotonic() + WAIT_SECONDS
    while True:
        reply = target.request(
            step.method, WORKFLOWS + _filled(step.path, words), body=_filled_body(step.body, words)
        )
        if not step.wait or reply.is_error or reply.json()["status"] not in MOVING:
            return reply
        if time.monotonic() > until:
            message = f"{target.name}: {words['job']} does not rest: {reply.text}"
            raise TimeoutError(message)
        time.sleep(0.2)


def _shown(reply: httpx.Response) -> dict[str, Json]:
    body = cast("Json", reply.json())
    if isinstance(body, dict) and isinstance(body.get("detail"), dict):
        # Langflow's error with its traceback; what it says is in the messages.
        cast("dict[str, Json]", body["detail"]).pop("error_detail", None)
    return {"status": reply.status_code, "body": _without_moments(body)}


def _without_moments(value: Json) -> Json:
    """Times say nothing here, and a list of questions has no order."""
    if isinstance(value, list):
        return [_without_moments(item) for item in value]
    if isinstance(value, dict):
        return {
            key: "<moment>" if key in FLEETING and item is not None else _without_moments(item)
            for key, item in value.items()
        }
    return value


def _without_marks(value: Json) -> Json:
    """Each question of an agent has a mark of its own."""
    if isinstance(value, list):
        return [_without_marks(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_marks(item) for key, item in value.items()}
    return _MARK.sub(":<mark>", value) if isinstance(value, str) else value


def _filled(text: str, words: Mapping[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(f"{{{word}}}", value)
    return text


def _filled_body(body: Json, words: Mapping[str, str]) -> Json:
    if isinstance(body, dict):
        return {key: _filled_body(item, words) for key, item in body.items()}
    return _filled(body, words) if isinstance(body, str) else body
