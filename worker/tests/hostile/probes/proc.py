"""What /proc gives away, and other users' processes in it."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import struct

from hostile_kit import LIBC, call, name_of, pids, probe, read, status, strangers, writable

_NO_STRANGER = "no process of another user is in sight"


def _each_stranger(reach) -> str | None:  # noqa: ANN001
    """Try something on every process of another user; only a success counts."""
    for pid in strangers():
        try:
            found = reach(pid)
        except OSError:
            continue
        if found:
            return f"{name_of(pid)} ({pid}): {found}"
    return None


@probe("processes of others in sight")
def stranger_in_sight() -> str | None:
    """A process of another user is in sight."""
    found = [(pid, name_of(pid)) for pid in strangers()]
    return f"{found[:5]}" if found else None


@probe("secrets in environments")
def strangers_environment() -> str | None:
    """Another user's process shows its environment."""
    return _each_stranger(lambda pid: read(f"/proc/{pid}/environ", 200).decode(errors="replace")[:80])


@probe("secrets in command lines")
def strangers_arguments() -> str | None:
    """Another user's process shows its arguments."""
    return _each_stranger(lambda pid: read(f"/proc/{pid}/cmdline", 200).decode(errors="replace")[:80])


@probe("address layout of others")
def strangers_maps() -> str | None:
    """Another user's process shows its address layout."""
    return _each_stranger(lambda pid: read(f"/proc/{pid}/maps", 200).decode(errors="replace")[:40])


@probe("/proc/<pid>/mem")
def strangers_memory_by_proc() -> str | None:
    """Another user's memory can be read through /proc."""

    def peek(pid: int) -> str:
        start = int(read(f"/proc/{pid}/maps", 40).split(b"-")[0], 16)
        descriptor = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
        try:
            return f"{len(os.pread(descriptor, 64, start))} bytes at {start:#x}"
        finally:
            os.close(descriptor)

    return _each_stranger(peek)


@probe("process_vm_readv on others")
def strangers_memory_by_call() -> str | None:
    """Another user's memory can be read by process_vm_readv."""

    def peek(pid: int) -> str:
        start = int(read(f"/proc/{pid}/maps", 40).split(b"-")[0], 16)
        buffer = ctypes.create_string_buffer(64)
        local = struct.pack("=QQ", ctypes.addressof(buffer), 64)
        remote = struct.pack("=QQ", start, 64)
        return f"{call('process_vm_readv', pid, local, 1, remote, 1, 0)} bytes at {start:#x}"

    return _each_stranger(peek)


@probe("PTRACE_SEIZE on others")
def traces_strangers() -> str | None:
    """Another user's process can be traced."""

    def seize(pid: int) -> str:
        call("ptrace", 0x4206, pid, 0, 0)
        return "traced"

    return _each_stranger(seize)


@probe("pidfd_getfd steals descriptors")
def steals_descriptors() -> str | None:
    """A descriptor of another user's process can be taken."""
    return _each_stranger(lambda pid: f"its descriptor 0 is our {call('pidfd_getfd', call('pidfd_open', pid, 0), 0, 0)}")


@probe("/proc/<pid>/fd leads to open files of others")
def strangers_descriptors() -> str | None:
    """Another user's open files are listed."""
    return _each_stranger(lambda pid: ", ".join(os.listdir(f"/proc/{pid}/fd")[:5]))


@probe("/proc/<pid>/root leads to files of others")
def strangers_root() -> str | None:
    """Another user's root directory opens."""
    return _each_stranger(lambda pid: f"{os.listdir(f'/proc/{pid}/root/')[:3]}")


@probe("prlimit on others", no_control="needs CAP_SYS_RESOURCE, which some hosts do not have themselves")
def changes_strangers_limits() -> str | None:
    """Another user's resource limits can be read and set."""
    old = ctypes.create_string_buffer(16)
    return _each_stranger(lambda pid: f"read its limits: {call('prlimit64', pid, 7, 0, old)}")


@probe("kill(2) on others; signal 0 does nothing")
def signals_strangers() -> str | None:
    """Another user's process can be signalled."""
    return _each_stranger(lambda pid: os.kill(pid, 0) or "signal 0 was delivered")


@probe("pidfd_send_signal on others")
def signals_strangers_by_pidfd() -> str | None:
    """Another user's process can be signalled by its descriptor."""

    def send(pid: int) -> str:
        signal.pidfd_send_signal(os.pidfd_open(pid), 0)
        return "signal 0 was delivered"

    return _each_stranger(send)


@probe("sched_setaffinity and setpriority on others")
def reschedules_strangers() -> str | None:
    """Another user's process can be moved to another processor."""

    def move(pid: int) -> str:
        os.sched_setaffinity(pid, os.sched_getaffinity(pid))
        return "its processors were set"

    return _each_stranger(move)


# ---- the kernel's own files ----


@probe("masked path /proc/kcore", no_control="needs a kernel with CONFIG_PROC_KCORE")
def kcore() -> str | None:
    """The kernel's memory can be read through /proc/kcore."""
    found = read("/proc/kcore", 64)
    return f"{len(found)} bytes" if found else None


@probe("kallsyms tells where the kernel is")
def kernel_symbols() -> str | None:
    """/proc/kallsyms shows addresses."""
    with open("/proc/kallsyms", encoding="ascii") as lines:
        first = next(lines)
    return first.strip() if int(first.split()[0], 16) else None


@probe("masked path /proc/kmsg")
def kernel_messages() -> str | None:
    """The kernel's messages can be opened."""
    descriptor = os.open("/proc/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    try:
        # The mask is a device that holds nothing.
        is_mask = os.fstat(descriptor).st_rdev == os.stat("/dev/null").st_rdev
        return None if is_mask else "/proc/kmsg is open"
    finally:
        os.close(descriptor)


@probe("masked path /proc/keys")
def keys_listed() -> str | None:
    """Keys of the kernel's keyrings are listed."""
    return read("/proc/keys", 100).decode(errors="replace")[:60] or None


@probe("masked path /proc/timer_list: addresses and processes of the host")
def timers_listed() -> str | None:
    """Timers of all processes are listed."""
    return read("/proc/timer_list", 100).decode(errors="replace")[:60] or None


@probe("masked paths of today's engines: GHSA-6fw5-f8r9-fgfm, keystroke timing by /proc/interrupts")
def interrupts_counted() -> str | None:
    """Interrupts of the host are counted in sight."""
    return read("/proc/interrupts", 200).decode(errors="replace").strip()[:60] or None


@probe("masked path /proc/acpi")
def acpi_listed() -> str | None:
    """/proc/acpi has entries."""
    return f"{os.listdir('/proc/acpi')}" if os.path.isdir("/proc/acpi") and os.listdir("/proc/acpi") else None


@probe("physical addresses")
def physical_addresses() -> str | None:
    """/proc/iomem, /proc/ioports or /proc/self/pagemap show physical addresses."""
    for path in ("/proc/iomem", "/proc/ioports"):
        for line in read(path, 4096).decode(errors="replace").splitlines():
            if int(line.split("-")[0], 16):
                return f"{path}: {line.strip()}"
    page = ctypes.create_string_buffer(1)
    descriptor = os.open("/proc/self/pagemap", os.O_RDONLY)
    entry = int.from_bytes(os.pread(descriptor, 8, ctypes.addressof(page) // 4096 * 8), "little")
    return f"page frame {entry & ((1 << 55) - 1):#x}" if entry & ((1 << 55) - 1) else None


@probe("slab and page statistics help heap exploits")
def allocator_statistics() -> str | None:
    """Statistics of the kernel's allocator, page frame counts or vmalloc areas can be read."""
    for path in ("/proc/slabinfo", "/proc/vmallocinfo", "/proc/kpagecount", "/proc/pagetypeinfo"):
        try:
            if read(path, 8):
                return path
        except OSError:
            continue
    return None


@probe("CDK mount-procfs, core_pattern: a program on the host runs when something crashes")
def core_pattern() -> str | None:
    """/proc/sys/kernel/core_pattern can be opened for writing."""
    return "it can" if writable("/proc/sys/kernel/core_pattern") else None


@probe("modprobe_path: a program on the host runs for an unknown format", no_control="needs CONFIG_MODULES")
def modprobe_path() -> str | None:
    """/proc/sys/kernel/modprobe can be opened for writing."""
    return "it can" if writable("/proc/sys/kernel/modprobe") else None


@probe("sysrq-trigger: reboots or crashes the host", no_control="needs CONFIG_MAGIC_SYSRQ")
def sysrq() -> str | None:
    """/proc/sysrq-trigger can be opened for writing."""
    return "it can" if writable("/proc/sysrq-trigger") else None


@probe("binfmt_misc: an interpreter of ours for the host's programs")
def binfmt_misc() -> str | None:
    """binfmt_misc can be mounted, or its register opened for writing."""
    from hostile_kit import mount, private_mounts

    folder = "/proc/sys/fs/binfmt_misc"
    if writable(f"{folder}/register"):
        return "its register is writable"
    private_mounts()
    mount("none", folder, "binfmt_misc")
    return "mounted, and its register is writable" if writable(f"{folder}/register") else None


@probe("settings of the kernel: --privileged, systempaths=unconfined")
def kernel_settings() -> str | None:
    """A setting below /proc/sys can be opened for writing."""
    for folder, _, names in os.walk("/proc/sys"):
        for name in names:
            if writable(path := os.path.join(folder, name)):
                return path
    return None


@probe("read-only paths /proc/bus, /proc/fs, /proc/irq")
def hardware_settings() -> str | None:
    """A file below /proc/irq, /proc/bus, /proc/fs or /proc/mtrr can be opened for writing."""
    if writable("/proc/mtrr"):
        return "/proc/mtrr"
    for top in ("/proc/irq", "/proc/bus", "/proc/fs", "/proc/driver", "/proc/acpi"):
        for folder, _, names in os.walk(top):
            for name in names:
                if writable(path := os.path.join(folder, name)):
                    return path
    return None


@probe("ns_last_pid: choosing the number of the next process")
def next_pid() -> str | None:
    """The next process's number can be chosen."""
    return "ns_last_pid is writable" if writable("/proc/sys/kernel/ns_last_pid") else None


@probe("/proc/<pid>/exe is a path of the host: an interpreter that was started outside")
def executable_of_elsewhere() -> str | None:
    """The running program is not a file of this root."""
    for pid in pids():
        try:
            link = os.readlink(f"/proc/{pid}/exe")
            inside, real = os.stat(link), os.stat(f"/proc/{pid}/exe")
        except FileNotFoundError:
            return f"{pid} runs {os.readlink(f'/proc/{pid}/exe')}, which is not here" if _alive(pid) else None
        except OSError:
            continue
        if (inside.st_dev, inside.st_ino) != (real.st_dev, real.st_ino):
            return f"{pid} runs another file than {link}"
    return None


def _alive(pid: int) -> bool:
    try:
        return bool(os.readlink(f"/proc/{pid}/exe"))
    except OSError:
        return False


@probe("argv and comm of every process: secrets, host paths")
def telling_arguments() -> str | None:
    """An argument of a process names a secret or a place on the host."""
    pattern = re.compile(rb"(password|secret|token|sk-|/var/lib/docker|/tmp/.*\.sock)", re.IGNORECASE)
    for pid in pids():
        line = read(f"/proc/{pid}/cmdline", 65536)
        if found := pattern.search(line):
            return f"{pid}: {line[max(0, found.start() - 10) : found.end() + 20]!r}"
    return None


@probe("PR_SET_PTRACER, dumpable: a stranger's process lets itself be read")
def dumpable_stranger() -> str | None:
    """Another user's process has its memory readable by permission bits of /proc."""
    return _each_stranger(lambda pid: "auxv " + read(f"/proc/{pid}/auxv", 16).hex())


@probe("syscall and stack of others tell what they do")
def strangers_kernel_state() -> str | None:
    """Another user's current system call is shown."""
    return _each_stranger(lambda pid: read(f"/proc/{pid}/syscall", 60).decode().strip())


@probe("CVE-2016-5195 way in: /proc/self/mem writes through a read-only mapping", no_control="patched in 2016")
def dirty_cow() -> str | None:
    """A read-only file of the image changes by writing to a private mapping of it."""
    import mmap

    path = "/etc/passwd"
    before = read(path)
    descriptor = os.open(path, os.O_RDONLY)
    area = mmap.mmap(descriptor, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
    start = next(int(line.split("-")[0], 16) for line in read("/proc/self/maps", 1 << 22).decode().splitlines() if path in line)
    memory = os.open("/proc/self/mem", os.O_RDWR)
    os.pwrite(memory, b"#", start)
    LIBC.madvise(ctypes.c_void_p(start), 4096, 4)
    area.close()
    return "it changed" if read(path) != before else None
