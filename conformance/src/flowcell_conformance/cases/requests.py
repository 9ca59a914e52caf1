"""Cases of what a request can say beside its input: webhooks, variables that fill fields, people."""

from __future__ import annotations

from ..case import Case, Part, ask

_ANY = (None,)


_TICKET = ask("one", output_type="debug")
"""Always the same text: Langflow's frozen results do not look at it, ours do."""

FROZEN_CASES: tuple[Case, ...] = (
    Case("first", "frozen", _TICKET, streams=(False,)),
    Case("second", "frozen", _TICKET, before=(_TICKET,)),
)

CASES: tuple[Case, ...] = (
    Case(
        "json",
        "hook",
        raw='{"a": "Zoë 🦀", "n": [1, null]}'.encode(),
        route="webhook",
        streams=_ANY,
        in_background=1,
    ),
    Case("text", "hook", raw=b"no JSON\nat all", route="webhook", streams=_ANY, in_background=1),
    Case("by-id", "hook", {"a": 1}, route="webhook", streams=_ANY, address="id", in_background=1),
    Case("empty-body", "hook", raw=b"", route="webhook", streams=_ANY),
    Case("no-key", "hook", {"a": 1}, route="webhook", streams=_ANY, key="none"),
    Case("wrong-key", "hook", {"a": 1}, route="webhook", streams=_ANY, key="wrong"),
    Case("unknown-name", "hook", {"a": 1}, route="webhook", streams=_ANY, address="unknown-name"),
    Case("unknown-id", "hook", {"a": 1}, route="webhook", streams=_ANY, address="unknown-id"),
    Case("without-webhook", "echo", {"a": 1}, route="webhook", streams=_ANY, in_background=2),
    Case("run", "hook", ask("Bob")),
    Case("tweak", "hook", ask("Bob", tweaks={"Webhook-aaaaa": {"data": '{"b": 2}'}})),
    Case("plain", "defaulted", ask("Bob")),
    Case("tweak-empties", "defaulted", ask("Bob", tweaks={"Defaulted-bbbbb": {"filled": ""}})),
    Case("tweak-fills", "defaulted", ask("Bob", tweaks={"Defaulted-bbbbb": {"first": "own"}})),
    Case(
        "header",
        "defaulted",
        ask("Bob"),
        headers={"X-LANGFLOW-GLOBAL-VAR-CONFORMANCE_A": "From header"},
    ),
    Case("plain", "human", ask("Bob")),
    Case("conflict", "human", ask("Bob", tweaks={"ChatInput-aaaaa": {"input_value": "Eve"}})),
    Case("webhook", "human", {"a": 1}, route="webhook", streams=_ANY),
    Case("plain", "lonely_human", ask("Bob")),
    Case("plain", "approval", ask("Bob")),
    Case("tweak", "approval", ask("Bob", tweaks={"Upper-uuuuu": {"tools_metadata": {"value": []}}})),
    Case("plain", "two_chains", ask("Bob")),
    *(
        Case(f"part-{name}", "two_chains", streams=_ANY, part=part)
        for name, part in {
            "from-input": Part(start="ChatInput-aaaaa"),
            "from-side": Part(start="Prompt-rrrrr"),
            "from-end": Part(start="ChatOutput-rrrrr"),
            "to-middle": Part(stop="Prompt-lllll"),
            "to-join": Part(stop="Prompt-jjjjj"),
            "to-input": Part(stop="ChatInput-aaaaa"),
            "between": Part(start="Prompt-lllll", stop="Prompt-jjjjj"),
            "between-side": Part(start="Prompt-rrrrr", stop="ChatOutput-rrrrr"),
        }.items()
    ),
    *FROZEN_CASES,
)
