"""The file system: what can be written, run, linked, unpacked, and which descriptors were left open."""

from __future__ import annotations

import contextlib
import ctypes
import io
import mmap
import os
import shutil
import stat
import sys
import tarfile

from hostile_kit import LIBC, mounts, pids, probe, read, scratch

_IMAGE = ("/", "/usr", "/usr/bin", "/bin", "/etc", "/opt", "/opt/flowcell", "/lib", "/var", "/var/tmp", "/run", "/home", "/root", "/srv", "/mnt", "/usr/local/bin", "/var/lock")  # fmt: skip


def _makes_file(folder: str) -> str | None:
    path = f"{folder.rstrip('/')}/hostile-{os.getpid()}"
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
    os.close(descriptor)
    os.unlink(path)
    return f"a file in {folder}"


def _first(folders: tuple[str, ...]) -> str | None:
    last: OSError | None = None
    for folder in folders:
        if not os.path.isdir(folder):
            continue
        try:
            return _makes_file(folder)
        except OSError as error:
            last = error
    if last:
        raise last
    return None


@probe("CIS 5.13: the root is mounted read-only")
def writes_to_the_image() -> str | None:
    """A file can be made in a directory of the image."""
    return _first(_IMAGE)


@probe("poisoning the next cell's code")
def writes_beside_the_runner() -> str | None:
    """A file can be made among the installed packages."""
    folders = [path for path in sys.path if path.endswith("-packages")]
    return _first((*folders, *(f"{path}/flowcell_runner" for path in folders)))


@probe("CVE-2019-14271: libraries of the container that a tool of the host loads")
def writes_to_libraries() -> str | None:
    """A file can be made among the system's libraries, or the loader's settings changed."""
    return _first(("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/usr/lib", "/etc/ld.so.conf.d", "/etc"))  # fmt: skip


@probe("the directory that the worker made on the host")
def writes_to_the_sockets_directory() -> str | None:
    """A file can be made where the worker's sockets are."""
    return _first(("/run/flowcell",))


@probe("another listener in place of the worker")
def replaces_the_workers_socket() -> str | None:
    """A socket of the worker can be removed or replaced."""
    for name in ("cell.sock", "egress.sock"):
        with contextlib.suppress(FileNotFoundError):
            os.rename(f"/run/flowcell/{name}", f"/run/flowcell/{name}.old")
            return f"{name} was renamed"
    return _first(("/run/flowcell",))


@probe("CIS 5.6: directories of the host")
def hosts_directories() -> str | None:
    """A directory or file of the host is mounted."""
    kinds = ("proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2", "devtmpfs", "overlay")
    ours = ("/", "/run/flowcell", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
    found = [
        f"{entry['target']} ({entry['root']} of {entry['source']})"
        for entry in mounts()
        if entry["kind"] not in kinds and entry["target"] not in ours
    ]
    return f"{found[:4]}" if found else None


@probe("writable mounts beside the memory's")
def writable_mounts() -> str | None:
    """A mount is writable that is not in memory."""
    harmless = ("proc", "tmpfs", "devpts", "mqueue")
    found = [
        entry["target"] for entry in mounts() if entry["kind"] not in harmless and "rw" in entry["options"].split(",")
    ]
    return f"{found[:4]}" if found else None


@probe("CIS 5.20: mount propagation")
def shared_mounts() -> str | None:
    """A mount is shared with the host: what is mounted here appears there."""
    found = [entry["target"] for entry in mounts() if "shared:" in entry["tags"]]
    return f"{found[:4]}" if found else None


@probe("a writable place without noexec, nosuid and nodev")
def runnable_mounts() -> str | None:
    """A writable mount allows programs, set-uid programs or devices."""
    found = []
    for entry in mounts():
        options = set(entry["options"].split(","))
        usable = os.path.isdir(entry["target"]) and os.access(entry["target"], os.W_OK)
        if entry["kind"] not in ("proc", "devpts") and "rw" in options and usable:
            lacks = {"noexec", "nosuid", "nodev"} - options
            # A queue holds no program.
            if lacks and entry["kind"] != "mqueue":
                found.append(f"{entry['target']} lacks {sorted(lacks)}")
    return f"{found[:4]}" if found else None


def _program() -> str:
    path = f"{scratch('program')}/true"
    shutil.copy("/bin/true", path)
    os.chmod(path, 0o700)  # noqa: S103
    return path


@probe("dropped binaries")
def runs_a_dropped_program() -> str | None:
    """A program that was written to /tmp runs."""
    path = _program()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(OSError):
            os.execv(path, [path])
        os._exit(77)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return "it ran" if code == 0 else None


@probe("noexec by way of the loader: ld.so /tmp/program")
def runs_by_the_loader() -> str | None:
    """A program that was written to /tmp runs when the loader is asked to start it."""
    path = _program()
    for loader in ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"):
        if not os.path.exists(loader):
            continue
        child = os.fork()
        if child == 0:
            os.close(2)
            with contextlib.suppress(OSError):
                os.execv(loader, [loader, path])
            os._exit(77)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
            return "it ran"
    return None


@probe("noexec by way of mmap: a dropped library")
def maps_a_dropped_library() -> str | None:
    """A file in /tmp can be mapped as code."""
    with open(_program(), "rb") as file:
        mmap.mmap(file.fileno(), 4096, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_EXEC).close()
    return "mapped as code"


@probe("set-uid copies, CIS 5.26")
def sets_the_set_uid_bit_for_others() -> str | None:
    """A file can be given to another user."""
    path = f"{scratch('chown')}/file"
    with open(path, "w", encoding="ascii"):
        pass
    os.chown(path, os.getuid() + 1, -1)
    os.chmod(path, 0o4755)  # noqa: S103
    return f"{path} belongs to {os.stat(path).st_uid} and is set-uid"


@probe("file capabilities on a dropped program")
def gives_capabilities_to_a_file() -> str | None:
    """A file can be given capabilities."""
    path = _program()
    os.setxattr(path, "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
    return "CAP_SYS_ADMIN on a file"


@probe("opening again for writing by /proc/self/fd")
def reopens_for_writing() -> str | None:
    """A file of the image that was opened for reading can be opened again for writing."""
    descriptor = os.open("/etc/passwd", os.O_RDONLY)
    os.close(os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY))
    return "/etc/passwd is open for writing"


@probe("links to protected files: fs.protected_hardlinks")
def links_to_protected_files() -> str | None:
    """A hard link to a protected file can be made in a writable place."""
    for target in ("/etc/shadow", "/etc/passwd"):
        path = f"{scratch('link')}/link"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        os.link(target, path)
        return f"{target} is linked to {path}"
    return None


@probe("dot-dot beyond the root")
def dots_beyond_the_root() -> str | None:
    """Going up far enough leads out of the root."""
    own = os.stat("/")
    for start in ("/", "/tmp", "/run/flowcell", "/proc/self/cwd", "/proc/self/root", "/dev/shm"):
        if not os.path.isdir(start):
            continue
        there = os.stat(start + "/.." * 40)
        if (there.st_dev, there.st_ino) != (own.st_dev, own.st_ino):
            return f"{start}/../… is {os.listdir(start + '/..' * 40)[:4]}"
    return None


@probe("CVE-2024-21626: a descriptor of a directory of the host was left open")
def leaked_descriptors() -> str | None:
    """A descriptor is open that is no socket, pipe, event or null device."""
    found = []
    for pid in pids():
        try:
            numbers = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue
        for number in numbers:
            with contextlib.suppress(OSError):
                target = os.readlink(f"/proc/{pid}/fd/{number}")
                if not _harmless(target, pid):
                    found.append(f"{pid}/{number} is {target}")
    return f"{found[:5]}" if found else None


def _harmless(target: str, pid: int) -> bool:
    if target.startswith(("socket:", "pipe:", "anon_inode:", "/memfd:")) or target in ("/dev/null", "/dev/urandom", "/dev/random"):
        return True
    # What the suite itself has open while it looks, and files of Python's packages.
    return target.startswith((f"/proc/{pid}/", "/proc/", "/tmp/", "/dev/shm/", "/opt/flowcell/", "/usr/lib/"))


@probe("CVE-2024-21626: the working directory is one of the host")
def working_directory_of_the_host() -> str | None:
    """The working directory of a process is not below the root."""
    for pid in pids():
        try:
            here = os.readlink(f"/proc/{pid}/cwd")
        except OSError:
            continue
        seen, real = (os.stat(here) if os.path.exists(here) else None), os.stat(f"/proc/{pid}/cwd/")
        if here.startswith("(unreachable)") or seen is None or (seen.st_dev, seen.st_ino) != (real.st_dev, real.st_ino):
            return f"{pid} is in {here}: {os.listdir(f'/proc/{pid}/cwd/')[:3]}"
    return None


# ---- archives ----


def _unpacks(*members: tuple[tarfile.TarInfo, bytes], escaped: str) -> str | None:
    folder = scratch("tar")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    archive.seek(0)
    with tarfile.open(fileobj=archive) as tar:
        # What careless code does; newer Pythons would refuse.
        tar.extraction_filter = lambda member, _: member  # type: ignore[method-assign]
        for member in tar.getmembers():
            tar.extract(member, folder, set_attrs=False)
    reached = os.path.lexists(escaped)
    with contextlib.suppress(OSError):
        os.unlink(escaped)
    return f"{escaped} was written" if reached else None


def _entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@probe("CVE-2007-4559: dot-dot in the names of an archive")
def archive_with_dots() -> str | None:
    """Unpacking an archive writes to the image by dot-dot."""
    return _unpacks((_entry("../../../../etc/hostile-tar"), b"x"), escaped="/etc/hostile-tar")


@probe("symbolic links in an archive")
def archive_with_a_link() -> str | None:
    """Unpacking an archive writes to the image through a symbolic link."""
    return _unpacks(
        (_entry("way", tarfile.SYMTYPE, "/etc"), b""), (_entry("way/hostile-link"), b"x"), escaped="/etc/hostile-link"
    )


@probe("CVE-2021-30465, CVE-2025-31133: a symbolic link where the engine mounts")
def links_in_place_of_mounts() -> str | None:
    """A mount point can be moved away and replaced by a link."""
    for path in ("/run/flowcell", "/dev/shm", "/etc/hosts"):
        if os.path.exists(path):
            with contextlib.suppress(FileNotFoundError):
                os.symlink("/", f"{os.path.dirname(path)}/hostile-link")
                os.unlink(f"{os.path.dirname(path)}/hostile-link")
                return f"a link beside {path}"
    return None


@probe("CVE-2018-15664: a link that changes while a tool of the host follows it")
def magic_links_outside() -> str | None:
    """A link below /proc leads out of the root."""
    own = os.stat("/").st_dev
    devices = {os.stat(entry["target"]).st_dev for entry in mounts() if _stats(entry["target"])}
    for pid in pids():
        for name in ("root", "cwd"):
            with contextlib.suppress(OSError):
                there = os.stat(f"/proc/{pid}/{name}/")
                if there.st_dev not in devices | {own}:
                    return f"/proc/{pid}/{name} leads to device {there.st_dev}"
    for path in _map_files():
        with contextlib.suppress(OSError):
            if os.stat(path).st_dev not in devices | {own} and stat.S_ISREG(os.stat(path).st_mode):
                return f"{path} leads to {os.readlink(path)}"
    return None


def _stats(path: str) -> bool:
    try:
        os.stat(path)
    except OSError:
        return False
    return True


def _map_files() -> list[str]:
    try:
        return [f"/proc/self/map_files/{name}" for name in os.listdir("/proc/self/map_files")]
    except OSError:
        return []


@probe("CVE-2022-0847 (Dirty Pipe): splice into the page cache", no_control="patched in 2022")
def dirty_pipe() -> str | None:
    """A read-only file changes by splicing it into a pipe and writing there."""
    path = f"{scratch('pipe')}/read-only"
    with open(path, "wb") as file:
        file.write(b"a" * 64)
    os.chmod(path, 0o400)
    descriptor = os.open(path, os.O_RDONLY)
    read_end, write_end = os.pipe()
    size = os.write(write_end, b"x" * 65536)
    os.read(read_end, size)
    offset = ctypes.c_longlong(1)
    if LIBC.splice(descriptor, ctypes.byref(offset), write_end, None, ctypes.c_size_t(1), 0) != 1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    os.write(write_end, b"DIRTY")
    return "the file changed" if b"DIRTY" in read(path, 64) else None
