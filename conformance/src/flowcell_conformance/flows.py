"""The flows of the harness as exports, made once per version of what makes them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, cast

from .langflow_server import clean_environment, ensure_installed
from .paths import REQUIREMENTS_LOCK, cache_root
from .substitutes import substituted

if TYPE_CHECKING:
    from .normalise import Json
    from .web_server import WebServer

EXPORTER = Path(__file__).resolve().parent / "langflow_side"

MISBEHAVING = ("spin", "hog", "shout", "fork_bomb", "vanish", "notify_listen", "subflow_itself")
"""Flows that would take Langflow itself down, or never end in it: run them on Flowcell only."""

VARIABLES = (
    ("CONFORMANCE_GREETING", "Good day", "Generic"),
    # Long enough and odd enough that finding it anywhere means that it leaked.
    ("CONFORMANCE_TOKEN", "tok-9f1c7e-canary-5b3a", "Credential"),
)

DEFAULTS = (
    # The later one by name counts for the field that both name.
    ("CONFORMANCE_A", "from a", "Generic", ("Conformance First", "Conformance Second")),
    ("CONFORMANCE_B", "from b", "Generic", ("Conformance Second",)),
)
"""Variables that fill fields of these display names by themselves."""


def _fingerprint() -> str:
    """Changes when the exporter, a component or the Langflow version does."""
    digest = hashlib.sha256(REQUIREMENTS_LOCK.read_bytes())
    for file in sorted(EXPORTER.rglob("*.py")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def exported_flows() -> Path:
    """Directory with one `<name>.json` per flow; runs the exporter if there is none yet."""
    directory = cache_root() / f"flows-{_fingerprint()}"
    if directory.exists():
        return directory
    python = ensure_installed()
    cache_root().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_root()) as scratch:
        made = Path(scratch) / "flows"
        result = subprocess.run(  # noqa: S603
            [str(python), str(EXPORTER / "export.py"), str(made)],
            env=clean_environment(Path(scratch), python),
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            message = f"exporting the flows failed\n{result.stdout}\n{result.stderr}"
            raise RuntimeError(message)
        # A finished directory appears at once, or another process has made the same one.
        if not directory.exists():
            shutil.move(str(made), os.fspath(directory))
    return directory


def load_flow(name: str, web: WebServer | None = None) -> dict[str, Json]:
    """One export, as the body of an upload, with the scripted servers in the place of others."""
    exported = cast("dict[str, Json]", json.loads((exported_flows() / f"{name}.json").read_text()))
    return substituted(name, exported, web)


def node_count(name: str) -> int:
    """How many components a flow has; notes are none."""
    data = cast("dict[str, list[dict[str, Json]]]", load_flow(name)["data"])
    return sum(node.get("type") != "noteNode" for node in data["nodes"])
