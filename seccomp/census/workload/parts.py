"""The list of parts, and what they share."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

PARTS: dict[str, Callable[[], None]] = {}


def part(function: Callable[[], None]) -> Callable[[], None]:
    """Register a part under the function's name."""
    PARTS[function.__name__] = function
    return function


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Give an empty folder that is removed afterwards."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def square(number: int) -> int:
    """Work for pools; at the top of a module, so that other processes find it."""
    return number * number
