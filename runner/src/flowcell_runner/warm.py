"""Everything heavy, before there is a task.

Importing lfx is half of it: the first component that runs makes lfx load hundreds
of modules more. So one runs here, a tiny one, through the same code as a real
cell, and the answers of its worker are made up on the spot.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
from typing import Any
from uuid import UUID

from flowcell_runner import services
from flowcell_runner.cell import Cell
from flowcell_runner.link import Link

#: Modules that components of the standard palette import first of all.
_MODULES = ("lfx.io", "lfx.components.input_output", "lfx.base.models.model", "lfx.schema.dataframe")
#: For processes that are started once and forked often.
_MODULES_FULL = ("langchain_openai", "lfx.base.agents.agent", "lfx.components.models_and_agents", "lfx.base.mcp.util")

_SOURCE = """
from lfx.custom import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.message import Message


class Warm(Component):
    display_name = "Warm"
    name = "Warm"
    inputs = [MessageTextInput(name="input_value", display_name="Input")]
    outputs = [Output(display_name="Output", name="output", method="build_output")]

    def build_output(self) -> Message:
        return Message(text=self.input_value)
"""


class _NobodyLink(Link):
    """A worker that swallows events and stores no message."""

    def __init__(self) -> None:
        """Connect to nothing."""

    def send(self, *_: Any) -> int:
        return 0

    async def call(self, _op: str, args: dict[str, Any]) -> Any:
        return {**args.get("message", {}), "id": str(UUID(int=0))}


def warm_up() -> None:
    """Import, run the tiny cell, and leave a heap that is ready to be shared."""
    services.install()
    full = os.environ.get("FLOWCELL_WARM") == "full"
    for name in (*_MODULES, *(_MODULES_FULL if full else ())):
        importlib.import_module(name)
    touch()
    # Collected later, these objects would be written to, one page at a time, in every forked child.
    gc.collect()
    gc.freeze()
    gc.enable()


def touch() -> None:
    """Run the tiny cell."""
    asyncio.run(Cell(_task(), _NobodyLink()).run())


def _node(node_id: str, kind: str, node: dict[str, Any]) -> dict[str, Any]:
    return {"id": node_id, "type": "genericNode", "data": {"id": node_id, "type": kind, "node": node}}


def _task() -> dict[str, Any]:
    output = {"name": "output", "display_name": "Output", "types": ["Message"], "method": "build_output"}
    field = {"type": "str", "name": "input_value", "_input_type": "MessageTextInput", "value": "x", "show": True}
    code = {"type": "code", "name": "code", "value": _SOURCE, "show": True}
    nobody = str(UUID(int=0))
    return {
        "run_id": nobody,
        "flow_id": nobody,
        "flow_name": "warm",
        "user_id": nobody,
        "session_id": "warm",
        "cell": "Warm-0",
        "attempt": 1,
        "graph": {
            "nodes": [
                _node(
                    "Warm-0",
                    "Warm",
                    {
                        "display_name": "Warm",
                        "template": {"_type": "Component", "code": code, "input_value": field},
                        "outputs": [output],
                        "base_classes": ["Message"],
                    },
                )
            ],
            "edges": [],
        },
        "members": ["Warm-0"],
        "inputs": {},
        "parameters": {},
        "variables": {},
        "context": {},
        "egress": None,
        "limits": {"log_bytes_max": 0, "output_bytes_max": 1 << 20},
    }
