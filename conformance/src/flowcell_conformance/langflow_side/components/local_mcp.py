"""An MCP server in a process of its own, started where the component runs."""

import sys
from pathlib import Path

from lfx.components.models_and_agents.mcp_component import MCPToolsComponent

SCRIPT = """
from mcp.server.fastmcp import FastMCP

server = FastMCP("local")


@server.tool()
def shout(text: str) -> str:
    \\"\\"\\"Write a text in capitals.\\"\\"\\"
    return text.upper() + "!"


@server.tool()
def count(text: str) -> str:
    \\"\\"\\"Count letters.\\"\\"\\"
    return str(len(text))


server.run()
"""


class LocalMcp(MCPToolsComponent):
    display_name = "Local MCP"
    name = "LocalMcp"

    async def update_tool_list(self, mcp_server_value=None):  # noqa: ARG002
        script = Path("/tmp/conformance_mcp_server.py")
        script.write_text(SCRIPT)
        server = {"name": "local", "config": {"command": sys.executable, "args": [str(script)]}}
        return await super().update_tool_list(server)
