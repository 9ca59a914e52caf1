"""One place for the servers that the suite runs against.

FLOWCELL_BIN           the `flowcell` binary (required; without it the suite is skipped)
FLOWCELL_MODEL_SERVER  the `flowcell-model` binary; without it cases with a model are skipped
LANGFLOW_URL, LANGFLOW_API_KEY  a running reference; without it one is started
LANGFLOW_RECORDING     answers that `flowcell-conformance record` wrote, instead of a reference
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from flowcell_conformance.bench import Flowcell
from flowcell_conformance.cli import credentials_from_environment
from flowcell_conformance.compare import Servers
from flowcell_conformance.flowcell_server import FlowcellServer, Options
from flowcell_conformance.langflow_server import LangflowServer
from flowcell_conformance.model_server import ModelServer
from flowcell_conformance.session import Session, prepared
from flowcell_conformance.target import Target
from flowcell_conformance.web_server import WebServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flowcell_conformance.compare import Question
    from flowcell_conformance.normalise import Json


# The first test that needs Langflow also waits for its cold start.
TEST_SECONDS = 600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.timeout(TEST_SECONDS))


def _binary(variable: str) -> Path | None:
    value = os.environ.get(variable)
    if not value:
        return None
    path = Path(value).resolve()
    if not path.is_file():
        pytest.fail(f"{variable} names no file: {path}")
    return path


@contextmanager
def short_directory() -> Iterator[Path]:
    """A folder whose path leaves room for the names of Unix sockets below it."""
    path = Path(tempfile.mkdtemp(prefix="fce2e-", dir="/tmp"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def flowcell_binary() -> Path:
    binary = _binary("FLOWCELL_BIN")
    if binary is None:
        pytest.skip("FLOWCELL_BIN is not set")
    return binary


@pytest.fixture(scope="session")
def web() -> Iterator[WebServer]:
    with short_directory() as home, WebServer(home) as server:
        yield server


@pytest.fixture(scope="session")
def model(web: WebServer) -> Iterator[ModelServer | None]:
    binary = _binary("FLOWCELL_MODEL_SERVER")
    if binary is None:
        yield None
        return
    with short_directory() as home, ModelServer(binary, home, web=web.url) as server:
        yield server


@pytest.fixture(scope="session")
def servers(model: ModelServer | None, web: WebServer) -> Servers:
    return Servers(model, web)


@pytest.fixture(scope="session")
def _start_flowcell(flowcell_binary: Path, servers: Servers) -> Callable[[ExitStack, Options], Flowcell]:
    def start(stack: ExitStack, options: Options) -> Flowcell:
        home = stack.enter_context(short_directory())
        server = stack.enter_context(FlowcellServer(flowcell_binary, home, options=options))
        flowcell = Flowcell(server, servers)
        stack.callback(flowcell.disconnect)
        return flowcell

    return start


@pytest.fixture(scope="session")
def flowcell(
    _start_flowcell: Callable[[ExitStack, Options], Flowcell],
) -> Iterator[Flowcell]:
    """The server that most tests share."""
    with ExitStack() as stack:
        yield _start_flowcell(stack, Options())


@pytest.fixture
def make_flowcell(
    _start_flowcell: Callable[[ExitStack, Options], Flowcell],
) -> Iterator[Callable[[Options], Flowcell]]:
    """For tests that stop, kill or configure a server of their own."""
    with ExitStack() as stack:
        made: list[Flowcell] = []

        def make(options: Options) -> Flowcell:
            made.append(_start_flowcell(stack, options))
            return made[-1]

        yield make
    for one in made:
        one.server.wait_gone(one.server.containers(), seconds=30)


@pytest.fixture(scope="session")
def recording() -> dict[str, Json] | None:
    """Langflow's answers of an earlier day, if there are any."""
    file = os.environ.get("LANGFLOW_RECORDING")
    return cast("dict[str, Json]", json.loads(Path(file).read_text())) if file else None


@pytest.fixture(scope="session")
def langflow(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Session]]:
    """The reference, started when it is first asked for."""
    with ExitStack() as stack:
        sessions: list[Session] = []

        def get() -> Session:
            if not sessions:
                credentials = credentials_from_environment("LANGFLOW")
                if credentials is None:
                    home = tmp_path_factory.mktemp("langflow")
                    credentials = stack.enter_context(LangflowServer(home)).credentials
                target = stack.enter_context(Target(credentials, name="langflow"))
                sessions.append(stack.enter_context(prepared(target, servers)))
            return sessions[0]

        yield get


@pytest.fixture(scope="session")
def reference(
    recording: dict[str, Json] | None, langflow: Callable[[], Session]
) -> Callable[[Question], Json]:
    """Answers a question as Langflow does."""
    if recording is not None:
        return lambda question: recording[question.title]
    return lambda question: langflow().ask(question)
