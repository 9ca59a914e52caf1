"""Flows for what a request can say beside its input: webhooks, defaults, people."""

from collections.abc import Callable
from typing import Any

from defaulted import Defaulted
from lfx.components.flow_controls.human_input import HumanInput
from lfx.components.input_output import ChatInput, WebhookComponent
from lfx.components.models_and_agents import PromptComponent
from lfx.graph import Graph
from ticket import Ticket
from upper import Upper
from use_tool import UseTool

from .kit import as_tool, chat_output, dumped, mark_tool_mode, node_of


def hook() -> Graph:
    """A webhook, and a chat that does not run beside it."""
    start = WebhookComponent(_id="Webhook-aaaaa")
    graph = Graph(start, chat_output(start.build_data))
    chat = ChatInput(_id="ChatInput-bbbbb")
    chat.set(input_value="stored")
    graph.add_component(chat)
    graph.add_component(chat_output(chat.message_response, "ChatOutput-yyyyy"))
    return graph


def defaulted() -> Graph:
    start = ChatInput(_id="ChatInput-aaaaa")
    shows = Defaulted(_id="Defaulted-bbbbb")
    shows.set(text=start.message_response)
    return Graph(start, chat_output(shows.run_it))


def human() -> Graph:
    start = ChatInput(_id="ChatInput-aaaaa")
    asks = HumanInput(_id="HumanInput-bbbbb")
    asks.set(prompt=start.message_response)
    return Graph(start, chat_output(asks.route_branch))


def lonely_human() -> Graph:
    """A question whose answer nothing takes: it is not waited for."""
    start = ChatInput(_id="ChatInput-aaaaa")
    graph = Graph(start, chat_output(start.message_response))
    graph.add_component(HumanInput(_id="HumanInput-bbbbb"))
    return graph


def approval() -> dict[str, Any]:
    start = ChatInput(_id="ChatInput-aaaaa")
    upper = as_tool(Upper(_id="Upper-uuuuu"))
    use = UseTool(_id="UseTool-bbbbb")
    use.set(tools=[upper.to_toolkit], text=start.message_response)
    exported = mark_tool_mode(dumped(Graph(start, chat_output(use.use))), "Upper-uuuuu")
    actions = [{"id": "approve", "label": "Approve"}]
    node_of(exported, "Upper-uuuuu")["template"]["tools_metadata"] = {
        "type": "tools",
        "name": "tools_metadata",
        "display_name": "Actions",
        "show": True,
        "value": [{"name": "to_upper", "description": "Upper", "approval_actions": actions}],
    }
    return exported


def two_chains() -> Graph:
    """Two inputs' worth of work that meet, and an end behind each."""
    start = ChatInput(_id="ChatInput-aaaaa")
    left = PromptComponent(_id="Prompt-lllll")
    left.set(template="left({x})", x=start.message_response)
    right = PromptComponent(_id="Prompt-rrrrr")
    right.set(template="right")
    join = PromptComponent(_id="Prompt-jjjjj")
    join.set(template="{a} & {b}", a=left.build_prompt, b=right.build_prompt)
    graph = Graph(start, chat_output(join.build_prompt))
    graph.add_component(chat_output(right.build_prompt, "ChatOutput-rrrrr"))
    return graph


def frozen() -> dict[str, Any]:
    start = ChatInput(_id="ChatInput-aaaaa")
    ticket = Ticket(_id="Ticket-bbbbb")
    ticket.set(text=start.message_response)
    exported = dumped(Graph(start, chat_output(ticket.run_it)))
    node_of(exported, "Ticket-bbbbb")["frozen"] = True
    return exported


FLOWS: dict[str, Callable[[], Graph | dict[str, Any]]] = {
    "hook": hook,
    "defaulted": defaulted,
    "human": human,
    "lonely_human": lonely_human,
    "approval": approval,
    "two_chains": two_chains,
    "frozen": frozen,
}
