"""Traces of one cell in another: of another tenant, at the same time and afterwards.

The first function of a pair runs in cell A and leaves something; what it returns is handed to the
second as `scene.left`. The second looks for it from cell B while A still runs, and again from
cell C when A is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import glob
import json
import os
import random
import select
import socket
import ssl
import statistics
import struct
import sys
import threading
import time
import uuid
from typing import Any

from hostile_kit import LIBC, call, name_of, pair, pids

#: What has to live as long as cell A does.
_HELD: list[Any] = []
_TRACE = "hc-trace"
_KEY = 0x4843_0001
_PORT = 47_111
#: As many as that of either kind are read and timed.
_TIMED_FILES = 20
#: A file that every image has, and that no cell may change.
_SHARED_FILE = "/etc/passwd"
_DIRECTORIES = (
    "/", "/var/tmp", "/run", "/run/lock", "/var/lock", "/var/run", "/dev", "/dev/mqueue", "/run/flowcell", "/home", "/opt",
    "/opt/flowcell/lib/python3.11/site-packages", "/usr/local/bin", "/etc", "/sys/fs/cgroup", "/proc/self",
)  # fmt: skip


def _write(path: str) -> None:
    with contextlib.suppress(OSError), open(path, "w", encoding="ascii") as file:
        file.write(_TRACE)


def _sees_file(*paths: str) -> str | None:
    found = [path for path in paths if os.path.lexists(path)]
    return f"{found}" if found else None


@pair("files in /tmp", lambda: _sees_file(f"/tmp/{_TRACE}"))
def file_in_tmp() -> str | None:
    """A file in /tmp is still there."""
    return _write(f"/tmp/{_TRACE}")


@pair("files in /dev/shm", lambda: _sees_file(f"/dev/shm/{_TRACE}"))
def file_in_shm() -> str | None:
    """A file in /dev/shm is still there."""
    return _write(f"/dev/shm/{_TRACE}")


@pair("files anywhere", lambda: _sees_file(*(f"{folder}/{_TRACE}" for folder in _DIRECTORIES)))
def file_anywhere() -> str | None:
    """A file in any other directory is still there."""
    for folder in _DIRECTORIES:
        _write(f"{folder}/{_TRACE}")
    return None


def _listen(address: str) -> None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(address)
    listener.listen()
    _HELD.append(listener)


def _connect(family: int, address: object) -> str:
    with socket.socket(family, socket.SOCK_STREAM) as stream:
        stream.settimeout(1)
        stream.connect(address)
    return f"connected to {address!r}"


@pair("Unix sockets by path", lambda: _connect(socket.AF_UNIX, f"/tmp/{_TRACE}.sock"))
def unix_socket() -> str | None:
    """A Unix socket in /tmp can be connected to."""
    return _listen(f"/tmp/{_TRACE}.sock")


@pair("Unix sockets by abstract name", lambda: _connect(socket.AF_UNIX, f"\0{_TRACE}"))
def abstract_socket() -> str | None:
    """An abstract Unix socket can be connected to."""
    return _listen(f"\0{_TRACE}")


@pair("TCP on loopback", lambda: _connect(socket.AF_INET, ("127.0.0.1", _PORT)))
def tcp_listener() -> str | None:
    """A listener on loopback can be connected to."""
    _HELD.append(socket.create_server(("127.0.0.1", _PORT)))
    return None


def _sees_listed_socket() -> str | None:
    for name in ("tcp", "udp", "unix"):
        with open(f"/proc/net/{name}", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if f":{_PORT + 1:04X}" in line or f"{_TRACE}-listed" in line:
                    return line.strip()
    return None


@pair("/proc/net", _sees_listed_socket)
def listed_socket() -> str | None:
    """A socket is listed in /proc/net."""
    _HELD.append(socket.create_server(("127.0.0.1", _PORT + 1)))
    return _listen(f"\0{_TRACE}-listed")


def _sees_datagram() -> str | None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp:
        udp.settimeout(0.7)
        udp.connect(("::1", _PORT))
        udp.send(b"x")
        return f"{udp.recv(16)!r}"


@pair("UDP on loopback", _sees_datagram)
def udp_listener() -> str | None:
    """A datagram on loopback is answered."""
    udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    udp.bind(("::1", _PORT))

    def serve() -> None:
        while True:
            udp.sendto(*udp.recvfrom(16))

    threading.Thread(target=serve, daemon=True).start()
    return None


@pair("System V shared memory", lambda: f"segment {call('shmget', _KEY, 0, 0)}")
def system_v_memory() -> str | None:
    """A System V shared memory segment is there."""
    call("shmget", _KEY, 4096, 0o1666)
    return None


@pair("System V semaphores", lambda: f"set {call('semget', _KEY, 0, 0)}")
def system_v_semaphore() -> str | None:
    """A System V semaphore set is there."""
    call("semget", _KEY, 1, 0o1666)
    return None


@pair("System V message queues", lambda: f"queue {call('msgget', _KEY, 0)}")
def system_v_queue() -> str | None:
    """A System V message queue is there."""
    call("msgget", _KEY, 0o1666)
    return None


@pair("POSIX message queues", lambda: f"queue {call('mq_open', _TRACE.encode(), os.O_RDONLY, 0, 0)}")
def message_queue() -> str | None:
    """A POSIX message queue is there."""
    _HELD.append(call("mq_open", _TRACE.encode(), os.O_CREAT | os.O_RDWR, 0o666, 0))
    return None


@pair("keyrings of the user, which no namespace separates", lambda: f"key {call('keyctl', 10, -4, b'user', _TRACE.encode(), 0)}")
def key() -> str | None:
    """A key in the user's keyring is there."""
    call("add_key", b"user", _TRACE.encode(), b"x", 1, -4)
    return None


def _sees_flock() -> str | None:
    descriptor = os.open(_SHARED_FILE, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return f"{_SHARED_FILE} is locked"
    return None


@pair("flock on a file of the image", _sees_flock)
def file_lock() -> str | None:
    """A lock on a file of the image is seen."""
    descriptor = os.open(_SHARED_FILE, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    _HELD.append(descriptor)
    return None


def _sees_record_lock() -> str | None:
    descriptor = os.open("/etc/group", os.O_RDONLY)
    question = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)
    answer = struct.unpack("hhqqi4x", fcntl.fcntl(descriptor, fcntl.F_GETLK, question))
    return f"locked by {answer[4]}" if answer[0] != fcntl.F_UNLCK else None


@pair("record locks on a file of the image", _sees_record_lock)
def record_lock() -> str | None:
    """A record lock on a file of the image is seen."""
    descriptor = os.open("/etc/group", os.O_RDONLY)
    fcntl.fcntl(descriptor, fcntl.F_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 0, 0, 0))
    _HELD.append(descriptor)
    return None


def _sees_opened_files() -> str | None:
    watcher = call("inotify_init1", os.O_NONBLOCK)
    try:
        for path in ("/etc/passwd", "/etc", "/usr/lib/os-release"):
            if LIBC.inotify_add_watch(watcher, path.encode(), 0x20 | 0x1) < 0:
                raise OSError(ctypes.get_errno(), "inotify_add_watch")
        if select.select([watcher], [], [], 0.8)[0]:
            return f"{len(os.read(watcher, 4096))} bytes of events"
    finally:
        os.close(watcher)
    return None


@pair("inotify on files of the image", _sees_opened_files)
def opened_files() -> str | None:
    """It is seen which files of the image are opened."""

    def read() -> None:
        while True:
            for path in ("/etc/passwd", "/usr/lib/os-release"):
                with contextlib.suppress(OSError), open(path, "rb") as file:
                    file.read(1)
            time.sleep(0.05)

    threading.Thread(target=read, daemon=True).start()
    return None


def _shared_files() -> tuple[list[str], list[str]]:
    """Files of the image that nothing reads by itself, as two lists."""
    folder = next(path for path in sys.path if path.endswith("site-packages"))
    found = sorted(glob.glob(f"{folder}/*.dist-info/RECORD"))
    large = [path for path in found if os.path.getsize(path) >= 4096][:2 * _TIMED_FILES]
    return large[::2], large[1::2]


def _microseconds(path: str) -> float:
    """How long it takes to read the beginning of a file, by the first attempt."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        began = time.perf_counter_ns()
        os.pread(descriptor, 64, 0)
        return (time.perf_counter_ns() - began) / 1000
    finally:
        os.close(descriptor)


def _sees_what_was_read() -> str | None:
    read, unread = (statistics.median(map(_microseconds, files)) for files in _shared_files())
    return f"files that were read take {read:.0f} µs, others {unread:.0f}" if unread > 4 * read else None


@pair("evict and reload: which files of the image another cell reads", _sees_what_was_read)
def cached_file() -> str | None:
    """It takes less time to read what another cell has read."""
    read, unread = _shared_files()
    for path in read + unread:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            # Read around it would bring back what was thrown out.
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
    for path in read:
        _microseconds(path)
    return None


@pair("processes", lambda: next((f"process {pid}" for pid in pids() if name_of(pid) == f"{_TRACE}-p"), None))
def process() -> str | None:
    """A process is in sight."""
    if os.fork() == 0:
        call("prctl", 15, f"{_TRACE}-p".encode() + b"\0", 0, 0, 0)
        time.sleep(30)
        os._exit(0)
    return None


def _sees_token(scene) -> str | None:  # noqa: ANN001
    first, second = scene.left.split(":")
    for pid in pids():
        if pid == os.getpid():
            continue
        for name in ("environ", "cmdline"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/{name}", "rb") as file:
                if (first + second).encode() in file.read():
                    return f"/proc/{pid}/{name}"
    return None


@pair("/proc/<pid>/environ and cmdline of another cell", _sees_token)
def arguments_of_processes() -> str | None:
    """Arguments and environment of another cell's program are in sight."""
    token = f"{random.SystemRandom().getrandbits(64):016x}"
    if os.fork() == 0:
        program = ["/bin/sleep", "30"]
        with contextlib.suppress(OSError):
            os.execve(program[0], program, {"HC_TRACE": token})
        os._exit(0)
    return f"{token[:8]}:{token[8:]}"


@pair("the host name", lambda: os.uname().nodename if os.uname().nodename == _TRACE else None)
def host_name() -> str | None:
    """The host name was changed."""
    call("sethostname", _TRACE.encode(), len(_TRACE))
    return None


def _ttl() -> str | None:
    with open("/proc/sys/net/ipv4/ip_default_ttl", encoding="ascii") as file:
        value = file.read().strip()
    return f"it is {value}" if value == "77" else None


@pair("/proc/sys of the cell's own namespaces", _ttl)
def kernel_setting() -> str | None:
    """A setting of the network namespace was changed."""
    with open("/proc/sys/net/ipv4/ip_default_ttl", "w", encoding="ascii") as file:
        file.write("77")
    return None


# ---- what two forks of one process have in common ----


def _numbers() -> dict[str, str]:
    found = {"random": f"{random.random()}", "uuid4": str(uuid.uuid4()), "ssl": ssl.RAND_bytes(8).hex()}
    found["uuid1"] = str(uuid.uuid1())
    with contextlib.suppress(ImportError):
        import numpy as np

        found["numpy"] = f"{np.random.random()}"
        found["numpy generator"] = f"{np.random.default_rng().random()}"
    found["urandom"] = os.urandom(8).hex()
    return found


def _sees_equal(scene, own: dict[str, str]) -> str | None:  # noqa: ANN001
    other = json.loads(scene.left)
    same = [name for name, value in own.items() if other.get(name) == value]
    return f"the same {', '.join(same)}" if same else None


@pair("random state of two forks", lambda scene: _sees_equal(scene, _numbers()))
def random_numbers() -> str | None:
    """Random numbers of two cells are the same."""
    return json.dumps(_numbers())


def _seed() -> dict[str, str]:
    return {"hash": f"{hash('x')}"}


@pair("PYTHONHASHSEED of two forks: flooding another's tables", lambda scene: _sees_equal(scene, _seed()))
def hash_seed() -> str | None:
    """Hashes of text in two cells are the same."""
    return json.dumps(_seed())


def _layout() -> dict[str, str]:
    with open("/proc/self/maps", encoding="utf-8") as lines:
        areas = {line.split()[-1].rsplit("/", maxsplit=1)[-1]: line.split("-")[0] for line in lines if len(line.split()) > 5}
    return {name: areas[name] for name in ("[stack]", "[heap]", "libc.so.6", "[vdso]") if name in areas}


@pair("address layout of two forks: From Zygote to Morula", lambda scene: _sees_equal(scene, _layout()))
def address_layout() -> str | None:
    """Stack, heap or libraries of two cells are at the same addresses."""
    return json.dumps(_layout())
