"""Tools of MCP servers."""

from __future__ import annotations

from ..case import Case, ask, with_model

CASES: tuple[Case, ...] = (
    Case("plain", "mcp_http", ask("Bob"), uses_web=True),
    Case(
        "plain",
        "mcp_http_agent",
        with_model("use the mcp tool", "Agent-bbbbb"),
        uses_model=True,
        uses_web=True,
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
