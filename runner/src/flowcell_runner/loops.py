"""Cells whose members lfx has to drive itself.

What stands in a circle is built again and again, in an order that depends on what
was built before, and some of it never. So lfx runs such a cell as Langflow's `/run`
runs a whole flow: with `Graph.process`, which builds layer after layer. Its other
way of running a graph, `async_start`, gives branches back that a router has stopped,
and `/run` does not: a router that changes its mind within a circle ends it there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lfx.graph.graph.schema import VertexBuildResult
from lfx.graph.graph.utils import find_start_component_id
from lfx.graph.schema import ResultData

if TYPE_CHECKING:
    from collections.abc import Callable

    from lfx.events.event_manager import EventManager
    from lfx.graph.graph.base import Graph


async def drive_graph(
    graph: Graph,
    members: list[str],
    events: EventManager | None,
    at: Callable[[str], Any],
    built: Callable[[], None],
) -> list[str]:
    """Run the members as lfx would run a whole flow; return those whose turn never came.

    `at` hears of every member before, `built` after it is built.
    """
    for member in members:
        at(member)
        # lfx clears a loop's cached outputs only on components that exist already.
        graph.get_vertex(member).instantiate_component(graph.user_id)
    graph._set_cache_to_vertices_in_cycle()  # noqa: SLF001
    graph._set_cache_if_listen_notify_components()  # noqa: SLF001
    build = graph.build_vertex
    reached: set[str] = set()
    failures: list[tuple[str, Exception]] = []

    async def build_member(vertex_id: str, **kwargs: Any) -> Any:
        if vertex_id not in members:
            return _pass_by(graph, vertex_id)
        reached.add(vertex_id)
        at(vertex_id)
        try:
            result = await build(vertex_id, **kwargs)
            built()
        except Exception as error:
            failures.append((vertex_id, error))
            raise
        return result

    graph.build_vertex = build_member
    try:
        await graph.process(
            fallback_to_env_vars=False,
            start_component_id=_start(graph, members),
            event_manager=events,
        )
    except Exception as error:
        # Members of a layer run at the same time; the last to begin need not be the one that failed.
        for vertex_id, failure in failures:
            if failure is error:
                at(vertex_id)
        raise
    return [member for member in members if member not in reached and _is_waiting(graph, member)]


def _start(graph: Graph, members: list[str]) -> str | None:
    """Return the input at which `/run` begins; a run that begins elsewhere may not have it among its members."""
    inputs = graph._is_input_vertices  # noqa: SLF001
    start: str | None = find_start_component_id([node for node in inputs if node in members])
    return start or find_start_component_id(inputs)


def _pass_by(graph: Graph, vertex_id: str) -> VertexBuildResult:
    """Let a neighbour's turn go by: it has run already, or will run elsewhere."""
    vertex = graph.get_vertex(vertex_id)
    # One that took no part in the run stays unbuilt, so that lfx gives its takers their defaults.
    vertex.built = vertex_id not in graph.conditionally_excluded_vertices
    result = vertex.result or ResultData(component_id=vertex_id)
    return VertexBuildResult(result_dict=result, params="", valid=True, artifacts={}, vertex=vertex)


def _is_waiting(graph: Graph, vertex_id: str) -> bool:
    return graph.get_vertex(vertex_id).is_active() and vertex_id not in graph.conditionally_excluded_vertices
