"""What the Docker engine says about the containers of one worker."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass

WORKER_LABEL = "flowcell.worker"
SHORT_ID_CHARS = 12


@dataclass(frozen=True)
class ContainerEvent:
    """One line of the engine's own event log."""

    action: str
    container: str
    at: float
    """Seconds since 1970."""


def docker(*arguments: str) -> str:
    """Standard output of a docker command that must succeed."""
    return subprocess.run(  # noqa: S603
        ["docker", *arguments],  # noqa: S607
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def containers(worker: str, *, running_only: bool = False) -> set[str]:
    """Short ids of the worker's containers, stopped ones included."""
    arguments = ["ps", "--quiet", "--filter", f"label={WORKER_LABEL}={worker}"]
    return set(docker(*arguments, *([] if running_only else ["--all"])).split())


def events(worker: str, *, since: float, until: float) -> list[ContainerEvent]:
    """What happened to the worker's containers in a span of time, oldest first."""
    lines = docker(
        "events",
        *("--since", f"{since:.3f}"),
        *("--until", f"{until:.3f}"),
        *("--filter", "type=container"),
        *("--filter", f"label={WORKER_LABEL}={worker}"),
        *("--format", "{{json .}}"),
    ).splitlines()
    found = (json.loads(line) for line in lines)
    return [
        ContainerEvent(event["Action"], event["Actor"]["ID"][:SHORT_ID_CHARS], event["timeNano"] / 1e9)
        for event in found
    ]


def inspect(container: str) -> str | None:
    """Everything the engine tells about a container, as text to be searched; `None` once it is gone."""
    try:
        return docker("inspect", container)
    except subprocess.CalledProcessError as error:
        if "No such object" in error.stderr:
            return None
        raise


def processes(container: str) -> int:
    """How many processes run in a container."""
    return max(0, len(docker("top", container).splitlines()) - 1)
