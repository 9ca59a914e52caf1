"""What CDK, deepce and their like try, as far as no other group has it."""

from __future__ import annotations

import os
import shutil
import socket

from hostile_kit import mounts, pids, probe, read, writable


def _speaks(path: str) -> str:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.settimeout(2)
        stream.connect(path)
        stream.sendall(b"GET /version HTTP/1.0\r\n\r\n")
        return f"{path} answered {stream.recv(64)[:40]!r}"


def _any_speaks(*paths: str) -> str | None:
    last: OSError | None = None
    for path in paths:
        try:
            return _speaks(path)
        except OSError as error:
            last = error
    raise last or OSError


@probe("CIS 5.32; CDK docker-sock-check, docker-sock-pwn; deepce SOCK")
def docker_socket() -> str | None:
    """Docker's socket answers."""
    return _any_speaks("/var/run/docker.sock", "/run/docker.sock", "/host/var/run/docker.sock", "/docker.sock")


@probe("containerd's, CRI-O's and Podman's sockets")
def other_engines_sockets() -> str | None:
    """The socket of another engine answers."""
    return _any_speaks(
        "/run/containerd/containerd.sock", "/run/crio/crio.sock", "/run/podman/podman.sock", "/run/docker/libnetwork.sock",
        "/run/containerd/s/hostile",
    )  # fmt: skip


@probe("CVE-2019-5736 (CDK runc-pwn): /proc/self/exe is written over")
def overwrites_its_own_program() -> str | None:
    """The running program's file could be opened for writing."""
    target = os.path.realpath("/proc/self/exe")
    return target if os.access(target, os.W_OK) else None


@probe("CVE-2019-5736: the first process's program is written over")
def overwrites_the_first_program() -> str | None:
    """The program of a process in sight could be opened for writing."""
    for pid in pids():
        try:
            target = os.readlink(f"/proc/{pid}/exe")
        except OSError:
            continue
        if os.access(f"/proc/{pid}/exe", os.W_OK) and os.access(target, os.W_OK):
            return f"{target} of {pid}"
    return None


@probe("CVE-2019-5736: an interpreter line that makes the engine start /proc/self/exe")
def replaces_a_program_of_the_image() -> str | None:
    """A program that the engine may start in the container can be replaced."""
    found = [path for name in ("sh", "bash", "python3", "env", "ls", "cat") if (path := shutil.which(name)) and writable(path)]
    return f"{found}" if found else None


@probe("CDK lxcfs-rw")
def lxcfs() -> str | None:
    """lxcfs is mounted, with control groups of the host in it."""
    for entry in mounts():
        if "lxcfs" in (*entry["kind"].split("."), entry["source"], entry["target"]) or "lxcfs" in entry["target"]:
            return f"{entry['kind']} at {entry['target']}"
    return None


@probe("CVE-2019-16884, CVE-2023-27561: something else is mounted over /proc, and the masks go there")
def proc_is_proc() -> str | None:
    """/proc is not the kernel's, or has something over it that is not a mask."""
    for entry in mounts():
        target = entry["target"]
        if target == "/proc" and entry["kind"] != "proc":
            return f"/proc is {entry['kind']}"
        if target.startswith("/proc/") and entry["kind"] not in ("proc", "tmpfs", "devtmpfs"):
            return f"{entry['kind']} is mounted at {target}"
        if target.startswith("/proc/") and entry["kind"] == "tmpfs" and os.path.isdir(target) and os.listdir(target):
            return f"{target} has {os.listdir(target)[:3]}"
    return None


@probe("Kubernetes: /var/log of the host, and links in it (CVE-2017-1002101)")
def hosts_logs() -> str | None:
    """Logs or state of the host's services can be read."""
    for folder in ("/var/log", "/var/lib/docker", "/var/lib/containerd", "/var/lib/kubelet"):
        if not os.path.isdir(folder):
            continue
        for name in os.listdir(folder):
            if name in ("syslog", "auth.log", "messages", "kern.log", "pods", "containers", "overlay2", "journal"):
                return f"{folder}/{name}"
    return None


@probe("living off the land: tools an attacker would have to bring")
def tools() -> str | None:
    """A compiler, a download tool, a debugger or a container tool is in the image."""
    names = (
        "gcc", "cc", "clang", "make", "curl", "wget", "nc", "ncat", "socat", "nmap", "gdb", "strace", "docker", "ctr",
        "runc", "kubectl", "apt-get", "apt", "dpkg", "pip", "pip3", "uv", "perl", "ssh", "git", "ip", "tcpdump",
    )  # fmt: skip
    found = [name for name in names if shutil.which(name, path="/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin:/opt/flowcell/bin")]
    return f"{found}" if found else None


@probe("CVE-2021-41091, CVE-2024-25621: directories of the engine that everybody may enter")
def engines_directories() -> str | None:
    """The engine's directory of this container can be reached by the path that mountinfo tells."""
    for entry in mounts():
        for option in (*entry["source"].split(","), entry["root"]):
            if "/docker/" in option and os.path.isdir(option):
                return option
    for folder in ("/var/lib/docker", "/var/lib/containerd", "/run/containerd"):
        if os.path.isdir(folder) and os.listdir(folder):
            return folder
    return None


@probe("the engine's own file in the container")
def engines_init() -> str | None:
    """A program of the engine is mounted into the container, or runs in it."""
    for pid in pids():
        try:
            link = os.readlink(f"/proc/{pid}/exe")
        except OSError:
            continue
        if os.path.basename(link) in ("docker-init", "tini", "runc", "crun", "containerd-shim", "containerd-shim-runc-v2"):
            return f"{link} is process {pid}"
    return None


@probe("nested containers: an engine within reach by its executable's capabilities")
def address_space_of_the_kernel() -> str | None:
    """The kernel lets user code map the lowest page (null pointer exploits)."""
    value = int(read("/proc/sys/vm/mmap_min_addr").decode().strip() or "0")
    if os.getuid() and value >= 4096:
        return None
    import ctypes

    from hostile_kit import LIBC

    LIBC.mmap.restype = ctypes.c_void_p
    address = LIBC.mmap(ctypes.c_void_p(0), 4096, 3, 0x32, -1, 0)
    if address is None or address == 0:
        return "page 0 is mapped"
    raise PermissionError(1, "page 0 is refused")
