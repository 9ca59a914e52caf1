"""Where the harness keeps what it can make again."""

from __future__ import annotations

import os
from pathlib import Path

LANGFLOW_VERSION = "1.13.0"
PROJECT = Path(__file__).resolve().parents[2]
REQUIREMENTS_LOCK = PROJECT / "langflow-requirements.lock"


def cache_root() -> Path:
    """Directory shared by all runs of the harness; safe to delete."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "flowcell"


def langflow_environment() -> Path:
    """The virtual environment that Langflow and its exporter run in."""
    return cache_root() / f"langflow-{LANGFLOW_VERSION}"
