"""Who the cell is, and whether it can become somebody else."""

from __future__ import annotations

import ctypes
import os
import resource
import stat
import struct

from hostile_kit import LIBC, call, pids, probe, status

_PRCTL_CAP_AMBIENT = 47
_FIRST_ROOT_FILES = ("/usr", "/bin", "/sbin", "/opt", "/lib", "/etc", "/home", "/var", "/run")


@probe("CIS 4.1: containers run as a user that is not root")
def runs_as_root() -> str | None:
    """One of the process's user or group ids is root's."""
    ids = {*status("Uid").split(), *status("Gid").split()}
    return f"ids {sorted(ids)}" if "0" in ids else None


@probe("runc-pwn and every escape by way of a root process inside")
def root_process_in_sight() -> str | None:
    """A process of root is in the cell, to be attacked from inside."""
    found = [pid for pid in pids() if "0" in status("Uid", pid).split()]
    return f"pids {found[:5]} are root's" if found else None


@probe("setresuid(0), the plain way")
def becomes_root() -> str | None:
    """The process makes itself root."""
    call("setresuid", 0, 0, 0)
    return f"uid is {os.getuid()}"


@probe("setresgid(0)")
def becomes_roots_group() -> str | None:
    """The process puts itself into root's group."""
    call("setresgid", 0, 0, 0)
    return f"gid is {os.getgid()}"


@probe("membership of the host's docker group")
def joins_groups() -> str | None:
    """The process gives itself supplementary groups."""
    os.setgroups([0, 999])
    return f"groups are {os.getgroups()}"


@probe("CVE-2022-36109: supplementary groups of the engine")
def supplementary_groups() -> str | None:
    """The process has a group beside its own, which engines list a second time."""
    extra = set(os.getgroups()) - {os.getgid()}
    return f"groups {sorted(extra)}" if extra else None


def _capabilities(*names: str) -> str | None:
    held = {name: status(name) for name in names if int(status(name) or "0", 16)}
    return str(held) if held else None


@probe("CIS 5.4: restricted capabilities")
def effective_capabilities() -> str | None:
    """The process has capabilities."""
    return _capabilities("CapEff", "CapPrm")


@probe("CIS 5.4; CVE-2022-24769: inheritable capabilities not empty")
def inheritable_capabilities() -> str | None:
    """A program that the process starts would inherit capabilities, or could gain them from a file."""
    return _capabilities("CapInh", "CapAmb", "CapBnd")


@probe("capset(2) to everything")
def takes_capabilities() -> str | None:
    """The process gives itself capabilities."""
    header = struct.pack("=Ii", 0x2008_0522, 0)
    wanted = struct.pack("=6I", 1 << 21, 1 << 21, 1 << 21, 0, 0, 0)
    call("capset", ctypes.create_string_buffer(header), ctypes.create_string_buffer(wanted))
    return f"CapEff is {status('CapEff')}" if int(status("CapEff"), 16) else None


@probe("PR_CAP_AMBIENT_RAISE")
def raises_ambient_capability() -> str | None:
    """The process raises an ambient capability, to keep it across an exec."""
    capability = 7
    header = struct.pack("=Ii", 0x2008_0522, 0)
    bit = 1 << capability
    call("capset", ctypes.create_string_buffer(header), struct.pack("=6I", bit, bit, bit, 0, 0, 0))
    call("prctl", _PRCTL_CAP_AMBIENT, 2, capability, 0, 0)
    return f"CapAmb is {status('CapAmb')}"


@probe("CIS 5.26: no new privileges")
def new_privileges_possible() -> str | None:
    """The process may gain privileges by exec."""
    return "NoNewPrivs is 0" if status("NoNewPrivs") != "1" else None


@probe("CIS 5.22: seccomp is not off for any process of the cell")
def process_without_filter() -> str | None:
    """A process or thread in the cell has no system call filter."""
    found = []
    for pid in pids():
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):
                if status("Seccomp", f"{pid}/task/{thread}") != "2":
                    found.append(f"{pid}/{thread}")
        except OSError:
            continue
    return f"without filter: {found[:5]}" if found else None


@probe("CIS 4.8: no set-uid or set-gid programs in the image", seconds=20)
def set_uid_programs() -> str | None:
    """A program is there that changes its user or group when it is started."""
    found = []
    for top in _FIRST_ROOT_FILES:
        for folder, _, names in os.walk(top):
            for name in names:
                path = os.path.join(folder, name)
                mode = os.lstat(path).st_mode if os.path.lexists(path) else 0
                if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
                    found.append(path)
    return f"{found[:5]}" if found else None


@probe("file capabilities (getcap -r /)", seconds=20)
def programs_with_capabilities() -> str | None:
    """A program is there that has capabilities of its own."""
    found = []
    for top in ("/usr/bin", "/usr/sbin", "/usr/local", "/opt/flowcell/bin", "/usr/lib"):
        for folder, _, names in os.walk(top):
            found += [path for name in names if _has_capabilities(path := os.path.join(folder, name))]
    return f"{found[:5]}" if found else None


def _has_capabilities(path: str) -> bool:
    try:
        return bool(os.getxattr(path, "security.capability", follow_symlinks=False))
    except OSError:
        return False


@probe("CAP_SYS_NICE: starving other cells")
def raises_priority() -> str | None:
    """The process makes itself more important than others."""
    os.nice(-10)
    return f"nice is {os.getpriority(os.PRIO_PROCESS, 0)}"


@probe("ioprio_set to the real-time class: starving other cells of the disk")
def realtime_io() -> str | None:
    """The process gives itself real-time I/O."""
    call("ioprio_set", 1, 0, 1 << 13)
    return "real-time I/O class set"


@probe("CIS 5.19: ulimit of open files cannot be raised")
def raises_open_files(scene) -> str | None:  # noqa: ANN001
    """The process may open more files than its limit says."""
    wanted = scene.limits["files"] * 2
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
    except ValueError as error:
        raise PermissionError(1, str(error)) from error
    return f"limit is now {resource.getrlimit(resource.RLIMIT_NOFILE)}"


@probe("core files hold secrets, and core_pattern runs on the host")
def leaves_core_files() -> str | None:
    """The process may write a core file when it crashes."""
    limit = resource.getrlimit(resource.RLIMIT_CORE)
    return f"RLIMIT_CORE is {limit}" if limit[1] else None


@probe("oom_score_adj: the worker is killed instead of the cell")
def hides_from_the_oom_killer() -> str | None:
    """The process makes the kernel kill others first."""
    path = "/proc/self/oom_score_adj"
    with open(path, "r+", encoding="ascii") as file:
        before = int(file.read())
        file.seek(0)
        file.write(str(before - 100))
    with open(path, encoding="ascii") as file:
        after = int(file.read())
    return f"oom_score_adj went from {before} to {after}" if after < before else None


@probe("CAP_SYS_TIME: settimeofday(NULL, NULL) changes nothing and needs the right to")
def may_set_the_clock() -> str | None:
    """The process may set the host's clock."""
    call("settimeofday", 0, 0)
    return "it may"


@probe("CAP_SYS_BOOT: reboot with a wrong magic number does nothing and needs the right to")
def may_reboot() -> str | None:
    """The process may reboot the host."""
    try:
        call("reboot", 0, 0, 0, 0)
    except OSError as error:
        if error.errno == 22:
            return "it may (EINVAL for the magic number)"
        raise
    return "it may"


@probe("sethostname")
def changes_the_host_name() -> str | None:
    """The process changes the host name."""
    name = os.uname().nodename.encode()
    call("sethostname", name, len(name))
    return "it may"


@probe("chroot escapes begin with a chroot")
def changes_root() -> str | None:
    """The process changes its root directory."""
    call("chroot", b"/tmp")
    return f"/ now holds {sorted(os.listdir('/'))[:3]}"


@probe("personality(ADDR_NO_RANDOMIZE): predictable addresses for the next program")
def turns_off_randomisation() -> str | None:
    """The process turns off the randomisation of addresses."""
    call("personality", 0x0004_0000)
    return "ADDR_NO_RANDOMIZE is set"


@probe("vhangup, CAP_SYS_TTY_CONFIG")
def hangs_up_terminals() -> str | None:
    """The process may hang up a terminal."""
    if not hasattr(LIBC, "vhangup"):
        return None
    call("vhangup")
    return "it may"
