"""A scripted MCP server over HTTP: two tools, answered by JSON alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from .normalise import Json

PATH = "/mcp"
TOOLS: Json = [
    {
        "name": "shout",
        "description": "Write a text in capitals.",
        "inputSchema": {
            "type": "object",
            "properties": {"text": {"type": "string", "description": "The text."}},
            "required": ["text"],
        },
    },
    {
        "name": "refuse",
        "description": "Always fail.",
        "inputSchema": {
            "type": "object",
            "properties": {"text": {"type": "string"}},
            "required": ["text"],
        },
    },
]


def reply(body: bytes) -> tuple[int, str]:
    """Status and JSON of the answer to a request; a notification has no answer."""
    asked = cast("dict[str, Json]", json.loads(body))
    if "id" not in asked:
        return 202, ""
    params = cast("dict[str, Json]", asked.get("params") or {})
    return 200, json.dumps(
        {"jsonrpc": "2.0", "id": asked["id"], "result": _result(str(asked["method"]), params)}
    )


def _result(method: str, params: dict[str, Json]) -> Json:
    if method == "initialize":
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "conformance", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": TOOLS}
    if method == "tools/call":
        arguments = cast("dict[str, Json]", params.get("arguments") or {})
        failed = params["name"] == "refuse"
        text = "no, thank you" if failed else str(arguments.get("text")).upper()
        return {"content": [{"type": "text", "text": text}], "isError": failed}
    return {}
