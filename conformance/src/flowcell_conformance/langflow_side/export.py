"""Makes the flows of the harness; run by Langflow's Python, never imported by the harness.

    python export.py OUTPUT_DIR

The graphs are built and dumped with lfx's own API, so the files are what an export is. The
component files beside this script become the embedded code of their nodes, as they stand.
A family is a module with `FLOWS`, a builder per flow; starters come from Langflow's own wheel.
"""

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "components")]

from families import (
    agents,
    basics,
    files,
    groups,
    human,
    inputs,
    knowledge,
    mcp,
    models,
    old,
    processing,
    requests,
    routing,
    shapes,
    starters,
    state,
    subflows,
    values,
    web,
)
from lfx.graph import Graph

FAMILIES = (
    basics,
    requests,
    routing,
    shapes,
    groups,
    values,
    state,
    inputs,
    files,
    processing,
    models,
    agents,
    human,
    mcp,
    subflows,
    web,
    knowledge,
    old,
)


def exported(name: str, made: Graph | dict[str, Any]) -> dict[str, Any]:
    """One flow as a file's content, under the name the harness calls it by."""
    if isinstance(made, Graph):
        made.prepare()
        made = made.dump()
    # lfx keeps edges in a set: without this every export would be another one.
    made["data"]["edges"].sort(key=lambda edge: json.dumps(edge, sort_keys=True, default=str))
    return made | {"name": f"conformance {name}", "endpoint_name": f"conformance-{name.replace('_', '-')}"}


def main() -> None:
    output = Path(sys.argv[1])
    output.mkdir(parents=True, exist_ok=True)
    made = {name: build for family in FAMILIES for name, build in family.FLOWS.items()}
    for name, build in (made | starters.FLOWS).items():
        (output / f"{name}.json").write_text(json.dumps(exported(name, build()), indent=1, default=str))


main()
