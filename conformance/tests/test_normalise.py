from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from flowcell_conformance.normalise import Normaliser

if TYPE_CHECKING:
    from flowcell_conformance.normalise import Json

A = "0004b910-b0d3-4bf0-84e2-dfbde8b4ec86"
B = "d6cf659a-b273-4056-b890-1d05ff2685d8"


def test_ids_are_numbered_by_first_appearance_and_keep_their_equality() -> None:
    assert Normaliser().value([A, B, A]) == ["<uuid-1>", "<uuid-2>", "<uuid-1>"]
    assert Normaliser().value([A, B, B]) != Normaliser().value([A, B, A])


def test_numbering_does_not_depend_on_the_order_of_keys() -> None:
    assert Normaliser().value({"x": A, "y": B}) == Normaliser().value({"y": B, "x": A})


def test_ids_keep_their_number_across_values() -> None:
    normaliser = Normaliser()
    assert normaliser.value({"id": A}) == {"id": "<uuid-1>"}
    assert normaliser.text(f"again {A.upper()}, then {B}") == "again <uuid-1>, then <uuid-2>"


def test_known_names_win_over_patterns() -> None:
    normaliser = Normaliser({A: "flow", "http://127.0.0.1:7860": "server"})
    assert normaliser.text(f"http://127.0.0.1:7860/run/{A}") == "<server>/run/<flow>"


def test_a_longer_known_name_wins_over_a_shorter_one_inside_it() -> None:
    assert Normaliser({"echo": "short", "echo-1": "long"}).text("echo-1") == "<long>"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-21 23:02:31.321239 UTC", "<time-utc-1>"),
        ("2026-11-21 23:02:31 UTC", "<time-utc-1>"),
        ("2026-11-21T23:05:37+00:00", "<time-iso-1>"),
        ("2026-11-21T23:05:37.061981Z", "<time-iso-1>"),
    ],
)
def test_moments_with_a_zone_are_replaced(text: str, expected: str) -> None:
    assert Normaliser().text(text) == expected


@pytest.mark.parametrize("text", ["2026-01-02T03:04:05", "2026-01-02", "at 10:00", "0x1f", "1234-5678"])
def test_data_of_a_flow_stays(text: str) -> None:
    assert Normaliser().text(text) == text


def test_object_addresses_are_replaced() -> None:
    text = "<lfx.custom.validate.FakeLLM object at 0x7fc79d85ecd0>"
    assert Normaliser().text(text) == "<lfx.custom.validate.FakeLLM object at <address-1>>"


def test_seconds_in_names_of_files_are_all_the_same() -> None:
    names = ["2026-11-23_10-15-07_a.png", "2026-11-23_10-15-08_b.png"]
    assert Normaliser().value([*names]) == ["<file-time>_a.png", "<file-time>_b.png"]


@pytest.mark.parametrize("field", ["duration", "build_duration", "timedelta"])
def test_durations_count_only_by_their_presence(field: str) -> None:
    assert Normaliser().value({field: 0.297}) == Normaliser().value({field: 12})
    assert Normaliser().value({field: "298 ms"}) == Normaliser().value({field: "1 s"})
    assert Normaliser().value({field: None}) == {field: None}


def test_traceback_paths_lose_the_place_of_python() -> None:
    here = 'File "/opt/venv/lib/python3.11/site-packages/lfx/custom/component.py", line 1703, in build'
    there = 'File "site-packages/lfx/custom/component.py", line 1703, in build'
    assert Normaliser().text(here) == Normaliser().text(there)
    assert "line 1703" in Normaliser().text(here)


def test_traceback_lines_of_python_itself_are_dropped_but_not_those_of_a_component() -> None:
    library = 'File "/usr/lib/python3.11/asyncio/threads.py", line 25, in to_thread'
    assert Normaliser().text(library) == 'File "<python>/asyncio/threads.py", line <line>, in to_thread'
    component = 'File "<string>", line 58, in build_output'
    assert Normaliser().text(component) == component


def test_json_inside_a_string_is_normalised_too() -> None:
    inner: Json = {"detail": json.dumps({"run": A})}
    assert Normaliser().value(inner) == {"detail": '{"run": "<uuid-1>"}'}


def test_everything_else_stays_as_it_is() -> None:
    value: Json = {"a": [1, 1.5, True, None, "text"], "": {}}
    assert Normaliser().value(value) == value


def test_durations_inside_texts_are_replaced() -> None:
    assert (
        Normaliser().text("Completed 2 iteration(s) in 0.036s") == "Completed 2 iteration(s) in <duration>s"
    )
    assert Normaliser().text('{\n    "duration": 12,') == '{\n    "duration": <duration>,'
    assert Normaliser().text('"duration": null, in 3 steps') == '"duration": null, in 3 steps'
