"""Flows for what a request can say beside its input; see `export_flows.py`."""

from collections.abc import Callable
from typing import Any

from defaulted import Defaulted
from lfx.components.flow_controls.human_input import HumanInput
from lfx.components.input_output import ChatInput, ChatOutput, WebhookComponent
from lfx.components.models_and_agents import PromptComponent
from lfx.graph import Graph
from ticket import Ticket
from upper import Upper
from use_tool import UseTool


def _output(source: Callable[..., object], node: str = "ChatOutput-zzzzz") -> ChatOutput:
    output = ChatOutput(_id=node)
    output.set(input_value=source)
    return output


def hook() -> Graph:
    """A webhook, and a chat that does not run beside it."""
    start = WebhookComponent(_id="Webhook-aaaaa")
    graph = Graph(start, _output(start.build_data))
    chat = ChatInput(_id="ChatInput-bbbbb")
    chat.set(input_value="stored")
    graph.add_component(chat)
    graph.add_component(_output(chat.message_response, "ChatOutput-yyyyy"))
    return graph


def defaulted() -> Graph:
    start = ChatInput(_id="ChatInput-aaaaa")
    shows = Defaulted(_id="Defaulted-bbbbb")
    shows.set(text=start.message_response)
    return Graph(start, _output(shows.run_it))


def human() -> Graph:
    start = ChatInput(_id="ChatInput-aaaaa")
    asks = HumanInput(_id="HumanInput-bbbbb")
    asks.set(prompt=start.message_response)
    return Graph(start, _output(asks.route_branch))


def lonely_human() -> Graph:
    """A question whose answer nothing takes: it is not waited for."""
    start = ChatInput(_id="ChatInput-aaaaa")
    graph = Graph(start, _output(start.message_response))
    graph.add_component(HumanInput(_id="HumanInput-bbbbb"))
    return graph


def approval() -> Graph:
    start = ChatInput(_id="ChatInput-aaaaa")
    upper = Upper(_id="Upper-uuuuu")
    upper._append_tool_to_outputs_map()
    use = UseTool(_id="UseTool-bbbbb")
    use.set(tools=[upper.to_toolkit], text=start.message_response)
    return Graph(start, _output(use.use))


def two_chains() -> Graph:
    """Two inputs' worth of work that meet, and an end behind each."""
    start = ChatInput(_id="ChatInput-aaaaa")
    left = PromptComponent(_id="Prompt-lllll")
    left.set(template="left({x})", x=start.message_response)
    right = PromptComponent(_id="Prompt-rrrrr")
    right.set(template="right")
    join = PromptComponent(_id="Prompt-jjjjj")
    join.set(template="{a} & {b}", a=left.build_prompt, b=right.build_prompt)
    graph = Graph(start, _output(join.build_prompt))
    graph.add_component(_output(right.build_prompt, "ChatOutput-rrrrr"))
    return graph


def frozen() -> Graph:
    start = ChatInput(_id="ChatInput-aaaaa")
    ticket = Ticket(_id="Ticket-bbbbb")
    ticket.set(text=start.message_response)
    return Graph(start, _output(ticket.run_it))


FLOWS: dict[str, Callable[[], Graph]] = {
    "hook": hook,
    "defaulted": defaulted,
    "human": human,
    "lonely_human": lonely_human,
    "approval": approval,
    "two_chains": two_chains,
    "frozen": frozen,
}

TOOLS: dict[str, str] = {"approval": "Upper-uuuuu"}
"""Which node of a flow is used as a tool."""


def finish(name: str, exported: dict[str, Any]) -> None:
    """Add what lfx's own API does not say."""
    if name == "frozen":
        _node(exported, "Ticket-bbbbb")["frozen"] = True
    if name == "approval":
        actions = [{"id": "approve", "label": "Approve"}]
        _node(exported, "Upper-uuuuu")["template"]["tools_metadata"] = {
            "type": "tools",
            "name": "tools_metadata",
            "display_name": "Actions",
            "show": True,
            "value": [{"name": "to_upper", "description": "Upper", "approval_actions": actions}],
        }


def _node(exported: dict[str, Any], node_id: str) -> dict[str, Any]:
    return next(node for node in exported["data"]["nodes"] if node["id"] == node_id)["data"]["node"]
