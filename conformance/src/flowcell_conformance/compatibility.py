"""The table of docs/COMPATIBILITY.md, from the results of a comparison. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .cases import CASES, starters
from .substitutes import declared

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .results import Outcome, Results

EQUAL, SUBSTITUTE, LISTED, OPEN, DIFFERENT = (
    "equal",
    "equal with substitute",
    "listed difference",
    "open",
    "DIFFERENT, not listed",
)
NAMED_MAX = 3


@dataclass(frozen=True)
class Row:
    """One flow's line."""

    flow: str
    nodes: str
    cells: str
    asked: int
    equal: int
    verdict: str
    notes: str

    def text(self) -> str:
        """As Markdown."""
        counts = f"{self.equal}/{self.asked}"
        return f"| {self.flow} | {self.nodes} | {self.cells} | {counts} | {self.verdict} | {self.notes} |"


def document(results: Results, versions: Mapping[str, str]) -> str:
    """The whole page."""
    rows = [_row(results, flow, outcomes) for flow, outcomes in results.flows().items()]
    # Basic Prompting was the first of them, and is asked with the basics.
    first = {case.flow for case in starters.CASES} | {"model"}
    projects = [row for row in rows if row.flow in first]
    others = [row for row in rows if row.flow not in first]
    return "\n".join(
        [
            "# Compatibility",
            "",
            "Made by the suite in [`conformance/`](../conformance/README.md), which asks Langflow and",
            "Flowcell the same and compares status, JSON, streamed events, stored messages, and what reached",
            "the model and the web. Do not edit.",
            "",
            *(f"* {name}: {version}" for name, version in versions.items()),
            f"* asked: {_modes(results)}",
            "",
            "**equal**: nothing a client can see differs. **equal with substitute**: the same, with a",
            "scripted server in the place of an outside service, on both sides. **listed difference**:",
            "differs on purpose. **open**: differs, and [DIFFERENCES.md](../conformance/DIFFERENCES.md) says",
            "why.",
            "",
            *_section("Langflow's starter projects", projects),
            *_section("Flows of the suite", others),
        ]
    )


def _modes(results: Results) -> str:
    """How the answers were asked for: `plain`, `stream`, or both."""
    return ", ".join(sorted({title.rsplit("/", 1)[-1] for title in results.outcomes}))


def _section(title: str, rows: list[Row]) -> list[str]:
    return [
        f"## {title}",
        _totals(rows),
        "",
        "| flow | nodes | cells | equal answers | verdict | notes |",
        "|---|---:|---:|---:|---|---|",
        *(row.text() for row in rows),
        "",
    ]


def _totals(rows: Iterable[Row]) -> str:
    found = list(rows)
    counted = {
        kind: sum(row.verdict == kind for row in found)
        for kind in (EQUAL, SUBSTITUTE, LISTED, OPEN, DIFFERENT)
    }
    parts = [f"{count} {kind}" for kind, count in counted.items() if count]
    asked, equal = sum(row.asked for row in found), sum(row.equal for row in found)
    return f"{len(found)} flows: {', '.join(parts)}. {equal} of {asked} answers are equal."


def _row(results: Results, flow: str, outcomes: Mapping[str, Outcome]) -> Row:
    shape = results.shapes.get(flow)
    verdict, notes = _verdict(flow, outcomes)
    return Row(
        flow,
        str(shape.nodes) if shape else "",
        str(shape.cells) if shape and shape.cells is not None else "refused",
        len(outcomes),
        sum(outcome.equal for outcome in outcomes.values()),
        verdict,
        "; ".join(notes),
    )


def _verdict(flow: str, outcomes: Mapping[str, Outcome]) -> tuple[str, list[str]]:
    replaced = list(declared(flow, uses_model=any(case.uses_model for case in CASES if case.flow == flow)))
    different = {title: outcome for title, outcome in outcomes.items() if not outcome.equal}
    if different:
        unlisted = [
            title.removeprefix(f"{flow}/") for title, outcome in different.items() if outcome.open is None
        ]
        reasons = _unique(outcome.open for outcome in different.values() if outcome.open)
        named = ", ".join(unlisted[:NAMED_MAX]) + (", …" if len(unlisted) > NAMED_MAX else "")
        return (DIFFERENT if unlisted else OPEN), [*reasons, *([named] if named else []), *replaced]
    deviations = _unique(reason for outcome in outcomes.values() for reason in outcome.deviations)
    if deviations:
        return LISTED, [*deviations, *replaced]
    return (SUBSTITUTE if replaced else EQUAL), replaced


def _unique(items: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(items))
