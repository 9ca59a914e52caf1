"""Flowcell and Stepflow measured side by side: a flow that runs on both, taking turns.

Stepflow is the server and the Langflow worker of its packages on PyPI, with its default settings and
SQLite: components run in one worker process. Flowcell is `flowcell up`: every component (or every
run) in a throwaway container of its own. Answers are checked; a wrong one is a failed run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import httpx

from .compare import Servers
from .flowcell_server import FlowcellServer
from .flows import load_flow
from .langflow_server import uv_program
from .paths import cache_root
from .session import Session
from .side_by_side import VARIANTS
from .target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .langflow_server import Credentials

SERVER = "stepflow-orchestrator==0.13.0"
INTEGRATION = "stepflow-langflow-integration==0.4.0"
SIDE = Path(__file__).parent / "stepflow_side" / "bench.py"
#: One that Stepflow runs: it has no module for most exports of Langflow 1.13 (it needs lfx 0.2).
FLOW, TEXT, ANSWER = "text_case", "Bob", "bOB"
CALLERS = (1, 8)
SLICES = 3
INSTALL_SECONDS = 1_800


@dataclass
class Found:
    """What the slices of one side at one number of callers gave."""

    seconds: float = 0.0
    took: list[float] = field(default_factory=list)
    failed: int = 0

    def add(self, seconds: float, took: list[float], failed: int) -> None:
        """Put another slice to it."""
        self.seconds += seconds
        self.took += took
        self.failed += failed

    def cells(self) -> str:
        """Of a row: runs a second, median and 95th percentile in milliseconds, failed runs."""
        if len(self.took) < 2:
            return f"- | - | - | {self.failed}"
        hundredths = statistics.quantiles(self.took, n=100)
        p50, p95 = hundredths[49] * 1000, hundredths[94] * 1000
        return f"{len(self.took) / self.seconds:.2f} | {p50:.0f} | {p95:.0f} | {self.failed}"


class Side(Protocol):
    """Somebody who runs the flow."""

    def measure(self, callers: int, seconds: float, found: Found) -> None:
        """Ask with so many callers for so long."""


def stepflow_python() -> Path:
    """Python with Stepflow's packages, installed when it is first asked for."""
    home = cache_root() / "stepflow-0.13.0"
    python = home / "bin" / "python"
    done = home / "installed"
    if not done.exists():
        uv = uv_program()
        print("installing Stepflow and the Langflow that it needs", file=sys.stderr, flush=True)
        for words in (
            ["venv", "--quiet", "--python", "3.11", "--clear", str(home)],
            # Else its worker imports for longer than its server waits for a sign of life.
            ["pip", "install", "--quiet", "--compile-bytecode", "--python", str(python), SERVER, INTEGRATION],
        ):
            subprocess.run([uv, *words], check=True, timeout=INSTALL_SECONDS)  # noqa: S603
        done.touch()
    return python


class Stepflow:
    """Its server, its worker and a client, in an environment of their own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def said(self) -> dict[str, object]:
        """The next line of JSON."""
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            if line.startswith("{"):
                return cast("dict[str, object]", json.loads(line))
        message = "Stepflow has ended"
        raise RuntimeError(message)

    def order(self, callers: int, seconds: float) -> dict[str, object]:
        """Have it measure; what it found."""
        assert self._process.stdin is not None
        inputs = {"message": TEXT, "session_id": "beside"}
        order = {"callers": callers, "seconds": seconds, "inputs": inputs, "answer": ANSWER}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self.said()

    def measure(self, callers: int, seconds: float, found: Found) -> None:
        """Ask with so many callers for so long."""
        slice_ = self.order(callers, seconds)
        found.add(
            cast("float", slice_["seconds"]),
            cast("list[float]", slice_["took"]),
            cast("int", slice_["failed"]),
        )


@contextmanager
def stepflow(home: Path) -> Iterator[Stepflow]:
    """Stepflow with the flow stored."""
    flow = home / "flow.json"
    flow.write_text(json.dumps(load_flow(FLOW)))
    with (home / "stepflow.log").open("w") as log:
        process = subprocess.Popen(  # noqa: S603
            [str(stepflow_python()), str(SIDE), str(flow)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={"PATH": os.environ["PATH"], "HOME": str(home)},
        )
    try:
        side = Stepflow(process)
        side.order(1, 0)
        yield side
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=60)


class Flowcell:
    """`flowcell up` through Langflow's endpoint."""

    def __init__(self, credentials: Credentials, flow: str) -> None:
        self._url = f"{credentials.url}/api/v1/run/{flow}?stream=false"
        self._headers = {"x-api-key": credentials.api_key}

    def measure(self, callers: int, seconds: float, found: Found) -> None:
        """Ask with so many callers for so long."""
        found.add(*asyncio.run(self._measured(callers, seconds)))

    async def _measured(self, callers: int, seconds: float) -> tuple[float, list[float], int]:
        until, took, failed = time.monotonic() + seconds, [], 0

        async def caller(http: httpx.AsyncClient) -> None:
            nonlocal failed
            while time.monotonic() < until:
                began = time.perf_counter()
                answer = await http.post(self._url, json={"input_value": TEXT})
                if answer.is_success and ANSWER in answer.text:
                    took.append(time.perf_counter() - began)
                else:
                    print(answer.text[:300], file=sys.stderr)
                    failed += 1

        began = time.monotonic()
        async with httpx.AsyncClient(headers=self._headers, timeout=120, trust_env=False) as http:
            await asyncio.gather(*(caller(http) for _ in range(callers)))
        return time.monotonic() - began, took, failed


def main() -> int:
    """Measure everything."""
    made = argparse.ArgumentParser(prog="beside_stepflow", description=__doc__)
    made.add_argument("--bin", type=Path, required=True, help="folder of flowcell")
    made.add_argument("--seconds", type=float, default=10.0, help="of each slice")
    arguments = made.parse_args()
    for variant in VARIANTS:
        with ExitStack() as stack:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fcside-", dir="/tmp")))
            theirs = stack.enter_context(stepflow(home))
            server = stack.enter_context(
                FlowcellServer(
                    arguments.bin.resolve() / "flowcell", home / "flowcell", options=variant.options()
                )
            )
            server.wait_pool(1)
            session = Session(Target(server.credentials, name="flowcell"), Servers(model=None))
            ours = Flowcell(server.credentials, session.flow(FLOW).id)
            print(f"\n## Flowcell: {variant.name}\n")
            print(
                "| callers | Stepflow runs/s | p50 | p95 ms | failed "
                "| Flowcell runs/s | p50 | p95 ms | failed |\n|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
            )
            for callers in CALLERS:
                both: list[tuple[Side, Found]] = [(theirs, Found()), (ours, Found())]
                for _ in range(SLICES):
                    for side, found in both:
                        side.measure(callers, arguments.seconds, found)
                print(f"| {callers} | {' | '.join(found.cells() for _, found in both)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
