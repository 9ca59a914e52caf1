"""A Flowcell cluster of separate processes: Postgres, NATS, an API, a scheduler and workers."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

import httpx

from .docker import docker
from .flowcell_server import DRAIN_SECONDS, READY_SECONDS, RUNNER_IMAGE, Limits
from .langflow_server import Credentials
from .paths import cache_root
from .process import Process, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

CLUSTER_LABEL = "flowcell.cluster"
WORKER_LABEL = "flowcell.worker"
POSTGRES_PROGRAMS = Path("/usr/lib/postgresql")
DATABASE = "flowcell"
COMMAND_SECONDS = 60.0
# Importing Langflow's runtime costs four seconds of a processor, for every container of the pools.
POOL_SECONDS = 120.0


def free_port() -> int:
    """A port of loopback that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True


def is_ready(url: str) -> bool:
    """Whether a process says that everything it depends on answers."""
    try:
        return httpx.get(f"{url}/readyz", timeout=5.0, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def environment(**more: str) -> dict[str, str]:
    """What a process of the cluster sees of this one's environment, and `more`."""
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "RUST_BACKTRACE": "1"} | more


def command(*argv: str, **more: str) -> str:
    """Standard output of a command that must succeed."""
    result = subprocess.run(  # noqa: S603
        argv,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    if result.returncode != 0:
        message = f"{' '.join(argv)} ended with {result.returncode}\n{result.stdout}\n{result.stderr}"
        raise RuntimeError(message)
    return result.stdout


def postgres_programs() -> Path:
    """The folder of the newest server that Debian's packages installed."""
    found = [program.parent for program in POSTGRES_PROGRAMS.glob("*/bin/initdb")]
    if not found:
        message = "no Postgres server is installed (Debian: apt install postgresql)"
        raise RuntimeError(message)
    return max(found, key=lambda folder: int(folder.parent.name))


def nats_program() -> str:
    """The program that `scripts/lib/nats.sh` finds or fetches."""
    candidates = (
        os.environ.get("FLOWCELL_NATS_SERVER"),
        shutil.which("nats-server"),
        str(cache_root() / "nats-server"),
    )
    for candidate in candidates:
        if candidate and os.access(candidate, os.X_OK):
            return candidate
    message = "no nats-server: set FLOWCELL_NATS_SERVER"
    raise RuntimeError(message)


class Postgres:
    """A private server on loopback, with a password; as a user that is not root, which it refuses to be."""

    def __init__(self, home: Path, *, port: int, password_file: Path) -> None:
        home.mkdir(mode=0o700)
        self._programs = postgres_programs()
        self._as_user: list[str] = []
        password = home / "password"
        password.write_bytes(password_file.read_bytes())
        password.chmod(0o600)
        if os.geteuid() == 0:
            user = unprivileged()
            self._as_user = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
            for path in (home, password):
                os.chown(path, user.pw_uid, user.pw_gid)
        data = home / "data"
        command(
            *(*self._as_user, str(self._programs / "initdb"), f"--pgdata={data}", "--no-sync"),
            *(f"--username={DATABASE}", f"--pwfile={password}", "--auth=scram-sha-256"),
            *("--encoding=UTF8", "--locale=C.UTF-8"),
        )
        self._process = Process(
            [
                *(*self._as_user, str(self._programs / "postgres"), "-D", str(data), "-p", str(port)),
                # The tests kill Flowcell, never the machine.
                *("-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={home}"),
                *("-c", "fsync=off"),
            ],
            environment=environment(LC_ALL="C.UTF-8"),
            log=home.parent / "postgres.log",
            name="postgres",
        )
        try:
            self._process.wait_ready(lambda: answers(port), seconds=READY_SECONDS)
            command(
                *(str(self._programs / "createdb"), "--host=127.0.0.1", f"--port={port}"),
                *(f"--username={DATABASE}", "--maintenance-db=postgres", DATABASE),
                PGPASSWORD=password_file.read_text().strip(),
            )
        except BaseException:
            self._process.kill()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.stop()


def unprivileged() -> pwd.struct_passwd:
    """A user of this machine that is not root."""
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


class Cluster:
    """A running cluster with secrets of its own; its API, schedulers and workers may be killed."""

    def __init__(
        self,
        binary: Path,
        home: Path,
        *,
        workers: int = 2,
        pool: int = 2,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.name = home.name
        self.home = home
        self._binary = str(binary)
        self._settings = home / "settings"
        self._pool = pool
        self._parts: dict[str, Process] = {}
        self._variables = dict(settings or {})
        self._admins: dict[str, str] = {}
        # Postgres' own user has to find its folder below; the secrets are in private ones.
        home.chmod(0o711)
        with ExitStack() as stack:
            self._start_servers(stack, workers)
            stack.callback(self._stop_parts)
            self.credentials = Credentials(f"http://127.0.0.1:{self._api_port}", self._migrate())
            for part in ("scheduler", "api", *self.workers):
                self.start(part)
            self._stack = stack.pop_all()

    def _start_servers(self, stack: ExitStack, workers: int) -> None:
        nats, postgres, self._api_port = free_port(), free_port(), free_port()
        command(
            *(self._binary, "init", str(self._settings), "--workers", str(workers), "--slots", "2"),
            *("--postgres", f"postgres://{DATABASE}@127.0.0.1:{postgres}/{DATABASE}"),
            *("--nats", f"nats://127.0.0.1:{nats}", "--nats-listen", f"127.0.0.1:{nats}"),
            *("--nats-store", str(self.home / "nats"), "--listen", f"127.0.0.1:{self._api_port}"),
            *("--socket-dir", str(self.home / "s")),
        )
        self.workers = [f"worker-{number}" for number in range(1, workers + 1)]
        self._complete_settings()
        for worker in self.workers:
            self._complete_worker(worker)
        stack.enter_context(
            Postgres(
                self.home / "postgres",
                port=postgres,
                password_file=self._settings / "postgres" / "password",
            )
        )
        server = Process(
            [nats_program(), "--config", str(self._settings / "nats" / "nats.conf")],
            environment=environment(),
            log=self.home / "nats.log",
            name="nats-server",
        )
        stack.enter_context(server)
        server.wait_ready(lambda: answers(nats), seconds=READY_SECONDS)
        self._nats = server

    def _complete_settings(self) -> None:
        """Add to what `init` wrote: small limits."""
        with (self._settings / "control" / "flowcell.toml").open("a") as control:
            control.write(f"\n[api.cell]\n{Limits().toml()}\n")

    def _complete_worker(self, worker: str) -> None:
        """Add to what `init` wrote: small limits, a small pool, a label nobody else has."""
        image = f"{{ image = {json.dumps(RUNNER_IMAGE)}, size = {self._pool} }}"
        with (self._settings / worker / "flowcell.toml").open("a") as settings:
            # The last table that `init` writes is `[worker]`.
            settings.write(f"cluster = {json.dumps(self.name)}\n")
            settings.write(f"\n[worker.pool]\nimages = [{image}]\n\n[worker.limits]\n{Limits().toml()}\n")

    def add_worker(self, pool: str) -> str:
        """Start one more worker, of this pool, beside all that runs; returns its name."""
        command(
            *(self._binary, "init", str(self._settings), "--pool", f"{pool}=1", "--slots", "2"),
            *("--socket-dir", str(self.home / "s")),
        )
        # What `nats-server --signal reload` does.
        os.kill(self._nats.pid, signal.SIGHUP)
        worker = f"worker-{pool}-1"
        self._complete_worker(worker)
        self.workers.append(worker)
        self.start(worker)
        return worker

    def _migrate(self) -> str:
        """Make the schema; returns the API key that is printed this once."""
        config = self._settings / "control" / "flowcell.toml"
        printed = command(self._binary, "migrate", "--config", str(config))
        found = re.search(r"^API key\s+(\S+)", printed, re.MULTILINE)
        if found is None:
            message = "migrate printed no API key"
            raise RuntimeError(message)
        return found[1]

    def start(self, part: str) -> None:
        """Start `api`, `scheduler` or a worker by its name, and wait until it is ready."""
        is_worker = part in self.workers
        folder = part if is_worker else "control"
        admin = f"127.0.0.1:{free_port()}"
        self._admins[part] = f"http://{admin}"
        url = self.url if part == "api" else self._admins[part]
        process = Process(
            [
                self._binary,
                "worker" if is_worker else part,
                *("--config", str(self._settings / folder / "flowcell.toml")),
            ],
            environment=environment(**self._variables, FLOWCELL_CONFIG__ADMIN=admin),
            log=self.log(part),
            name=part,
        )
        self._parts[part] = process
        process.wait_ready(lambda: is_ready(url), seconds=READY_SECONDS)

    @property
    def parts(self) -> list[str]:
        """The parts that run."""
        return list(self._parts)

    def metrics(self, part: str) -> str:
        """A part's figures, as Prometheus reads them."""
        answer = httpx.get(f"{self._admins[part]}/metrics", trust_env=False)
        return answer.raise_for_status().text

    @property
    def url(self) -> str:
        """Where the API listens."""
        return f"http://127.0.0.1:{self._api_port}"

    def log(self, part: str) -> Path:
        """What a part wrote, over all of its lives."""
        return self.home / f"{part}.log"

    def kill(self, part: str) -> None:
        """End a part as a crash would: nothing is cleaned up."""
        self._parts.pop(part).kill()

    def stop(self) -> dict[str, int]:
        """End every part politely, all at once; their exit codes."""
        return self._stop_parts()

    def _stop_parts(self) -> dict[str, int]:
        # Workers first: what they have to tell needs a scheduler.
        order = sorted(self._parts.items(), key=lambda item: item[0] not in self.workers)
        self._parts = {}
        return {name: process.stop(grace_seconds=DRAIN_SECONDS) for name, process in order}

    def containers(self, worker: str | None = None) -> set[str]:
        """Short ids of the cells' containers, of one worker or of all; stopped ones included."""
        filters = ["--filter", f"label={CLUSTER_LABEL}={self.name}"]
        if worker is not None:
            filters += ["--filter", f"label={WORKER_LABEL}={worker}"]
        return set(docker("ps", "--quiet", "--all", *filters).split())

    def worker_of(self, container: str) -> str:
        """Who holds a container that exists."""
        return docker(
            "inspect", "--format", f'{{{{index .Config.Labels "{WORKER_LABEL}"}}}}', container
        ).strip()

    def wait_pools(self) -> None:
        """Wait until every worker has its containers."""
        wait_until(
            lambda: all(len(self.containers(worker)) >= self._pool for worker in self.workers),
            seconds=POOL_SECONDS,
            what="pools of containers",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
