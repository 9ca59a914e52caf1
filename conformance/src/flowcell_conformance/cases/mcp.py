"""Tools of MCP servers. What reached them is not compared: Langflow keeps sessions from run to run."""

from __future__ import annotations

from ..case import Case, ask, with_model

CASES: tuple[Case, ...] = (
    Case("plain", "mcp_http", ask("Bob")),
    Case(
        "plain",
        "mcp_http_agent",
        with_model("use the mcp tool", "Agent-bbbbb"),
        uses_model=True,
        interleaved=True,
        messages=True,
    ),
    Case("plain", "mcp_stdio", ask("Bob")),
    Case(
        "plain",
        "mcp_stdio_agent",
        with_model("use the mcp tool", "Agent-bbbbb"),
        uses_model=True,
        interleaved=True,
        messages=True,
    ),
)
