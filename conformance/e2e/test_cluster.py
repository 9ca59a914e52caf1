"""A cluster as separate processes on Postgres and NATS: right answers, also when a process is killed.

The whole file shares one cluster; a test that kills a part starts it again.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flowcell_conformance.cluster import Cluster
from flowcell_conformance.compare import Servers
from flowcell_conformance.durable import DurableRuns
from flowcell_conformance.process import wait_until
from flowcell_conformance.session import Session
from flowcell_conformance.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowcell_conformance.durable import RunEvent, Task

NAP = "Nap-bbbbb"
NAP_CELLS = frozenset({"ChatInput-aaaaa", NAP, "ChatOutput-zzzzz"})
RUNNING = frozenset({"running"})
# Long enough to be killed in the middle, short enough to be done again.
NAP_SECONDS = "5"
# A lease of eight seconds, the sweep that finds its end, a container, the nap once more.
RECOVERY_SECONDS = 75.0
GONE_SECONDS = 30.0


class Bench:
    """A cluster and clients of it, with the flows of these tests."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.target = Target(cluster.credentials, name="cluster")
        self.runs = DurableRuns(cluster.credentials)
        self.session = Session(self.target, Servers(None))

    def close(self) -> None:
        self.runs.close()
        self.target.close()

    def nap(self) -> tuple[str, Task]:
        """A run whose middle cell sleeps in its container now."""
        run = self.runs.start(self.session.flow("nap").id, NAP_SECONDS).id
        return run, self.runs.wait_task(run, NAP, RUNNING)


@pytest.fixture(scope="module")
def bench(flowcell_binary: Path) -> Iterator[Bench]:
    # Short, because the paths of Unix sockets below it are.
    home = Path(tempfile.mkdtemp(prefix="fce2e-", dir="/tmp"))
    try:
        with Cluster(flowcell_binary, home) as cluster:
            bench = Bench(cluster)
            try:
                cluster.wait_pools()
                yield bench
            finally:
                bench.close()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def attempts_done(events: list[RunEvent]) -> dict[str, list[object]]:
    """Of each cell, the attempts that were reported done."""
    done: dict[str, list[object]] = {}
    for event in events:
        if event.kind == "task.done":
            done.setdefault(str(event.body["cell"]), []).append(event.body["attempt"])
    return done


def check_log(bench: Bench, run: str, live: list[RunEvent]) -> None:
    """What was followed live is whole, and every other reader sees the same."""
    assert [event.sequence for event in live] == list(range(1, len(live) + 1))
    assert live[-1].kind == "run.completed"
    assert bench.runs.sse(run) == live
    assert bench.runs.websocket(run) == live


@pytest.mark.parametrize(
    ("flow", "text", "answer"), [("echo", "Bob", "Hello Bob!"), ("tok", "x", "one two three")]
)
def test_langflows_endpoint_answers_plainly(bench: Bench, flow: str, text: str, answer: str) -> None:
    content = json.dumps({"input_value": text}).encode()
    reply = bench.target.run(bench.session.flow(flow).id, content, stream=False)
    assert reply.status == 200, reply.text
    assert isinstance(reply.body, dict)
    assert message_text(reply.body) == answer


@pytest.mark.parametrize(
    ("flow", "text", "answer"), [("echo", "Bob", "Hello Bob!"), ("tok", "x", "one two three")]
)
def test_langflows_endpoint_streams(bench: Bench, flow: str, text: str, answer: str) -> None:
    content = json.dumps({"input_value": text}).encode()
    reply = bench.target.run(bench.session.flow(flow).id, content, stream=True)
    assert reply.status == 200, reply.text
    names = Counter(event.name for event in reply.events)
    assert names["end"] == 1
    last = reply.events[-1]
    assert last.name == "end"
    assert isinstance(last.data, dict)
    assert message_text(last.data["result"]) == answer
    tokens = [
        event.data["chunk"]
        for event in reply.events
        if event.name == "token" and isinstance(event.data, dict)
    ]
    if flow == "tok":
        assert "".join(map(str, tokens)) == answer


def test_the_worker_that_holds_a_task_is_killed(bench: Bench) -> None:
    run, task = bench.nap()
    assert task.attempt == 1
    assert task.container
    holder = bench.cluster.worker_of(task.container)
    left_behind = bench.cluster.containers(holder)
    with ThreadPoolExecutor(1) as readers:
        live = readers.submit(bench.runs.sse, run)
        bench.cluster.kill(holder)
        ended = bench.runs.wait(run, seconds=RECOVERY_SECONDS)
        events = live.result(timeout=30)
    assert ended.state == "completed", ended.raw
    assert ended.text == NAP_SECONDS
    attempts = dict.fromkeys(NAP_CELLS, 1) | {NAP: 2}
    assert {task.cell: task.attempt for task in ended.tasks} == attempts
    assert attempts_done(events) == {cell: [attempt] for cell, attempt in attempts.items()}
    places = {
        event.body["attempt"]: event.body["container"]
        for event in events
        if event.kind == "task.running" and event.body["cell"] == NAP
    }
    assert set(places) == {1, 2}
    assert places[1] == task.container
    assert places[2] not in left_behind
    check_log(bench, run, events)
    # The end of their standard input ended them, or the holder's reaper did.
    wait_until(
        lambda: not left_behind & bench.cluster.containers(),
        seconds=GONE_SECONDS,
        what="the end of its cells",
    )
    bench.cluster.start(holder)


def test_the_scheduler_is_killed_and_another_takes_over(bench: Bench) -> None:
    run, task = bench.nap()
    with ThreadPoolExecutor(1) as readers:
        live = readers.submit(bench.runs.sse, run)
        bench.cluster.kill("scheduler")
        bench.cluster.start("scheduler")
        ended = bench.runs.wait(run, seconds=RECOVERY_SECONDS)
        events = live.result(timeout=30)
    assert ended.state == "completed", ended.raw
    assert ended.text == NAP_SECONDS
    assert attempts_done(events) == {cell: [1] for cell in NAP_CELLS}, (
        f"the cell in {task.container} was kept"
    )
    check_log(bench, run, events)


def test_a_burst_is_shared_by_the_workers(bench: Bench) -> None:
    def done(worker: str) -> float:
        lines = bench.cluster.metrics(worker).splitlines()
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in lines
            if line.startswith("flowcell_attempts_total{") and 'outcome="done"' in line
        )

    before = {worker: done(worker) for worker in bench.cluster.workers}
    flow = bench.session.flow("nap").id
    burst = [bench.runs.start(flow, "0.5").id for _ in range(20)]
    assert {bench.runs.wait(run, seconds=RECOVERY_SECONDS).state for run in burst} == {"completed"}
    shares = {worker: done(worker) - before[worker] for worker in before}
    assert sum(shares.values()) == len(burst) * len(NAP_CELLS), shares
    assert max(shares.values()) <= 1.4 * sum(shares.values()) / len(shares), shares


def test_a_worker_of_another_pool_joins_while_all_runs(bench: Bench) -> None:
    flow = bench.session.flow("nap").id
    waiting = bench.runs.start(flow, "0", pool="gpu").id
    worker = bench.cluster.add_worker("gpu")
    assert bench.runs.wait(waiting, seconds=RECOVERY_SECONDS).state == "completed"
    run = bench.runs.start(flow, NAP_SECONDS, pool="gpu").id
    task = bench.runs.wait_task(run, NAP, RUNNING)
    assert task.container
    assert bench.cluster.worker_of(task.container) == worker
    figure = 'flowcell_leases{pool="gpu"} 1'
    wait_until(lambda: figure in bench.cluster.metrics("scheduler"), seconds=30.0, what=figure)
    assert bench.runs.wait(run).state == "completed"


def test_nothing_is_left_after_an_orderly_end(bench: Bench) -> None:
    """The last test of this file: the cluster is over afterwards."""
    codes = bench.cluster.stop()
    assert codes == dict.fromkeys(codes, 0)
    wait_until(
        lambda: not bench.cluster.containers(), seconds=GONE_SECONDS, what="the end of every container"
    )


def message_text(body: object) -> object:
    """The text of the first output in Langflow's answer."""
    for step in ("outputs", 0, "outputs", 0, "results", "message", "text"):
        body = body[step]  # type: ignore[index]
    return body
