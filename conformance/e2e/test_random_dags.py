"""Random graphs: every node in a container of its own gives what lfx gives in one process.

A failure names its seed. FLOWCELL_RANDOM_SEED repeats it, FLOWCELL_RANDOM_COUNT asks for more.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

from flowcell_conformance.random_dags import random_dags

if TYPE_CHECKING:
    from pathlib import Path

    from flowcell_conformance.bench import Flowcell

COUNT = int(os.environ.get("FLOWCELL_RANDOM_COUNT", "5"))
SEEDS = 1_000_000


def test_a_graph_gives_what_it_gives_in_one_process(flowcell: Flowcell, tmp_path: Path) -> None:
    seed = int(os.environ.get("FLOWCELL_RANDOM_SEED") or random.SystemRandom().randrange(SEEDS))
    print(f"seeds {seed} to {seed + COUNT - 1}")
    different = {}
    for dag in random_dags(seed, COUNT, tmp_path):
        flow = flowcell.target.upload_flow(dag.flow)
        reply = flowcell.target.run(flow.endpoint_name, b"{}", stream=False)
        text = reply.text
        if reply.status == 200:
            text = _text(reply.body)
        if text != dag.text:
            different[dag.seed] = (dag.text, text)
        flowcell.target.delete_flow(flow)
    assert different == {}


def _text(body: object) -> str:
    """The text of the only answer."""
    found = body["outputs"][0]["outputs"][0]["results"]["message"]["text"]  # type: ignore[index]
    return str(found)
