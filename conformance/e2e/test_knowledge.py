"""What flows take up into a knowledge base is found again: everywhere, once, and by nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from flowcell_conformance.flowcell_server import Options
from flowcell_conformance.knowledge import BASE, ROUTE, refill

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowcell_conformance.bench import Flowcell
    from flowcell_conformance.model_server import ModelServer
    from flowcell_conformance.normalise import Json

LINES = "cells are small\ndrums beat loudly\nrivers run deep"
FOUND = "rivers run deep -0.0"


@pytest.fixture(autouse=True)
def _needs_model(model: ModelServer | None) -> None:
    if model is None:
        pytest.skip("FLOWCELL_MODEL_SERVER is not set")


def _fill(flowcell: Flowcell, *texts: str) -> None:
    refill(flowcell.target, flowcell.session.flow("knowledge_fill"), texts)


def _found(flowcell: Flowcell, question: str) -> str:
    return flowcell.runs.wait(flowcell.run("knowledge_search", question)).text


def _chunks(flowcell: Flowcell) -> Json:
    return cast("dict[str, Json]", flowcell.target.call("GET", f"{ROUTE}/{BASE}"))["chunks"]


@pytest.mark.parametrize(
    ("isolation", "backend"),
    [("component", "auto"), ("chain", "auto"), ("run", "auto"), ("run", "native"), ("run", "warm")],
)
def test_what_one_run_takes_up_another_finds(
    isolation: str, backend: str, make_flowcell: Callable[[Options], Flowcell]
) -> None:
    flowcell = make_flowcell(Options(isolation=isolation, backend=backend))
    _fill(flowcell, LINES, "stones are old")
    assert _found(flowcell, "rivers run deep").splitlines()[0] == FOUND
    assert _found(flowcell, "stones are old").splitlines()[0] == "stones are old -0.0"
    assert _chunks(flowcell) == 4


def test_what_was_taken_up_survives_the_server(make_flowcell: Callable[[Options], Flowcell]) -> None:
    flowcell = make_flowcell(Options())
    _fill(flowcell, LINES)
    run = flowcell.run("knowledge_fill", LINES + "\nstones are old")
    flowcell.crash_and_restart()
    assert flowcell.runs.wait(run).state == "completed"
    assert _found(flowcell, "stones are old").splitlines()[0] == "stones are old -0.0"
    assert _chunks(flowcell) == 4
