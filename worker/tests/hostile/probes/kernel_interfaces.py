"""/sys, control groups, and file systems that are doors into the kernel.

Nothing is written: whether something could be is found out by opening it.
"""

from __future__ import annotations

import os

from hostile_kit import mount, mounts, private_mounts, probe, read, scratch, writable

_CGROUP = "/sys/fs/cgroup"


def _first_writable(*tops: str, names: tuple[str, ...] = (), deep: int = 6) -> str | None:
    for top in tops:
        for folder, folders, files in os.walk(top):
            if folder.count("/") - top.count("/") >= deep:
                folders.clear()
            for name in files:
                if (not names or name in names) and writable(path := os.path.join(folder, name)):
                    return path
    return None


def _mounts_as(kind: str, data: str = "") -> str:
    private_mounts()
    folder = scratch(kind.replace("/", "-"))
    mount("none", folder, kind, 0, data)
    return f"{kind} mounted: {sorted(os.listdir(folder))[:4]}"


@probe("uevent_helper: the kernel starts a program on the host", no_control="needs CONFIG_UEVENT_HELPER")
def uevent_helper() -> str | None:
    """/sys/kernel/uevent_helper can be opened for writing."""
    return "it can" if writable("/sys/kernel/uevent_helper") else None


@probe("CIS 5.5: --privileged makes /sys writable", seconds=20)
def writable_sys() -> str | None:
    """A file below /sys can be opened for writing."""
    return _first_writable("/sys/kernel", "/sys/power", "/sys/class", "/sys/module", "/sys/block", "/sys/bus", deep=3)


@probe("uevents: a program of udev on the host runs", seconds=20)
def triggers_uevents() -> str | None:
    """An uevent file of a device can be opened for writing."""
    return _first_writable("/sys/devices/virtual", "/sys/devices/system", names=("uevent",), deep=4)


@probe("release_agent: the kernel starts a program on the host (CDK mount-cgroup, deepce)",
       no_control="version 2 of control groups has none")  # fmt: skip
def release_agent() -> str | None:
    """A release_agent in sight can be opened for writing."""
    return _first_writable(_CGROUP, names=("release_agent",), deep=2)


@probe("CDK mount-cgroup, CVE-2022-0492")
def mounts_control_groups() -> str | None:
    """A version 1 control group hierarchy can be mounted, with its release_agent."""
    private_mounts()
    folder = scratch("cgroup")
    for controller in ("memory", "pids", "cpuset", "rdma", "misc"):
        try:
            mount("cgroup", folder, "cgroup", 0, controller)
        except OSError as error:
            last = error
            continue
        agent = f"{folder}/release_agent"
        return f"{controller} mounted" + (", release_agent is writable" if writable(agent) else "")
    raise last


@probe("cgroup2 mounted anew")
def mounts_control_groups_2() -> str | None:
    """The version 2 control group hierarchy can be mounted."""
    return _mounts_as("cgroup2")


@probe("CDK rewrite-cgroup-devices")
def allows_devices() -> str | None:
    """devices.allow can be opened for writing."""
    return _first_writable(f"{_CGROUP}/devices", names=("devices.allow",), deep=3)


@probe("a cell that raises its own limits")
def raises_its_limits() -> str | None:
    """A limit of the cell's own control group can be opened for writing."""
    names = (
        "memory.limit_in_bytes", "memory.max", "pids.max", "cpu.cfs_quota_us", "cpu.max", "cpu.shares", "cpu.weight",
    )  # fmt: skip
    return _first_writable(_CGROUP, names=names, deep=4)


@probe("leaving one's control group leaves its limits")
def leaves_its_control_group() -> str | None:
    """A list of a control group's members can be opened for writing."""
    return _first_writable(_CGROUP, names=("cgroup.procs", "tasks", "cgroup.threads"), deep=4)


@probe("freezing and killing other cells by their control groups")
def freezes_control_groups() -> str | None:
    """A control group can be frozen or killed."""
    return _first_writable(_CGROUP, names=("freezer.state", "cgroup.freeze", "cgroup.kill"), deep=4)


@probe("makes control groups of its own, without limits")
def makes_control_groups() -> str | None:
    """A control group can be made."""
    for folder, folders, _ in os.walk(_CGROUP):
        if folder.count("/") > 6:
            folders.clear()
        if os.access(folder, os.W_OK) and any(kind["kind"].startswith("cgroup") for kind in mounts()):
            try:
                os.mkdir(f"{folder}/hostile")
            except OSError:
                continue
            os.rmdir(f"{folder}/hostile")
            return f"made and removed {folder}/hostile"
    return None


@probe("debugfs (CDK, deepce): the kernel's insides, and disks by debugfs(8)")
def mounts_debugfs() -> str | None:
    """debugfs can be mounted."""
    return _mounts_as("debugfs")


@probe("tracefs: tracing every process of the host")
def mounts_tracefs() -> str | None:
    """tracefs can be mounted."""
    return _mounts_as("tracefs")


@probe("securityfs: policies of the host")
def mounts_securityfs() -> str | None:
    """securityfs can be mounted."""
    return _mounts_as("securityfs")


@probe("bpffs: pinned programs and maps")
def mounts_bpffs() -> str | None:
    """bpffs can be mounted."""
    return _mounts_as("bpf")


@probe("a fresh /proc without masks (CDK mount-procfs, CVE-2025-31133)")
def mounts_proc() -> str | None:
    """procfs can be mounted anew."""
    return _mounts_as("proc")


@probe("a fresh, writable /sys")
def mounts_sysfs() -> str | None:
    """sysfs can be mounted anew."""
    return _mounts_as("sysfs")


@probe("the root is mounted writable again")
def remounts_the_root() -> str | None:
    """A read-only mount can be made writable."""
    private_mounts()
    mount("none", "/", "none", 32 | 4096)
    return "the root was mounted anew"


@probe("bind mounts of what is below the masks")
def binds_directories() -> str | None:
    """A directory can be bound to another place."""
    private_mounts()
    mount("/proc", scratch("bind"), "none", 4096)
    return "/proc is bound elsewhere"


@probe("the masks over /proc are taken away")
def unmasks_proc() -> str | None:
    """A mount in sight can be taken away."""
    from hostile_kit import call

    private_mounts()
    call("umount2", b"/dev/mqueue" if os.path.ismount("/dev/mqueue") else b"/dev/shm", 2)
    return "a mount was taken away"


@probe("FUSE: a file system served by the attacker stops whoever reads it")
def mounts_fuse() -> str | None:
    """A FUSE file system can be mounted."""
    private_mounts()
    descriptor = os.open("/dev/fuse", os.O_RDWR)
    mount("hostile", scratch("fuse"), "fuse", 0, f"fd={descriptor},rootmode=40000,user_id=0,group_id=0")
    return "a FUSE file system"


@probe("masked path /sys/firmware; machine ids")
def firmware() -> str | None:
    """Firmware tables can be read."""
    for top in ("/sys/firmware", "/sys/class/dmi/id"):
        for folder, _, names in os.walk(top):
            for name in names:
                try:
                    if read(path := os.path.join(folder, name), 16):
                        return path
                except OSError:
                    continue
    return None


@probe("masked path /sys/devices/virtual/powercap: power side channel (PLATYPUS, CVE-2020-8694)",
       no_control="needs a processor with RAPL in sight")  # fmt: skip
def power_meter() -> str | None:
    """The processor's energy counter can be read."""
    for folder, _, names in os.walk("/sys/devices/virtual/powercap"):
        for name in names:
            if name == "energy_uj" and read(os.path.join(folder, name), 16):
                return os.path.join(folder, name)
    return None


@probe("debugfs or tracefs left mounted by the engine")
def kernel_insides_mounted() -> str | None:
    """debugfs, tracefs, securityfs, bpffs, pstore or configfs is mounted already."""
    doors = ("debugfs", "tracefs", "securityfs", "bpf", "pstore", "configfs", "fusectl", "efivarfs", "binfmt_misc")
    found = [entry["target"] for entry in mounts() if entry["kind"] in doors]
    return f"{found}" if found else None


@probe("kernel samepage merging: a side channel between tenants", no_control="needs CONFIG_KSM")
def merges_pages() -> str | None:
    """KSM is on, or can be turned on."""
    if not os.path.exists("/sys/kernel/mm/ksm/run"):
        return None
    if read("/sys/kernel/mm/ksm/run").strip() == b"1" or writable("/sys/kernel/mm/ksm/run"):
        return "KSM"
    return None


@probe("block devices of the host in /sys: sizes, holders, what is attached")
def changes_block_devices() -> str | None:
    """A setting of a block device can be opened for writing."""
    return _first_writable("/sys/block", "/sys/devices/virtual/block", deep=4)
