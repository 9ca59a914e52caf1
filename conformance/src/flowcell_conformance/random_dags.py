"""Random graphs with lfx's own answers, made by Langflow's Python."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from .flows import EXPORTER
from .langflow_server import clean_environment, ensure_installed

if TYPE_CHECKING:
    from pathlib import Path

    from .normalise import Json


@dataclass(frozen=True)
class RandomDag:
    """A flow, and the text that lfx answers with when it runs the whole of it in one process."""

    seed: int
    flow: dict[str, Json]
    text: str


def random_dags(seed: int, count: int, home: Path) -> list[RandomDag]:
    """`count` graphs, of the seeds from `seed` on."""
    python = ensure_installed()
    made = home / "random-dags.json"
    result = subprocess.run(  # noqa: S603
        [str(python), str(EXPORTER / "random_dags.py"), str(seed), str(count), str(made)],
        env=clean_environment(home, python),
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        message = f"making random graphs from seed {seed} failed\n{result.stdout}\n{result.stderr}"
        raise RuntimeError(message)
    written = cast("list[dict[str, Json]]", json.loads(made.read_text()))
    return [
        RandomDag(cast("int", one["seed"]), cast("dict[str, Json]", one["flow"]), cast("str", one["text"]))
        for one in written
    ]
