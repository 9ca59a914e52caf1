"""Files, archives, databases."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import sqlite3
import struct
import tempfile
import threading
from pathlib import Path

from workload.parts import part, scratch


@part
def files() -> None:
    with scratch() as here:
        one = here / "one.txt"
        one.write_text("line\n" * 100)
        assert one.stat().st_size == 500
        one.chmod(0o600)
        os.utime(one, (1, 2))
        os.link(one, here / "hard")
        os.symlink("one.txt", here / "soft")
        assert (here / "soft").readlink() == Path("one.txt")
        assert (here / "soft").resolve() == one.resolve()
        os.rename(one, here / "two.txt")
        os.replace(here / "two.txt", one)
        os.truncate(one, 10)
        (here / "a/b/c").mkdir(parents=True)
        (here / "a/b/c/file").touch()
        assert [names for _, _, names in os.walk(here)][-1] == ["file"]
        shutil.copytree(here / "a", here / "copy")
        shutil.move(here / "copy", here / "moved")
        shutil.copy2(one, here / "copied")
        shutil.rmtree(here / "moved")
        os.chown(one, -1, os.getgid())
        assert os.access(one, os.R_OK)
        assert os.statvfs(here).f_bsize
        assert shutil.disk_usage(here).total
        previous = os.umask(0o077)
        os.umask(previous)
        os.chdir(here)
        assert Path.cwd() == here.resolve()
        os.mkfifo(here / "fifo")
        os.mknod(here / "plain", 0o600)
        with contextlib.suppress(OSError):
            os.setxattr(one, "user.x", b"1")
        with contextlib.suppress(OSError):
            os.getxattr(one, "user.x")
        os.listxattr(one)
        os.chdir("/")


@part
def descriptors() -> None:
    with scratch() as here, (here / "x").open("w+b", buffering=0) as file:
        number = file.fileno()
        os.posix_fallocate(number, 0, 8192)
        os.posix_fadvise(number, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        os.pwrite(number, b"abc", 5)
        assert os.pread(number, 3, 5) == b"abc"
        os.pwritev(number, [b"1", b"2"], 0)
        os.preadv(number, [bytearray(2)], 0)
        os.writev(number, [b"x", b"y"])
        file.seek(0)
        os.readv(number, [bytearray(2)])
        os.fsync(number)
        os.fdatasync(number)
        os.ftruncate(number, 100)
        os.fchmod(number, 0o600)
        os.fstat(number)
        os.fstatvfs(number)
        fcntl.flock(number, fcntl.LOCK_EX)
        fcntl.flock(number, fcntl.LOCK_UN)
        fcntl.lockf(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.fcntl(number, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        fcntl.fcntl(number, fcntl.F_GETFL)
        assert not os.isatty(number)
        copy = os.dup(number)
        os.dup2(number, copy, inheritable=False)
        os.close(copy)
        folder = os.open(here, os.O_RDONLY | os.O_DIRECTORY)
        assert "x" in os.listdir(folder)
        os.stat("x", dir_fd=folder)
        os.fchdir(folder)
        os.open("y", os.O_CREAT | os.O_WRONLY, dir_fd=folder)
        os.unlink("y", dir_fd=folder)
        os.chdir("/")
        with (here / "z").open("wb") as other:
            os.sendfile(other.fileno(), number, 0, 50)
            os.copy_file_range(number, other.fileno(), 10, 0, 0)
        reader, writer = os.pipe2(os.O_CLOEXEC)
        os.splice(number, writer, 10, offset_src=0)
        fcntl.fcntl(writer, 1031, 65536)  # F_SETPIPE_SZ
        assert fcntl.ioctl(reader, 0x541B, b"\0" * 4) == struct.pack("i", 10)  # FIONREAD
        with contextlib.suppress(OSError):
            # Allowed or not, but never fatal: older kernels lack it.
            os.write(os.memfd_create("x", os.MFD_CLOEXEC), b"x")
        event = os.eventfd(1)
        assert os.eventfd_read(event) == 1
        os.close_range(event, event) if hasattr(os, "close_range") else os.closerange(event, event + 1)
        os.sync()


@part
def archives() -> None:
    import bz2
    import dbm
    import gzip
    import lzma
    import shelve
    import tarfile
    import zipfile

    with scratch() as here:
        (here / "x").write_bytes(os.urandom(4096))
        with zipfile.ZipFile(here / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(here / "x", "x")
        with zipfile.ZipFile(here / "x.zip") as archive:
            archive.extractall(here / "unzipped")
        with tarfile.open(here / "x.tgz", "w:gz") as archive:
            archive.add(here / "x", "x")
        with tarfile.open(here / "x.tgz") as archive:
            archive.extractall(here / "untarred")
        for module in (bz2, gzip, lzma):
            with module.open(here / "x.packed", "wb") as packed:
                packed.write(b"x" * 1000)
        with shelve.open(str(here / "shelf")) as shelf:
            shelf["x"] = 1
        with dbm.open(str(here / "dbm"), "c") as table:
            table["x"] = "1"
        with tempfile.NamedTemporaryFile() as named, tempfile.SpooledTemporaryFile(10) as spooled:
            named.write(b"x")
            spooled.write(b"x" * 20)
        with tempfile.TemporaryFile() as unnamed:
            unnamed.write(b"x")


@part
def watching() -> None:
    import watchfiles

    with scratch() as here:
        stop = threading.Event()
        timer = threading.Timer(0.3, (here / "new").touch)
        timer.start()
        for changes in watchfiles.watch(here, stop_event=stop, rust_timeout=5_000, debounce=100, step=20):
            assert changes
            break
        polling = threading.Timer(0.3, (here / "newer").touch)
        polling.start()
        for changes in watchfiles.watch(here, force_polling=True, debounce=100, step=20):
            assert changes
            break


@part
def async_files() -> None:
    import aiofile
    import aiofiles
    import anyio

    async def main(here: Path) -> None:
        async with aiofiles.open(here / "a", "w") as file:
            await file.write("x")
        async with aiofile.async_open(here / "b", "w+") as file:
            await file.write("hello")
            file.seek(0)
            assert await file.read() == "hello"
        await anyio.Path(here / "c").write_text("x")

    with scratch() as here:
        asyncio.run(main(here))


@part
def databases() -> None:
    import sqlalchemy

    with scratch() as here:
        for mode in ("DELETE", "WAL"):
            with contextlib.closing(sqlite3.connect(here / f"{mode}.db")) as connection:
                connection.execute(f"pragma journal_mode={mode}")
                connection.execute("create table t (x)")
                connection.executemany("insert into t values (?)", [(n,) for n in range(1000)])
                connection.commit()
                connection.execute("vacuum")
                other = sqlite3.connect(here / f"{mode}.db")
                assert other.execute("select count(*) from t").fetchone() == (1000,)
                other.close()
        engine = sqlalchemy.create_engine(f"sqlite:///{here}/orm.db")
        with engine.begin() as orm:
            orm.execute(sqlalchemy.text("create table t (x int)"))
        engine.dispose()
