"""Packages that flows list: built into an image by an isolated job, and what hostile ones can do."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, cast

import pytest

from flowcell_conformance import packages
from flowcell_conformance.docker import docker
from flowcell_conformance.flowcell_server import Options, PackageSource
from flowcell_conformance.index_mirror import IndexMirror

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx

    from flowcell_conformance.bench import Flowcell
    from flowcell_conformance.durable import Run
    from flowcell_conformance.normalise import Json

BUILD_SECONDS = 500.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    wheels = tmp_path / "wheels"
    wheels.mkdir(mode=0o755)
    return wheels


def _runtime(flowcell: Flowcell, flow: str) -> dict[str, Json]:
    return cast("dict[str, Json]", flowcell.target.call("GET", f"/api/flowcell/v1/flows/{flow}/runtime"))


def _build(flowcell: Flowcell, flow: str) -> dict[str, Json]:
    return cast("dict[str, Json]", _runtime(flowcell, flow)["build"])


def _list(flowcell: Flowcell, flow: str, *lines: str) -> httpx.Response:
    body: Json = {"requirements": [*lines]}
    return flowcell.target.request("PUT", f"/api/flowcell/v1/flows/{flow}/requirements", body=body)


def _run(flowcell: Flowcell, flow: str, text: str) -> Run:
    return flowcell.runs.wait(flowcell.runs.start(flow, text).id, seconds=BUILD_SECONDS)


def _says(flowcell: Flowcell, flow: str, text: str) -> str:
    run = _run(flowcell, flow, text)
    assert run.state == "completed", run.failure
    return run.text


@pytest.fixture
def index() -> Iterator[IndexMirror]:
    with IndexMirror() as mirror:
        yield mirror


def _command(flowcell: Flowcell, binary: Path, *arguments: str) -> str:
    """What the command line prints."""
    credentials = flowcell.server.credentials
    environment = {"FLOWCELL_URL": credentials.url, "FLOWCELL_API_KEY": credentials.api_key}
    done = subprocess.run(  # noqa: S603
        [str(binary), *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_listed_package_is_installed_once_and_used(
    make_flowcell: Callable[[Options], Flowcell],
    index: IndexMirror,
    flowcell_binary: Path,
    tmp_path: Path,
) -> None:
    flowcell = make_flowcell(Options(packages=PackageSource(index=index.url)))
    flow = flowcell.target.upload_flow(packages.flow_of(packages.HUMANIZE, "commas")).endpoint_name
    before = _run(flowcell, flow, "1234567")
    assert before.failure_kind == "package_missing"
    assert before.failure is not None
    assert before.failure["package"] == "humanize"
    hint = str(before.failure["hint"])
    assert hint.startswith('component "BadImport" needs `humanize`, and the runtime has no `humanize`'), hint
    assert "flowcell flow requirements FLOW --file requirements.txt" in hint

    listed = tmp_path / "requirements.txt"
    listed.write_text("# numbers for people\nHumanize >= 4, < 5\n")
    said = _command(flowcell, flowcell_binary, "flow", "requirements", flow, "--file", str(listed))
    assert said == "humanize<5,>=4\nimage: not built yet: the next run waits for it\n"
    assert _runtime(flowcell, flow)["build"] is None
    assert _says(flowcell, flow, "1234567") == "1,234,567"
    said = _command(flowcell, flowcell_binary, "flow", "requirements", flow)
    assert said == "humanize<5,>=4\nimage: ready\n"
    build = _build(flowcell, flow)
    assert build["state"] == "ready", build
    assert str(build["lock"]).startswith("humanize==4."), build
    assert any("/humanize/" in path for path in index.asked), index.asked
    asked = len(index.asked)
    image = str(build["image"])
    made = docker("image", "inspect", "--format", "{{.Id}} {{.Config.User}}", image)
    assert made.split()[1] == "65532:65532"

    assert _says(flowcell, flow, "7654321") == "7,654,321"
    assert docker("image", "inspect", "--format", "{{.Id}} {{.Config.User}}", image) == made
    # A server that starts again finds the image of the one before.
    flowcell.server.stop()
    flowcell.server.restart()
    flowcell.reconnect()
    assert _says(flowcell, flow, "1000") == "1,000"
    assert docker("image", "inspect", "--format", "{{.Id}} {{.Config.User}}", image) == made
    assert len(index.asked) == asked, index.asked
    docker("image", "rm", "--force", image)


def test_what_cannot_be_installed_fails_the_run_and_says_why(
    make_flowcell: Callable[[Options], Flowcell], folder: Path
) -> None:
    packages.sneaky_source(folder)
    flowcell = make_flowcell(Options(packages=PackageSource(wheels=str(folder))))
    flow = flowcell.target.upload_flow(packages.flow_of(packages.HUMANIZE, "sneaky")).endpoint_name
    refused = _list(
        flowcell, flow, "six", "--index-url https://evil.example/simple", "x @ git+ssh://evil.example"
    )
    assert refused.status_code == 422
    assert refused.json()["error"]["code"] == "requirements_invalid"
    assert [problem["line"] for problem in refused.json()["error"]["details"]["problems"]] == [2, 3]

    assert _list(flowcell, flow, "sneaky==1.0").status_code == 200
    run = _run(flowcell, flow, "1")
    assert run.failure_kind == "runtime_not_built"
    assert run.failure is not None
    message = str(run.failure["message"])
    assert "sneaky" in message, message
    assert "code of sneaky ran" not in message, message
    build = _build(flowcell, flow)
    assert build["state"] == "failed", build
    assert str(build["detail"]) in message


def test_files_that_python_runs_by_itself_run_in_the_flows_own_cells_at_most(
    make_flowcell: Callable[[Options], Flowcell], folder: Path
) -> None:
    packages.eager_wheel(folder)
    flowcell = make_flowcell(Options(packages=PackageSource(wheels=str(folder))))
    flow = flowcell.target.upload_flow(packages.flow_of(packages.LOOK_AROUND, "eager")).endpoint_name
    assert _list(flowcell, flow, "eager==1.0").status_code == 200
    said = _says(flowcell, flow, "x")
    # `sitecustomize` is imported by the interpreter of this flow's own cells; a `.pth` is only a
    # file there, and no module of the runtime can be replaced.
    assert said.startswith("eager, site=True, pth=None, json=/usr/lib/python3"), said
    image = str(_build(flowcell, flow)["image"])
    labels = docker("ps", "--all", "--filter", f"ancestor={image}", "--format", '{{.Label "flowcell.kind"}}')
    assert set(labels.split()) <= {"cell"}, "no zygote is made of it"
    docker("image", "rm", "--force", image)
