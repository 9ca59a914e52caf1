from __future__ import annotations

import json
import re
from collections import Counter

from flowcell_conformance.case import SESSION
from flowcell_conformance.cases import CASES
from flowcell_conformance.cli import questions
from flowcell_conformance.flows import EXPORTER, MISBEHAVING
from flowcell_conformance.paths import PROJECT


def test_titles_are_unique() -> None:
    titles = Counter(question.title for question in questions(None, with_model=True))
    assert [title for title, count in titles.items() if count > 1] == []


def test_every_flow_of_a_case_is_exported() -> None:
    families = [file.read_text() for file in (EXPORTER / "families").glob("*.py")]
    exported = {name for text in families for name in re.findall(r'\W"(\w+)": ', text)}
    assert {case.flow for case in CASES} <= exported
    assert set(MISBEHAVING) <= exported


def test_no_case_asks_langflow_to_run_what_would_end_it() -> None:
    assert {case.flow for case in CASES}.isdisjoint(MISBEHAVING)


def test_a_session_is_put_into_the_body() -> None:
    case = next(case for case in CASES if case.name == "unicode")
    body = json.loads(case.content(case.body, {SESSION: "s-1"}))
    assert body["session_id"] == "s-1"
    assert SESSION not in case.content(case.body, {SESSION: "s-1"}).decode()


def test_every_open_difference_is_explained() -> None:
    listed = (PROJECT / "DIFFERENCES.md").read_text()
    reasons = {case.open for case in CASES if case.open}
    assert [reason for reason in sorted(reasons) if f"**{reason}**" not in listed] == []


def test_every_starter_project_is_asked() -> None:
    names = (EXPORTER / "families" / "starters.py").read_text()
    flows = set(re.findall(r'^    "(\w+)": "', names, re.MULTILINE))
    assert len(flows) == 27
    assert flows <= {case.flow for case in CASES}


def test_cases_are_chosen_by_pattern() -> None:
    assert {q.case.flow for q in questions(["tok/*"], with_model=False)} == {"tok"}
    assert questions(["model/*"], with_model=False) == []
    assert questions(["echo/plain/stream"], with_model=False)[0].stream is True


def test_cases_cover_both_stream_settings_of_every_flow() -> None:
    for flow in {case.flow for case in CASES}:
        assert {stream for case in CASES if case.flow == flow for stream in case.streams} >= {False, True}


def test_a_tool_that_tidies_imports_has_not_tidied_this_one() -> None:
    code = (EXPORTER / "components" / "bad_import.py").read_text()
    assert "\nimport no_such_module_of_flowcell" in code
