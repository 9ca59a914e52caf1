"""An exception, as the failure frame tells it.

The words are Langflow's own, because clients compare them. The traceback holds
the component's frames only: where our files lie is nobody's business, and the
rest of the stack is lfx's and ours.
"""

from __future__ import annotations

import errno
import os
import re
import sysconfig
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lfx.custom.validate import DEFAULT_IMPORT_STRING
from lfx.exceptions.component import ComponentBuildError

from flowcell_runner.codec import CodecError
from flowcell_runner.frames import PayloadTooLargeError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: lfx puts its default imports before a component's source; line numbers count them.
_LINES_BEFORE_SOURCE = DEFAULT_IMPORT_STRING.count("\n") + 1
_COMPONENT_FILE = "<string>"
_TEXT_MAX = 20_000


_INSTALLED = tuple(
    re.escape(str(Path(sysconfig.get_path(name)).parent) + os.sep) for name in ("purelib", "platlib", "stdlib")
)
_PATHS = re.compile("|".join(dict.fromkeys(_INSTALLED)))


def without_paths(value: Any) -> Any:
    """Return the JSON-like value with installation folders cut from every traceback in it."""
    if isinstance(value, list):
        return [without_paths(item) for item in value]
    if isinstance(value, dict):
        return {
            key: _PATHS.sub("", item) if key == "traceback" and isinstance(item, str) else without_paths(item)
            for key, item in value.items()
        }
    return value


class InputError(Exception):
    """The task itself cannot be run."""


class OutputLimitError(Exception):
    """The cell made more output than its limit."""


class CpuTimeError(Exception):
    """The cell computed for longer than its limit."""


#: What our own errors say of a limit. `frame` is no setting: nothing larger can travel.
_LIMITS = {OutputLimitError: "output_bytes_max", PayloadTooLargeError: "frame", CpuTimeError: "cpu_ms"}


def failure(
    error: BaseException,
    *,
    node: str | None = None,
    component: str | None = None,
    source: str = "",
    reached: str | None = None,
) -> dict[str, Any]:
    """Return the failure frame's payload for what ended the cell.

    `reached` is a limit that Langflow's words would hide: Run Flow says only that the flow failed.
    """
    root = _root(error)
    missing = _missing_package(error)
    return {
        "kind": "limit" if reached else _kind(error, node, missing),
        "limit": reached or next(filter(None, map(_limit, _chain(error))), None),
        "node": node,
        "component": component,
        "message": _message(error)[:_TEXT_MAX],
        "exception": type(root).__name__,
        "package": missing,
        "traceback": _component_frames(root, source),
    }


def _kind(error: BaseException, node: str | None, missing: str | None) -> str:
    if any(isinstance(link, OutputLimitError | PayloadTooLargeError | CpuTimeError) for link in _chain(error)):
        return "limit"
    if isinstance(error, InputError):
        return "input"
    if isinstance(error, CodecError):
        return "codec"
    if missing is not None:
        return "import"
    return "component" if node is not None else "internal"


def _limit(error: BaseException) -> str | None:
    """Return the setting of the limit that the error comes from; the worker checks what it can see."""
    for kind, limit in _LIMITS.items():
        if isinstance(error, kind):
            return limit
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return "pids"
    if isinstance(error, OSError):
        # Of the two places that can be full, only one has a setting.
        if error.errno == errno.ENOSPC and not str(error.filename or "").startswith("/dev/shm"):  # noqa: S108
            return "tmpfs_bytes"
        return {errno.EMFILE: "open_files", errno.EAGAIN: "pids"}.get(error.errno or 0)
    return None


def _message(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"the component ended its process with exit code {error.code!r}"
    return str(error) or type(error).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)


def _root(error: BaseException) -> BaseException:
    """Return the component's own exception: what lfx wrapped, not what caused that."""
    if isinstance(error, ComponentBuildError) and error.__cause__ is not None:
        return error.__cause__
    return error


def _missing_package(error: BaseException) -> str | None:
    found: str | None = None
    for link in _chain(error):
        if isinstance(link, ModuleNotFoundError):
            if link.name:
                return link.name.split(".")[0]
            # lfx raises its own text without the name, the original is further down the chain.
            words = str(link).split()
            if len(words) > 1 and words[0] == "Module":
                found = found or words[1].split(".")[0].rstrip(".")
    return found


def _component_frames(error: BaseException, source: str) -> str | None:
    lines = source.splitlines()
    shown = []
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename != _COMPONENT_FILE:
            continue
        number = (frame.lineno or 0) - _LINES_BEFORE_SOURCE
        shown.append(f"  line {number}, in {frame.name}")
        if 0 < number <= len(lines):
            shown.append(f"    {lines[number - 1].strip()}")
    if not shown:
        return None
    last = "".join(traceback.format_exception_only(error)).strip()
    return "\n".join(["Traceback of the component:", *shown, last])[:_TEXT_MAX]
