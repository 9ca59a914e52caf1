"""One cell: a few nodes of a flow, built by lfx in a graph cut out around them.

The graph holds the members, their direct neighbours and every edge that touches
a member, because lfx decides from the edges which outputs to compute, whether to
stream and store messages, and what a branch decision reaches. Results are read
raw from the components: what lfx puts into `results` is a masked copy for people.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lfx.graph.graph.base import Graph
from lfx.graph.vertex.base import VertexStates
from lfx.template.field.base import UNDEFINED
from lfx.utils.file_path_security import LocalFileAccessError

from flowcell_runner import services
from flowcell_runner.branches import Decisions
from flowcell_runner.codec import CodecError, Encoder, decode, decode_shared, drain
from flowcell_runner.errors import InputError
from flowcell_runner.events import CellEvents, to_api_json
from flowcell_runner.files import Files, appended_to
from flowcell_runner.frames import dump_json
from flowcell_runner.history import History
from flowcell_runner.loops import drive_graph
from flowcell_runner.neighbour import hydrate
from flowcell_runner.pauses import CellPausedError, Pauses

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lfx.graph.vertex.base import Vertex

    from flowcell_runner.link import Link


_REQUEST_VARIABLES = "request_variables"


class Cell:
    """One task, from its frame to its result."""

    def __init__(self, task: dict[str, Any], link: Link) -> None:
        self._task = task
        self._link = link
        self._members: list[str] = _field(task, "members", list)
        self._events = CellEvents(link, int(_field(task, "limits", dict)["output_bytes_max"]))
        # Langflow gives a flow that another one runs nobody to tell its events, and its nodes no session.
        self._is_child = bool(task.get("child"))
        self._told = None if self._is_child else self._events
        self._history = History()
        #: The node being built, for whoever reports a failure.
        self.node: str | None = None

    def describe(self) -> tuple[str | None, str]:
        """Return the display name and source of the node being built."""
        for node in self._task.get("graph", {}).get("nodes", []):
            if node.get("id") == self.node:
                data = node.get("data", {}).get("node", {})
                code = data.get("template", {}).get("code", {})
                return data.get("display_name"), str(code.get("value") or "")
        return None, ""

    async def run(self) -> dict[str, Any]:
        """Build the members and return the result frame's payload."""
        await self._open_services()
        try:
            graph = self._cut_out()
        except LocalFileAccessError as error:
            # Langflow says so before anything runs: no component has failed.
            raise InputError(str(error)) from error
        before = await _encode_context(graph.context)
        decisions = Decisions(graph)
        pauses = Pauses(self._task, graph, lambda: self.node)
        never_reached: list[str] = []
        try:
            if self._task.get("driver") == "graph":
                never_reached = await drive_graph(graph, self._members, self._told, self._at, pauses.check)
            else:
                await self._build_in_order(graph, pauses.check)
        except CellPausedError:
            return pauses.result()
        self.node = None
        return await self._collect(graph, decisions.settle(never_reached), before)

    async def _open_services(self) -> None:
        task, variables = self._task, _field(self._task, "variables", dict)
        user = str(task["user_id"])
        files = Files(self._link, frozenset({user, str(task["flow_id"])}))
        services.bind(self._link, variables, files, self._history, user)
        named = [task.get(name) for name in ("graph", "parameters", "inputs", "context", _REQUEST_VARIABLES)]
        await files.place([*named, variables, appended_to(task.get("graph"), user)])

    def _cut_out(self) -> Graph:
        task = self._task
        try:
            context = {key: decode_shared(key, value) for key, value in _field(task, "context", dict).items()}
            if given := task.get(_REQUEST_VARIABLES):
                # Where Langflow's API puts them; lfx looks here before it asks its service.
                context[_REQUEST_VARIABLES] = dict(given)
            inputs = {
                node: {output: decode(value) for output, value in outputs.items()}
                for node, outputs in _field(task, "inputs", dict).items()
            }
        except CodecError as error:
            raise InputError(str(error)) from error
        graph = Graph.from_payload(
            _field(task, "graph", dict),
            flow_id=str(task["flow_id"]),
            flow_name=task.get("flow_name"),
            user_id=str(task["user_id"]),
            context=context,
            # Constructors are code too: a neighbour's must not run, a member's runs when it is built.
            instantiate_components=False,
            emit_extension_events=False,
        )
        graph.session_id = task["session_id"]
        graph.set_run_id(task["run_id"])
        unknown = [name for name in (*self._members, *inputs) if name not in graph.vertex_map]
        if unknown:
            msg = f"the task names nodes that its graph does not have: {', '.join(sorted(unknown))}"
            raise InputError(msg)
        hydrate(graph, inputs, set(self._members), task.get("upstream_usage"))
        self._set_parameters(graph)
        return graph

    def _set_parameters(self, graph: Graph) -> None:
        for node, values in (self._task.get("overrides") or {}).items():
            _override(graph.get_vertex(node), values)
        for node, values in _field(self._task, "parameters", dict).items():
            graph.get_vertex(node).update_raw_params(values, overwrite=True)
        session_id = "" if self._is_child else self._task["session_id"]
        for node in graph.has_session_id_vertices:
            if node in self._members:
                graph.get_vertex(node).update_raw_params({"session_id": session_id})

    async def _build_in_order(self, graph: Graph, built: Callable[[], None]) -> None:
        self._history.plan(self._members, graph.predecessor_map)
        skipped: set[str] = set()
        for member in self._members:
            vertex = graph.get_vertex(member)
            before = graph.predecessor_map.get(member)
            # An earlier member of this cell decided against it, or against all that leads to it.
            if (
                vertex.state == VertexStates.INACTIVE
                or member in graph.conditionally_excluded_vertices
                or (before and skipped.issuperset(before))
            ):
                skipped.add(member)
                continue
            self._at(member)
            await graph.build_vertex(
                member,
                user_id=str(self._task["user_id"]),
                inputs_dict={},
                files=None,
                fallback_to_env_vars=False,
                event_manager=self._told,
            )
            built()

    def _at(self, node: str) -> None:
        self.node = node
        self._history.at(node)

    async def _collect(self, graph: Graph, operations: list[dict[str, Any]], before: dict[str, Any]) -> dict[str, Any]:
        nodes: dict[str, Any] = {}
        live: list[dict[str, str]] = []
        for member in self._members:
            vertex = graph.get_vertex(member)
            if not vertex.built or vertex.custom_component is None or vertex.result is None:
                continue
            self.node = member
            nodes[member] = await self._node_result(graph, vertex, live)
        self.node = None
        after = await _encode_context(graph.context)
        result = {
            "nodes": nodes,
            "operations": operations,
            "context": {key: value for key, value in after.items() if key not in before or before[key] != value},
            "live": live,
            "usage": _usage(graph, self._members),
        }
        self._events.check(len(dump_json(result)))
        return result

    async def _node_result(self, graph: Graph, vertex: Vertex, live: list[dict[str, str]]) -> dict[str, Any]:
        outputs: dict[str, Any] = {}
        consumers = _consumers(graph, vertex.id)
        for name, value in _raw_outputs(vertex).items():
            outside = consumers.get(name, set()) - set(self._members)
            # A node that nobody reads shows everything; otherwise an unread output is only a by-product.
            if not outside and consumers:
                continue
            encoder = Encoder()
            outputs[name] = encoder.encode(await drain(value))
            if outside:
                live.extend({"node": vertex.id, "output": name, "type": kind} for kind in dict.fromkeys(encoder.live))
        return {"outputs": outputs, "result": to_api_json(vertex.result), "valid": True}


def _override(vertex: Vertex, values: dict[str, Any]) -> None:
    """Write what a component handed down to the flow that it runs, as lfx writes it over a graph."""
    given = {name: decode(value) for name, value in values.items()}
    for name, value in given.items():
        is_named = isinstance(value, dict) and value.get("load_from_db", False)
        if value and name in vertex.params and name in vertex.load_from_db_fields and not is_named:
            vertex.load_from_db_fields.remove(name)
    vertex.update_raw_params(given, overwrite=True)


def _field(task: dict[str, Any], name: str, kind: type) -> Any:
    value = task.get(name)
    if not isinstance(value, kind):
        msg = f"the task has no valid {name!r}"
        raise InputError(msg)
    return value


def _raw_outputs(vertex: Vertex) -> dict[str, Any]:
    outputs = getattr(vertex.custom_component, "_outputs_map", {})
    return {name: output.value for name, output in outputs.items() if output.value is not UNDEFINED}


def _consumers(graph: Graph, node: str) -> dict[str, set[str]]:
    consumers: dict[str, set[str]] = {}
    for edge in graph.edges:
        if edge.source_id == node:
            consumers.setdefault(edge.source_handle.name, set()).add(edge.target_id)
    return consumers


async def _encode_context(context: Mapping[str, Any]) -> dict[str, Any]:
    encoder = Encoder()
    # What the caller gave may be secret: each cell gets its own part, and nothing of it is stored.
    shared = {str(key): value for key, value in context.items() if key != _REQUEST_VARIABLES}
    return {key: encoder.encode(await drain(value)) for key, value in shared.items()}


def _usage(graph: Graph, members: list[str]) -> dict[str, int] | None:
    used = [
        usage
        for member in members
        if (usage := getattr(graph.get_vertex(member).custom_component, "_token_usage", None))
    ]
    if not used:
        return None
    spent_in = sum(usage.input_tokens or 0 for usage in used)
    spent_out = sum(usage.output_tokens or 0 for usage in used)
    return {"input_tokens": spent_in, "output_tokens": spent_out, "total_tokens": spent_in + spent_out}
