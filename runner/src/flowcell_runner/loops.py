"""Cycles that lfx has to drive itself.

Langflow's current Loop runs its body inside its own build, so its cell is built
like any other. The Loop of older exports, and an If-Else that leads back, are
real cycles: lfx's scheduler must run them as one graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import networkx as nx

if TYPE_CHECKING:
    from collections.abc import Callable

    from lfx.events.event_manager import EventManager
    from lfx.graph.graph.base import Graph

#: As often as any vertex may run; an honest loop over data ends by itself long before.
ITERATIONS_MAX = 1000
#: What the code of a Loop that drives itself calls.
_SELF_DRIVEN = "execute_loop_body"


def has_manual_cycle(graph: Graph, members: list[str]) -> bool:
    """Whether the members hold a cycle without a loop component that runs it."""
    inside = nx.DiGraph()
    inside.add_edges_from(
        (edge.source_id, edge.target_id)
        for edge in graph.edges
        if edge.source_id in members and edge.target_id in members
    )
    return any(
        (len(group) > 1 or inside.has_edge(*(2 * tuple(group))))
        and not any(_SELF_DRIVEN in _source(graph, node) for node in group)
        for group in nx.strongly_connected_components(inside)
    )


def _source(graph: Graph, node: str) -> str:
    code = graph.get_vertex(node).data["node"].get("template", {}).get("code", {})
    return str(code.get("value") or "") if isinstance(code, dict) else ""


async def drive_cycle(
    graph: Graph, members: list[str], user_id: str, events: EventManager, at: Callable[[str], Any]
) -> None:
    """Run the members as lfx would run them as a whole flow."""
    for vertex in graph.vertices:
        if vertex.id in members:
            # lfx clears a loop's cached outputs only on components that exist already.
            vertex.instantiate_component(user_id)
        elif vertex.built:
            vertex.frozen = True
        else:
            graph.conditionally_excluded_vertices.add(vertex.id)
    graph._set_cache_to_vertices_in_cycle()  # noqa: SLF001
    build = graph.build_vertex

    async def build_and_tell(vertex_id: str, **kwargs: Any) -> Any:
        at(vertex_id)
        return await build(vertex_id, **kwargs)

    graph.build_vertex = build_and_tell  # type: ignore[assignment, method-assign]
    async for _ in graph.async_start(max_iterations=ITERATIONS_MAX, event_manager=events):
        pass
