"""Langflow's functions on flows, as its components import them: names, graphs, runs of flows.

With a database they are in `langflow.helpers.flow`, and lfx has stand-ins that know no
flow. Both places get these, which ask the schedulers; those answer for the tenant of the
run alone.
"""

from __future__ import annotations

import copy
import keyword
import re
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import lfx.helpers as lfx_helpers
from lfx.custom.custom_component import custom_component
from lfx.helpers import flow as lfx_flow
from lfx.processing.process import process_tweaks
from lfx.run.hitl import raise_if_nested_hitl_unsupported
from lfx.schema.data import Data
from pydantic import BaseModel, Field, create_model

from flowcell_runner import children
from flowcell_runner.children import ChildGraph
from flowcell_runner.link import CallError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from lfx.graph.graph.base import Graph
    from lfx.graph.schema import RunOutputs
    from lfx.graph.vertex.base import Vertex

_NO_SESSION = "Session is invalid"
_NO_NAME = "Flow ID or Flow Name is required"


def install() -> None:
    """Put the functions where components import them; once, before any component is built."""
    stand_in = ModuleType("langflow.helpers.flow")
    sys.modules[stand_in.__name__] = stand_in
    for name, function in _FUNCTIONS.items():
        setattr(stand_in, name, function)
        for module in (lfx_helpers, lfx_flow, custom_component):
            if hasattr(module, name):
                setattr(module, name, function)
    # It takes its names from the stand-in, so it can only be imported now.
    from lfx.base.tools import run_flow as component

    component.Graph = ChildGraph


# ---------------------------------------------------------------- names


async def list_flows(*, user_id: str | None = None) -> list[Data]:
    """Return every flow, without its graph."""
    return await _listed(user_id, {})


async def list_flows_by_flow_folder(*, user_id: str | None = None, flow_id: str | None = None, **_: Any) -> list[Data]:
    """Return the flows beside this one."""
    if user_id and not flow_id:
        msg = "Flow ID is required"
        raise ValueError(msg)
    return await _listed(user_id, {"folder": True})


async def list_flows_by_folder_id(*, user_id: str | None = None, folder_id: str | None = None, **_: Any) -> list[Data]:
    """Return the flows of a folder."""
    if user_id and not folder_id:
        msg = "Folder ID is required"
        raise ValueError(msg)
    return [flow for flow in await _listed(user_id, {}) if str(flow.data["folder_id"]) == str(folder_id)]


async def find_flow(flow_name: str, user_id: str) -> UUID | None:  # noqa: ARG001 - Langflow's signature
    """Return the id of the flow of this name."""
    row = await _row(None, flow_name)
    return UUID(row["id"]) if row else None


async def get_flow_by_id_or_name(
    user_id: str | None = None, flow_id: str | None = None, flow_name: str | None = None
) -> Data | None:
    """Return a flow with its graph."""
    if not user_id:
        raise ValueError(_NO_SESSION)
    if not (flow_id or flow_name):
        raise ValueError(_NO_NAME)
    try:
        row = await _row(str(UUID(str(flow_id))) if flow_id else None, flow_name)
    except ValueError as error:
        msg = f"Error getting flow by id: {error}"
        raise ValueError(msg) from error
    return _data(row, row["data"]) if row else None


async def get_user_is_superuser(_user_id: Any) -> bool:
    """Nobody is, for a component."""
    return False


async def _listed(user_id: str | None, args: dict[str, Any]) -> list[Data]:
    if not user_id:
        raise ValueError(_NO_SESSION)
    answer = await children.runs().ask("flow.list", args)
    return [_data(row) for row in answer["flows"]]


async def _row(flow_id: str | None, flow_name: str | None) -> dict[str, Any] | None:
    wanted = {"id": flow_id} if flow_id else {"name": flow_name}
    try:
        row: dict[str, Any] = await children.runs().ask("flow.get", wanted)
    except CallError as error:
        if error.kind != "not_found":
            raise
        return None
    return row


def _data(row: dict[str, Any], graph: Any = None) -> Data:
    updated = datetime.fromtimestamp(row["updated_ms"] / 1000, UTC)
    return Data(
        data={
            "id": UUID(row["id"]),
            "data": graph,
            "name": row["name"],
            "description": row["description"],
            "updated_at": updated.isoformat(timespec="seconds"),
            "folder_id": UUID(row["folder_id"]),
        }
    )


# ---------------------------------------------------------------- runs


@asynccontextmanager
async def scoped_model_provider_policy_for_target_flow(
    *, user_id: str | UUID, flow_id: str | UUID | None = None, flow_name: str | None = None
) -> AsyncIterator[SimpleNamespace]:
    """Find the flow in Langflow's words; its policy of providers does not exist here."""
    row = await _target(user_id, flow_id, flow_name)
    yield SimpleNamespace(**row)


async def load_flow(
    user_id: str, flow_id: str | None = None, flow_name: str | None = None, tweaks: dict[str, Any] | None = None
) -> Graph:
    """Return a flow's graph; its tweaks count when it runs."""
    return _graph(await _target(user_id, flow_id, flow_name), user_id, tweaks)


async def run_flow(  # noqa: PLR0913, PLR0917 - lfx's signature
    inputs: dict[str, Any] | list[dict[str, Any]] | None = None,
    tweaks: dict[str, Any] | None = None,
    flow_id: str | None = None,
    flow_name: str | None = None,
    output_type: str | None = "chat",
    user_id: str | None = None,
    run_id: str | None = None,
    session_id: str | None = None,
    graph: Graph | None = None,
    **_: Any,
) -> list[RunOutputs]:
    """Run a flow to its end."""
    if user_id is None:
        raise ValueError(_NO_SESSION)
    graph_flow_id = getattr(graph, "flow_id", None)
    if flow_id is not None and graph_flow_id is not None and str(flow_id) != str(graph_flow_id):
        msg = "Provided flow ID does not match the graph's target flow"
        raise ValueError(msg)
    name = flow_name or getattr(graph, "flow_name", None)
    row = await _target(user_id, flow_id or graph_flow_id, name)
    if graph is None:
        graph = _graph(row, user_id, tweaks)
    if run_id:
        graph.set_run_id(UUID(run_id))
    if session_id:
        graph.session_id = session_id
    graph.user_id = str(user_id)
    given = [inputs] if isinstance(inputs, dict) else inputs or []
    raise_if_nested_hitl_unsupported(graph)
    return await graph.arun(
        [{"input_value": one.get("input_value")} for one in given],
        inputs_components=[one.get("components", []) for one in given],
        types=[one.get("type", "chat") for one in given],
        outputs=[vertex.id for vertex in graph.vertices if _is_wanted(vertex, output_type)],
    )


def _is_wanted(vertex: Vertex, output_type: str | None) -> bool:
    if output_type == "debug":
        return True
    return bool(vertex.is_output and (output_type == "any" or str(output_type) in vertex.id.lower()))


async def _target(user_id: Any, flow_id: Any, flow_name: str | None) -> dict[str, Any]:
    if not user_id:
        raise ValueError(_NO_SESSION)
    if not flow_id and not flow_name:
        raise ValueError(_NO_NAME)
    row = await _row(str(UUID(str(flow_id))) if flow_id else None, flow_name)
    if row is None:
        msg = f"Flow {flow_id or flow_name} not found"
        raise ValueError(msg)
    return row


def _graph(row: dict[str, Any], user_id: Any, tweaks: dict[str, Any] | None) -> Graph:
    payload = row["data"]
    if not payload:
        msg = f"Flow {row['id']} not found"
        raise ValueError(msg)
    if tweaks:
        # For its refusals; the values count where the flow runs.
        payload = process_tweaks(copy.deepcopy(payload), copy.deepcopy(tweaks), caller_supplied=False)
    graph = ChildGraph.from_payload(payload, flow_id=row["id"], user_id=str(user_id))
    graph.tweaks = tweaks or {}
    return graph


# ---------------------------------------------------------------- arguments of a flow that is a tool


def get_flow_inputs(graph: Graph) -> list[Vertex]:
    """Return the inputs of a flow."""
    return [vertex for vertex in graph.vertices if vertex.is_input]


def build_schema_from_inputs(name: str, inputs: list[Vertex]) -> type[BaseModel]:
    """Return the arguments of a tool that runs the flow."""
    pairs = zip(inputs, _argument_names(inputs), strict=True)
    fields: dict[str, Any] = {arg: (str, Field(default="", description=vertex.description)) for vertex, arg in pairs}
    return create_model(name, **fields)


def get_arg_names(inputs: list[Vertex]) -> list[dict[str, str]]:
    """Return which argument goes to which input."""
    pairs = zip(inputs, _argument_names(inputs), strict=True)
    return [{"component_name": str(vertex.id), "arg_name": arg} for vertex, arg in pairs]


def _argument_names(inputs: list[Vertex]) -> list[str]:
    names: list[str] = []
    for index, vertex in enumerate(inputs, start=1):
        base = re.sub(r"\W", "_", vertex.display_name.lower())
        if not base.isidentifier() or keyword.iskeyword(base) or base == "__debug__":
            base = f"input_{index}"
        name, suffix = base, 2
        while name in names:
            name, suffix = f"{base}_{suffix}", suffix + 1
        names.append(name)
    return names


_FUNCTIONS: dict[str, Any] = {
    function.__name__: function
    for function in (
        list_flows,
        list_flows_by_flow_folder,
        list_flows_by_folder_id,
        find_flow,
        get_flow_by_id_or_name,
        get_user_is_superuser,
        scoped_model_provider_policy_for_target_flow,
        load_flow,
        run_flow,
        get_flow_inputs,
        build_schema_from_inputs,
        get_arg_names,
    )
}
