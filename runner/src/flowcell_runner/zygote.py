"""The process that cells are forked from.

It imports Langflow's runtime, runs a tiny cell, and from then on obeys its worker
alone: fork one child into the cell that a descriptor names. The privileged part is
a small library of ours (`zygote/`); it returns here once in every child, inside its
cell and with nothing left but one socket. No tenant's byte ever reaches this
process, and it holds no secret, so that a child inherits none.
"""

from __future__ import annotations

import ctypes
import gc
import os
import random
import socket
import sys
import time
from typing import Any

_STARTED = time.monotonic()

from flowcell_runner import environment  # noqa: E402 - the clock starts first

CONTROL_SOCKET = "/run/flowcell/zygote.sock"
LIBRARY = "/opt/flowcell/lib/libflowcell_zygote.so"

_EXIT_BROKEN = 71
_WORKER_GONE = -1


class _Hooks(ctypes.Structure):
    """What the interpreter has to be told around a fork, as the library wants it."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("before", "parent", "child")]


def main() -> None:
    """Serve forks until the worker is gone; in each child, serve one cell."""
    gc.disable()
    environment.prepare()
    os.environ["FLOWCELL_WARM"] = "full"

    # What only children run is imported here too: once, and not in each of them.
    from flowcell_runner import warm
    from flowcell_runner.link import Link
    from flowcell_runner.serve import serve

    warm.warm_up()
    os.environ.pop("FLOWCELL_WARM", None)
    generators = _generators()
    import_ms = int((time.monotonic() - _STARTED) * 1000)

    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    control.connect(CONTROL_SOCKET)
    descriptor = _serve(control.fileno())
    if descriptor < 0:
        os._exit(0 if descriptor == _WORKER_GONE else _EXIT_BROKEN)

    # From here on this is one cell, to the end of the process.
    _reseed(generators)
    # The pages that every cell writes to are copied now, while nobody waits.
    warm.touch()
    link = Link(socket.socket(fileno=descriptor))
    os._exit(serve(link, import_ms=import_ms))


def _serve(control: int) -> int:
    """Return the socket's number in a child, and a negative number at the end of the parent."""
    # Loaded with the interpreter's lock held throughout: there is one thread.
    library = ctypes.PyDLL(LIBRARY)
    hooks = _Hooks(
        *(
            ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p)
            for name in ("PyOS_BeforeFork", "PyOS_AfterFork_Parent", "PyOS_AfterFork_Child")
        )
    )
    serve = library.flowcell_zygote_serve
    serve.argtypes = [ctypes.c_int, _Hooks]
    serve.restype = ctypes.c_int
    return int(serve(control, hooks))


def _generators() -> list[Any]:
    """Find every generator that exists before the fork; children must not repeat each other."""
    numpy = sys.modules.get("numpy.random")
    kinds = (random.Random, *((numpy.Generator, numpy.RandomState) if numpy else ()))
    gc.unfreeze()
    found = [thing for thing in gc.get_objects() if isinstance(thing, kinds)]
    gc.freeze()
    return found


def _reseed(generators: list[Any]) -> None:
    numpy = sys.modules.get("numpy.random")
    for generator in generators:
        if isinstance(generator, random.Random):
            generator.seed()
        elif numpy is not None and isinstance(generator, numpy.Generator):
            # With another state alone, what is spawned from it would still repeat.
            generator.__init__(type(generator.bit_generator)())
        else:
            # Not every kind of bits can be seeded again; every one takes a state.
            bits = generator._bit_generator  # noqa: SLF001 - numpy has no other way to it
            bits.state = type(bits)().state
    if numpy is not None:
        numpy.seed()


if __name__ == "__main__":
    main()
