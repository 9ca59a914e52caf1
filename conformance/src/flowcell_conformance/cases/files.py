"""Uploaded files in components."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..case import MODEL_CHOICE, Case, ask

if TYPE_CHECKING:
    from ..normalise import Json

MODEL_NODE = "LanguageModelComponent-FLeYF"


def _read(*paths: str, **more: Json) -> dict[str, Json]:
    """With these files in the File component."""
    listed: list[Json] = list(paths)
    return ask("unused", tweaks={"File-bbbbb": {"path": listed}}, **more)


def _show(*paths: str, text: str = "What is this?") -> dict[str, Json]:
    """A chat with these files, sent to the model."""
    listed: list[Json] = list(paths)
    return ask(text, tweaks={MODEL_NODE: {"model": MODEL_CHOICE}, "Chat Input": {"files": listed}})


def _case(name: str, flow: str, body: Json, *, model: bool = False, before: tuple[Json, ...] = ()) -> Case:
    return Case(name, flow, body, before=before, uses_files=True, uses_model=model, messages=True)


def _save(**fields: Json) -> dict[str, Json]:
    return ask("some text", tweaks={"SaveToFile-bbbbb": fields})


CASES: tuple[Case, ...] = (
    _case("text", "read_file", _read("$USER/notes.txt")),
    _case("csv", "read_file", _read("$USER/table.csv")),
    _case("json", "read_file", _read("$USER/data.json")),
    _case("two", "read_file", _read("$USER/notes.txt", "$USER/table.csv")),
    _case("debug", "read_file", _read("$USER/notes.txt", output_type="debug")),
    _case("none", "read_file", ask("unused")),
    _case("missing", "read_file", _read("$USER/gone.txt")),
    _case("foreign", "read_file", _read("$STRANGER/notes.txt")),
    _case("foreign-absolute", "read_file", _read("$STORAGE/$STRANGER/notes.txt")),
    _case("upwards", "read_file", _read("$USER/../$STRANGER/notes.txt")),
    _case("outside", "read_file", _read("/etc/passwd")),
    # One file of a kind: a folder has no order.
    _case(
        "folder",
        "read_folder",
        ask("x", tweaks={"Directory-bbbbb": {"path": "$STORAGE/$USER", "types": ["csv"]}}),
    ),
    _case("upwards", "read_folder", ask("x", tweaks={"Directory-bbbbb": {"path": "$STORAGE/.."}})),
    _case("foreign", "read_folder", ask("x", tweaks={"Directory-bbbbb": {"path": "$STORAGE/$STRANGER"}})),
    _case("picture", "model", _show("$FLOW_PICTURE"), model=True),
    _case("picture-of-user", "model", _show("$USER/picture.png"), model=True),
    _case("two-files", "model", _show("$FLOW_PICTURE", "$USER/notes.txt"), model=True),
    _case("no-picture", "model", _show("$USER/no picture.png"), model=True),
    _case("missing-picture", "model", _show("$FLOW/gone.png"), model=True),
    _case("foreign-picture", "model", _show("$STRANGER/picture.png"), model=True),
    _case("picture", "echo_files", ask("hi", tweaks={"ChatInput-aaaaa": {"files": ["$FLOW_PICTURE"]}})),
    _case("text", "write_file", _save(local_format="txt")),
    _case("json", "write_file", _save(file_name="other", local_format="json")),
    _case("upwards", "write_file", _save(file_name="../out", local_format="txt")),
    _case(
        "append",
        "write_file",
        _save(file_name="log", local_format="txt", append_mode=True),
        before=(_save(file_name="log", local_format="txt", append_mode=True),),
    ),
)
