"""What makes the weak container weak: everything a probe could find is put there.

All of it is inside of the container's own namespaces. Servers at forbidden addresses listen in its
own network namespace, which has no interface of the host.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pty
import shutil
import signal
import socket
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import weak_servers
from hostile_kit import call, mount

if TYPE_CHECKING:
    from collections.abc import Callable

    from hostile_kit import Scene

WORLD = json.loads((Path(__file__).parent / "world.json").read_text())
_FILES = {
    "/var/run/secrets/kubernetes.io/serviceaccount/token": "canary",
    "/root/.kube/config": "canary",
    "/root/.aws/credentials": "canary",
    "/root/.docker/config.json": "{}",
    "/root/.ssh/id_ed25519": "canary",
    "/root/.bash_history": "canary",
    "/etc/flowcell/flowcell.toml": "canary",
    "/var/log/syslog": "canary",
    "/var/lib/docker/overlay2/canary": "canary",
    "/etc/resolv.conf": "nameserver 8.8.8.8\n",
}


class World:
    """The weak container's insides; ends what it started."""

    def __init__(self, scene: Scene) -> None:
        allowed = WORLD["allowed"]
        self.scene = dataclasses.replace(scene, allowed=f"{allowed['name']}:{allowed['port']}")
        self._children: list[int] = []
        #: In this process's memory, as an earlier cell's would be in an ancestor's.
        self._secret = "".join(scene.secret)

    def make(self) -> None:
        """Make it."""
        make_writable()
        make_network()
        self._plant_files()
        self._plant_mounts()
        for serve in (weak_servers.forbidden, weak_servers.resolver, weak_servers.proxy, weak_servers.engines):
            self._start(lambda serve=serve: serve(WORLD, self.scene))
        weak_servers.wait(WORLD)
        os.environ["HTTP_PROXY"] = os.environ["http_proxy"] = f"http://127.0.0.1:{weak_servers.PROXY_PORT}"
        self._plant_processes()

    def end(self) -> None:
        """End every process that was started here, each by its number."""
        for child in self._children:
            with contextlib.suppress(OSError):
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)

    def _start(self, run: Callable[[], None]) -> None:
        child = os.fork()
        if child == 0:
            try:
                run()
            finally:
                os._exit(1)
        self._children.append(child)

    def _plant_files(self) -> None:
        for path, text in _FILES.items():
            os.makedirs(os.path.dirname(path), exist_ok=True)
            Path(path).write_text(text)
        Path("/tmp/earlier-cell.log").write_text(f"x {self._secret} x")
        with open("/etc/hosts", "a", encoding="ascii") as hosts:
            hosts.write("\n169.254.169.254 metadata.google.internal\n10.0.0.1 example.com\n")
        for name, mode in (("gcc", 0o755), ("suid", 0o4755), ("capable", 0o755), ("docker-init", 0o755)):
            shutil.copy("/bin/sleep", f"/usr/local/bin/{name}")
            os.chmod(f"/usr/local/bin/{name}", mode)
        capability = bytes.fromhex("0100000200200000000000000000000000000000")
        os.setxattr("/usr/local/bin/capable", "security.capability", capability)
        os.unlink("/dev/full")
        os.symlink("/dev/null", "/dev/full")
        os.mknod("/dev/fuse", 0o020666, os.makedev(10, 229))
        self._terminal = pty.openpty()

    def _plant_mounts(self) -> None:
        for folder, kind in (("/var/lib/lxcfs", "tmpfs"), ("/mnt/insides", "bpf"), ("/mnt/shared", "tmpfs")):
            os.makedirs(folder, exist_ok=True)
            mount("lxcfs" if "lxcfs" in folder else "none", folder, kind)
        # One that this kernel has.
        masked = next(folder for folder in ("/proc/acpi", "/proc/scsi", "/proc/irq") if os.path.isdir(folder))
        mount("none", masked, "tmpfs")
        Path(f"{masked}/canary").write_text("canary")
        mount("none", "/mnt/shared", "none", 1 << 20)
        with contextlib.suppress(OSError):
            os.makedirs("/sys/fs/cgroup/whole", exist_ok=True)
            mount("cgroup", "/sys/fs/cgroup/whole", "cgroup", 0, "pids")
        os.makedirs("/run/netns", exist_ok=True)
        Path("/run/netns/canary").write_text("")
        mount("/proc/self/ns/net", "/run/netns/canary", "none", 4096)

    def _plant_processes(self) -> None:
        def stranger() -> None:
            os.setgroups([])
            os.setresgid(12345, 12345, 12345)
            os.setresuid(12345, 12345, 12345)
            os.execve("/bin/sleep", ["/bin/sleep", "3600"], {"CANARY": "canary"})

        def talkative() -> None:
            os.execve("/usr/local/bin/docker-init", ["token=sk-canary", "3600"], {"CANARY": "canary"})

        def lost() -> None:
            os.makedirs("/mnt/lost", exist_ok=True)
            mount("none", "/mnt/lost", "tmpfs")
            Path("/mnt/lost/canary").write_text("canary")
            os.chdir("/mnt/lost")
            call("umount2", b"/mnt/lost", 2)
            os.execv("/bin/sleep", ["sleep", "3600"])

        def gone() -> None:
            shutil.copy("/bin/sleep", "/tmp/gone")
            os.chmod("/tmp/gone", 0o755)
            if os.fork() == 0:
                os.execv("/tmp/gone", ["gone", "3600"])
            signal.pause()

        for start in (stranger, talkative, gone, lost):
            self._start(start)
        self.lost = self._children[-1]
        subprocess.run(["/bin/sleep", "0.2"], check=True)
        os.unlink("/tmp/gone")
        # Inherited by every probe, as a leak would be.
        os.set_inheritable(os.open("/host-canary", os.O_RDONLY), True)


def make_writable() -> None:
    """Take away what keeps /sys and the control groups from being written."""
    for target in ("/sys", "/sys/fs/cgroup", *(f"/sys/fs/cgroup/{name}" for name in os.listdir("/sys/fs/cgroup"))):
        if os.path.ismount(target):
            mount("none", target, "none", 32 | 4096)
    # The instance of this network namespace only.
    mount("none", "/sys", "none", 32)


# ---- network, by netlink: the image has no tool for it ----


def _netlink(kind: int, flags: int, body: bytes) -> int:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as link:
        link.bind((0, 0))
        link.send(struct.pack("=IHHII", 16 + len(body), kind, flags | 5, 1, 0) + body)
        return -struct.unpack_from("=i", link.recv(65536), 16)[0]


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def make_network() -> None:
    """Loopback up, all forbidden addresses on it, and an interface that leads nowhere with every route."""
    # A setting of this network namespace, which nobody else has; engines turn IPv6 off where there is no network.
    for name in ("all", "default", "lo"):
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("0")
    _netlink(19, 0, struct.pack("=BxHiII", 0, 0, 1, 1, 1))
    for kind in (b"dummy", b"bridge", b"ifb"):
        body = struct.pack("=BxHiII", 0, 0, 0, 0, 0) + _attribute(3, b"hc0\0") + _attribute(18, _attribute(1, kind))
        if _netlink(16, 0x600, body) == 0:
            break
    index = socket.if_nametoindex("hc0")
    _netlink(19, 0, struct.pack("=BxHiII", 0, 0, index, 1, 1))
    for address in (*WORLD["addresses"], "127.0.0.11"):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        packed = socket.inet_pton(family, address)
        # IFA_F_NODAD: usable at once.
        body = struct.pack("=BBBBI", family, len(packed) * 8, 2, 0, 1) + _attribute(1, packed) + _attribute(2, packed)
        if code := _netlink(20, 0x600, body):
            raise OSError(code, f"adding {address}: {os.strerror(code)}")
    # An address of its own and every route: datagrams to anywhere leave into nothing.
    packed = socket.inet_aton("10.123.0.1")
    _netlink(20, 0x600, struct.pack("=BBBBI", 2, 24, 0, 0, index) + _attribute(1, packed) + _attribute(2, packed))
    route = struct.pack("=8BI", 2, 0, 0, 0, 254, 4, 253, 1, 0) + _attribute(4, struct.pack("=i", index))
    _netlink(24, 0x600, route)

