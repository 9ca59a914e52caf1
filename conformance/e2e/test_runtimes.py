"""Flows run under the runtime of the Langflow minor version that exported them."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from flowcell_conformance.flowcell_server import RUNNER_IMAGE, Options
from flowcell_conformance.old_flow import exported_by, image_exists

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowcell_conformance.bench import Flowcell
    from flowcell_conformance.normalise import Json

OLD = "1.12"
OLD_IMAGE = f"flowcell/runner:lfx-{OLD}"

needs_old_image = pytest.mark.skipif(
    not image_exists(OLD_IMAGE), reason=f"{OLD_IMAGE} is not built: scripts/images --lfx {OLD}"
)


def _upload(flowcell: Flowcell, flow: dict[str, Json], name: str) -> str:
    return flowcell.target.upload_flow(flow | {"name": name, "endpoint_name": name}).endpoint_name


def _runtime(flowcell: Flowcell, flow: str) -> dict[str, Json]:
    return cast("dict[str, Json]", flowcell.target.call("GET", f"/api/flowcell/v1/flows/{flow}/runtime"))


@needs_old_image
def test_an_export_of_an_older_version_runs_under_its_own_lfx(
    make_flowcell: Callable[[Options], Flowcell],
) -> None:
    flowcell = make_flowcell(Options(runtimes=((OLD, OLD_IMAGE),)))
    export = exported_by(OLD_IMAGE)
    flow = _upload(flowcell, export, "of-its-own")
    runtime = _runtime(flowcell, flow)
    assert (runtime["exported_by"], runtime["runs_under"], runtime["warnings"]) == (OLD, OLD, [])
    run = flowcell.runs.wait(flowcell.runs.start(flow, "Hello").id, seconds=400.0)
    assert run.state == "completed", run.failure
    assert run.text == f"Hello, lfx {export['last_tested_version']}"
    newer = _upload(flowcell, export | {"last_tested_version": "1.13.0"}, "newer")
    run = flowcell.runs.wait(flowcell.runs.start(newer, "Hello").id, seconds=400.0)
    assert run.text.startswith("Hello, lfx 1.13."), run.failure


@needs_old_image
def test_without_its_runtime_it_runs_under_the_default_and_says_what_changed(flowcell: Flowcell) -> None:
    flow = _upload(flowcell, exported_by(OLD_IMAGE), "of-no-runtime")
    warning = str(cast("list[Json]", _runtime(flowcell, flow)["warnings"])[0])
    assert warning.startswith(f"Langflow {OLD} exported this flow"), warning
    assert "runs under 1.13" in warning, RUNNER_IMAGE
    accepted = flowcell.runs.start(flow, "Hello")
    assert accepted.raw["warnings"] == [warning]
    run = flowcell.runs.wait(accepted.id, seconds=400.0)
    assert run.text.startswith("Hello, lfx 1.13."), run.failure
