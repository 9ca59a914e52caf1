"""What an operator sees of a cluster of processes: one run as one trace, metrics of every part, logs.

The whole file shares one cluster and one run of three cells.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flowcell_conformance.cluster import Cluster
from flowcell_conformance.compare import Servers
from flowcell_conformance.durable import DurableRuns
from flowcell_conformance.otlp import Collector
from flowcell_conformance.process import wait_until
from flowcell_conformance.session import Session
from flowcell_conformance.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowcell_conformance.otlp import Span

# Nothing of it may be found in a span, a metric or a log.
INPUT = "quokka-4711"
CELLS = 3
CALLER = "0123456789abcdef0123456789abcdef"
# Spans are sent every five seconds.
SENT_SECONDS = 30.0


@dataclass(frozen=True)
class Seen:
    """A run that ended, and where to look."""

    run: str
    cluster: Cluster
    collector: Collector

    @property
    def spans(self) -> list[Span]:
        """The run's trace."""
        return self.collector.trace(self.run.replace("-", ""))


@pytest.fixture(scope="module")
def seen(flowcell_binary: Path) -> Iterator[Seen]:
    # Short, because the paths of Unix sockets below it are.
    home = Path(tempfile.mkdtemp(prefix="fce2e-", dir="/tmp"))
    try:
        with Collector() as collector:
            settings = {
                "FLOWCELL_CONFIG__TELEMETRY__OTLP": collector.url,
                "FLOWCELL_CONFIG__TELEMETRY__FORMAT": "json",
                "FLOWCELL_CONFIG__TELEMETRY__FILTER": "info,flowcell_api=debug,flowcell_worker=debug,"
                "flowcell_scheduler=debug",
                "FLOWCELL_CONFIG__SCHEDULER__FIGURES_MS": "200",
            }
            with Cluster(flowcell_binary, home, workers=1, settings=settings) as cluster:
                cluster.wait_pools()
                yield Seen(one_run(cluster), cluster, collector)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def one_run(cluster: Cluster) -> str:
    """Run a flow of three cells to its end."""
    target, runs = Target(cluster.credentials, name="cluster"), DurableRuns(cluster.credentials)
    try:
        flow = Session(target, Servers(None)).flow("echo").id
        runs.http.headers["traceparent"] = f"00-{CALLER}-0123456789abcdef-01"
        ended = runs.wait(runs.start(flow, INPUT).id, seconds=60)
        assert ended.state == "completed", ended.raw
        assert ended.text == f"Hello {INPUT}!"
        return ended.id
    finally:
        runs.close()
        target.close()


def test_a_run_is_one_whole_tree_of_spans(seen: Seen) -> None:
    expected = {
        "run": 1,
        **dict.fromkeys(("attempt", "queue", "pick_up", "cell", "report"), CELLS),
    }
    wait_until(
        lambda: Counter(span.name for span in seen.spans) == expected,
        seconds=SENT_SECONDS,
        what=f"the run's spans {expected}",
    )
    spans = {span.id: span for span in seen.spans}
    assert len(spans) == 1 + 5 * CELLS, "every span has an id of its own"
    above = {"attempt": "run", **dict.fromkeys(("queue", "pick_up", "cell", "report"), "attempt")}
    for span in spans.values():
        if span.name == "run":
            assert span.parent == ""
            continue
        parent = spans[span.parent]
        assert parent.name == above[span.name]
        if parent.name == "attempt":
            for key in ("run.id", "task.id", "attempt", "cell.id"):
                assert parent.attributes[key] == span.attributes[key]
    services = {span.name: span.service for span in spans.values()}
    assert services["run"] == services["attempt"] == services["queue"] == "flowcell-scheduler"
    assert services["pick_up"] == services["cell"] == services["report"] == "flowcell-worker"
    for attempt in (span for span in spans.values() if span.name == "attempt"):
        parts = {span.name: span for span in spans.values() if span.parent == attempt.id}
        assert parts["queue"].start == attempt.start
        assert parts["queue"].end <= parts["cell"].start <= parts["cell"].end <= parts["report"].end


def test_a_run_is_linked_with_its_caller(seen: Seen) -> None:
    run = next(span for span in seen.spans if span.name == "run")
    assert run.links == ((CALLER, "0123456789abcdef"),)
    starts = [span for span in seen.collector.trace(CALLER) if span.links]
    assert [span.links for span in starts] == [((run.trace, run.id),)]
    assert starts[0].attributes["http.route"] == "/api/flowcell/v1/runs"


def test_nothing_of_the_content_is_in_spans_metrics_or_logs(seen: Seen) -> None:
    metrics = "\n".join(seen.cluster.metrics(part) for part in seen.cluster.parts)
    logs = "\n".join(seen.cluster.log(part).read_text() for part in seen.cluster.parts)
    assert metrics
    assert logs
    assert INPUT.encode() not in seen.collector.bodies
    assert INPUT not in metrics
    assert seen.run not in metrics, "no metric has a run's id"
    assert INPUT not in logs
    assert seen.cluster.credentials.api_key not in logs


def test_lines_about_a_run_carry_its_ids_at_the_top_level(seen: Seen) -> None:
    for part in ("scheduler", *seen.cluster.workers):
        for text in seen.cluster.log(part).read_text().splitlines():
            line = json.loads(text)
            if seen.run in text:
                assert line["run.id"] == seen.run, line
            if "attempt" in line:
                assert {"run.id", "task.id"} <= line.keys(), line


def test_every_part_counted_the_run(seen: Seen) -> None:
    api, scheduler = seen.cluster.metrics("api"), seen.cluster.metrics("scheduler")
    worker = seen.cluster.metrics(seen.cluster.workers[0])
    assert sample(api, "flowcell_runs_accepted_total") == 1
    finished = 'flowcell_transitions_total{command="finish",outcome="committed"}'
    assert sample(scheduler, finished) == CELLS
    assert sample(scheduler, 'flowcell_runs_ended_total{state="completed"}') == 1
    assert sample(worker, 'flowcell_attempts_total{outcome="done",kind=""}') == CELLS
    wait_until(
        lambda: (
            sample(seen.cluster.metrics("scheduler"), 'flowcell_cluster_workers{pool="default"}') == 1
            and sample(seen.cluster.metrics("scheduler"), 'flowcell_leases{pool="default"}') == 0
            and sample(seen.cluster.metrics("scheduler"), 'flowcell_tasks_ready{pool="default"}') == 0
        ),
        seconds=SENT_SECONDS,
        what="figures of an idle cluster",
    )


def sample(text: str, name: str) -> float | None:
    """The value of one sample."""
    for line in text.splitlines():
        found, _, value = line.rpartition(" ")
        if found == name:
            return float(value)
    return None
