"""Makes two answers comparable: what must differ becomes a placeholder, all else stays.

Placeholders are numbered in order of first appearance, so that two answers are equal only if
the *same* ids are equal in both: a token event that carries another message's id is found.
Objects are walked in the order of their sorted keys, since JSON gives them no order.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

# Fields whose value is how long something took: its presence counts, its size does not.
DURATION_FIELDS = frozenset({"duration", "build_duration", "timedelta", "latency", "totalLatencyMs"})

_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("uuid", re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE)),
    # Only moments that carry a zone: a flow's own data may hold plain dates.
    ("time-utc", re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? UTC\b")),
    ("time-iso", re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z\b|[+-]\d\d:\d\d\b)")),
    # In the names of files.
    ("file-time", re.compile(r"\b\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(?=_)")),
    ("file-time", re.compile(r"\b\d{8}_\d{6}(?=_langflow)")),
    # Agents tell their model which day it is; a recording is older.
    ("today", re.compile(r"(?<=Today's date: )\d{4}-\d\d-\d\d")),
    # An agent's own calculator gets an id by chance.
    ("own-tool", re.compile(r"\bCalculatorComponent-[A-Za-z0-9]{5}\b")),
    # A scripted model names its calls by their place in the script, which grows.
    ("call", re.compile(r"\bcall_[0-9a-f]{16}\b")),
    ("address", re.compile(r"(?<=\bat )0x[0-9a-f]+\b")),
)
# Whole seconds: whether two are the same is chance.
_UNNUMBERED = frozenset({"file-time"})
# The same inside texts: components' log lines, and dumps of messages.
_DURATION_TEXTS = (
    re.compile(r"(?<=\bin )\d+\.\d+(?= ?s\b)"),
    re.compile(r'(?<="duration": )\d+(?:\.\d+)?\b'),
)
_FRAME = re.compile(r'File "(?P<path>[^"\n]+)", line (?P<line>\d+)')
_SITE_PACKAGES = re.compile(r"^.*?(?:site|dist)-packages/")
_STANDARD_LIBRARY = re.compile(r"^.*?python3\.\d+/")


class Normaliser:
    """One per answer: remembers which placeholder each value got."""

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        """`names` maps values known beforehand (a flow's id, a server's address) to words."""
        known = sorted((names or {}).items(), key=lambda item: len(item[0]), reverse=True)
        self._names = [(value, f"<{word}>") for value, word in known if value]
        self._seen: dict[tuple[str, str], str] = {}
        self._counts: dict[str, int] = {}

    def value(self, value: Json) -> Json:
        """The same value with placeholders in all its strings."""
        if isinstance(value, dict):
            return {self.text(key): self._field(key, value[key]) for key in sorted(value)}
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, str):
            return self.text(value)
        return value

    def text(self, text: str) -> str:
        """The same text with placeholders."""
        for value, word in self._names:
            text = text.replace(value, word)
        text = _FRAME.sub(_frame, text)
        for pattern in _DURATION_TEXTS:
            text = pattern.sub("<duration>", text)
        for kind, pattern in _PATTERNS:
            text = pattern.sub(partial(self._placeholder, kind), text)
        return text

    def _field(self, key: str, value: Json) -> Json:
        if key in DURATION_FIELDS and isinstance(value, int | float | str) and not isinstance(value, bool):
            return "<duration>"
        return self.value(value)

    def _placeholder(self, kind: str, match: re.Match[str]) -> str:
        if kind in _UNNUMBERED:
            return f"<{kind}>"
        value = match.group().lower()
        seen = self._seen.get((kind, value))
        if seen is None:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            seen = self._seen[kind, value] = f"<{kind}-{self._counts[kind]}>"
        return seen


def _frame(match: re.Match[str]) -> str:
    """One traceback line without the place where Python happens to be installed."""
    path, line = match["path"], match["line"]
    if _SITE_PACKAGES.match(path):
        path = _SITE_PACKAGES.sub("<packages>/", path)
    elif _STANDARD_LIBRARY.match(path):
        # Patch releases of Python move lines about.
        path, line = _STANDARD_LIBRARY.sub("<python>/", path), "<line>"
    return f'File "{path}", line {line}'
