"""How much of a run shares a container changes nothing that a caller sees."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, cast

import pytest

from flowcell_conformance.cli import questions
from flowcell_conformance.compare import Question, judge
from flowcell_conformance.flowcell_server import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flowcell_conformance.bench import Flowcell
    from flowcell_conformance.normalise import Json

FLOWS = (
    "echo/plain/*",
    "echo/output-debug/plain",
    "tok/plain/stream",
    "boom/plain/plain",
    "router/true/*",
    "router/false/plain",
    "diamond/plain/*",
    "variable/plain/plain",
    "live_model/plain/plain",
    "live_tool/plain/plain",
    "table/plain/plain",
    "chatty/plain/plain",
    "loop/plain/*",
    "loop_router/both-branches/plain",
    "loop_outside/plain/plain",
    "loop_nested/plain/plain",
    "old_loop/plain/*",
    "old_loop_router/both-branches/plain",
    "circle/plain/plain",
    "merge/*/plain",
    "live_context/plain/plain",
    "recall/*/plain",
)
ALL = questions(FLOWS, with_model=False)
#: Langflow's own answers change: which message is in its history is chance.
HISTORY = {
    "history/first/plain": "\n--\none",
    "history/second/plain": "AI: \n--\none\nUser: one\n--\ntwo",
}


@pytest.fixture(scope="module", params=["chain", "run"])
def isolated(
    request: pytest.FixtureRequest, _start_flowcell: Callable[[ExitStack, Options], Flowcell]
) -> Iterator[Flowcell]:
    with ExitStack() as stack:
        yield _start_flowcell(stack, Options(isolation=request.param))


@pytest.mark.parametrize("question", ALL, ids=[question.title for question in ALL])
def test_every_isolation_answers_as_langflow_does(
    question: Question, isolated: Flowcell, reference: Callable[[Question], Json]
) -> None:
    verdict = judge(question, reference(question), isolated.session.ask(question))
    assert verdict.equal, verdict.differences[:5]


@pytest.mark.parametrize("title", HISTORY)
def test_a_history_ends_before_its_run(title: str, isolated: Flowcell, flowcell: Flowcell) -> None:
    (question,) = questions((title,), with_model=False)
    for server in (isolated, flowcell):
        assert _text(server.session.ask(question)) == HISTORY[title]


def _text(observed: Json) -> Json:
    answer = cast("Any", observed)["body"]["outputs"][0]["outputs"][0]
    return cast("Json", answer["results"]["message"]["text"])
