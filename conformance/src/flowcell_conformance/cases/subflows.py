"""Flows that run flows."""

from __future__ import annotations

from ..case import Case, Deviation, ask, with_model

ELSEWHERE = (Deviation("*.traceback", "what failed is in another cell, and so are its lines"),)
GIVEN = {"X-LANGFLOW-GLOBAL-VAR-CONFORMANCE_GREETING": "Given for this run"}


def _told(flow: str, text: str = "Bob", *, uses_model: bool = False, odd: tuple[Deviation, ...] = ()) -> Case:
    """With what both flows stored."""
    return Case(
        "plain",
        flow,
        ask(text),
        uses_model=uses_model,
        messages=True,
        other_flows=True,
        deviations=odd,
    )


def _agent(name: str, flow: str, text: str) -> Case:
    return Case(
        name,
        flow,
        with_model(text, "Agent-bbbbb"),
        uses_model=True,
        interleaved=True,
        messages=True,
        other_flows=True,
    )


CASES: tuple[Case, ...] = (
    _told("subflow"),
    Case("empty", "subflow", ask("")),
    Case("debug", "subflow", ask("Bob", output_type="debug"), streams=(False,)),
    _told("subflow_cached"),
    Case("plain", "subflow_by_name", ask("Bob")),
    _told("subflow_fixed"),
    _told("subflow_two_outputs"),
    _told("subflow_fails"),
    Case("plain", "subflow_unknown", ask("Bob")),
    _told("subflow_deep"),
    _told("subflow_in_a_row"),
    _told("subflow_model", "Say hello", uses_model=True),
    Case("stored", "subflow_variable", ask("Bob")),
    Case("given", "subflow_variable", ask("Bob"), headers=GIVEN),
    _told("subflow_old"),
    _told("subflow_by_code"),
    Case("plain", "subflow_tweaked", ask("Bob")),
    Case("plain", "subflow_debug", ask("Bob")),
    _told("subflow_code_fails", odd=ELSEWHERE),
    Case("plain", "subflow_code_unknown", ask("Bob"), deviations=ELSEWHERE),
    _agent("tool", "subflow_agent", "ask the flow below"),
    _agent("works", "subflow_agent_two", "ask the flow below"),
    _agent("fails", "subflow_agent_two", "ask the flow that fails"),
    _agent("tool", "subflow_agent_old", "ask the old flow tool"),
)
