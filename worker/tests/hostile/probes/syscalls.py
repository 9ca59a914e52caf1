"""System calls that a component never needs and that exploits begin with.

Each is made with arguments that cannot do anything, so that only the filter and the privileges
decide. `narrow=True`: an engine's default profile lets it pass on today's kernels, the cells' own
profile does not; see `Backend::narrow`.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import platform
import struct

from hostile_kit import LIBC, call, call_number, probe, reach

_ABSENT_PID = 999_999_7


@probe("CDK check-ptrace; CVE-2019-13272", narrow=True)
def ptrace() -> str | None:
    """ptrace passes the filter."""
    return reach("ptrace", 2, _ABSENT_PID, 0, 0)


@probe("reading another process's memory", narrow=True)
def process_vm_readv() -> str | None:
    """process_vm_readv passes the filter."""
    return reach("process_vm_readv", _ABSENT_PID, 0, 0, 0, 0, 0)


@probe("writing another process's memory", narrow=True)
def process_vm_writev() -> str | None:
    """process_vm_writev passes the filter."""
    return reach("process_vm_writev", _ABSENT_PID, 0, 0, 0, 0, 0)


@probe("process_madvise on a foreign process", narrow=True)
def process_madvise() -> str | None:
    """process_madvise passes the filter."""
    return reach("process_madvise", -1, 0, 0, 0, 0)


@probe("kcmp tells which kernel objects two processes share", narrow=True)
def kcmp() -> str | None:
    """kcmp passes the filter."""
    return reach("kcmp", _ABSENT_PID, _ABSENT_PID, 0, 0, 0)


@probe("CVE-2016-0728: reference count of joined session keyrings")
def keyctl_join() -> str | None:
    """keyctl joins a session keyring."""
    return f"joined keyring {call('keyctl', 1, b'hostile')}"


@probe("keyrings are not namespaced: add_key")
def add_key() -> str | None:
    """add_key stores a key in the kernel."""
    return f"key {call('add_key', b'user', b'hostile', b'x', 1, -1)}"


@probe("keyrings are not namespaced: request_key, which calls a program on the host")
def request_key() -> str | None:
    """request_key passes the filter."""
    return reach("request_key", b"user", b"hostile-absent", 0, 0)


@probe("CVE-2021-3490, CVE-2022-23222 and many more: eBPF")
def bpf() -> str | None:
    """bpf passes the filter."""
    return reach("bpf", 99, 0, 0)


@probe("CVE-2013-2094, CVE-2022-1729: perf events")
def perf_event_open() -> str | None:
    """perf_event_open passes the filter."""
    return reach("perf_event_open", 0, 0, -1, -1, 0)


@probe("userfaultfd makes kernel races winnable")
def userfaultfd() -> str | None:
    """userfaultfd gives a descriptor."""
    return f"descriptor {call('userfaultfd', 1)}"


@probe("io_uring does system calls that no filter sees; CVE-2022-29582 and many more", narrow=True)
def io_uring() -> str | None:
    """io_uring can be set up."""
    return f"descriptor {call('io_uring_setup', 1, ctypes.create_string_buffer(256))}"


@probe("RWF_NOWAIT: which parts of shared files others have read", narrow=True)
def asks_what_is_cached() -> str | None:
    """A read can be asked to fail unless somebody has read the same before."""
    # Not every file system knows the flag; the engine's own files lie on the host's.
    for path in ("/etc/hosts", "/etc/hostname", "/etc/passwd"):
        with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
            try:
                read = os.preadv(file.fileno(), [bytearray(8)], 0, os.RWF_NOWAIT)
            except BlockingIOError:
                return f"{path} is not in memory"
            except OSError as error:
                refused = error
            else:
                return f"{read} bytes of {path} are in memory"
    raise refused


@probe("CDK cap-dac-read-search (shocker): open_by_handle_at")
def open_by_handle_at() -> str | None:
    """open_by_handle_at opens the root of the file system below by its inode number."""
    handle = struct.pack("=Ii", 8, 1) + struct.pack("=II", 2, 0)
    mount = os.open("/etc/hostname" if os.path.exists("/etc/hostname") else "/", os.O_RDONLY)
    return reach("open_by_handle_at", mount, ctypes.create_string_buffer(handle), os.O_RDONLY)


@probe("shocker's first half", narrow=True)
def name_to_handle_at() -> str | None:
    """name_to_handle_at tells inode handles."""
    return reach("name_to_handle_at", -100, b"/absent", 0, 0, 0)


@probe("mount(2)")
def mount_syscall() -> str | None:
    """mount passes the filter."""
    return reach("mount", b"none", b"/absent", b"tmpfs", 0, 0)


@probe("umount of the masks over /proc")
def umount_syscall() -> str | None:
    """umount2 passes the filter."""
    return reach("umount2", b"/absent", 0)


@probe("pivot_root")
def pivot_root() -> str | None:
    """pivot_root passes the filter."""
    return reach("pivot_root", b"/absent", b"/absent")


@probe("CVE-2022-0185: legacy_parse_param by way of fsopen and fsconfig")
def fsopen() -> str | None:
    """fsopen gives a file system context."""
    return f"descriptor {call('fsopen', b'ext4', 0)}"


@probe("open_tree(OPEN_TREE_CLONE): a detached copy of a mount")
def open_tree() -> str | None:
    """open_tree clones the root's mounts."""
    return f"descriptor {call('open_tree', -100, b'/', 1)}"


@probe("move_mount")
def move_mount() -> str | None:
    """move_mount passes the filter."""
    return reach("move_mount", -1, b"", -1, b"", 0x44)


@probe("mount_setattr: a read-only mount becomes writable")
def mount_setattr() -> str | None:
    """mount_setattr passes the filter."""
    return reach("mount_setattr", -1, b"absent", 0, 0, 0)


@probe("swapon")
def swapon() -> str | None:
    """swapon passes filter and privilege check."""
    return reach("swapon", b"/absent", 0)


@probe("acct(2) writes to a file of the host")
def acct() -> str | None:
    """acct passes filter and privilege check."""
    return reach("acct", b"/absent/absent")


@probe("quotactl")
def quotactl() -> str | None:
    """quotactl passes the filter."""
    return reach("quotactl", 0, 0, 0, 0)


@probe("kexec_load of a new kernel", no_control="needs a kernel with CONFIG_KEXEC")
def kexec_load() -> str | None:
    """kexec_load passes filter and privilege check."""
    return reach("kexec_load", 0, 0, 0, 0xFFFF)


@probe("CAP_SYS_MODULE: loading a module is code in the kernel", no_control="needs a kernel with CONFIG_MODULES")
def delete_module() -> str | None:
    """delete_module passes filter and privilege check."""
    return reach("delete_module", b"hostile_absent", 0)


@probe("CAP_SYS_MODULE (CDK, deepce): insmod", no_control="needs a kernel with CONFIG_MODULES")
def finit_module() -> str | None:
    """finit_module passes filter and privilege check."""
    return reach("finit_module", -1, b"", 0)


@probe("dmesg: the kernel's log tells addresses and devices")
def kernel_log() -> str | None:
    """syslog(2) reads the kernel's log."""
    text = ctypes.create_string_buffer(256)
    return f"{call('syslog', 3, text, 255)} bytes of kernel log"


@probe("iopl and ioperm: talking to hardware", no_control="the kernel has CONFIG_X86_IOPL_IOPERM off")
def port_io() -> str | None:
    """ioperm opens I/O ports."""
    call("ioperm", 0x80, 1, 1)
    return "I/O port 0x80 is open"


@probe("vmsplice, CVE-2008-0600", narrow=True)
def vmsplice() -> str | None:
    """vmsplice passes the filter."""
    return reach("vmsplice", -1, 0, 0, 0)


@probe("memfd_secret hides memory from the host", narrow=True)
def memfd_secret() -> str | None:
    """memfd_secret gives a descriptor."""
    return f"descriptor {call('memfd_secret', 0)}"


@probe("fanotify watches a whole file system")
def fanotify() -> str | None:
    """fanotify_init gives a descriptor."""
    return f"descriptor {call('fanotify_init', 0, os.O_RDONLY)}"


@probe("obsolete calls: lookup_dcookie", no_control="gone from kernels since 6.7")
def lookup_dcookie() -> str | None:
    """lookup_dcookie passes the filter."""
    return reach("lookup_dcookie", 0, 0, 0)


@probe("obsolete calls: ustat")
def ustat() -> str | None:
    """ustat passes the filter."""
    return reach("ustat", 0, 0)


@probe("obsolete calls: sysfs(2) lists file systems")
def sysfs_call() -> str | None:
    """sysfs(2) passes the filter."""
    return reach("sysfs", 3)


@probe("CVE-2017-17053: local descriptor tables", narrow=True)
def modify_ldt() -> str | None:
    """modify_ldt passes the filter."""
    return reach("modify_ldt", 0, 0, 0)


@probe("move_pages moves a foreign process's memory between nodes", narrow=True)
def move_pages() -> str | None:
    """move_pages passes the filter."""
    return reach("move_pages", _ABSENT_PID, 0, 0, 0, 0, 0)


@probe("obsolete calls: remap_file_pages", narrow=True)
def remap_file_pages() -> str | None:
    """remap_file_pages passes the filter."""
    return reach("remap_file_pages", 0, 0, 0, 0, 0)


@probe("filter bypass by the x32 numbers", no_control="needs a kernel with CONFIG_X86_X32_ABI")
def x32_numbers() -> str | None:
    """A denied call passes under its x32 number."""
    if platform.machine() != "x86_64":
        return None
    call_number(0x4000_0000 | 272, "unshare (x32)", 0x1000_0000)
    return "unshare(CLONE_NEWUSER) by its x32 number"


@probe("filter bypass by the 32-bit entry: int 0x80")
def compat_entry() -> str | None:
    """A denied call passes through the 32-bit entry."""
    if platform.machine() != "x86_64":
        return None
    # push rbx; mov eax, 310 (unshare); mov ebx, CLONE_NEWNS; int 0x80; pop rbx; ret
    code = b"\x53\xb8\x36\x01\x00\x00\xbb\x00\x00\x02\x00\xcd\x80\x5b\xc3"
    area = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    area.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(area))
    result = ctypes.CFUNCTYPE(ctypes.c_int)(address)()
    if result < 0:
        raise OSError(-result, f"unshare by int 0x80: {os.strerror(-result)}")
    return "unshare(CLONE_NEWNS) by int 0x80"


@probe("LD_PRELOAD-free raw call: a filter on the C library's wrappers would not see it")
def raw_unshare() -> str | None:
    """The C library's unshare and the raw call answer alike."""
    ctypes.set_errno(0)
    if LIBC.unshare(0x0400_0000) == 0 or LIBC.syscall(272, ctypes.c_long(0x0400_0000)) == 0:
        return "unshare(CLONE_NEWUTS)"
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
