"""Agents and their tools."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..case import Case, Deviation, with_model

if TYPE_CHECKING:
    from ..normalise import Json


# The order of one process is not that of the next, on either side.
AT_ONCE = (Deviation("*", "two tools that a model asks for at once end in any order"),)

# Two threads of Langflow's race: of 50 answers 40 had the tool's log first, which ours always has.
LOG_ORDER = (
    Deviation(
        "events[[]*", "whether a tool's own log comes before the end of its call is chance in Langflow"
    ),
)


def _agent(name: str, flow: str, text: str, *nodes: str, before: tuple[Json, ...] = ()) -> Case:
    return Case(
        name,
        flow,
        with_model(text, *(nodes or ("Agent-bbbbb",))),
        before=before,
        uses_model=True,
        interleaved=True,
        messages=True,
    )


CASES: tuple[Case, ...] = (
    replace(_agent("both", "agent_two_tools", "use both tools"), deviations=AT_ONCE),
    _agent("one", "agent_two_tools", "use the tool"),
    _agent("unknown-tool", "agent_two_tools", "use the calculator"),
    _agent("plain", "agent_failing_tool", "use the failing tool"),
    replace(_agent("plain", "agent_calculator", "use the calculator"), deviations=LOG_ORDER),
    _agent("plain", "agent_bare", "Say hello"),
    _agent("second", "agent_bare", "and again", before=(with_model("Say hello", "Agent-bbbbb"),)),
    _agent("plain", "agent_of_agents", "ask the agent", "Agent-bbbbb", "Agent-ccccc"),
    _agent("plain", "agents_share_a_tool", "use the tool", "Agent-aaaa1", "Agent-aaaa2"),
)
