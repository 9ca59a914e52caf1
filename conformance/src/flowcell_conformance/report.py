"""The table a person reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .compare import Verdict
    from .normalise import Json

VALUE_CHARS_MAX = 300


class Table:
    """One line per case as it is judged, its differences under it, and a count at the end."""

    def __init__(self, titles: Iterable[str], *, every_difference: bool) -> None:
        self._width = max((len(title) for title in titles), default=0)
        self._every_difference = every_difference
        self._equal = 0
        self._different = 0

    def show(self, verdict: Verdict) -> None:
        """Print one case."""
        print(f"{verdict.title:<{self._width}}  {_summary(verdict)}", flush=True)
        shown = verdict.differences if self._every_difference else verdict.differences[:1]
        for difference in shown:
            print(f"    at {difference.path}")
            print(f"      reference: {_short(difference.left)}")
            print(f"      flowcell:  {_short(difference.right)}", flush=True)
        if verdict.equal:
            self._equal += 1
        else:
            self._different += 1

    def end(self) -> None:
        """Print the count."""
        print(f"\n{self._equal} equal, {self._different} different", flush=True)


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
