"""Processes, threads, signals, memory, terminals."""

from __future__ import annotations

import concurrent.futures
import contextlib
import ctypes
import fcntl
import functools
import mmap
import multiprocessing
import os
import queue
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

from workload.parts import part, scratch, square


@part
def subprocesses() -> None:
    run = functools.partial(subprocess.run, check=True, capture_output=True, text=True)
    assert run(["echo", "x"]).stdout == "x\n"
    assert run("echo $((1+1)) | cat", shell=True).stdout == "2\n"
    assert run(["cat"], input="in").stdout == "in"
    run(["bash", "-c", "for i in 1 2 3; do (true) & done; wait; echo <(true)"])
    run([sys.executable, "-c", "import json"], cwd="/", env={"PATH": os.environ["PATH"]})
    run(["true"], start_new_session=True)
    run(["true"], process_group=0)
    run(["true"], preexec_fn=lambda: None)
    run(["true"], close_fds=False)
    with contextlib.suppress(subprocess.TimeoutExpired):
        run(["sleep", "5"], timeout=0.1)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.communicate(b"x" * 200_000)[0] == b"x" * 200_000
    with subprocess.Popen(["sleep", "5"]) as child:
        child.terminate()
        assert child.wait() == -signal.SIGTERM
    assert os.system("true") == 0
    with os.popen("echo x") as stream:
        assert stream.read() == "x\n"
    pid = os.posix_spawn("/bin/true", ["true"], {}, setpgroup=0)
    assert os.waitpid(pid, 0)[1] == 0
    pid = os.fork()
    if pid == 0:
        os._exit(3)
    assert os.waitid(os.P_PID, pid, os.WEXITED).si_status == 3
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.execvp("true", ["true"])
    assert os.wait4(pid, 0)[1] == 0


@part
def commands() -> None:
    """Programs that components call from a shell."""
    with scratch() as here:
        (here / "data").write_text("b 2\na 1\n" * 1000)
        lines = (
            "ls -laR /etc >/dev/null",
            "ls -l --color=auto . | head -n 2 >/dev/null",
            "cp -a data copy; mv copy moved; rm -f moved; ln -s data soft; mkdir -p x/y; rmdir x/y",
            "sort data | uniq -c | sed s/a/b/ | awk '{print $1}' | grep -c . >/dev/null",
            "tar czf x.tgz data && tar xzf x.tgz && gzip -k data && gunzip -t data.gz",
            "dd if=/dev/zero of=zero bs=4k count=4 status=none; truncate -s 100 zero; touch -d yesterday zero",
            "df -h . >/dev/null; du -sh . >/dev/null; stat -f . >/dev/null; stat data >/dev/null; sync data",
            "date >/dev/null; id >/dev/null; hostname >/dev/null; uname -a >/dev/null; nproc >/dev/null",
            "env >/dev/null; whoami >/dev/null; tty; test -w . ; realpath . >/dev/null; mktemp >/dev/null",
            "timeout 5 true; nice -n 5 true; nohup true; head data | xargs -P 2 -n 1 echo >/dev/null; wc -l data",
            "(sleep 0.2; echo x >>data) & timeout 1 tail -n 1 -f data >/dev/null; wait",
            "sha256sum data >/dev/null; base64 data >/dev/null; openssl rand -hex 4; shuf -n 1 data",
            "getent hosts localhost >/dev/null; free 2>/dev/null; find . -name data -newer zero; split -l 9 data p.",
            "taskset -p $$ >/dev/null; flock data true; setsid true; stdbuf -oL true; cmp data data; diff data data",
            "ulimit -n 256; ulimit -c 0; trap 'true' TERM; kill -TERM $$; cat /proc/self/status >/dev/null; time true",
        )
        for line in lines:
            done = subprocess.run(["bash", "-c", line], cwd=here, capture_output=True, text=True, check=False)
            trouble = [text for text in ("not permitted", "not implemented") if text in done.stderr]
            assert not trouble, (line, done.stderr)


@part
def multiprocessing_all() -> None:
    from multiprocessing import shared_memory

    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool:
            assert pool.map(square, [1, 2, 3]) == [1, 4, 9]
        channel: Any = context.Queue()
        child = context.Process(target=channel.put, args=(1,))
        child.start()
        assert channel.get(timeout=30) == 1
        child.join()
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
            assert list(pool.map(square, [4])) == [16]
    with multiprocessing.Manager() as manager:
        shared = manager.dict()
        shared["x"] = 1
    left, right = multiprocessing.Pipe()
    left.send("x")
    assert right.poll(1)
    block = shared_memory.SharedMemory(create=True, size=4096)
    block.buf[0] = 1
    block.close()
    block.unlink()
    multiprocessing.Value("i", 1).value += 1
    semaphore = multiprocessing.BoundedSemaphore(2)
    with semaphore:
        assert not semaphore.acquire(timeout=0.01) or semaphore.release() is None
    assert multiprocessing.cpu_count()


@part
def threads() -> None:
    box: queue.Queue[int] = queue.Queue()
    barrier = threading.Barrier(4)

    def work(number: int) -> None:
        barrier.wait(10)
        time.sleep(0.01)
        box.put(number)

    started = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    assert box.qsize() == 4
    timer = threading.Timer(0.01, box.put, [9])
    timer.start()
    timer.join()
    assert not threading.Event().wait(0.01)
    threading.stack_size(256 * 1024)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(square, range(10))) == 285
    threading.stack_size(0)
    assert threading.get_native_id()


@part
def signals() -> None:
    seen: list[int] = []
    for number in (signal.SIGUSR1, signal.SIGALRM, signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda got, _frame: seen.append(got))
    os.kill(os.getpid(), signal.SIGUSR1)
    signal.raise_signal(signal.SIGTERM)
    signal.alarm(1)
    signal.pause()
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    time.sleep(0.05)
    signal.siginterrupt(signal.SIGUSR1, False)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
    assert signal.SIGUSR1 in signal.sigpending()
    assert signal.sigtimedwait({signal.SIGUSR1}, 1)
    os.kill(os.getpid(), signal.SIGUSR1)
    assert signal.sigwait({signal.SIGUSR1}) == signal.SIGUSR1
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
    assert {signal.SIGALRM, signal.SIGTERM} <= set(seen)
    import faulthandler

    faulthandler.enable()
    faulthandler.dump_traceback_later(60)
    faulthandler.cancel_dump_traceback_later()
    child = subprocess.Popen(["sleep", "5"])
    with contextlib.suppress(OSError):
        # Allowed or not, but never fatal: callers are ready for kernels that lack it.
        descriptor = os.pidfd_open(child.pid)
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
    child.kill()
    child.wait()
    crashed = subprocess.run([sys.executable, "-c", "import os; os.abort()"], capture_output=True, check=False)
    assert crashed.returncode == -signal.SIGABRT
    leader = subprocess.Popen(["sleep", "5"], start_new_session=True)
    os.killpg(leader.pid, signal.SIGKILL)
    assert leader.wait() == -signal.SIGKILL


@part
def facts() -> None:
    """Ask about this process and its machine."""
    import getpass
    import grp
    import locale
    import platform
    import pwd
    import uuid
    import zoneinfo

    import psutil

    assert [os.getuid(), os.geteuid()] == list(os.getresuid()[:2])
    os.getgid(), os.getegid(), os.getresgid(), os.getgroups(), os.getppid(), os.getsid(0), os.getpgrp()
    os.uname(), os.times(), os.getloadavg(), os.cpu_count(), os.sysconf("SC_PAGE_SIZE")
    os.getpriority(os.PRIO_PROCESS, 0)
    os.nice(1)
    os.sched_getaffinity(0)
    os.sched_setaffinity(0, os.sched_getaffinity(0))
    os.sched_getscheduler(0), os.sched_getparam(0), os.sched_get_priority_max(os.SCHED_RR)
    os.sched_yield()
    resource.getrusage(resource.RUSAGE_SELF)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
    resource.prlimit(0, resource.RLIMIT_CORE)
    with contextlib.suppress(OSError):
        os.getlogin()
    with contextlib.suppress(KeyError):
        getpass.getuser()
    pwd.getpwuid(os.getuid()), grp.getgrgid(os.getgid()), pwd.getpwnam("root")
    platform.platform(), platform.libc_ver(), socket.gethostname(), uuid.uuid1(), uuid.getnode()
    assert len(os.getrandom(16)) == len(os.urandom(16)) == 16
    time.clock_gettime(time.CLOCK_BOOTTIME), time.clock_getres(time.CLOCK_MONOTONIC)
    time.process_time(), time.thread_time(), time.get_clock_info("perf_counter")
    time.sleep(0.001)
    assert zoneinfo.ZoneInfo("Europe/Berlin").key
    os.environ["TZ"] = "Asia/Tokyo"
    time.tzset()
    locale.setlocale(locale.LC_ALL, "C.UTF-8")
    me = psutil.Process()
    me.memory_info(), me.cpu_times(), me.open_files(), me.num_threads(), me.cmdline(), me.environ(), me.cpu_affinity()
    me.io_counters(), me.nice(), me.status(), me.cwd(), me.create_time(), me.num_fds(), me.rlimit(psutil.RLIMIT_NOFILE)
    psutil.virtual_memory(), psutil.swap_memory(), psutil.cpu_percent(0.01), psutil.disk_partitions(), psutil.pids()
    psutil.disk_usage("/"), psutil.net_io_counters(), psutil.net_connections(), psutil.boot_time(), psutil.users()


@part
def memory() -> None:
    with mmap.mmap(-1, 1 << 20) as area:
        area.write(b"x")
        area.madvise(mmap.MADV_DONTNEED)
        area.resize(1 << 21)
        area.flush()
    with tempfile.TemporaryFile() as file:
        file.truncate(8192)
        with mmap.mmap(file.fileno(), 8192, access=mmap.ACCESS_WRITE) as area:
            area[0] = 1
            area.flush()
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.getpid() == os.getpid()
    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(lambda _a, _b: 0)
    libc.qsort(ctypes.create_string_buffer(b"zyx"), 3, 1, callback)
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.close()
    blob = bytearray(64 << 20)
    del blob[1 << 20 :]
    libc.mlock(ctypes.create_string_buffer(64), 64)
    import cffi

    ffi = cffi.FFI()
    ffi.cdef("int getpid(void);")
    assert ffi.dlopen(None).getpid() == os.getpid()
    import tracemalloc

    tracemalloc.start()
    tracemalloc.stop()


@part
def terminals() -> None:
    import pty
    import termios
    import tty

    master, slave = os.openpty()
    assert os.isatty(slave)
    os.ttyname(slave)
    attributes = termios.tcgetattr(slave)
    tty.setraw(slave)
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    assert os.get_terminal_size(slave).columns == 80
    os.close(slave)
    os.close(master)
    pid, master = pty.fork()
    if pid == 0:
        os.execvp("bash", ["bash", "-ic", "echo hello"])
    seen = b""
    with contextlib.suppress(OSError):
        while data := os.read(master, 1000):
            seen += data
    os.waitpid(pid, 0)
    assert b"hello" in seen
