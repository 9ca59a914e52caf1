"""The container lives only as long as its worker.

Standard input is held open by the worker. When it ends, for whatever reason, the
process ends at once: no clean-up, because nobody is left to see it. The
descriptor is moved away first, so that a component that reads standard input
finds it empty instead of cutting the line.
"""

from __future__ import annotations

import os
import threading

_EXIT_CODE = 70


def hold() -> None:
    """Watch standard input in a thread; component code gets an empty one."""
    line = os.dup(0)
    os.set_inheritable(line, False)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    threading.Thread(target=_watch, args=(line,), name="flowcell-lifeline", daemon=True).start()


def _watch(line: int) -> None:
    try:
        while os.read(line, 4096):
            pass
    except OSError:
        pass
    os._exit(_EXIT_CODE)
