"""Cases, asked of Langflow and of Flowcell: the answers are the same.

By default one case for each construct and each kind of refusal; every cell costs seconds of
imports, so all of them take a quarter of an hour: FLOWCELL_CONFORMANCE=all.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from flowcell_conformance.cli import questions, verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowcell_conformance.bench import Flowcell
    from flowcell_conformance.compare import Difference, Question
    from flowcell_conformance.model_server import ModelServer
    from flowcell_conformance.normalise import Json

CORE = (
    "echo/plain/*",
    "echo/unicode/*",
    "echo/output-debug/*",
    "echo/tweak-id/*",
    "echo/tweak-code/*",
    "echo/tweak-conflict/*",
    "echo/wrapped-wrong-type/*",
    "echo/unknown-*",
    "echo/no-key/*",
    "echo/wrong-key/*",
    "echo/malformed-json/*",
    "echo/truncated-json/*",
    "echo/json-*",
    "echo/not-utf8/*",
    "tok/plain/*",
    "boom/plain/*",
    "router/true/*",
    "diamond/plain/*",
    "text/plain/*",
    "variable/plain/*",
    "variable/tweak-missing/*",
    "variable/header-override/plain",
    "live_model/plain/*",
    "live_tool/plain/*",
    "table/plain/*",
    "recall/*",
    "loop/plain/*",
    "loop_*/plain/plain",
    "loop_router/both-branches/*",
    "old_loop*/plain/*",
    "old_loop_router/both-branches/plain",
    "circle/plain/plain",
    "merge/true/plain",
    "live_context/plain/plain",
    "disguised/plain/*",
    "mcp_*/plain/plain",
    "bad_import/plain/*",
    "model/plain/*",
    "model/no-model/*",
    "agent/tool/plain",
    "read_file/text/plain",
    "read_file/missing/plain",
    "read_file/foreign/*",
    "model/picture/plain",
    "write_file/text/plain",
    "hook/json/*",
    "hook/empty-body/*",
    "hook/no-key/*",
    "echo/without-webhook/*",
    "defaulted/plain/plain",
    "human/plain/*",
    "lonely_human/plain/plain",
    "two_chains/part-between-side/*",
    "merge_if_else/yes/plain",
    "three_ways/two/plain",
    "merge_splitter/none/plain",
    "smart_router/great/plain",
    "two_answers/plain/plain",
    "two_outputs_two_readers/plain/plain",
    "deep_groups/plain/plain",
    "shared_context/plain/plain",
    "history/second/plain",
    "many_types/plain/plain",
    "big_text/*/plain",
    "rich_message/plain/plain",
    "old_1_0/plain/plain",
    "convert_round/json/plain",
    "structured_output/plain/plain",
    "subflow/plain/*",
    "subflow_fails/plain/*",
    "subflow_agent/tool/plain",
    "api_request/json/plain",
    "api_request/redirect/plain",
    "tls/plain/plain",
    "simple_agent/plain/plain",
    "knowledge_fill/known/*",
    "knowledge_search/in-two-runs/plain",
    "memory_base/plain/plain",
    "vector_store_rag/plain/plain",
)
ALL = questions(None if os.environ.get("FLOWCELL_CONFORMANCE") == "all" else CORE, with_model=True)


def _shown(difference: Difference) -> str:
    """Both values, where they begin to differ."""
    left, right = (json.dumps(value, ensure_ascii=False) for value in (difference.left, difference.right))
    same = next((at for at, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), 0)
    begin = max(0, same - 100)
    return "\n  ".join(
        [difference.path, f"langflow: {left[begin:][:500]}", f"flowcell: {right[begin:][:500]}"]
    )


@pytest.mark.parametrize("question", ALL, ids=[question.title for question in ALL])
def test_flowcell_answers_as_langflow_does(
    question: Question,
    flowcell: Flowcell,
    reference: Callable[[Question], Json],
    model: ModelServer | None,
) -> None:
    if question.case.uses_model and model is None:
        pytest.skip("FLOWCELL_MODEL_SERVER is not set")
    found = verdict(question, reference, flowcell.session.ask)
    if question.case.open and not found.equal:
        pytest.xfail(question.case.open)
    shown = [_shown(difference) for difference in found.differences[:10]]
    assert found.equal, "\n".join([found.error or f"{len(found.differences)} differences", *shown])
