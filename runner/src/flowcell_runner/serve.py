"""One task over one connection: ready, task, everything the cell says, one final frame."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import platform
from typing import Any

import flowcell_runner
from flowcell_runner.cell import Cell
from flowcell_runner.children import limit_reached
from flowcell_runner.egress import is_egress, open_egress
from flowcell_runner.errors import CpuTimeError, InputError, failure
from flowcell_runner.frames import FrameError, Kind, PayloadTooLargeError
from flowcell_runner.limits import limit_cpu, lower_open_files
from flowcell_runner.link import Link, LinkClosedError
from flowcell_runner.output import Capture

EXIT_DONE = 0
EXIT_NO_TASK = 64
EXIT_PROTOCOL = 65
EXIT_WORKER_GONE = 69


def serve(link: Link, *, import_ms: int) -> int:
    """Serve the one task and return the process's exit code."""
    try:
        link.send(Kind.READY, _ready(import_ms))
        task = link.receive_task()
        if task is None:
            return EXIT_NO_TASK
        kind, payload = _run(task, link)
        _send_final(link, kind, payload)
        link.finish()
    except FrameError:
        return EXIT_PROTOCOL
    except (LinkClosedError, OSError):
        return EXIT_WORKER_GONE
    return EXIT_DONE


#: Reading the metadata of a package takes milliseconds, which forked processes share.
_VERSIONS = {
    "runner": flowcell_runner.__version__,
    "lfx": importlib.metadata.version("lfx"),
    "python": platform.python_version(),
}


def _ready(import_ms: int) -> dict[str, Any]:
    return {**_VERSIONS, "import_ms": import_ms}


def _run(task: dict[str, Any], link: Link) -> tuple[Kind, dict[str, Any]]:
    cell: Cell | None = None
    limits = task.get("limits")
    limits = limits if isinstance(limits, dict) else {}
    capture = Capture(link, int(limits.get("log_bytes_max", 0)), limits.get("log_lines_max"))
    capture.start()
    try:
        _lower_limits(limits, link)
        cell = Cell(task, link)
        _open_egress(task)
        return Kind.RESULT, asyncio.run(cell.run())
    except BaseException as error:  # noqa: BLE001 - whatever ends a component, the worker is told
        node = cell.node if cell else None
        component, source = cell.describe() if cell else (None, "")
        reached = limit_reached()
        return Kind.FAILURE, failure(error, node=node, component=component, source=source, reached=reached)
    finally:
        capture.stop()


def _lower_limits(limits: dict[str, Any], link: Link) -> None:
    # A worker of before sends neither.
    if (open_files := limits.get("open_files")) is not None:
        lower_open_files(int(open_files))
    if (cpu_ms := limits.get("cpu_ms")) is not None:
        limit_cpu(int(cpu_ms), lambda: _end_for_cpu(link, int(cpu_ms)))


def _end_for_cpu(link: Link, limit_ms: int) -> None:
    """Say why, and end: nothing else stops a component that computes in some other thread."""
    try:
        link.send(Kind.FAILURE, failure(CpuTimeError(f"the cell used more than {limit_ms} ms of processor time")))
    finally:
        os._exit(EXIT_DONE)


def _open_egress(task: dict[str, Any]) -> None:
    egress = task.get("egress")
    if egress is None:
        return
    if not is_egress(egress):
        msg = "the task has no valid 'egress'"
        raise InputError(msg)
    open_egress(egress)


def _send_final(link: Link, kind: Kind, payload: dict[str, Any]) -> None:
    try:
        link.send(kind, payload)
    except PayloadTooLargeError as error:
        link.send(Kind.FAILURE, failure(error))
