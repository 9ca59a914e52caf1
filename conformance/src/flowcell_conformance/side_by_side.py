"""Flowcell and Langflow measured side by side: the same flows, taking turns.

`flowcell-load` asks both and compares; this starts the servers and says what was asked. Langflow is
`langflow run` as its package starts it: one process, every component in it. Flowcell is `flowcell
up`: every component (or every run) in a throwaway container of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from .compare import Servers
from .flowcell_server import FlowcellServer, Limits, Options
from .langflow_server import LangflowServer
from .session import Session
from .target import Target

if TYPE_CHECKING:
    from .langflow_server import Credentials
    from .normalise import Json

POOL = 16


@dataclass(frozen=True)
class Question:
    """A flow, what it is asked, and with how many callers at once."""

    title: str
    flow: str
    text: str
    callers: tuple[int, ...]


QUESTIONS = (
    Question("processor-bound: Chat Input, Prompt, Chat Output", "echo", "Bob", (1, 8)),
    Question("waits for a second, as for a model", "nap", "1", (1, 16)),
)


@dataclass(frozen=True)
class Variant:
    """A way to run Flowcell."""

    name: str
    isolation: str
    backend: str

    def options(self) -> Options:
        """Of the server that is measured."""
        limits = Limits(wall_ms=120_000)
        return Options(slots=POOL, pool=POOL, limits=limits, isolation=self.isolation, backend=self.backend)


VARIANTS = (
    Variant("a container for each component, through Docker", "component", "zygote"),
    Variant("a container for each run, without Docker in the path", "run", "native"),
)


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="side_by_side", description=__doc__)
    made.add_argument("--bin", type=Path, required=True, help="folder of flowcell and flowcell-load")
    made.add_argument("--duration", default="30s", help="of each target at each number of callers")
    made.add_argument("--json", type=Path, help="write all reports here")
    return made


@dataclass(frozen=True)
class Side:
    """A server, and the id that the flow has there."""

    credentials: Credentials
    flow: str


def measure(arguments: argparse.Namespace, sides: tuple[Side, Side], text: str, callers: int) -> Json:
    """One comparison: A is Langflow, B is Flowcell."""
    langflow, flowcell = sides
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        subprocess.run(  # noqa: S603
            [
                *(str(arguments.bin / "flowcell-load"), "run"),
                *("--url", langflow.credentials.url, "--flow", langflow.flow),
                *("--compare", flowcell.credentials.url, "--compare-flow", flowcell.flow),
                *("--input", text, "--concurrency", str(callers)),
                *("--duration", arguments.duration, "--slices", "4", "--json", report.name),
            ],
            env={
                "PATH": os.environ["PATH"],
                "FLOWCELL_API_KEY": langflow.credentials.api_key,
                "FLOWCELL_COMPARE_API_KEY": flowcell.credentials.api_key,
            },
            stdout=subprocess.DEVNULL,
            # Without a single good run it ends with 1; the report says why.
            check=False,
        )
        return cast("Json", json.loads(Path(report.name).read_text()))


def row(report: Json, callers: int) -> str:
    """A line of the table."""
    found = cast("dict[str, list[dict[str, Json]]]", report)["targets"]
    cells: list[str] = []
    for target in found:
        latency = cast("dict[str, float] | None", target["latency_ms"])
        runs = cast("dict[str, int]", target["runs"])
        times = f"{latency['p50']:.0f} | {latency['p95']:.0f}" if latency else "- | -"
        for error in cast("list[dict[str, Json]]", target["errors"]):
            print(
                f"{target['label']}: {error['count']} × {error['class']}: {error['example']}", file=sys.stderr
            )
        cells.append(f"{target['achieved_per_s']:.2f} | {times} | {runs['failed']}")
    return f"| {callers} | {' | '.join(cells)} |"


def compare(variant: Variant, arguments: argparse.Namespace, home: Path) -> list[Json]:
    """Every question under one variant."""
    folder: Path = arguments.bin
    reports: list[Json] = []
    print(f"\n## Flowcell: {variant.name}", flush=True)
    with ExitStack() as stack:
        servers = Servers(model=None)
        langflow = stack.enter_context(LangflowServer(home / "langflow"))
        flowcell = stack.enter_context(
            FlowcellServer(folder / "flowcell", home / "flowcell", options=variant.options())
        )
        flowcell.wait_pool(1)
        here = Session(Target(langflow.credentials, name="langflow"), servers)
        there = Session(Target(flowcell.credentials, name="flowcell"), servers)
        for question in QUESTIONS:
            sides = (
                Side(langflow.credentials, here.flow(question.flow).id),
                Side(flowcell.credentials, there.flow(question.flow).id),
            )
            print(f"\n{question.title}\n")
            print(
                "| callers | Langflow runs/s | p50 | p95 ms | failed "
                "| Flowcell runs/s | p50 | p95 ms | failed |"
            )
            print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
            for callers in question.callers:
                report = measure(arguments, sides, question.text, callers)
                print(row(report, callers), flush=True)
                reports.append({"variant": variant.name, "question": question.title, "report": report})
    return reports


def main() -> int:
    """Measure everything."""
    arguments = parser().parse_args()
    arguments.bin = arguments.bin.resolve()
    reports: list[Json] = []
    for number, variant in enumerate(VARIANTS):
        with tempfile.TemporaryDirectory(prefix="fcside-", dir="/tmp") as home:
            reports += compare(variant, arguments, Path(home) / str(number))
    if arguments.json:
        arguments.json.write_text(json.dumps(reports, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
