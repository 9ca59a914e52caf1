"""Limits that the kernel keeps per user and not per control group: one cell takes all, another has none.

Cells of one user id share these counts, whatever namespaces they have. Pairs, as in `cross_cell`.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import errno
import fcntl
import os
import signal
import socket
import time
from typing import Any

from hostile_kit import call, pair

_HELD: list[Any] = []


def _all_of(make, codes: tuple[int, ...], most: int) -> None:  # noqa: ANN001
    for _ in range(most):
        try:
            _HELD.append(make())
        except OSError as error:
            if error.errno in codes:
                return
            raise


def _used_up(make, codes: tuple[int, ...], what: str) -> str | None:  # noqa: ANN001
    try:
        made = make()
    except OSError as error:
        if error.errno in codes:
            return f"{what}: {error.strerror}"
        raise
    if isinstance(made, int):
        os.close(made)
    return None


def _inotify() -> int:
    return call("inotify_init1", os.O_CLOEXEC)


@pair("inotify instances are counted per user: fs.inotify.max_user_instances",
      lambda: _used_up(_inotify, (errno.EMFILE,), "no inotify instance left"))  # fmt: skip
def inotify_instances() -> str | None:
    """All inotify instances of the user are taken."""
    return _all_of(_inotify, (errno.EMFILE,), 5000)


def _pipes_are_small() -> str | None:
    left, right = os.pipe()
    size = fcntl.fcntl(left, 1032)
    os.close(left)
    os.close(right)
    return f"a new pipe holds {size} bytes" if size < 65536 else None


@pair("pages of pipes are counted per user: fs.pipe-user-pages-soft", _pipes_are_small)
def pages_of_pipes() -> str | None:
    """Other cells' pipes are small because this one has all the pages."""
    with contextlib.suppress(OSError):
        for _ in range(120):
            pipe = os.pipe()
            _HELD.append(pipe)
            fcntl.fcntl(pipe[0], 1031, 1 << 20)
    # What is left beneath the next megabyte.
    with contextlib.suppress(OSError):
        for _ in range(300):
            pipe = os.pipe()
            _HELD.append(pipe)
            if fcntl.fcntl(pipe[0], 1032) < 65536:
                break
    return None


_QUEUE = (ctypes.c_long * 8)(0, 10, 8192)


def _queue() -> int:
    name = f"hc-{os.getpid()}-{len(_HELD)}-{time.monotonic_ns()}".encode()
    queue = call("mq_open", name, os.O_CREAT | os.O_RDWR, 0o600, _QUEUE)
    call("mq_unlink", name)
    return queue


@pair("bytes of message queues are counted per user: RLIMIT_MSGQUEUE",
      lambda: _used_up(_queue, (errno.EMFILE,), "no message queue left"))  # fmt: skip
def bytes_of_message_queues() -> str | None:
    """All message queues of the user are taken."""
    return _all_of(_queue, (errno.EMFILE, errno.ENOSPC), 300)


def _timer() -> None:
    timer = ctypes.c_int()
    call("timer_create", 1, 0, ctypes.byref(timer))


@pair("pending signals are counted per user: RLIMIT_SIGPENDING",
      lambda: _used_up(_timer, (errno.EAGAIN,), "no timer left"))  # fmt: skip
def pending_signals() -> str | None:
    """All timers and queued signals of the user are taken."""
    return _all_of(_timer, (errno.EAGAIN, errno.ENOMEM), 200_000)


def _flying() -> None:
    """Send descriptors to oneself and do not take them out."""
    pair_of = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    _HELD.append(pair_of)
    null = os.open("/dev/null", os.O_RDONLY)
    try:
        pair_of[0].sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null] * 250))])
    finally:
        os.close(null)


@pair("descriptors in flight are counted per user: ETOOMANYREFS",
      lambda: _used_up(_flying, (errno.ETOOMANYREFS,), "no descriptor can be sent"))  # fmt: skip
def descriptors_in_flight() -> str | None:
    """All descriptors in flight of the user are taken."""
    return _all_of(_flying, (errno.ETOOMANYREFS,), 300)


def _forks() -> str | None:
    try:
        child = os.fork()
    except BlockingIOError:
        return "no process can be made"
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return None


@pair("processes are counted per user where RLIMIT_NPROC is set", _forks)
def processes() -> str | None:
    """All processes of the user are taken."""
    for _ in range(40):
        try:
            child = os.fork()
        except BlockingIOError:
            return None
        if child == 0:
            signal.alarm(30)
            signal.pause()
            os._exit(0)
    return None
