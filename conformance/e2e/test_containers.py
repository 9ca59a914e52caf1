"""One fresh container per cell, made before its task, and none left behind, however things end."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, cast

import pytest

from flowcell_conformance import docker
from flowcell_conformance.flowcell_server import Options

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowcell_conformance.bench import Flowcell

RUNNING = frozenset({"running"})
KILLED_REMOVAL_SECONDS = 30.0


def test_every_cell_has_a_container_of_its_own(flowcell: Flowcell) -> None:
    runs = [flowcell.runs.wait(flowcell.run("diamond", text)) for text in ("a", "b")]
    used = [container for run in runs for container in run.containers]
    assert len(used) == sum(len(run.tasks) for run in runs) == 10
    assert len(set(used)) == len(used)


def test_containers_are_made_before_their_tasks_and_removed_after(
    make_flowcell: Callable[[Options], Flowcell],
) -> None:
    since = time.time()
    flowcell = make_flowcell(Options(slots=2, pool=3))
    flowcell.server.wait_pool(3)
    flow = flowcell.flow("echo")
    run = flowcell.runs.wait(flowcell.runs.start(flow, "Bob").id)
    accepted = datetime.fromisoformat(cast("str", run.raw["created_at"])).timestamp()
    flowcell.server.wait_gone(run.containers, seconds=15)
    seen = docker.events(flowcell.server.worker, since=since - 1, until=time.time())
    created = {event.container: event.at for event in seen if event.action == "create"}
    destroyed = {event.container for event in seen if event.action == "destroy"}
    assert set(run.containers) <= set(created)
    assert set(run.containers) <= destroyed
    early = [container for container in run.containers if created[container] < accepted]
    assert early == run.containers, "the pool had a container for each cell"


def test_a_stopped_server_leaves_no_container(make_flowcell: Callable[[Options], Flowcell]) -> None:
    flowcell = make_flowcell(Options(slots=1, pool=2))
    flowcell.server.wait_pool(2)
    assert flowcell.server.stop() == 0
    flowcell.server.wait_gone(flowcell.server.containers(), seconds=10)


def test_a_killed_server_leaves_no_container(make_flowcell: Callable[[Options], Flowcell]) -> None:
    flowcell = make_flowcell(Options(slots=1, pool=2))
    flowcell.server.wait_pool(2)
    run = flowcell.run("nap", "300")
    flowcell.runs.wait_task(run, "Nap-bbbbb", RUNNING)
    flowcell.server.kill()
    flowcell.server.wait_gone(flowcell.server.containers(), seconds=KILLED_REMOVAL_SECONDS)


def test_sigterm_lets_a_running_cell_finish(make_flowcell: Callable[[Options], Flowcell]) -> None:
    flowcell = make_flowcell(Options(slots=2, pool=2))
    run = flowcell.run("nap", "5")
    flowcell.runs.wait_task(run, "Nap-bbbbb", RUNNING)
    assert flowcell.server.stop() == 0
    flowcell.server.restart()
    flowcell.reconnect()
    ended = flowcell.runs.wait(run)
    assert ended.state == "completed"
    assert next(task.attempt for task in ended.tasks if task.cell == "Nap-bbbbb") == 1


@pytest.mark.parametrize("cell", ["Nap-bbbbb"])
def test_a_run_survives_the_death_of_the_server(
    make_flowcell: Callable[[Options], Flowcell], cell: str
) -> None:
    flowcell = make_flowcell(Options(slots=2, pool=2))
    run = flowcell.run("nap", "4")
    flowcell.runs.wait_task(run, cell, RUNNING)
    flowcell.crash_and_restart()
    ended = flowcell.runs.wait(run, seconds=120)
    assert ended.state == "completed"
    assert next(task.attempt for task in ended.tasks if task.cell == cell) == 2
    assert next(task.attempt for task in ended.tasks if task.cell == "ChatInput-aaaaa") == 1
    events = flowcell.runs.sse(run)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))


def test_what_is_queued_survives_the_death_of_the_server(
    make_flowcell: Callable[[Options], Flowcell],
) -> None:
    flowcell = make_flowcell(Options(slots=1, pool=1))
    flow = flowcell.flow("echo")
    runs = [flowcell.runs.start(flow, str(number)).id for number in range(6)]
    flowcell.crash_and_restart()
    texts = [flowcell.runs.wait(run, seconds=180).text for run in runs]
    assert texts == [f"Hello {number}!" for number in range(6)]


def test_the_same_run_is_served_after_a_restart(make_flowcell: Callable[[Options], Flowcell]) -> None:
    flowcell = make_flowcell(Options(slots=2, pool=2))
    before = flowcell.runs.wait(flowcell.run("echo", "Bob"))
    log = flowcell.runs.sse(before.id)
    flowcell.crash_and_restart()
    assert flowcell.runs.get(before.id) == before
    assert flowcell.runs.sse(before.id) == log
    reply = flowcell.target.run(flowcell.flow("echo"), b'{"input_value": "Eve"}', stream=False)
    assert reply.status == 200
