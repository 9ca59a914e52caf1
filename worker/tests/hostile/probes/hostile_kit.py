"""What every probe stands on: the register, raw system calls, and the run of one probe in a child.

A probe is a function. It tries one thing and returns what it reached, in words, or nothing when
the barrier held. An `OSError` is a barrier that held; any other exception is a mistake in the
probe and fails the suite. The same function runs in a cell and, as the control, in a container
that was made weak on purpose; it must not know which of the two it is in.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import platform
import select
import signal
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: A probe that takes longer is ended; one that needs longer says so.
SECONDS_MAX = 8.0
#: Network interfaces that the suite made itself. Anything else might lead to a real network.
OWN_INTERFACES = frozenset({"lo", "hc0", "hc1"})

LIBC = ctypes.CDLL(None, use_errno=True)

_X86_64 = {
    "ptrace": 101, "syslog": 103, "setresuid": 117, "setresgid": 119, "capget": 125, "capset": 126,
    "ustat": 136, "sysfs": 139, "vhangup": 153, "modify_ldt": 154, "pivot_root": 155, "prctl": 157, "acct": 163,
    "settimeofday": 164, "mount": 165, "umount2": 166, "swapon": 167, "reboot": 169, "sethostname": 170,
    "setdomainname": 171, "iopl": 172, "ioperm": 173, "init_module": 175, "delete_module": 176, "quotactl": 179,
    "lookup_dcookie": 212, "remap_file_pages": 216, "clock_settime": 227, "mbind": 237, "set_mempolicy": 238,
    "mq_open": 240, "mq_unlink": 241, "mq_timedsend": 242, "mq_timedreceive": 243, "kexec_load": 246, "add_key": 248,
    "request_key": 249, "keyctl": 250, "ioprio_set": 251, "inotify_init1": 294, "unshare": 272, "vmsplice": 278,
    "move_pages": 279, "preadv": 295, "rt_tgsigqueueinfo": 297, "perf_event_open": 298, "fanotify_init": 300,
    "prlimit64": 302, "name_to_handle_at": 303, "open_by_handle_at": 304, "setns": 308, "process_vm_readv": 310,
    "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "memfd_create": 319, "bpf": 321, "userfaultfd": 323,
    "pidfd_send_signal": 424, "io_uring_setup": 425, "open_tree": 428, "move_mount": 429, "fsopen": 430,
    "fsconfig": 431, "pidfd_open": 434, "clone3": 435, "pidfd_getfd": 438, "process_madvise": 440,
    "mount_setattr": 442, "memfd_secret": 447, "clone": 56, "chroot": 161, "personality": 135, "shmget": 29,
    "shmat": 30, "shmctl": 31, "semget": 64, "semctl": 66, "msgget": 68, "msgsnd": 69, "msgrcv": 70, "msgctl": 71,
    "mknodat": 259, "timer_create": 222, "eventfd2": 290, "epoll_create1": 291,
}  # fmt: skip
_AARCH64 = {
    "ptrace": 117, "syslog": 116, "setresuid": 147, "setresgid": 149, "capget": 90, "capset": 91, "vhangup": 58,
    "pivot_root": 41, "prctl": 167, "acct": 89, "settimeofday": 170, "mount": 40, "umount2": 39, "swapon": 224,
    "reboot": 142, "sethostname": 161, "setdomainname": 162, "init_module": 105, "delete_module": 106,
    "quotactl": 60, "lookup_dcookie": 18, "remap_file_pages": 234, "clock_settime": 112, "mbind": 235,
    "set_mempolicy": 237, "mq_open": 180, "mq_unlink": 181, "mq_timedsend": 182, "mq_timedreceive": 183,
    "kexec_load": 104, "add_key": 217, "request_key": 218, "keyctl": 219, "ioprio_set": 30, "inotify_init1": 26,
    "unshare": 97, "vmsplice": 75, "move_pages": 239, "preadv": 69, "rt_tgsigqueueinfo": 240,
    "perf_event_open": 241, "fanotify_init": 262, "prlimit64": 261, "name_to_handle_at": 264,
    "open_by_handle_at": 265, "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272,
    "finit_module": 273, "memfd_create": 279, "bpf": 280, "userfaultfd": 282, "pidfd_send_signal": 424,
    "io_uring_setup": 425, "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "pidfd_open": 434,
    "clone3": 435, "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442, "memfd_secret": 447,
    "clone": 220, "chroot": 51, "personality": 92, "shmget": 194, "shmat": 196, "shmctl": 195, "semget": 190,
    "semctl": 191, "msgget": 186, "msgsnd": 189, "msgrcv": 188, "msgctl": 187, "mknodat": 33, "timer_create": 107,
    "eventfd2": 19, "epoll_create1": 20,
}  # fmt: skip
_NUMBERS = {"x86_64": _X86_64, "aarch64": _AARCH64}[platform.machine()]

#: What a filter or a missing privilege answers. `ENOSYS` is how some filters pretend.
REFUSALS = frozenset({errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EAFNOSUPPORT})


@dataclass(frozen=True)
class Scene:
    """What a probe may know: limits, canaries, addresses. No word on where it runs."""

    limits: dict[str, int] = field(default_factory=dict)
    #: Of another tenant, in two halves, so that the whole is not in this process by itself.
    secret: tuple[str, str] = ("", "")
    #: What servers at forbidden addresses answer with.
    canary: str = "forbidden-server"
    #: `host:port` that a rule allows, when the cell has a proxy.
    allowed: str = ""
    #: Longest life of the cell, in seconds.
    wall: float = 0.0
    #: What the other cell's half of a pair returned.
    left: str = ""
    #: Set as the name of every process of a probe that is judged from outside.
    mark: str = "hc-probe"


@dataclass(frozen=True)
class Probe:
    """One entry of the register."""

    id: str
    about: str
    technique: str
    run: Callable[..., str | None]
    #: For probes on the traces that one cell leaves for another: what the other looks for.
    look: Callable[..., str | None] | None
    mode: str
    ends: tuple[str, ...]
    control: str
    no_control: str
    narrow: bool
    seconds: float

    @property
    def group(self) -> str:
        """The file it is in."""
        return self.id.split(".", maxsplit=1)[0]

    def entry(self) -> dict[str, Any]:
        """What the harness has to know."""
        keys = ("id", "about", "technique", "mode", "control", "no_control", "narrow")
        return {"group": self.group, "ends": list(self.ends), **{key: getattr(self, key) for key in keys}}


PROBES: dict[str, Probe] = {}


def probe(  # noqa: PLR0913 - each is a word in the manual at the top of main.rs
    technique: str,
    *,
    mode: str = "together",
    ends: tuple[str, ...] = (),
    control: str = "weak",
    no_control: str = "",
    narrow: bool = False,
    seconds: float = SECONDS_MAX,
) -> Callable[[Callable[..., str | None]], Callable[..., str | None]]:
    """Register a probe. Its name is the function's, its description the docstring's first line."""

    def register(run: Callable[..., str | None]) -> Callable[..., str | None]:
        _add(run, None, technique, mode, ends, control, no_control, narrow, seconds)
        return run

    return register


def pair(
    technique: str, look: Callable[..., str | None], *, no_control: str = ""
) -> Callable[[Callable[..., str | None]], Callable[..., str | None]]:
    """Register a probe of two cells: the decorated function leaves a trace, `look` looks for it."""

    def register(leave: Callable[..., str | None]) -> Callable[..., str | None]:
        _add(leave, look, technique, "pair", (), "weak", no_control, False, SECONDS_MAX)
        return leave

    return register


def _add(  # noqa: PLR0913 - a record, in the order of its fields
    run: Callable[..., str | None],
    look: Callable[..., str | None] | None,
    technique: str,
    mode: str,
    ends: tuple[str, ...],
    control: str,
    no_control: str,
    narrow: bool,
    seconds: float,
) -> None:
    name = f"{run.__module__.rsplit('.', maxsplit=1)[-1]}.{run.__name__}"
    about = (run.__doc__ or "").strip().split("\n", maxsplit=1)[0]
    if not about or not technique or name in PROBES:
        msg = f"probe {name} has no description, no technique, or is there twice"
        raise ValueError(msg)
    PROBES[name] = Probe(name, about, technique, run, look, mode, ends, control, no_control, narrow, seconds)


# ---- system calls ----


def call(name: str, *args: Any) -> int:
    """Make a system call; raises `OSError` when it fails or this architecture has none of the name."""
    number = _NUMBERS.get(name)
    if number is None:
        raise OSError(errno.ENOSYS, f"{platform.machine()} has no {name}")
    return call_number(number, name, *args)


def call_number(number: int, name: str, *args: Any) -> int:
    """Make a system call by number."""
    wide = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    ctypes.set_errno(0)
    result = int(LIBC.syscall(ctypes.c_long(number), *wide))
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result


def reach(name: str, *args: Any) -> str | None:
    """Tell whether a call that cannot do anything with these arguments gets as far as the kernel's own code."""
    try:
        result = call(name, *args)
    except OSError as error:
        if error.errno in REFUSALS:
            raise
        return f"{name} was answered by the kernel: {errno.errorcode.get(error.errno or 0, '?')}"
    return f"{name} returned {result}"


def private_mounts() -> None:
    """Keep whatever a mount probe does out of the container's other processes."""
    with contextlib.suppress(OSError):
        call("unshare", 0x0002_0000)
        call("mount", b"none", b"/", None, (1 << 18) | (1 << 14), None)


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """Mount something; raises `OSError`."""
    call("mount", source.encode(), target.encode(), kind.encode(), flags, data.encode() or None)


# ---- looking around ----


def status(name: str, pid: int | str = "self") -> str:
    """One line of `/proc/<pid>/status`."""
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            key, _, value = line.partition(":")
            if key == name:
                return value.strip()
    return ""


def pids() -> list[int]:
    """Every process in sight."""
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def strangers() -> list[int]:
    """Processes of another user than this one."""
    found = []
    for pid in pids():
        with contextlib.suppress(OSError, IndexError):
            if int(status("Uid", pid).split()[0]) != os.getuid():
                found.append(pid)
    return found


def name_of(pid: int) -> str:
    """A process's name; nothing when it has just ended."""
    with contextlib.suppress(OSError):
        return status("Name", pid)
    return ""


def read(path: str, size: int = 4096) -> bytes:
    """The beginning of a file. Files of /proc come in small pieces."""
    pieces, left = [], size
    with open(path, "rb", buffering=0) as file:
        while left > 0 and (piece := file.read(left)):
            pieces.append(piece)
            left -= len(piece)
    return b"".join(pieces)


def writable(path: str) -> bool:
    """Whether a file could be opened for writing. Nothing is ever written to find out."""
    if not os.path.exists(path):
        return False
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def mounts() -> list[dict[str, str]]:
    """`/proc/self/mountinfo`."""
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            left, _, right = line.partition(" - ")
            fields, tail = left.split(), right.split()
            keys = ("root", "target", "options")
            entry = dict(zip(keys, fields[3:6], strict=True))
            found.append({**entry, "kind": tail[0], "source": tail[1], "tags": " ".join(fields[6:])})
    return found


def scratch(name: str) -> str:
    """A fresh directory below the one writable place."""
    path = f"/tmp/hc-{name}-{os.getpid()}"
    os.makedirs(path, exist_ok=True)
    return path


def foreign_interfaces() -> list[str]:
    """Network interfaces that the suite did not make, read without sending anything."""
    with open("/proc/net/dev", encoding="utf-8") as lines:
        names = [line.split(":", maxsplit=1)[0].strip() for line in lines if ":" in line]
    # Tunnels that the kernel puts into every namespace; they are down and lead nowhere.
    fallback = ("tunl0", "sit0", "gre0", "gretap0", "erspan0", "ip6tnl0", "ip_vti0", "ip6_vti0", "ip6gre0")
    return [name for name in names if name not in OWN_INTERFACES and name not in fallback]


@contextlib.contextmanager
def connected(host: str, port: int, seconds: float = 1.5) -> Iterator[socket.socket]:
    """Connect by TCP, whatever the spelling of the address; refuses where a packet could leave the machine."""
    refuse_real_network()
    with socket.create_connection((host, port), timeout=seconds) as stream:
        yield stream


def refuse_real_network() -> None:
    """Stop a network probe in a place that has a way out that is not the suite's own."""
    found = foreign_interfaces()
    if found:
        raise RealNetworkError(", ".join(found))


class RealNetworkError(Exception):
    """The barrier has failed already: there is an interface. Nothing is sent."""


# ---- running one ----


def judge(entry: Probe, scene: Scene, run: Callable[..., str | None] | None = None) -> dict[str, Any]:
    """Run a probe here and now."""
    began = time.monotonic()
    run = run or entry.run
    outcome: dict[str, Any] = {"id": entry.id, "finding": None, "why": "", "error": None}
    try:
        outcome["finding"] = (run(scene) if run.__code__.co_argcount else run()) or None
    except RealNetworkError as interfaces:
        outcome["finding"] = f"not tried, because there is a network interface: {interfaces}"
    except OSError as error:
        outcome["why"] = f"{errno.errorcode.get(error.errno or 0, type(error).__name__)} {error.strerror or error}"[:200]
    except MemoryError:
        outcome["why"] = "out of memory"
    except Exception as error:  # noqa: BLE001 - a mistake in a probe must be seen, not taken for a barrier
        outcome["error"] = f"{type(error).__name__}: {error}"[:300]
    if outcome["finding"]:
        outcome["finding"] = str(outcome["finding"])[:2000]
    outcome["ms"] = int((time.monotonic() - began) * 1000)
    return outcome


def attempt(entry: Probe, scene: Scene, run: Callable[..., str | None] | None = None) -> dict[str, Any]:
    """Run a probe in a child, so that what it changes in its own process ends with it."""
    read_end, write_end = os.pipe()
    try:
        child = os.fork()
    except OSError:
        # Where a cell may not fork, it is the child.
        os.close(read_end)
        os.close(write_end)
        return judge(entry, scene, run)
    if child == 0:
        _child(entry, scene, run, read_end, write_end)
    os.close(write_end)
    text = _read_until(read_end, time.monotonic() + entry.seconds)
    os.close(read_end)
    code = _end(child, gently=bool(text))
    if text:
        return json.loads(text)
    outcome = {"id": entry.id, "finding": None, "why": "", "error": None, "ms": int(entry.seconds * 1000)}
    if code == -signal.SIGSYS:
        return {**outcome, "why": "killed by the filter (SIGSYS)"}
    how = "did not end in time" if code == -signal.SIGKILL else f"ended with {code}"
    return {**outcome, "error": f"the probe {how} and said nothing"}


def _child(
    entry: Probe, scene: Scene, run: Callable[..., str | None] | None, read_end: int, write_end: int
) -> None:
    os.close(read_end)
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    outcome = json.dumps(judge(entry, scene, run)).encode()
    with contextlib.suppress(OSError):
        os.write(write_end, outcome)
    os._exit(0)


def _read_until(descriptor: int, deadline: float) -> bytes:
    pieces = []
    while (left := deadline - time.monotonic()) > 0:
        ready, _, _ = select.select([descriptor], [], [], left)
        chunk = os.read(descriptor, 65536) if ready else b""
        if not chunk:
            break
        pieces.append(chunk)
        if chunk.endswith(b"}"):
            break
    return b"".join(pieces)


def _end(child: int, *, gently: bool) -> int:
    deadline = time.monotonic() + (1.0 if gently else 0.2)
    code: int | None = None
    while code is None and time.monotonic() < deadline:
        pid, state = os.waitpid(child, os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(state)
        else:
            time.sleep(0.002)
    for target in (-child, child):
        with contextlib.suppress(OSError):
            os.kill(target, signal.SIGKILL)
    if code is None:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    _reap()
    return code


def _reap() -> None:
    """Orphans of probes come to the first process; as that one, bury them."""
    with contextlib.suppress(OSError):
        while os.getpid() == 1 and os.waitpid(-1, os.WNOHANG)[0]:
            pass


def mark(scene: Scene) -> None:
    """Name this process so that whoever looks from outside can find what is left of it."""
    with contextlib.suppress(OSError):
        call("prctl", 15, scene.mark.encode()[:15] + b"\0", 0, 0, 0)
