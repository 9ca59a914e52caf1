from __future__ import annotations

import json
from typing import TYPE_CHECKING

from flowcell_conformance.cli import EXIT_USAGE, main
from flowcell_conformance.compare import Difference, Verdict
from flowcell_conformance.report import Table

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_list_prints_the_titles(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--only", "boom/plain/*"]) == 0
    assert capsys.readouterr().out.split() == ["boom/plain/plain", "boom/plain/stream"]


def test_a_pattern_that_fits_nothing_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--only", "no-such/*"]) == EXIT_USAGE
    assert "no case fits" in capsys.readouterr().err


def test_missing_credentials_are_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FLOWCELL_URL", raising=False)
    recording = tmp_path / "recording.json"
    recording.write_text("{}")
    assert main(["compare", "--recording", str(recording), "--only", "echo/plain/*"]) == EXIT_USAGE
    assert "FLOWCELL_URL" in capsys.readouterr().err


def test_a_recording_compared_with_itself_is_equal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = tmp_path / "recording.json"
    recording.write_text(json.dumps({"echo/plain/plain": {"status": 200}}))
    arguments = ["compare", "--self", "--recording", str(recording), "--only", "echo/plain/plain", "--json"]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)[0]["equal"] is True


def test_an_answer_that_was_not_recorded_is_a_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = tmp_path / "recording.json"
    recording.write_text("{}")
    assert main(["compare", "--self", "--recording", str(recording), "--only", "echo/plain/plain"]) == 1
    assert "not in the recording" in capsys.readouterr().out


def test_the_table_shows_the_first_difference_and_the_count(capsys: pytest.CaptureFixture[str]) -> None:
    verdicts = [
        Verdict("a/b/plain"),
        Verdict("a/c/plain", (Difference("body.x", 1, 2), Difference("body.y", 3, 4))),
    ]
    table = Table([verdict.title for verdict in verdicts], every_difference=False)
    for verdict in verdicts:
        table.show(verdict)
    table.end()
    out = capsys.readouterr().out
    assert "at body.x" in out
    assert "at body.y" not in out
    assert out.endswith("1 equal, 1 different\n")
