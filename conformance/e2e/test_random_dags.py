"""Random graphs: whatever shares a container, they give what lfx gives in one process.

A failure names its seed. FLOWCELL_RANDOM_SEED repeats it, FLOWCELL_RANDOM_COUNT asks for more.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from flowcell_conformance.random_dags import random_dags

if TYPE_CHECKING:
    from pathlib import Path

    from flowcell_conformance.bench import Flowcell
    from flowcell_conformance.durable import Run

COUNT = int(os.environ.get("FLOWCELL_RANDOM_COUNT", "10"))
SEEDS = 1_000_000
ISOLATIONS = ("component", "chain", "run")


@pytest.mark.timeout(600 + 10 * COUNT)
def test_a_graph_gives_what_it_gives_in_one_process(flowcell: Flowcell, tmp_path: Path) -> None:
    seed = int(os.environ.get("FLOWCELL_RANDOM_SEED") or random.SystemRandom().randrange(SEEDS))
    print(f"seeds {seed} to {seed + COUNT - 1}")
    different = {}
    for dag in random_dags(seed, COUNT, tmp_path):
        flow = flowcell.target.upload_flow(dag.flow)
        started = [flowcell.runs.start(flow.endpoint_name, "", isolation=way) for way in ISOLATIONS]
        texts = [_text(flowcell.runs.wait(run.id)) for run in started]
        if texts != [dag.text] * len(ISOLATIONS):
            different[dag.seed] = (dag.text, dict(zip(ISOLATIONS, texts, strict=True)))
        flowcell.target.delete_flow(flow)
    assert different == {}


def _text(run: Run) -> str:
    """The text of the only answer, or why there is none."""
    return run.text if run.state == "completed" else str(run.failure)
