"""Flows that run flows."""

from __future__ import annotations

from ..case import Case, Deviation, ask, with_model

TOLD = {"messages": True, "other_flows": True}
ELSEWHERE = (Deviation("*.traceback", "what failed is in another cell, and so are its lines"),)
GIVEN = {"X-LANGFLOW-GLOBAL-VAR-CONFORMANCE_GREETING": "Given for this run"}


def _agent(name: str, flow: str, text: str) -> Case:
    return Case(
        name,
        flow,
        with_model(text, "Agent-bbbbb"),
        uses_model=True,
        interleaved=True,
        **TOLD,
    )


CASES: tuple[Case, ...] = (
    Case("plain", "subflow", ask("Bob"), **TOLD),
    Case("empty", "subflow", ask("")),
    Case("debug", "subflow", ask("Bob", output_type="debug"), streams=(False,)),
    Case("plain", "subflow_cached", ask("Bob"), **TOLD),
    Case("plain", "subflow_by_name", ask("Bob")),
    Case("plain", "subflow_fixed", ask("Bob"), **TOLD),
    Case("plain", "subflow_two_outputs", ask("Bob"), **TOLD),
    Case("plain", "subflow_fails", ask("Bob"), **TOLD),
    Case("plain", "subflow_unknown", ask("Bob")),
    Case("plain", "subflow_deep", ask("Bob"), **TOLD),
    Case("plain", "subflow_in_a_row", ask("Bob"), **TOLD),
    Case("plain", "subflow_model", ask("Say hello"), uses_model=True, **TOLD),
    Case("stored", "subflow_variable", ask("Bob")),
    Case("given", "subflow_variable", ask("Bob"), headers=GIVEN),
    Case("plain", "subflow_old", ask("Bob"), **TOLD),
    Case("plain", "subflow_by_code", ask("Bob"), **TOLD),
    Case("plain", "subflow_tweaked", ask("Bob")),
    Case("plain", "subflow_debug", ask("Bob")),
    Case("plain", "subflow_code_fails", ask("Bob"), deviations=ELSEWHERE, **TOLD),
    Case("plain", "subflow_code_unknown", ask("Bob"), deviations=ELSEWHERE),
    _agent("tool", "subflow_agent", "ask the flow below"),
    _agent("works", "subflow_agent_two", "ask the flow below"),
    _agent("fails", "subflow_agent_two", "ask the flow that fails"),
    _agent("tool", "subflow_agent_old", "ask the old flow tool"),
)
