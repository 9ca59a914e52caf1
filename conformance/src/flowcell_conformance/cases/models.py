"""Language models over edges, row by row, with structure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..case import Case, ask, with_model

if TYPE_CHECKING:
    from ..normalise import Json

STRUCTURED: Json = [{"name": "gpt-4.1", "provider": "OpenAI"}]
CHAIN = tuple(f"LanguageModelComponent-mmmm{number}" for number in range(3))

CASES: tuple[Case, ...] = (
    Case("plain", "model_edge", with_model("why?", "LanguageModelComponent-mmmmm"), uses_model=True),
    Case("fails", "model_edge", with_model("fail please", "LanguageModelComponent-mmmmm"), uses_model=True),
    Case("plain", "model_both", with_model("why?", "LanguageModelComponent-mmmmm"), uses_model=True),
    Case("plain", "model_chain", with_model("why?", *CHAIN), uses_model=True, messages=True),
    Case(
        "plain",
        "batch_run",
        with_model("one two three", "BatchRunComponent-rrrrr"),
        uses_model=True,
        interleaved=True,
    ),
    Case(
        "rows",
        "batch_run_rows",
        with_model("one two", "BatchRunComponent-rrrrr"),
        uses_model=True,
        interleaved=True,
    ),
    Case(
        "fails",
        "batch_run_rows",
        with_model("fail please", "BatchRunComponent-rrrrr"),
        uses_model=True,
        interleaved=True,
    ),
    Case(
        "plain",
        "structured_output",
        ask("a person", tweaks={"StructuredOutput-sssss": {"model": STRUCTURED}}),
        uses_model=True,
    ),
    Case("words", "structured_output", with_model("no structure", "StructuredOutput-sssss"), uses_model=True),
    Case("plain", "smart_transform", with_model("some words", "SmartTransform-ttttt"), uses_model=True),
)
