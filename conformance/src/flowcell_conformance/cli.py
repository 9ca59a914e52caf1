"""The command line: compare two servers, record one, or make the flows."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, cast

import httpx

from . import human_routes
from . import results as kept
from .bench import open_egress
from .cases import CASES
from .compare import Question, Servers, Verdict, judge
from .compatibility import document
from .durable import DurableRuns
from .file_routes import ROUTES, converse
from .flowcell_server import MEBIBYTE, FlowcellServer, Limits, Options
from .flows import exported_flows, node_count
from .langflow_server import Credentials, LangflowServer
from .model_server import ModelServer
from .paths import LANGFLOW_VERSION
from .report import Table
from .session import Session, prepared
from .target import Target
from .web_server import WebServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .normalise import Json

    Asker = Callable[[Question], Json]

# A slow machine must not look like a difference.
GENEROUS = Options(
    limits=Limits(memory_bytes=1024 * MEBIBYTE, wall_ms=170_000, output_bytes_max=64 * MEBIBYTE)
)
EXIT_DIFFERENT = 1
EXIT_USAGE = 64


class UsageError(Exception):
    """The command line or the environment does not say what is needed."""


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(prog="flowcell-conformance", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    compare = commands.add_parser(
        "compare", help="ask the reference and Flowcell the same, exit 1 if they differ"
    )
    compare.add_argument("--self", action="store_true", help="compare the reference with itself")
    compare.add_argument(
        "--flowcell", type=Path, help="start this binary, instead of asking the server of the environment"
    )
    compare.add_argument(
        "--recording", type=Path, help="take the reference's answers from a file that `record` wrote"
    )
    compare.add_argument("--results", type=Path, help="add the verdicts to a file that `report` reads")
    compare.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    compare.add_argument("--all-differences", action="store_true", help="show more than the first per case")
    record = commands.add_parser("record", help="add the reference's answers to a file")
    record.add_argument("file", type=Path)
    record.add_argument("--missing", action="store_true", help="ask only what the file has no answer to")
    for command in (compare, record):
        command.add_argument(
            "--only", action="append", metavar="PATTERN", help="cases such as `echo/*` (repeatable)"
        )
        command.add_argument(
            "--model-server", type=Path, help="path of flowcell-model; without it model cases are skipped"
        )
        command.add_argument("--work-dir", type=Path, help="keep the reference's files here")
    report = commands.add_parser("report", help="write docs/COMPATIBILITY.md from results")
    report.add_argument("results", type=Path)
    report.add_argument("page", type=Path)
    export = commands.add_parser("export", help="write the flows to a directory")
    export.add_argument("directory", type=Path)
    list_cases = commands.add_parser("list", help="print the names of all cases")
    list_cases.add_argument("--only", action="append", metavar="PATTERN")
    return top


def questions(only: Sequence[str] | None, *, with_model: bool) -> list[Question]:
    """The cases to ask, each with its stream settings."""
    wanted = [Question(case, stream) for case in CASES for stream in case.streams]
    if only:
        wanted = [question for question in wanted if any(fnmatchcase(question.title, p) for p in only)]
    return [question for question in wanted if with_model or not question.case.uses_model]


def credentials_from_environment(prefix: str) -> Credentials | None:
    """`<prefix>_URL` and `<prefix>_API_KEY`, if both are set."""
    url, key = os.environ.get(f"{prefix}_URL"), os.environ.get(f"{prefix}_API_KEY")
    if not url or not key:
        return None
    storage = os.environ.get(f"{prefix}_STORAGE")
    return Credentials(url.rstrip("/"), key, storage) if storage else Credentials(url.rstrip("/"), key)


class Bench:
    """What one command starts, in the order in which it has to end."""

    def __init__(self, arguments: argparse.Namespace, stack: ExitStack) -> None:
        self._arguments = arguments
        self._stack = stack
        work: Path | None = arguments.work_dir
        self._work = work or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="flowcell-conformance-"))
        )
        binary: Path | None = arguments.model_server
        web = stack.enter_context(WebServer(self._work / "web"))
        model = (
            stack.enter_context(ModelServer(binary, self._work / "model", web=web.url)) if binary else None
        )
        self.servers = Servers(model, web)
        self.questions = questions(arguments.only, with_model=binary is not None)
        if not self.questions:
            message = "no case fits --only (model cases need --model-server)"
            raise UsageError(message)

    def server(self, credentials: Credentials, name: str) -> Asker:
        """A server with everything the cases need."""
        return self.session(credentials, name).ask

    def session(self, credentials: Credentials, name: str) -> Session:
        """The same, for more than questions."""
        target = self._stack.enter_context(Target(credentials, name=name))
        return self._stack.enter_context(prepared(target, self.servers))

    def under_test(self) -> Credentials:
        """The Flowcell that the environment names, or a new one."""
        binary: Path | None = self._arguments.flowcell
        if binary is not None:
            # Sockets below it need a short path.
            home = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="fcc-", dir="/tmp")))
            return self._stack.enter_context(
                FlowcellServer(binary.resolve(), home, options=GENEROUS)
            ).credentials
        found = credentials_from_environment("FLOWCELL")
        if found is None:
            message = "FLOWCELL_URL and FLOWCELL_API_KEY must be set (or use --flowcell or --self)"
            raise UsageError(message)
        return found

    def flowcell(self, credentials: Credentials) -> Asker:
        """The server under test, allowed to reach the scripted ones."""
        runs = DurableRuns(credentials)
        open_egress(runs, self.servers)
        runs.close()
        return self.server(credentials, "flowcell")

    def reference_session(self) -> Session:
        """The Langflow that the environment names, or a new one."""
        found = credentials_from_environment("LANGFLOW")
        if found is None:
            found = self._stack.enter_context(LangflowServer(self._work / "langflow")).credentials
        return self.session(found, "langflow")

    def reference(self) -> Asker:
        """The same, for questions."""
        return self.reference_session().ask

    def recording(self, file: Path) -> Asker:
        """Answers of an earlier day."""
        answers = cast("dict[str, Json]", json.loads(file.read_text()))

        def ask(question: Question) -> Json:
            if question.title not in answers:
                message = "not in the recording"
                raise LookupError(message)
            return answers[question.title]

        return ask


def compare(arguments: argparse.Namespace) -> int:
    """Print how the answers differ; 1 if any does."""
    with ExitStack() as stack:
        bench = Bench(arguments, stack)
        left = bench.recording(arguments.recording) if arguments.recording else bench.reference()
        right = left
        flowcell = None if arguments.self else bench.under_test()
        if flowcell is not None:
            right = bench.flowcell(flowcell)
        found: list[Verdict] = []
        if arguments.results:
            # Also when it is interrupted: an hour's answers are worth keeping.
            stack.callback(keep, arguments.results, found, DurableRuns(flowcell) if flowcell else None)
        told(bench.questions, judged(bench.questions, left, right), arguments, found)
    return EXIT_DIFFERENT if any(not one.equal for one in found) else 0


def told(
    asked: Sequence[Question],
    verdicts: Iterator[Verdict],
    arguments: argparse.Namespace,
    found: list[Verdict],
) -> None:
    """Collect the verdicts, and print them as they come, or as JSON at the end."""
    table = Table([question.title for question in asked], every_difference=arguments.all_differences)
    for one in verdicts:
        found.append(one)
        if not arguments.json:
            table.show(one)
    if arguments.json:
        json.dump([one.as_json() for one in found], sys.stdout, indent=1, ensure_ascii=False)
        print()
    else:
        table.end()


def keep(file: Path, found: Sequence[Verdict], runs: DurableRuns | None) -> None:
    """Add verdicts, and the sizes of their flows, to a file."""
    results = kept.read(file)
    for one in found:
        results.outcomes[one.title] = kept.Outcome.of(one)
    for flow in dict.fromkeys(one.title.split("/")[0] for one in found):
        cells = None if runs is None else runs.cell_count(f"conformance-{flow.replace('_', '-')}")
        results.shapes[flow] = kept.Shape(node_count(flow), cells)
    kept.write(file, results)


def report(arguments: argparse.Namespace) -> int:
    """Write the page."""
    versions = {
        "Langflow": LANGFLOW_VERSION,
        "Flowcell": version("flowcell-conformance"),
        "date": datetime.now(tz=UTC).date().isoformat(),
    }
    arguments.page.write_text(document(kept.read(arguments.results), versions))
    return 0


def judged(asked: Sequence[Question], left: Asker, right: Asker) -> Iterator[Verdict]:
    """The verdicts as they come."""
    return (verdict(question, left, right) for question in asked)


def verdict(question: Question, left: Asker, right: Asker) -> Verdict:
    """Ask both sides; a side that cannot be asked is a difference too."""
    try:
        return judge(question, left(question), right(question))
    except (httpx.HTTPError, LookupError, RuntimeError) as error:
        return Verdict(question.title, error=f"{type(error).__name__}: {error}", open=question.case.open)


def record(arguments: argparse.Namespace) -> int:
    """Add the reference's answers to a file; what could not be asked is named, and the rest is kept."""
    file: Path = arguments.file
    answers = cast("dict[str, Json]", json.loads(file.read_text())) if file.exists() else {}
    failed = 0
    with ExitStack() as stack:
        bench = Bench(arguments, stack)
        session = bench.reference_session()
        stack.callback(_write, file, answers)
        for question in bench.questions:
            if arguments.missing and question.title in answers:
                continue
            try:
                answers[question.title] = cast("Json", session.ask(question))
            except (httpx.HTTPError, LookupError, RuntimeError) as error:
                failed += 1
                print(f"{question.title}: {type(error).__name__}: {error}", file=sys.stderr)
        if not (arguments.missing and ROUTES in answers):
            answers[ROUTES] = cast("Json", converse(session.target, session.flow("echo")))
        for talk in human_routes.TALKS:
            title = f"{human_routes.ROUTES}/{talk.name}"
            if not (arguments.missing and title in answers):
                answers[title] = cast("Json", human_routes.converse(session, talk, bench.servers.model))
    print(f"{len(answers)} answers in {file}")
    return EXIT_DIFFERENT if failed else 0


def _write(file: Path, answers: dict[str, Json]) -> None:
    file.write_text(json.dumps(answers, indent=1, ensure_ascii=False) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `flowcell-conformance`."""
    arguments = parser().parse_args(argv)
    try:
        match arguments.command:
            case "compare":
                return compare(arguments)
            case "record":
                return record(arguments)
            case "report":
                return report(arguments)
            case "export":
                shutil.copytree(exported_flows(), arguments.directory, dirs_exist_ok=True)
            case _:
                for question in questions(arguments.only, with_model=True):
                    print(question.title)
    except UsageError as error:
        print(f"flowcell-conformance: {error}", file=sys.stderr)
        return EXIT_USAGE
    return 0
