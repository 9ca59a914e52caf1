from __future__ import annotations

import json
import re
from collections import Counter

from flowcell_conformance.cases import CASES, SESSION
from flowcell_conformance.cli import questions
from flowcell_conformance.flows import EXPORTER, MISBEHAVING


def test_titles_are_unique() -> None:
    titles = Counter(question.title for question in questions(None, with_model=True))
    assert [title for title, count in titles.items() if count > 1] == []


def test_every_flow_of_a_case_is_exported() -> None:
    exporter = (EXPORTER / "export_flows.py").read_text()
    exported = set(re.findall(r'^    "(\w+)": ', exporter, re.MULTILINE)) | {"model"}
    assert {case.flow for case in CASES} <= exported
    assert set(MISBEHAVING) <= exported


def test_no_case_asks_langflow_to_run_what_would_end_it() -> None:
    assert {case.flow for case in CASES}.isdisjoint(MISBEHAVING)


def test_a_session_is_put_into_the_body() -> None:
    case = next(case for case in CASES if case.name == "unicode")
    body = json.loads(case.content(case.body, "s-1"))
    assert body["session_id"] == "s-1"
    assert SESSION not in case.content(case.body, "s-1").decode()


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
