from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from flowcell_conformance.process import Process, ProcessFailedError, wait_until

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT = {"PATH": os.environ["PATH"]}


def python(code: str, log: Path) -> Process:
    return Process([sys.executable, "-c", code], environment=ENVIRONMENT, log=log, name="child")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_child_that_ends_early_is_told_with_its_log(tmp_path: Path) -> None:
    child = python("raise SystemExit('went wrong')", tmp_path / "log")
    with pytest.raises(ProcessFailedError, match="went wrong"):
        child.wait_ready(lambda: False, seconds=20)


def test_a_child_that_never_gets_ready_is_told(tmp_path: Path) -> None:
    with (
        python("import time; time.sleep(60)", tmp_path / "log") as child,
        pytest.raises(ProcessFailedError, match="not ready"),
    ):
        child.wait_ready(lambda: False, seconds=0.2)


def test_stop_ends_grandchildren_too(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = (
        "import subprocess, sys, time, pathlib;"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        f"f = pathlib.Path({str(pid_file)!r}); f.with_suffix('.new').write_text(str(p.pid));"
        "f.with_suffix('.new').rename(f); time.sleep(60)"
    )
    child = python(code, tmp_path / "log")
    child.wait_ready(pid_file.exists, seconds=20)
    grandchild = int(pid_file.read_text())
    child.stop()
    # Nobody may reap it at once when this machine's first process is slow to.
    wait_until(lambda: not alive(grandchild) or _is_zombie(grandchild), seconds=10, what="end of grandchild")


def _is_zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
            return stat.read().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_stop_of_a_child_that_ignores_sigterm_kills_it(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    code = (
        "import signal, time, pathlib; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"pathlib.Path({str(ready)!r}).touch(); time.sleep(60)"
    )
    child = python(code, tmp_path / "log")
    child.wait_ready(ready.exists, seconds=20)
    assert child.stop(grace_seconds=0.2) == -9


def test_wait_until_names_what_it_waited_for() -> None:
    with pytest.raises(TimeoutError, match="the moon did not happen"):
        wait_until(lambda: False, seconds=0.1, what="the moon")
