"""Limits that a process can only set for itself, lowered before the first line of user code.

Open files have no other guard. Processor time is counted by the worker, for all
processes together; what is set here is for hosts where the worker cannot see it,
and lies a little above, so that the worker's count comes first where there is one.
"""

from __future__ import annotations

import contextlib
import math
import resource
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: How much later than the worker's count the signal comes.
_LATER_SECONDS = 1
#: How long there is to react to it before the kernel ends the process.
_GRACE_SECONDS = 5


def lower_open_files(most: int) -> None:
    """Lower the number of open files of every process; never raise it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowered = _lower(most, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowered, lowered))


def limit_cpu(limit_ms: int, then: Callable[[], None]) -> None:
    """Call `then` in a thread of its own when this process has used so much more processor time."""

    def over(_signal: int, _frame: object) -> None:
        # Once: the kernel repeats the signal every second until its hard limit.
        signal.signal(signal.SIGXCPU, signal.SIG_IGN)
        # No thread left to be had means that the hard limit ends the process.
        with contextlib.suppress(RuntimeError):
            threading.Thread(target=then, name="flowcell-cpu", daemon=True).start()

    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(used.ru_utime + used.ru_stime + limit_ms / 1000) + _LATER_SECONDS
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    signal.signal(signal.SIGXCPU, over)
    resource.setrlimit(resource.RLIMIT_CPU, (_lower(soft, hard), _lower(soft + _GRACE_SECONDS, hard)))


def _lower(wanted: int, hard: int) -> int:
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
