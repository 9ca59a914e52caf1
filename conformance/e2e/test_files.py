"""Uploaded files: the routes answer as Langflow's do."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from flowcell_conformance.compare import differences
from flowcell_conformance.file_routes import ROUTES, STEPS, converse

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowcell_conformance.bench import Flowcell
    from flowcell_conformance.normalise import Json
    from flowcell_conformance.session import Session


@pytest.fixture(scope="module")
def langflows_answers(recording: dict[str, Json] | None, langflow: Callable[[], Session]) -> dict[str, Json]:
    if recording is not None:
        return cast("dict[str, Json]", recording[ROUTES])
    session = langflow()
    return converse(session.target, session.flow("echo"))


@pytest.fixture(scope="module")
def flowcells_answers(flowcell: Flowcell) -> dict[str, Json]:
    return converse(flowcell.session.target, flowcell.session.flow("echo"))


@pytest.mark.parametrize("step", [step.name for step in STEPS])
def test_a_route_answers_as_langflow_does(
    step: str, langflows_answers: dict[str, Json], flowcells_answers: dict[str, Json]
) -> None:
    found = list(differences(langflows_answers[step], flowcells_answers[step]))
    assert not found
