"""`flowcell up` with a data folder of its own, small limits and a worker name nobody else has."""

from __future__ import annotations

import json
import os
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from .docker import containers
from .langflow_server import Credentials
from .process import Process, wait_until

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

READY_SECONDS = 60.0
# `up` lets running cells finish for 30 s after SIGTERM.
DRAIN_SECONDS = 60.0
# A machine that runs Langflow beside it has little time left for imports.
READY_MS_MAX = 300_000
MEBIBYTE = 1024 * 1024
# The variable that scripts/images builds under.
RUNNER_IMAGE = os.environ.get("FLOWCELL_RUNNER_IMAGE", "flowcell/runner:lfx-1.13")


@dataclass(frozen=True)
class Limits:
    """What one cell may use. Small, so that a test reaches each of them in seconds."""

    memory_bytes: int = 512 * MEBIBYTE
    pids: int = 96
    cpu_millis: int = 1_000
    wall_ms: int = 20_000
    output_bytes_max: int = 32 * MEBIBYTE
    frames_max: int = 50_000
    log_bytes_max: int = MEBIBYTE
    tmpfs_bytes: int = 64 * MEBIBYTE

    def toml(self) -> str:
        """The fields as lines of a table."""
        return "\n".join(f"{name} = {value}" for name, value in vars(self).items())


@dataclass(frozen=True)
class Options:
    """How a test's server differs from another's."""

    slots: int = 3
    pool: int = 3
    limits: Limits = Limits()
    isolation: str = "component"
    backend: str = "auto"
    # More runtimes than the default one: images by minor version of Langflow.
    runtimes: tuple[tuple[str, str], ...] = ()
    # Whether flows may list packages, and where a build gets them from.
    packages: PackageSource | None = None


@dataclass(frozen=True)
class PackageSource:
    """An index on this machine, or a folder of wheels."""

    index: str | None = None
    wheels: str | None = None

    def toml(self) -> str:
        """The fields as lines of a table."""
        fields = {name: value for name, value in vars(self).items() if value is not None}
        return "\n".join(
            f"{name} = {json.dumps(value)}" for name, value in (fields | {"private": True}).items()
        )


def runtimes(options: Options) -> str:
    """Lines of a table of images by minor version."""
    images = (("1.13", RUNNER_IMAGE), *options.runtimes)
    return "\n".join(f"{json.dumps(minor)} = {json.dumps(image)}" for minor, image in images)


def configuration(worker: str, options: Options) -> str:
    """`flowcell.toml`."""
    return f"""
[runtimes]
build = {json.dumps("listed" if options.packages else "off")}

[runtimes.images]
{runtimes(options)}

[worker.runtimes]
{options.packages.toml() if options.packages else ""}

[worker]
name = {json.dumps(worker)}
slots = {options.slots}

[worker.sandbox]
backend = {json.dumps(options.backend)}

[worker.pool]
ready_ms_max = {READY_MS_MAX}
images = [{{ image = {json.dumps(RUNNER_IMAGE)}, size = {options.pool} }}]

[worker.limits]
{options.limits.toml()}

[api]
isolation = {json.dumps(options.isolation)}

[api.cell]
{options.limits.toml()}
"""


class FlowcellServer:
    """A running server; may be killed and started again on the same data."""

    def __init__(self, binary: Path, home: Path, *, options: Options | None = None) -> None:
        self.worker = f"e2e-{uuid.uuid4().hex[:8]}"
        self.data = home / "data"
        self.log = home / "flowcell.log"
        self._binary = binary
        self._config = home / "flowcell.toml"
        home.mkdir(parents=True, exist_ok=True)
        self._config.write_text(configuration(self.worker, options or Options()))
        self._process = self._start()

    def _start(self) -> Process:
        client_env = self.data / "client.env"
        # A second start needs the file of the first, and writes it anew when it is ready.
        before = _identity(client_env)
        process = Process(
            [
                str(self._binary),
                *("up", "--data-dir", str(self.data)),
                *("--listen", "127.0.0.1:0"),
                *("--config", str(self._config)),
            ],
            environment={"PATH": os.environ["PATH"], "HOME": str(self.data.parent), "RUST_BACKTRACE": "1"},
            log=self.log,
            name="flowcell",
        )
        try:
            process.wait_ready(lambda: _identity(client_env) != before, seconds=READY_SECONDS)
        except BaseException:
            process.stop()
            raise
        self.credentials = read_client_env(client_env)
        return process

    @property
    def pid(self) -> int:
        """Id of the server's process."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.exit_code

    def containers(self, *, running_only: bool = False) -> set[str]:
        """Short ids of its containers."""
        return containers(self.worker, running_only=running_only)

    def wait_pool(self, size: int, *, seconds: float = 120.0) -> set[str]:
        """Wait until at least so many containers run."""
        wait_until(
            lambda: len(self.containers(running_only=True)) >= size,
            seconds=seconds,
            what=f"a pool of {size} containers",
        )
        return self.containers(running_only=True)

    def wait_gone(self, ids: Iterable[str], *, seconds: float) -> None:
        """Wait until the engine knows none of these containers any more."""
        gone = set(ids)
        wait_until(lambda: not gone & self.containers(), seconds=seconds, what=f"removal of {sorted(gone)}")

    def restart(self) -> None:
        """Start again after `kill` or `stop`, on the same data."""
        self._process = self._start()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server."""
        self._process.signal(number)

    def kill(self) -> None:
        """End it as a crash would: nothing is cleaned up."""
        self._process.kill()

    def stop(self) -> int:
        """End it politely; returns the exit code."""
        return self._process.stop(grace_seconds=DRAIN_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _identity(file: Path) -> tuple[int, int] | None:
    """Changes when a file is written or put in another's place; None while there is none."""
    try:
        status = file.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def read_client_env(file: Path) -> Credentials:
    """Read the `export NAME=value` lines that `flowcell up` writes for clients."""
    lines = re.findall(r"^export (\w+)=(.*)$", file.read_text(), re.MULTILINE)
    values = {name: value.strip("'\"") for name, value in lines}
    return Credentials(values["FLOWCELL_URL"].rstrip("/"), values["FLOWCELL_API_KEY"])
