"""What tenants say about how their runs go: retries, pools, pauses, running again."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, cast

from flowcell_conformance.flowcell_server import Options
from flowcell_conformance.process import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowcell_conformance.bench import Flowcell
    from flowcell_conformance.normalise import Json


def command(flowcell: Flowcell, *words: str, url: str | None = None) -> str:
    """What a client command prints, of the server itself or of a proxy before it."""
    credentials = flowcell.server.credentials
    environment = os.environ | {
        "FLOWCELL_URL": url or credentials.url,
        "FLOWCELL_API_KEY": credentials.api_key,
    }
    done = subprocess.run(  # noqa: S603 - our own program
        [os.environ["FLOWCELL_BIN"], *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def explained(flowcell: Flowcell, run: str) -> dict[str, Json]:
    """What a run and its tasks wait for."""
    return cast("dict[str, Json]", flowcell.runs.http.get(f"/runs/{run}/explain").raise_for_status().json())


def test_a_node_is_retried_and_sent_to_a_pool_as_it_is_set(flowcell: Flowcell) -> None:
    flow = flowcell.flow("boom")
    command(flowcell, "admission", "set", "--flow", flow, "--node", "Boom",
            "retry.component_errors=true", "retry.attempts_max=2", "retry.backoff_ms=1")  # fmt: skip
    shown = command(flowcell, "explain", flow)
    assert "the default pool, up to 2 attempts, 1 to 10000 ms apart, also after component" in shown
    failed = flowcell.runs.wait(flowcell.run("boom", "Bob"), seconds=200)
    assert failed.failure_kind == "component"
    assert {task.cell.split("-")[0]: task.attempt for task in failed.tasks}["Boom"] == 2
    command(flowcell, "admission", "set", "--flow", flow, "--node", "Boom", "pool=gpu")
    run = flowcell.run("boom", "Bob")

    def reasons() -> set[tuple[str, str]]:
        tasks = cast("list[dict[str, str]]", explained(flowcell, run)["tasks"])
        return {(task["reason"], task["text"]) for task in tasks}

    waits = ("no_worker", 'no worker of "gpu" is alive')
    wait_until(lambda: waits in reasons(), seconds=200, what="a wait for a worker of the pool")
    assert waits[1] in command(flowcell, "explain", "run", run)
    command(flowcell, "admission", "unset", "--flow", flow)
    assert flowcell.runs.cancel(run).status_code == 202
    assert flowcell.runs.wait(run).state == "cancelled"


def test_a_paused_run_finishes_what_runs_and_waits_through_a_crash(
    make_flowcell: Callable[[Options], Flowcell],
) -> None:
    flowcell = make_flowcell(Options(slots=1, pool=1))
    flow = flowcell.flow("nap")
    command(flowcell, "admission", "set", "--flow", flow, "runs_max=1")
    run = flowcell.run("nap", "6")
    nap = flowcell.runs.get(run).tasks[1].cell
    flowcell.runs.wait_task(run, nap, frozenset({"running"}), seconds=200)
    assert command(flowcell, "pause", run) == "paused\n"
    flowcell.runs.wait_task(run, nap, frozenset({"done"}), seconds=200)
    assert [task.state for task in flowcell.runs.get(run).tasks] == ["done", "done", "waiting"]
    flowcell.crash_and_restart()
    assert flowcell.runs.get(run).state == "paused"
    assert "flowcell unpause" in command(flowcell, "explain", "run", run)
    # It is not open meanwhile: the flow's only place and the only slot are another's.
    assert flowcell.runs.wait(flowcell.run("nap", "0"), seconds=200).state == "completed"
    # With nobody before it, it may go on before the answer is written.
    assert command(flowcell, "unpause", run) in {"queued\n", "running\n"}
    done = flowcell.runs.wait(run, seconds=200)
    assert (done.text, [task.attempt for task in done.tasks]) == ("6", [1, 1, 1])
    kinds = [event.kind for event in flowcell.runs.sse(run) if event.kind.startswith("run.")]
    assert kinds == ["run.started", "run.paused", "run.unpaused", "run.completed"]
    paused = flowcell.run("nap", "0", delay_ms=3_600_000)
    assert command(flowcell, "pause", paused) == "paused\n"
    assert flowcell.runs.cancel(paused).status_code == 202
    assert flowcell.runs.wait(paused).state == "cancelled"
