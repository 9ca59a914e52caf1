from __future__ import annotations

from typing import TYPE_CHECKING

from flowcell_conformance import results as kept
from flowcell_conformance.compare import Difference, Verdict
from flowcell_conformance.compatibility import document
from flowcell_conformance.results import Outcome, Results, Shape

if TYPE_CHECKING:
    from pathlib import Path


def page(**outcomes: Outcome) -> str:
    named = {title.replace("__", "/"): outcome for title, outcome in outcomes.items()}
    return document(Results(named, {"echo": Shape(3, 3), "loop": Shape(6, None)}), {"Langflow": "1.13.0"})


def test_an_equal_flow_is_equal() -> None:
    assert "| echo | 3 | 3 | 1/1 | equal |  |" in page(echo__plain__plain=Outcome(equal=True))


def test_a_difference_without_a_reason_is_named() -> None:
    text = page(echo__a__plain=Outcome(equal=True), echo__b__plain=Outcome(equal=False, first="body"))
    assert "| echo | 3 | 3 | 1/2 | DIFFERENT, not listed | b/plain |" in text


def test_a_difference_with_a_reason_is_open() -> None:
    text = page(loop__a__plain=Outcome(equal=False, open="loops are refused"))
    assert "| loop | 6 | refused | 0/1 | open | loops are refused |" in text


def test_a_substitute_is_told() -> None:
    text = page(web_search__plain__plain=Outcome(equal=True))
    assert "equal with substitute | DuckDuckGo is the scripted web" in text


def test_a_deviation_is_listed() -> None:
    assert "listed difference | on purpose" in page(
        echo__a__plain=Outcome(equal=True, deviations=("on purpose",))
    )


def test_totals_count_flows_and_answers() -> None:
    text = page(echo__a__plain=Outcome(equal=True), loop__a__plain=Outcome(equal=False, open="loops"))
    assert "2 flows: 1 equal, 1 open. 1 of 2 answers are equal." in text


def test_results_survive_the_file(tmp_path: Path) -> None:
    verdict = Verdict("echo/a/plain", (Difference("body.x", 1, 2),), ("why",), open="later")
    results = Results({verdict.title: Outcome.of(verdict)}, {"echo": Shape(3, None)})
    file = tmp_path / "results.json"
    kept.write(file, results)
    assert kept.read(file) == results
    assert kept.read(file).outcomes["echo/a/plain"].first == "body.x"


def test_no_file_is_no_results(tmp_path: Path) -> None:
    assert kept.read(tmp_path / "none.json") == Results()
