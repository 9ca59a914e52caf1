"""The comparison against servers that are functions: equal ones, and ones with one thing changed."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, cast

import httpx
import pytest

from flowcell_conformance.case import Case, Deviation, ask
from flowcell_conformance.compare import Question, Servers, differences, judge, observe
from flowcell_conformance.langflow_server import Credentials
from flowcell_conformance.target import FlowRef, Target

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowcell_conformance.normalise import Json

STREAM = "text/event-stream; charset=utf-8"
ECHO = Case("plain", "echo", ask("Bob"))


def event(name: str, data: Json) -> bytes:
    return json.dumps({"event": name, "data": data}).encode() + b"\n\n"


class FakeServer:
    """Answers every run with fresh ids; `alter` changes the answer's bytes."""

    def __init__(
        self, port: int, *, stream: bool, alter: Callable[[bytes], bytes] = lambda body: body
    ) -> None:
        self.flow = FlowRef(id=str(uuid.uuid4()), endpoint_name=f"echo-{port}")
        self.seen: list[httpx.Request] = []
        self._stream = stream
        self._alter = alter
        self.target = Target(
            Credentials(f"http://127.0.0.1:{port}", "sk-right"),
            name="fake",
            transport=httpx.MockTransport(self._answer),
        )

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        session = json.loads(request.content)["session_id"]
        message, run = str(uuid.uuid4()), str(uuid.uuid4())
        body: Json = {
            "session_id": session,
            "flow_id": self.flow.id,
            "run_id": run,
            "id": message,
            "text": "Hello Bob!",
            "duration": 0.5 if self._stream else 0.25,
        }
        if not self._stream:
            return httpx.Response(200, json=json.loads(self._alter(json.dumps(body).encode())))
        frames = event("add_message", body)
        frames += b"".join(event("token", {"chunk": chunk, "id": message}) for chunk in ("Hello ", "Bob!"))
        frames += event("end", {"result": body})
        return httpx.Response(200, headers={"content-type": STREAM}, content=self._alter(frames))

    def observe(self, case: Case = ECHO) -> dict[str, Json]:
        return observe(self.target, self.flow, Question(case, self._stream), Servers(None))


@pytest.mark.parametrize("stream", [False, True])
def test_two_servers_that_answer_alike_are_equal(stream: bool) -> None:
    left, right = FakeServer(1, stream=stream), FakeServer(2, stream=stream)
    assert judge(Question(ECHO, stream), left.observe(), right.observe()).equal


@pytest.mark.parametrize(
    ("stream", "alter", "path"),
    [
        (False, lambda body: body.replace(b"Bob!", b"Eve!"), "body.text"),
        (False, lambda body: body.replace(b'"duration": 0.25', b'"duration": null'), "body.duration"),
        (True, lambda body: body.replace(b"Hello ", b"Hello  "), "events[0].data.text"),
        (True, lambda body: body.replace(b'"event": "token"', b'"event": "tok"', 1), "event_names[1]"),
        (True, lambda body: body.replace(b"\n\n", b"\n", 1), "event_names[0]"),
        (True, lambda body: b"data: " + body, "event_names[0]"),
        (True, lambda body: body.rstrip(b"\n"), "event_names[2]"),
    ],
)
def test_one_altered_thing_is_found(stream: bool, alter: Callable[[bytes], bytes], path: str) -> None:
    verdict = judge(
        Question(ECHO, stream),
        FakeServer(1, stream=stream).observe(),
        FakeServer(2, stream=stream, alter=alter).observe(),
    )
    assert not verdict.equal
    assert verdict.differences[0].path == path


def test_a_token_with_the_id_of_another_message_is_found() -> None:
    def alter(body: bytes) -> bytes:
        frames = body.split(b"\n\n")
        token = json.loads(frames[1])
        token["data"]["id"] = str(uuid.uuid4())
        frames[1] = json.dumps(token).encode()
        return b"\n\n".join(frames)

    right = FakeServer(2, stream=True, alter=alter).observe()
    verdict = judge(Question(ECHO, True), FakeServer(1, stream=True).observe(), right)
    assert [difference.path for difference in verdict.differences] == ["events[1].data.id"]


def test_an_intended_deviation_is_shown_but_does_not_count() -> None:
    case = Case("plain", "echo", ask("Bob"), deviations=(Deviation("body.te?t", "on purpose"),))
    left = FakeServer(1, stream=False).observe(case)
    right = FakeServer(2, stream=False, alter=lambda body: body.replace(b"Bob!", b"Eve!")).observe(case)
    verdict = judge(Question(case, False), left, right)
    assert verdict.equal
    assert verdict.deviations == ("on purpose",)


@pytest.mark.parametrize(
    ("key", "sent"), [("right", "sk-right"), ("wrong", "sk-not-a-key-of-anyone"), ("none", None)]
)
def test_the_key_of_a_case_is_what_is_sent(key: str, sent: str | None) -> None:
    server = FakeServer(1, stream=False)
    server.observe(Case("key", "echo", ask("Bob"), key=cast("object", key)))  # type: ignore[arg-type]
    assert server.seen[-1].headers.get("x-api-key") == sent


def test_earlier_bodies_run_in_the_same_session() -> None:
    server = FakeServer(1, stream=False)
    server.observe(Case("second", "echo", ask("two"), before=(ask("one"),)))
    sessions = {json.loads(request.content)["session_id"] for request in server.seen}
    assert [json.loads(request.content)["input_value"] for request in server.seen] == ["one", "two"]
    assert len(sessions) == 1


def test_a_body_that_is_not_json_is_compared_as_text() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        return httpx.Response(502, text=f"bad gateway to {request.url.host}")

    target = Target(Credentials("http://gateway", "k"), name="fake", transport=httpx.MockTransport(refuse))
    seen = observe(target, FlowRef("i", "n"), Question(ECHO, False), Servers(None))
    assert seen == {
        "status": 502,
        "content_type": "text/plain; charset=utf-8",
        "text": "bad gateway to gateway",
    }


@pytest.mark.parametrize(
    ("left", "right", "paths"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 1.0}, ["a"]),
        ({"a": 1}, {"a": True}, ["a"]),
        ({"a": 1}, {}, ["a"]),
        ({}, {"b": None}, ["b"]),
        ({"a": [1, 2]}, {"a": [1]}, ["a[1]"]),
        ([{"x": "1"}], [{"x": "2"}], ["[0].x"]),
        ({"a": {"b": 1}}, {"a": [1]}, ["a"]),
    ],
)
def test_paths_of_differences(left: Json, right: Json, paths: list[str]) -> None:
    assert [difference.path for difference in differences(left, right)] == paths
