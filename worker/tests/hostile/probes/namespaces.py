"""New namespaces, namespaces of others, and whether the cell has its own."""

from __future__ import annotations

import ctypes
import os
import signal
import struct

from hostile_kit import call, mount, name_of, pids, probe, scratch, status

_NEWUSER = 0x1000_0000
#: The kernel's fixed inode numbers of the first namespaces (`include/uapi/linux/nsfs.h`).
_FIRST = {"pid": 0xEFFF_FFFC, "uts": 0xEFFF_FFFE, "ipc": 0xEFFF_FFFF, "cgroup": 0xEFFF_FFFB}


def _unshare(flag: int, what: str) -> str:
    call("unshare", flag)
    return f"a new {what} namespace"


@probe("user namespaces open the kernel to root's code: CVE-2022-0185, CVE-2023-0386, CVE-2024-1086")
def new_user_namespace() -> str | None:
    """unshare makes a user namespace."""
    return _unshare(_NEWUSER, "user")


@probe("CDK mount-cgroup needs one")
def new_mount_namespace() -> str | None:
    """unshare makes a mount namespace."""
    return _unshare(0x0002_0000, "mount")


@probe("unshare(CLONE_NEWPID)")
def new_pid_namespace() -> str | None:
    """unshare makes a process namespace."""
    return _unshare(0x2000_0000, "process")


@probe("unshare(CLONE_NEWNET): netfilter and traffic control become reachable")
def new_network_namespace() -> str | None:
    """unshare makes a network namespace."""
    return _unshare(0x4000_0000, "network")


@probe("unshare(CLONE_NEWIPC)")
def new_ipc_namespace() -> str | None:
    """unshare makes an IPC namespace."""
    return _unshare(0x0800_0000, "IPC")


@probe("CVE-2022-0492: unshare(CLONE_NEWCGROUP) and a cgroup mount")
def new_cgroup_namespace() -> str | None:
    """unshare makes a control group namespace."""
    return _unshare(0x0200_0000, "control group")


@probe("unshare(CLONE_NEWTIME)")
def new_time_namespace() -> str | None:
    """unshare makes a time namespace."""
    return _unshare(0x80, "time")


@probe("clone(2) instead of unshare(2)")
def clone_into_user_namespace() -> str | None:
    """clone makes a process in a new user namespace."""
    child = call("clone", _NEWUSER | signal.SIGCHLD, 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return "a process in a new user namespace"


@probe("clone3(2): filters cannot read its flags and have to refuse it whole")
def clone3_into_user_namespace() -> str | None:
    """clone3 makes a process in a new user namespace."""
    arguments = ctypes.create_string_buffer(struct.pack("=11Q", _NEWUSER, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, 0))
    child = call("clone3", arguments, 64)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return "a process in a new user namespace"


def _become_its_root() -> None:
    uid, gid = os.getuid(), os.getgid()
    call("unshare", _NEWUSER | 0x0002_0000)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


@probe("user namespace, uid map, then root inside: the chain of most kernel exploits")
def root_of_a_user_namespace() -> str | None:
    """The process becomes root of a user namespace and mounts something there."""
    _become_its_root()
    mount("none", scratch("userns"), "tmpfs")
    return "a tmpfs mounted as root of a user namespace"


@probe("CVE-2024-1086, CVE-2022-32250: nf_tables by way of a user namespace")
def netfilter_in_a_user_namespace() -> str | None:
    """A netfilter socket opens in a network namespace of one's own."""
    import socket

    call("unshare", _NEWUSER | 0x4000_0000)
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12).close()
    return "NETLINK_NETFILTER in a new network namespace"


@probe("overlayfs in a user namespace, CVE-2021-3493, CVE-2023-0386")
def overlay_in_a_user_namespace() -> str | None:
    """An overlay is mounted as root of a user namespace."""
    folder = scratch("overlay")
    _become_its_root()
    mount("none", folder, "tmpfs")
    for name in ("lower", "upper", "work", "all"):
        os.mkdir(f"{folder}/{name}")
    mount("overlay", f"{folder}/all", "overlay", 0, f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work")
    return "an overlay"


@probe("nsenter -t 1: setns into the first process's namespaces")
def enters_the_first_process() -> str | None:
    """setns enters a namespace by its file."""
    descriptor = os.open("/proc/1/ns/uts", os.O_RDONLY)
    call("setns", descriptor, 0)
    return "entered /proc/1/ns/uts"


@probe("setns by pidfd, which needs no file of /proc")
def enters_by_pidfd() -> str | None:
    """setns enters a namespace by a process descriptor."""
    call("setns", call("pidfd_open", 1, 0), 0x0400_0000)
    return "entered the first process's UTS namespace by pidfd"


def _first(kind: str) -> str | None:
    inode = os.stat(f"/proc/self/ns/{kind}").st_ino
    return f"{kind} namespace {inode} is the host's" if inode == _FIRST[kind] else None


@probe("CIS 5.16: --pid=host", control="host")
def hosts_pid_namespace() -> str | None:
    """The process namespace is the host's."""
    return _first("pid")


@probe("CIS 5.17: --ipc=host", control="host")
def hosts_ipc_namespace() -> str | None:
    """The IPC namespace is the host's."""
    return _first("ipc")


@probe("CIS 5.21: --uts=host", control="host")
def hosts_uts_namespace() -> str | None:
    """The UTS namespace is the host's."""
    return _first("uts")


@probe("--pid=host: threads of the kernel in /proc", control="host")
def kernel_threads_in_sight() -> str | None:
    """Threads of the kernel are in sight."""
    # Theirs is always process 2; in a cell that may be the runner.
    if name_of(2) != "kthreadd":
        return None
    return f"{sum(status('PPid', pid) == '2' for pid in pids())} threads of the kernel"


@probe("/proc/<pid>/root leads to the host's files", control="host")
def hosts_root_by_proc() -> str | None:
    """A process has another root directory, and it opens."""
    here = os.stat("/")
    for pid in pids():
        try:
            there = os.stat(f"/proc/{pid}/root/")
        except OSError:
            continue
        if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
            return f"/proc/{pid}/root/ holds {sorted(os.listdir(f'/proc/{pid}/root/'))[:4]}"
    return None


@probe("--pid=host: working directories of the host's processes", control="host")
def hosts_directories_by_proc() -> str | None:
    """A process of another mount namespace is in sight, and its working directory opens."""
    own = os.readlink("/proc/self/ns/mnt")
    for pid in pids():
        try:
            if os.readlink(f"/proc/{pid}/ns/mnt") != own and os.listdir(f"/proc/{pid}/cwd/"):
                return f"the working directory of {name_of(pid)} ({pid})"
        except OSError:
            continue
    return None
