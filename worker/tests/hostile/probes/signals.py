"""Ending oneself, others, or not at all. Each has a cell to itself and is judged from outside."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
import time

from hostile_kit import mark, probe


@probe("kill -9 1 and every other signal", mode="alone", ends=("done", "exited_early", "component"))
def kills_the_first_process(scene) -> str | None:  # noqa: ANN001
    """Ending the first process of the cell hurts anybody but the cell."""
    mark(scene)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGKILL):
        with contextlib.suppress(OSError):
            os.kill(1, number)
    time.sleep(0.3)
    return None


@probe("kill -9 -1", mode="alone", ends=("done", "exited_early"))
def kills_everybody(scene) -> str | None:  # noqa: ANN001
    """Ending every process in sight hurts anybody but the cell."""
    mark(scene)
    with contextlib.suppress(OSError):
        os.kill(-1, signal.SIGKILL)
    time.sleep(0.3)
    return None


@probe("kill -STOP -1", mode="alone", ends=("done", "exited_early", "timed_out"))
def stops_everybody(scene) -> str | None:  # noqa: ANN001
    """Stopping every process in sight keeps the cell beyond its time."""
    mark(scene)
    with contextlib.suppress(OSError):
        os.kill(-1, signal.SIGSTOP)
    os.kill(os.getpid(), signal.SIGSTOP)
    return None


@probe("SIGSTOP to oneself", mode="alone", ends=("done", "timed_out"))
def stops_itself(scene) -> str | None:  # noqa: ANN001
    """A stopped process stays beyond its time."""
    mark(scene)
    os.kill(os.getpid(), signal.SIGSTOP)
    return None


@probe("the end without a word", mode="alone", ends=("exited_early",))
def exits_at_once(scene) -> str | None:  # noqa: ANN001
    """Exit code 0 without a result is taken for a result."""
    mark(scene)
    os._exit(0)


@probe("a forged exit code: 137 looks like the kernel's kill for memory", mode="alone", ends=("exited_early",))
def exits_as_if_out_of_memory(scene) -> str | None:  # noqa: ANN001
    """An exit code is taken for the kernel's word."""
    mark(scene)
    os._exit(137)


@probe("abort", mode="alone", ends=("exited_early",))
def aborts(scene) -> str | None:  # noqa: ANN001
    """An abort is taken for a result."""
    mark(scene)
    os.abort()


@probe("a fault in C", mode="alone", ends=("exited_early",))
def faults(scene) -> str | None:  # noqa: ANN001
    """A segmentation fault is taken for a result."""
    mark(scene)
    ctypes.string_at(1)


@probe("closing every descriptor: lifeline, connection, everything", mode="alone", ends=("exited_early", "timed_out"))
def closes_everything(scene) -> str | None:  # noqa: ANN001
    """A process without any descriptor stays."""
    mark(scene)
    os.closerange(0, 65536)
    time.sleep(scene.wall + 2)
    return None


@probe("deaf to the lifeline: its descriptor is replaced, its thread can see no end", mode="alone", ends=("timed_out",))
def deaf_to_the_lifeline(scene) -> str | None:  # noqa: ANN001
    """A process that has cut its lifeline stays beyond its time."""
    mark(scene)
    forever = os.pipe()[0]
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError, ValueError):
            if os.readlink(f"/proc/self/fd/{name}").startswith("pipe:") and int(name) not in (1, 2, forever):
                os.dup2(forever, int(name))
    time.sleep(scene.wall + 2)
    return "finding: it stayed beyond its time"


@probe("os._exit replaced: the lifeline's thread calls it by name", mode="alone", ends=("timed_out",))
def disarms_the_lifeline(scene) -> str | None:  # noqa: ANN001
    """A process whose exit does nothing stays beyond its time."""
    mark(scene)
    os._exit = lambda _code: None  # type: ignore[assignment]
    time.sleep(scene.wall + 2)
    return "finding: it stayed beyond its time"


@probe("a daemon: two forks and a session of its own", mode="alone", ends=("done",))
def leaves_a_daemon(scene) -> str | None:  # noqa: ANN001
    """A process outlives the result of its cell."""
    mark(scene)
    until = time.monotonic() + scene.wall + 20
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in range(1, 32):
                with contextlib.suppress(OSError, ValueError):
                    signal.signal(number, signal.SIG_IGN)
            os.closerange(0, 4096)
            while time.monotonic() < until:
                time.sleep(0.1)
        os._exit(0)
    time.sleep(0.2)
    return None


@probe("a thread that never ends", mode="alone", ends=("done",))
def leaves_a_thread(scene) -> str | None:  # noqa: ANN001
    """A thread keeps the process alive after its result."""
    mark(scene)
    until = time.monotonic() + scene.wall + 20

    def spin() -> None:
        while time.monotonic() < until:
            time.sleep(0.1)

    threading.Thread(target=spin, daemon=False).start()
    return None


@probe("PR_SET_PDEATHSIG, subreaper and a new session: orphans gathered", mode="alone", ends=("done",))
def gathers_orphans(scene) -> str | None:  # noqa: ANN001
    """A process that adopts orphans keeps them alive."""
    mark(scene)
    until = time.monotonic() + scene.wall + 20
    if os.fork() == 0:
        os.setsid()
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
        for _ in range(3):
            if os.fork() == 0:
                if os.fork() == 0:
                    time.sleep(until - time.monotonic())
                os._exit(0)
        while time.monotonic() < until:
            time.sleep(0.1)
        os._exit(0)
    time.sleep(0.2)
    return None
