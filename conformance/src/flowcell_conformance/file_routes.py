"""What is asked of the routes of uploaded files, in this order: later steps use earlier answers."""

from __future__ import annotations

import io
import re
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from .normalise import Normaliser
from .places import PICTURE, STRANGER

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

    from .normalise import Json
    from .target import FlowRef, Target

ROUTES = "files/routes"
"""What a recording of these answers is filed under."""
SHOWN_HEADERS = ("content-type", "content-disposition")
_DIGIT = re.compile(r"\d")


@dataclass(frozen=True)
class Step:
    """One request. `{words}` in path and body are ids that earlier steps gave."""

    name: str
    method: str
    path: str
    file: tuple[str, bytes] | None = None
    body: Json = None
    gives: Mapping[str, str] = field(default_factory=dict)
    """Which fields of the answer are remembered, and as what."""


def _upload(name: str, file: str, content: bytes = b"content", query: str = "", gives: str = "") -> Step:
    remembered = {"id": gives} if gives else {}
    return Step(name, "POST", f"/api/v2/files/{query}", (file, content), gives=remembered)


STEPS: tuple[Step, ...] = (
    Step("start", "DELETE", "/api/v2/files/"),
    Step("empty-list", "GET", "/api/v2/files/"),
    _upload("upload", "notes.txt", b"first", gives="notes"),
    _upload("same-name", "notes.txt", b"second", gives="second"),
    _upload("third", "notes.txt", b"third", gives="third"),
    _upload("name-that-begins-so", "note.txt", gives="note"),
    _upload("no-extension", "README", gives="readme"),
    _upload("two-dots", "a.tar.gz", gives="tar"),
    _upload("unicode", "Zoë 🦀.csv", b"a,b\n", gives="unicode"),
    _upload("quotes", 'a "b".txt', gives="quotes"),
    _upload("empty", "empty.txt", b"", gives="empty"),
    _upload("not-text", "picture.png", PICTURE, gives="picture"),
    _upload("append-new", "log.txt", b"one", "?append=true", gives="log"),
    _upload("append", "log.txt", b"two", "?append=true"),
    _upload("ephemeral", "passing.txt", b"x", "?ephemeral=true", gives="passing"),
    _upload("bad-flag", "x.txt", b"x", "?append=perhaps"),
    _upload("dots", "../x.txt"),
    _upload("slash", "a/b.txt"),
    _upload("backslash", "a\\b.txt"),
    _upload("device", "CON.txt"),
    _upload("long", "x" * 252 + ".txt"),
    _upload("unseen", "a\u202eb.txt"),
    Step("no-file", "POST", "/api/v2/files/", body={"file": "x"}),
    Step("list", "GET", "/api/v2/files"),
    Step("download", "GET", "/api/v2/files/{notes}"),
    Step("download-second", "GET", "/api/v2/files/{second}"),
    Step("download-appended", "GET", "/api/v2/files/{log}"),
    Step("download-unicode", "GET", "/api/v2/files/{unicode}"),
    Step("download-quotes", "GET", "/api/v2/files/{quotes}"),
    Step("download-two-dots", "GET", "/api/v2/files/{tar}"),
    Step("download-no-extension", "GET", "/api/v2/files/{readme}"),
    Step("download-empty", "GET", "/api/v2/files/{empty}"),
    Step("download-ephemeral", "GET", "/api/v2/files/{passing}"),
    Step("content", "GET", "/api/v2/files/{unicode}?return_content=true"),
    Step("content-not-text", "GET", "/api/v2/files/{picture}?return_content=true"),
    Step("download-unknown", "GET", f"/api/v2/files/{STRANGER}"),
    Step("download-no-id", "GET", "/api/v2/files/nonsense"),
    Step("rename", "PUT", "/api/v2/files/{second}?name=other"),
    Step("rename-dots", "PUT", "/api/v2/files/{second}?name=.."),
    Step("rename-nothing", "PUT", "/api/v2/files/{second}"),
    Step("rename-unknown", "PUT", f"/api/v2/files/{STRANGER}?name=x"),
    Step("download-renamed", "GET", "/api/v2/files/{second}"),
    Step("batch", "POST", "/api/v2/files/batch/", body=["{notes}", "{second}", "{quotes}"]),
    Step("batch-unknown", "POST", "/api/v2/files/batch/", body=[STRANGER]),
    Step("batch-empty", "POST", "/api/v2/files/batch/", body=[]),
    Step("batch-no-ids", "POST", "/api/v2/files/batch/", body=["x", 7]),
    Step("batch-no-list", "POST", "/api/v2/files/batch/", body={"a": 1}),
    Step("delete", "DELETE", "/api/v2/files/{notes}"),
    Step("delete-again", "DELETE", "/api/v2/files/{notes}"),
    Step("delete-batch", "DELETE", "/api/v2/files/batch/", body=["{second}", "{third}", STRANGER]),
    Step("delete-batch-again", "DELETE", "/api/v2/files/batch/", body=["{second}"]),
    Step("list-after", "GET", "/api/v2/files/"),
    Step("delete-all", "DELETE", "/api/v2/files"),
    Step("flow-empty-list", "GET", "/api/v1/files/list/{flow}"),
    Step(
        "flow-upload",
        "POST",
        "/api/v1/files/upload/{flow}",
        ("notes.txt", b"text"),
        gives={"file_path": "notes_path"},
    ),
    Step(
        "flow-upload-picture",
        "POST",
        "/api/v1/files/upload/{flow}",
        ("picture.png", PICTURE),
        gives={"file_path": "picture_path"},
    ),
    Step("flow-upload-slash", "POST", "/api/v1/files/upload/{flow}", ("a/b.txt", b"x")),
    Step("flow-upload-no-file", "POST", "/api/v1/files/upload/{flow}", body={"file": "x"}),
    Step("flow-upload-unknown", "POST", f"/api/v1/files/upload/{STRANGER}", ("a.txt", b"x")),
    Step("flow-upload-no-id", "POST", "/api/v1/files/upload/nonsense", ("a.txt", b"x")),
    Step("flow-list", "GET", "/api/v1/files/list/{flow}"),
    Step("flow-list-unknown", "GET", f"/api/v1/files/list/{STRANGER}"),
    Step("flow-download", "GET", "/api/v1/files/download/{notes_path}"),
    Step("flow-image", "GET", "/api/v1/files/images/{picture_path}"),
    Step("flow-image-is-none", "GET", "/api/v1/files/images/{notes_path}"),
    Step("flow-download-missing", "GET", "/api/v1/files/download/{flow}/gone.txt"),
    Step("flow-download-dots", "GET", "/api/v1/files/download/{flow}/..gone.txt"),
    Step("flow-download-unknown", "GET", f"/api/v1/files/download/{STRANGER}/a.txt"),
    Step("flow-delete", "DELETE", "/api/v1/files/delete/{notes_path}"),
    Step("flow-delete-again", "DELETE", "/api/v1/files/delete/{notes_path}"),
    Step("flow-list-after", "GET", "/api/v1/files/list/{flow}"),
)


def converse(target: Target, flow: FlowRef) -> dict[str, Json]:
    """All steps, and the normalised answer to each."""
    user = cast("dict[str, str]", target.call("GET", "/api/v1/users/whoami"))["id"]
    words = {"flow": flow.id}
    normaliser = Normaliser({flow.id: "flow", user: "user"})
    seen: dict[str, Json] = {}
    target.call("DELETE", "/api/v2/files/")
    for step in STEPS:
        reply = target.request(
            step.method, _filled(step.path, words), file=step.file, body=_filled_body(step.body, words)
        )
        if step.gives and reply.is_success:
            answer = reply.json()
            words |= {word: str(answer[given]) for given, word in step.gives.items()}
        seen[step.name] = normaliser.value(_shown(reply))
    return seen


def _shown(reply: httpx.Response) -> dict[str, Json]:
    shown: dict[str, Json] = {"status": reply.status_code}
    shown |= {name: reply.headers[name] for name in SHOWN_HEADERS if name in reply.headers}
    kind = reply.headers.get("content-type", "")
    if kind == "application/x-zip-compressed":
        with zipfile.ZipFile(io.BytesIO(reply.content)) as archive:
            shown["archive"] = {name: archive.read(name).decode("latin-1") for name in archive.namelist()}
    elif kind.startswith("application/json") and "content-disposition" not in reply.headers:
        shown["body"] = _comparable(cast("Json", reply.json()))
    else:
        shown["content"] = reply.content.decode("latin-1")
    return shown


def _comparable(body: Json) -> Json:
    """Langflow lists a flow's files in no order, and makes a row's two times one after the other."""
    if isinstance(body, list):
        return [_without_moments(row) for row in body]
    if isinstance(body, dict) and isinstance(body.get("files"), list):
        names: list[Json] = [*sorted(str(name) for name in cast("list[Json]", body["files"]))]
        return {**body, "files": names}
    return body


def _without_moments(row: Json) -> Json:
    if not isinstance(row, dict):
        return row
    return {
        key: _DIGIT.sub("0", str(value)) if key in {"created_at", "updated_at"} else value
        for key, value in row.items()
    }


def _filled(text: str, words: Mapping[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(f"{{{word}}}", value)
    return text


def _filled_body(body: Json, words: Mapping[str, str]) -> Json:
    if isinstance(body, list):
        return [_filled(item, words) if isinstance(item, str) else item for item in body]
    return body
