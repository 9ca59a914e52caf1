"""Device files: those that are there, and those that could be made."""

from __future__ import annotations

import fcntl
import os
import stat

from hostile_kit import probe, read, scratch

#: What every container has.
_HARMLESS = frozenset({"null", "zero", "full", "random", "urandom", "tty", "ptmx", "console"})


def _made(mode: int, major: int, minor: int) -> str:
    path = f"{scratch('device')}/d{major}-{minor}"
    if not os.path.exists(path):
        os.mknod(path, mode | 0o600, os.makedev(major, minor))
    return path


def _opens(path: str, flags: int = os.O_RDONLY) -> str:
    os.close(os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC))
    return f"{path} opens"


def _disks() -> list[tuple[int, int]]:
    """The numbers of the host's disks, real ones first."""
    names = sorted(os.listdir("/sys/block"), key=lambda name: (name.startswith(("loop", "ram", "zram", "sr", "fd")), name))
    numbers = [read(f"/sys/block/{name}/dev").decode().strip().split(":") for name in names]
    return [(int(major), int(minor)) for major, minor in numbers] or [(8, 0)]


@probe("CIS 5.18: no device of the host is given to the cell")
def unusual_devices() -> str | None:
    """A device file is there that not every container has."""
    found = []
    for folder, folders, names in os.walk("/dev"):
        folders[:] = [name for name in folders if name not in ("pts", "shm", "mqueue")]
        for name in names:
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            if (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)) and name not in _HARMLESS:
                found.append(path)
    return f"{found[:6]}" if found else None


@probe("CDK mount-disk; mknod and debugfs(8)")
def reads_the_disk() -> str | None:
    """A device file for the host's disk can be made and opened."""
    last: OSError | None = None
    for disk in _disks():
        try:
            return _opens(_made(stat.S_IFBLK, *disk))
        except OSError as error:
            last = error
    raise last or OSError


@probe("CDK mount-disk")
def mounts_the_disk() -> str | None:
    """The host's disk can be mounted."""
    from hostile_kit import mount, private_mounts

    private_mounts()
    device = _made(stat.S_IFBLK, *_disks()[0])
    folder = scratch("disk")
    for kind in ("ext4", "xfs", "btrfs"):
        try:
            # Read-only, and without replaying a journal: nothing is written.
            mount(device, folder, kind, 1, {"ext4": "noload", "xfs": "norecovery"}.get(kind, ""))
        except OSError as error:
            if error.errno not in (16, 22):
                raise
            last = error
            if error.errno == 16:
                return "mounted elsewhere already, otherwise it would be"
            continue
        return f"{kind}: {os.listdir(folder)[:4]}"
    raise last


@probe("mknod of a character device")
def makes_a_device() -> str | None:
    """A device file can be made."""
    return f"made {_made(stat.S_IFCHR, 1, 3)}"


@probe("/dev/kmsg: forged lines in the host's log")
def kernel_log_device() -> str | None:
    """The kernel's log can be opened."""
    return _opens("/dev/kmsg") if os.path.exists("/dev/kmsg") else _opens(_made(stat.S_IFCHR, 1, 11))


@probe("/dev/mem (CDK, deepce)", no_control="needs CONFIG_DEVMEM")
def physical_memory() -> str | None:
    """Physical memory can be opened."""
    return _opens("/dev/mem") if os.path.exists("/dev/mem") else _opens(_made(stat.S_IFCHR, 1, 1))


@probe("/dev/port: talking to hardware", no_control="needs CONFIG_DEVPORT")
def io_ports() -> str | None:
    """I/O ports can be opened."""
    return _opens("/dev/port") if os.path.exists("/dev/port") else _opens(_made(stat.S_IFCHR, 1, 4))


@probe("/dev/fuse")
def fuse() -> str | None:
    """FUSE can be opened."""
    return _opens("/dev/fuse", os.O_RDWR) if os.path.exists("/dev/fuse") else _opens(_made(stat.S_IFCHR, 10, 229))


@probe("/dev/net/tun: a network interface of one's own")
def tunnel() -> str | None:
    """A tunnel device can be opened."""
    there = os.path.exists("/dev/net/tun")
    return _opens("/dev/net/tun", os.O_RDWR) if there else _opens(_made(stat.S_IFCHR, 10, 200), os.O_RDWR)


@probe("/dev/loop-control: attaching images")
def loop_control() -> str | None:
    """The control of loop devices can be opened."""
    there = os.path.exists("/dev/loop-control")
    return _opens("/dev/loop-control") if there else _opens(_made(stat.S_IFCHR, 10, 237))


@probe("/dev/kvm: a hypervisor's attack surface", no_control="needs a host with virtualisation")
def hypervisor() -> str | None:
    """KVM can be opened."""
    return _opens("/dev/kvm", os.O_RDWR) if os.path.exists("/dev/kvm") else _opens(_made(stat.S_IFCHR, 10, 232))


@probe("CVE-2016-2568, CVE-2017-5226, CVE-2023-1523: TIOCSTI types into the terminal that started the container")
def types_into_a_terminal() -> str | None:
    """The process has a controlling terminal, and may type into it."""
    terminal = os.open("/dev/tty", os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(terminal, 0x5412, b"#")
    except OSError as error:
        return f"a terminal, though it refuses: {error.strerror}"
    return "a terminal, and it takes what is typed for it"


@probe("the engine's pseudo-terminals")
def terminals_of_others() -> str | None:
    """A pseudo-terminal of somebody else is in sight."""
    found = [name for name in os.listdir("/dev/pts") if name.isdigit()]
    return f"/dev/pts has {found}" if found else None


@probe("CVE-2025-31133, CVE-2025-52565: /dev/null and /dev/console as links that runc followed")
def devices_are_what_they_seem() -> str | None:
    """A device file every container has is something else than its name says."""
    numbers = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9)}
    for name, number in numbers.items():
        there = os.lstat(f"/dev/{name}")
        if not stat.S_ISCHR(there.st_mode) or (os.major(there.st_rdev), os.minor(there.st_rdev)) != number:
            return f"/dev/{name} is {oct(there.st_mode)}"
    return None


@probe("replacing /dev/null for the cell's other processes")
def replaces_devices() -> str | None:
    """Entries of /dev can be made or replaced."""
    path = "/dev/hostile"
    with open(path, "w", encoding="ascii"):
        pass
    os.unlink(path)
    return "a file below /dev was made"
