"""Agents: several tools, tools that fail, agents as tools, agents behind agents."""

from typing import Any

from count_letters import CountLetters
from failing_tool import FailingTool
from lfx.components.models_and_agents import AgentComponent
from lfx.components.utilities.calculator_core import CalculatorComponent
from lfx.custom.custom_component.component import Component
from lfx.graph import Graph
from secret_tool import SecretTool
from upper import Upper

from .kit import as_tool, chat_input, chat_output, dumped, mark_tool_mode, name_a_variable


def _agent(*tools: Component, **fields: Any) -> dict[str, Any]:
    start = chat_input()
    thinker = AgentComponent(_id="Agent-bbbbb")
    thinker.set(
        input_value=start.message_response, tools=[as_tool(tool).to_toolkit for tool in tools], **fields
    )
    made = dumped(Graph(start, chat_output(thinker.message_response)))
    return mark_tool_mode(made, *(tool.get_id() for tool in tools))


def agent_two_tools() -> dict[str, Any]:
    return _agent(Upper(_id="Upper-uuuuu"), CountLetters(_id="CountLetters-ccccc"))


def agent_failing_tool() -> dict[str, Any]:
    return _agent(FailingTool(_id="FailingTool-fffff"))


def agent_secret_tool() -> dict[str, Any]:
    """The secret is a variable, as in any flow that was made in the editor."""
    tool = SecretTool(_id="SecretTool-sssss")
    tool.set(token="CONFORMANCE_TOKEN")
    made = _agent(tool)
    name_a_variable(made, "SecretTool-sssss", "token")
    return made


def agent_calculator() -> dict[str, Any]:
    return _agent(CalculatorComponent(_id="CalculatorComponent-ccccc"))


def agent_bare() -> Graph:
    """No tools at all, and a system prompt of its own."""
    start = chat_input()
    thinker = AgentComponent(_id="Agent-bbbbb")
    thinker.set(
        input_value=start.message_response, system_prompt="You are terse.", add_current_date_tool=False
    )
    return Graph(start, chat_output(thinker.message_response))


def agent_of_agents() -> dict[str, Any]:
    """An agent whose tool is an agent whose tool is a component."""
    start = chat_input()
    upper = as_tool(Upper(_id="Upper-uuuuu"))
    inner = as_tool(AgentComponent(_id="Agent-ccccc"))
    inner.set(tools=[upper.to_toolkit])
    outer = AgentComponent(_id="Agent-bbbbb")
    outer.set(input_value=start.message_response, tools=[inner.to_toolkit])
    made = dumped(Graph(start, chat_output(outer.message_response)))
    return mark_tool_mode(made, "Upper-uuuuu", "Agent-ccccc")


def agents_share_a_tool() -> dict[str, Any]:
    """One tool node, two agents in a row."""
    start = chat_input()
    upper = as_tool(Upper(_id="Upper-uuuuu"))
    first = AgentComponent(_id="Agent-aaaa1")
    first.set(input_value=start.message_response, tools=[upper.to_toolkit])
    second = AgentComponent(_id="Agent-aaaa2")
    second.set(input_value=first.message_response, tools=[upper.to_toolkit])
    return mark_tool_mode(dumped(Graph(start, chat_output(second.message_response))), "Upper-uuuuu")


FLOWS = {
    "agent_two_tools": agent_two_tools,
    "agent_failing_tool": agent_failing_tool,
    "agent_secret_tool": agent_secret_tool,
    "agent_calculator": agent_calculator,
    "agent_bare": agent_bare,
    "agent_of_agents": agent_of_agents,
    "agents_share_a_tool": agents_share_a_tool,
}
