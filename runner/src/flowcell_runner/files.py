"""Uploaded files, as lfx expects them: in its storage folder, under `<owner>/<name>`.

Nothing lies there when a cell begins. What the cell's values name is fetched from
the worker, which checks that they do; what a component stores is sent back, because
the folder goes with the container.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from lfx.graph.vertex.param_handler import ParameterHandler
from lfx.services.deps import get_settings_service
from lfx.services.schema import ServiceType
from lfx.services.storage.local import LocalStorageService

from flowcell_runner.link import CallError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lfx.services.manager import ServiceManager

    from flowcell_runner.link import Link

#: lfx's storage folder; `environment.py` says so to lfx.
FOLDER = Path("/tmp/.lfx")  # noqa: S108 - the container's only writable place
_NAME_BYTES_MAX = 255
#: What Write File may add to a name that it appends to.
_APPENDED_FORMATS = ("txt", "json", "markdown", "csv", "html")


class Files:
    """The files of one cell."""

    def __init__(self, link: Link, owners: frozenset[str]) -> None:
        self._link = link
        self._owners = owners
        self._asked: set[str] = set()

    async def place(self, value: Any) -> None:
        """Fetch every file that a text in the JSON-like value names."""
        for name in sorted(set(_texts(value))):
            if folder := self._folder_of(name):
                await self._place_folder(folder)
            elif path := self._path_of(name):
                await self.fetch(path)

    async def fetch(self, path: str) -> None:
        """Fetch one file; one that is not to be had stays absent, and lfx says so in its own words."""
        if path in self._asked:
            return
        self._asked.add(path)
        target = FOLDER / path
        piece, more = 0, True
        while more:
            try:
                answer = await self._link.call("file.get", {"path": path, "piece": piece})
            except CallError as error:
                if error.kind not in {"not_found", "refused"}:
                    raise
                target.unlink(missing_ok=True)
                return
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with target.open("wb" if piece == 0 else "ab") as file:
                file.write(base64.b64decode(answer["data"]))
            piece, more = piece + 1, bool(answer["more"])

    async def send(self, path: str, data: bytes) -> None:
        """Store a file outside of the container."""
        self._asked.add(path)
        await self._link.call("file.put", {"path": path, "data": base64.b64encode(data).decode()})

    async def _place_folder(self, owner: str) -> None:
        try:
            answer = await self._link.call("file.list", {"owner": owner})
        except CallError as error:
            if error.kind not in {"not_found", "refused"}:
                raise
            return
        (FOLDER / owner).mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in answer["names"]:
            await self.fetch(f"{owner}/{name}")

    def _folder_of(self, text: str) -> str | None:
        inside = text.removeprefix(f"{FOLDER}/")
        owner = inside.rstrip("/")
        return owner if inside != text and owner in self._owners else None

    def _path_of(self, text: str) -> str | None:
        owner, _, name = text.removeprefix(f"{FOLDER}/").partition("/")
        is_segment = (
            name not in {"", "."}
            and ".." not in name
            and not any(char in name for char in "/\\\0")
            and len(name.encode("utf-8", "replace")) <= _NAME_BYTES_MAX
        )
        return f"{owner}/{name}" if owner in self._owners and is_segment else None


class CellStorage(LocalStorageService):
    """lfx's own storage in the container's folder; what is stored also leaves the container."""

    name = "storage_service"

    def __init__(self, settings_service: Any) -> None:
        super().__init__(None, settings_service)
        self._files: Files | None = None

    def bind(self, files: Files) -> None:
        """Serve this cell."""
        self._files = files

    async def save_file(self, flow_id: str, file_name: str, data: bytes, *, append: bool = False) -> None:
        """Store a file of the run's user or flow."""
        if append and self._files is not None:
            await self._files.fetch(f"{flow_id}/{file_name}")
        await super().save_file(flow_id, file_name, data, append=append)
        if self._files is not None:
            whole = await self.get_file(flow_id, file_name) if append else data
            await self._files.send(f"{flow_id}/{file_name}", whole)


def appended_to(graph: Any, user_id: str) -> list[str]:
    """Return what Write File reads before it appends: no value of the flow has these paths as a whole."""
    paths = []
    for node in graph.get("nodes", []) if isinstance(graph, dict) else []:
        template = node.get("data", {}).get("node", {}).get("template", {})
        name = (template.get("file_name") or {}).get("value")
        if isinstance(name, str) and name and (template.get("append_mode") or {}).get("value") is True:
            paths += [f"{user_id}/{name}", *(f"{user_id}/{name}.{suffix}" for suffix in _APPENDED_FORMATS)]
    return paths


_storage: list[CellStorage] = []


def install(manager: ServiceManager) -> None:
    """Register the storage; once, before any component is built."""
    storage = CellStorage(get_settings_service())
    _storage[:] = [storage]
    manager.services[ServiceType.STORAGE_SERVICE] = storage
    _stand_in()
    _read_lists()


def bind(files: Files) -> None:
    """Connect the storage to the worker, for the one cell of this process."""
    for storage in _storage:
        storage.bind(files)


def _stand_in() -> None:
    """Put two functions of Langflow's server where Write File imports them.

    Only these modules, without the packages around them: lfx asks whether there is a
    `langflow` package at all, and there is none.
    """
    uploads = ModuleType("langflow.api.v2.files")
    users = ModuleType("langflow.services.database.models.user.crud")
    vars(uploads)["upload_user_file"] = _upload_user_file
    vars(users)["get_user_by_id"] = _get_user_by_id
    for module in (uploads, users):
        sys.modules[module.__name__] = module


def _read_lists() -> None:
    """Let a file field be a list where the flow says so.

    Langflow's server looks that up in its table of all components, which does not
    exist here; without it lfx takes every field for a single file.
    """
    look_up = ParameterHandler._canonical_file_fields  # noqa: SLF001 - there is no other place

    def with_lists(handler: ParameterHandler) -> dict[str, dict[str, Any]]:
        fields = look_up(handler)
        for name, field in fields.items():
            said = handler.template_dict.get(name)
            if isinstance(said, dict) and said.get("list") is True:
                field["list"] = True
        return fields

    setattr(ParameterHandler, "_canonical_file_fields", with_lists)  # noqa: B010


async def _get_user_by_id(_session: Any, user_id: Any) -> SimpleNamespace:
    return SimpleNamespace(id=user_id)


async def _upload_user_file(file: Any, current_user: Any, storage_service: Any, **_: Any) -> SimpleNamespace:
    data = await file.read()
    await storage_service.save_file(flow_id=str(current_user.id), file_name=file.filename, data=data)
    path = f"{current_user.id}/{file.filename}"
    return SimpleNamespace(name=Path(file.filename).stem, path=path, size=len(data), provider=None)


def _texts(value: Any) -> Iterator[str]:
    """Walk without recursion: values may be nested more deeply than Python likes."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            if "/" in item:
                yield item
        elif isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
