"""The knowledge base that cases look something up in, made and filled on each server in the same way."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .normalise import Json
    from .target import FlowRef, Target

BASE = "conformance_base"
"""Written into flows by `langflow_side/families/knowledge.py`."""
FILLING = "knowledge_fill"
"""The flow that takes up what it is told."""
ROUTE = "/api/v1/knowledge_bases"

_NEW: Json = {"name": BASE, "embedding_provider": "OpenAI", "embedding_model": "text-embedding-3-small"}


def refill(target: Target, filling: FlowRef, texts: Sequence[str]) -> None:
    """Make the base anew, with the lines of these texts in it."""
    if target.request("GET", f"{ROUTE}/{BASE}").is_success:
        target.call("DELETE", f"{ROUTE}/{BASE}")
    target.call("POST", f"{ROUTE}/", body=_NEW)
    for text in texts:
        body = json.dumps({"input_value": text}).encode()
        reply = target.run(filling.endpoint_name, body, stream=False)
        if reply.status != 200:
            message = f"{target.name}: the base is not filled: {reply.status} {reply.text[:2000]}"
            raise RuntimeError(message)
