"""Tools of MCP servers: one that is reached over HTTP, one that is started in the cell."""

from typing import Any

from lfx.components.models_and_agents import AgentComponent, MCPToolsComponent
from lfx.custom.custom_component.component import Component
from lfx.graph import Graph
from local_mcp import LocalMcp
from use_tool import UseTool

from .kit import as_tool, chat_input, chat_output, dumped, mark_tool_mode
from .web import WEB


def _remote() -> Component:
    server = MCPToolsComponent(_id="MCPTools-mmmmm")
    server.set(mcp_server={"name": "conformance", "config": {"url": f"{WEB}/mcp"}}, tool_mode=True)
    return as_tool(server)


def _local() -> Component:
    return as_tool(LocalMcp(_id="LocalMcp-mmmmm"))


def _used(server: Component) -> dict[str, Any]:
    """Every tool of the server is called."""
    start = chat_input()
    use = UseTool(_id="UseTool-bbbbb")
    use.set(tools=[server.to_toolkit], text=start.message_response)
    return mark_tool_mode(dumped(Graph(start, chat_output(use.use))), server.get_id())


def _asked(server: Component) -> dict[str, Any]:
    """An agent chooses."""
    start = chat_input()
    agent = AgentComponent(_id="Agent-bbbbb")
    agent.set(input_value=start.message_response, tools=[server.to_toolkit])
    return mark_tool_mode(dumped(Graph(start, chat_output(agent.message_response))), server.get_id())


FLOWS = {
    "mcp_http": lambda: _used(_remote()),
    "mcp_http_agent": lambda: _asked(_remote()),
    "mcp_stdio": lambda: _used(_local()),
    "mcp_stdio_agent": lambda: _asked(_local()),
}
