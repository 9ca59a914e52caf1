"""What a comparison found, kept in a file so that a later run of some cases replaces only theirs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from .compare import Verdict


@dataclass(frozen=True)
class Outcome:
    """One question's verdict, without the answers."""

    equal: bool
    first: str = ""
    """Where the first difference is, or what went wrong."""
    deviations: tuple[str, ...] = ()
    open: str | None = None

    @staticmethod
    def of(verdict: Verdict) -> Outcome:
        """The part of a verdict that is worth keeping."""
        first = verdict.error or (verdict.differences[0].path if verdict.differences else "")
        return Outcome(verdict.equal, first, verdict.deviations, verdict.open)


@dataclass(frozen=True)
class Shape:
    """A flow's size."""

    nodes: int
    cells: int | None
    """None when Flowcell refuses the flow."""


@dataclass
class Results:
    """All outcomes so far, by the question's title, and the flows they belong to."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)

    def flows(self) -> dict[str, dict[str, Outcome]]:
        """The outcomes by flow, in the order in which they were asked first."""
        grouped: dict[str, dict[str, Outcome]] = {}
        for title, outcome in self.outcomes.items():
            grouped.setdefault(title.split("/")[0], {})[title] = outcome
        return grouped


def read(file: Path) -> Results:
    """What is in a file, or nothing if there is none."""
    if not file.exists():
        return Results()
    kept = json.loads(file.read_text())
    outcomes = {
        title: Outcome(**(one | {"deviations": tuple(one["deviations"])}))
        for title, one in kept["outcomes"].items()
    }
    return Results(outcomes, {name: Shape(**one) for name, one in kept["shapes"].items()})


def write(file: Path, results: Results) -> None:
    """Replace a file."""
    file.write_text(json.dumps(asdict(results), indent=1, ensure_ascii=False) + "\n")
