"""The table a person reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .compare import Verdict
    from .normalise import Json

VALUE_CHARS_MAX = 300


def print_table(verdicts: Sequence[Verdict], *, every_difference: bool) -> None:
    """One line per case, the first difference under it, and a count at the end."""
    width = max((len(verdict.title) for verdict in verdicts), default=0)
    print()
    for verdict in verdicts:
        print(f"{verdict.title:<{width}}  {_summary(verdict)}")
        shown = verdict.differences if every_difference else verdict.differences[:1]
        for difference in shown:
            print(f"    at {difference.path}")
            print(f"      reference: {_short(difference.left)}")
            print(f"      flowcell:  {_short(difference.right)}")
    equal = sum(verdict.equal for verdict in verdicts)
    print(f"\n{equal} equal, {len(verdicts) - equal} different")


def _summary(verdict: Verdict) -> str:
    if verdict.error is not None:
        return f"ERROR {verdict.error}"
    if verdict.differences:
        return f"DIFFERENT ({len(verdict.differences)})"
    if verdict.deviations:
        return f"equal but for: {'; '.join(verdict.deviations)}"
    return "equal"


def _short(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= VALUE_CHARS_MAX else f"{text[:VALUE_CHARS_MAX]}… ({len(text)} characters)"
