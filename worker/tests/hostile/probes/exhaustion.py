"""Using up what all cells share.

The ones that run together say how far they got; every one of them stops by itself a little beyond
the limit, so that the control harms nobody. The ones that run alone are judged by how they ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import select
import signal
import sys
import threading
import time

from hostile_kit import LIBC, call, mark, probe, scratch

_MIB = 1 << 20


def _fork_until(most: int) -> tuple[int, list[int]]:
    children: list[int] = []
    with contextlib.suppress(OSError):
        while len(children) < most:
            child = os.fork()
            if child == 0:
                signal.pause()
                os._exit(0)
            children.append(child)
    return len(children), children


@probe("CIS 5.29: a fork bomb", seconds=20)
def processes(scene) -> str | None:  # noqa: ANN001
    """More processes than allowed run at once."""
    count, children = _fork_until(scene.limits["pids"] + 60)
    for child in children:
        os.kill(child, signal.SIGKILL)
    for child in children:
        os.waitpid(child, 0)
    return f"{count} processes" if count > scene.limits["pids"] else None


@probe("CIS 5.29: threads count as well", seconds=20)
def threads(scene) -> str | None:  # noqa: ANN001
    """More threads than allowed run at once."""
    stop, count = threading.Event(), 0
    with contextlib.suppress(RuntimeError):
        for _ in range(scene.limits["pids"] + 60):
            threading.Thread(target=stop.wait, daemon=True).start()
            count += 1
    stop.set()
    return f"{count} threads" if count > scene.limits["pids"] else None


@probe("CIS 5.19: open files", seconds=20)
def open_files(scene) -> str | None:  # noqa: ANN001
    """More files than allowed are open at once."""
    held = []
    with contextlib.suppress(OSError):
        while len(held) <= scene.limits["files"] + 200:
            held.append(os.open("/dev/null", os.O_RDONLY))
    for descriptor in held:
        os.close(descriptor)
    return f"{len(held)} open files" if len(held) > scene.limits["files"] else None


def _fill(folder: str, most: int) -> int:
    """Bytes that could be written; the file is removed again."""
    path, written, block = f"{folder}/hc-fill-{os.getpid()}", 0, b"x" * _MIB
    try:
        with open(path, "wb", buffering=0) as file:
            while written < most:
                written += file.write(block)
    except OSError:
        pass
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)
    return written


@probe("the disk, by way of /tmp", seconds=30)
def temporary_files(scene) -> str | None:  # noqa: ANN001
    """More can be written to /tmp than its size allows."""
    limit = scene.limits["tmpfs_bytes"]
    written = _fill("/tmp", limit + 4 * _MIB)
    return f"{written // _MIB} MiB" if written > limit else None


@probe("memory, by way of /dev/shm", seconds=20)
def shared_memory_files(scene) -> str | None:  # noqa: ANN001
    """More can be written to /dev/shm than its size allows."""
    if not os.path.isdir("/dev/shm"):
        return None
    limit = scene.limits["shm_bytes"]
    written = _fill("/dev/shm", limit + 4 * _MIB)
    return f"{written // _MIB} MiB" if written > limit else None


@probe("the disk, by way of a writable directory that has no limit", seconds=20)
def other_directories(scene) -> str | None:  # noqa: ANN001
    """A directory other than /tmp and /dev/shm takes more than a MiB."""
    for folder in ("/", "/run", "/run/flowcell", "/var/tmp", "/var/log", "/home", "/opt", "/dev", "/run/lock", "/dev/mqueue"):
        if os.path.isdir(folder) and (written := _fill(folder, 4 * _MIB)) > _MIB:
            return f"{folder} took {written // _MIB} MiB"
    return None


@probe("inodes: a file system is full of empty files", seconds=40)
def inodes(scene) -> str | None:  # noqa: ANN001
    """More files can be made than memory for them was set aside."""
    folder, count = scratch("inodes"), 0
    # An inode of a tmpfs takes about a kilobyte of the kernel's memory.
    most = scene.limits["tmpfs_bytes"] // 1024
    began = time.monotonic()
    with contextlib.suppress(OSError):
        while count <= most and time.monotonic() - began < 25:
            os.close(os.open(f"{folder}/{count}", os.O_CREAT | os.O_WRONLY))
            count += 1
    for name in os.listdir(folder):
        os.unlink(f"{folder}/{name}")
    return f"{count} files" if count > most else None


@probe("a sparse file looks large and costs nothing; a real one must not follow")
def preallocates(scene) -> str | None:  # noqa: ANN001
    """More can be set aside by fallocate than /tmp's size allows."""
    path, limit = f"{scratch('allocate')}/file", scene.limits["tmpfs_bytes"]
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
    try:
        os.posix_fallocate(descriptor, 0, limit + _MIB)
    finally:
        os.unlink(path)
        os.close(descriptor)
    return f"{(limit + _MIB) // _MIB} MiB"


@probe("real memory that cannot be swapped: RLIMIT_MEMLOCK")
def locked_memory(scene) -> str | None:  # noqa: ANN001
    """More memory can be locked than a program needs."""
    del scene
    size = 32 * _MIB
    area = mmap.mmap(-1, size)
    address = ctypes.addressof(ctypes.c_char.from_buffer(area))
    if LIBC.mlock(ctypes.c_void_p(address), ctypes.c_size_t(size)):
        raise OSError(ctypes.get_errno(), "mlock")
    return f"{size // _MIB} MiB locked"


@probe("processors", seconds=20, no_control="a busy host may not have a processor to spare")
def processors(scene) -> str | None:  # noqa: ANN001
    """More processor time is used than allowed."""
    until, children = time.monotonic() + 2.0, []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            while time.monotonic() < until:
                pass
            os._exit(0)
        children.append(child)
    used = sum(sum(os.wait4(child, 0)[2][:2]) for child in children)
    allowed = 2.0 * scene.limits["cpu_millis"] / 1000
    return f"{used:.1f} s in {allowed:.1f} s" if used > allowed * 1.35 + 0.2 else None


# ---- alone, judged from outside ----


_BLOCK = 2 * _MIB


def _take(most: int, seconds: float) -> list[bytearray]:
    """Memory that is really used, in blocks."""
    until, held = time.monotonic() + seconds, []
    while len(held) * _BLOCK < most and time.monotonic() < until:
        held.append(bytearray(b"x") * _BLOCK)
    return held


@probe("CIS 5.11: memory", mode="alone", ends=("out_of_memory", "component"))
def memory(scene) -> str | None:  # noqa: ANN001
    """More memory than allowed is used."""
    mark(scene)
    held = _take(scene.limits["memory_bytes"] + 64 * _MIB, scene.wall)
    taken = len(held) * _BLOCK
    return f"finding: {taken // _MIB} MiB" if taken > scene.limits["memory_bytes"] else None


@probe("CIS 5.11: memory of children", mode="alone", ends=("out_of_memory", "exited_early", "done"))
def memory_of_children(scene) -> str | None:  # noqa: ANN001
    """Children use more memory together than the cell may."""
    mark(scene)
    share = (scene.limits["memory_bytes"] + 64 * _MIB) // 8
    ready, children = os.pipe(), []
    for _ in range(8):
        child = os.fork()
        if child == 0:
            held = _take(share, scene.wall)
            os.write(ready[1], b"y" if len(held) * _BLOCK >= share else b"n")
            time.sleep(scene.wall)
            os._exit(0)
        children.append(child)
    filled, until = 0, time.monotonic() + scene.wall * 0.9
    while filled < 8 and time.monotonic() < until:
        if select.select([ready[0]], [], [], 0.2)[0]:
            filled += os.read(ready[0], 1) == b"y"
    # All of them alive at this moment, with all they took.
    alive = sum(1 for child in children if not os.waitpid(child, os.WNOHANG)[0])
    for child in children:
        with contextlib.suppress(OSError):
            os.kill(child, signal.SIGKILL)
    return f"finding: {filled} children have {share * 8 // _MIB} MiB" if filled == alive == 8 else None


@probe("CIS 5.11: memory that is a file", mode="alone", ends=("out_of_memory", "component", "exited_early"))
def memory_in_a_file(scene) -> str | None:  # noqa: ANN001
    """A file in memory grows beyond the cell's memory."""
    mark(scene)
    most, written = scene.limits["memory_bytes"] + 64 * _MIB, 0
    descriptor = os.memfd_create("hostile") if hasattr(os, "memfd_create") else os.open("/dev/shm/h", os.O_CREAT | os.O_RDWR)
    until = time.monotonic() + scene.wall
    while written < most and time.monotonic() < until:
        written += os.write(descriptor, b"x" * _MIB)
    return f"finding: {written // _MIB} MiB" if written >= most else None


@probe("System V shared memory", mode="alone", ends=("out_of_memory", "component", "exited_early"))
def memory_of_system_v(scene) -> str | None:  # noqa: ANN001
    """System V shared memory grows beyond the cell's memory."""
    mark(scene)
    size = scene.limits["memory_bytes"] + 64 * _MIB
    segment = call("shmget", 0, size, 0o1600)
    LIBC.shmat.restype = ctypes.c_void_p
    address = LIBC.shmat(segment, None, 0)
    call("shmctl", segment, 0, 0)
    for at in range(0, size, _MIB):
        ctypes.memset(address + at, 1, _MIB)
    return f"finding: {size // _MIB} MiB"


@probe("a busy loop", mode="alone", ends=("timed_out",))
def busy_loop(scene) -> str | None:  # noqa: ANN001
    """A component that never ends goes on beyond its time."""
    mark(scene)
    until = time.monotonic() + scene.wall + 1
    while time.monotonic() < until:
        pass
    return "finding: it went on beyond its time"


@probe("a busy loop that ignores every signal it can", mode="alone", ends=("timed_out",))
def deaf_loop(scene) -> str | None:  # noqa: ANN001
    """A component that ignores signals goes on beyond its time."""
    mark(scene)
    for number in range(1, 65):
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)
    until = time.monotonic() + scene.wall + 1
    while time.monotonic() < until:
        time.sleep(0.05)
    return "finding: it went on beyond its time"


@probe("standard output without end", mode="alone", ends=("done", "timed_out", "too_many_frames"))
def log_flood(scene) -> str | None:  # noqa: ANN001
    """More output than allowed is kept."""
    mark(scene)
    line, until = b"x" * 1023 + b"\n", time.monotonic() + scene.wall * 0.6
    for _ in range(scene.limits["log_bytes"] // 1024 * 4):
        os.write(1, line)
        if time.monotonic() > until:
            break
    return None


@probe("standard error of children without end", mode="alone", ends=("done", "timed_out", "too_many_frames"))
def log_flood_of_children(scene) -> str | None:  # noqa: ANN001
    """More output of children than allowed is kept."""
    mark(scene)
    children, until = [], time.monotonic() + scene.wall * 0.6
    for _ in range(4):
        child = os.fork()
        if child == 0:
            for _ in range(scene.limits["log_bytes"] // 1024):
                os.write(2, b"y" * 1023 + b"\n")
                if time.monotonic() > until:
                    break
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    return None


@probe("a result without end", mode="alone", ends=("output_too_large",))
def huge_result(scene) -> str | None:  # noqa: ANN001
    """A result larger than allowed is taken."""
    mark(scene)
    return "finding: a huge result was taken " + "x" * (scene.limits["output_bytes"] + 1024)


@probe("an error message without end", mode="alone", ends=("component", "output_too_large"))
def huge_error(scene) -> str | None:  # noqa: ANN001
    """An error message of many megabytes is taken whole."""
    mark(scene)
    raise RuntimeError("finding:" + "x" * (scene.limits["output_bytes"] + 1024))


@probe("recursion without end, in C", mode="alone", ends=("exited_early", "component"))
def recursion(scene) -> str | None:  # noqa: ANN001
    """Recursion without end takes more than the cell."""
    mark(scene)
    sys.setrecursionlimit(1 << 30)

    def deeper(level: int) -> int:
        return sorted([level], key=deeper)[0] + deeper(level + 1)

    deeper(0)
    return None


@probe("processes that make processes, faster than one can kill them", mode="alone", ends=("done", "exited_early", "timed_out"))
def hydra(scene) -> str | None:  # noqa: ANN001
    """Processes that replace themselves all the time outlive the cell."""
    mark(scene)
    until = time.monotonic() + scene.wall + 6
    for _ in range(4):
        if os.fork() == 0:
            os.setsid()
            while time.monotonic() < until:
                with contextlib.suppress(OSError):
                    if os.fork():
                        os._exit(0)
                time.sleep(0.005)
            os._exit(0)
    time.sleep(0.3)
    return None


@probe(
    "pids of the cell are used up while it should end",
    mode="alone",
    ends=("done", "exited_early", "timed_out", "component", "out_of_memory"),
)
def fork_bomb_to_the_end(scene) -> str | None:  # noqa: ANN001
    """A cell whose processes are all used up cannot be ended."""
    mark(scene)
    until = time.monotonic() + scene.wall + 6
    for _ in range(scene.limits["pids"] + 60):
        try:
            if os.fork() == 0:
                os.setsid()
                while time.monotonic() < until:
                    time.sleep(0.2)
                os._exit(0)
        except OSError:
            break
    return None
