"""Runs that wait for a person: a Human Input's branches, several in one flow, tools that need approval."""

from collections.abc import Callable
from typing import Any

from gather_texts import GatherTexts
from lfx.components.flow_controls.human_input import HumanInput
from lfx.components.models_and_agents import AgentComponent, LanguageModelComponent
from lfx.graph import Graph
from upper import Upper

from .kit import as_tool, chat_input, chat_output, dumped, graph_of, mark_tool_mode, node_of, prompt


def human_branches() -> Graph:
    """A model writes, a person decides: each decision has its own answer."""
    return graph_of(
        chat_input(),
        LanguageModelComponent(_id="LanguageModelComponent-mmmmm"),
        HumanInput(_id="HumanInput-bbbbb"),
        prompt("aaaaa", "Sent: {x}"),
        prompt("rrrrr", "Kept back: {x}"),
        chat_output(node="ChatOutput-sssss"),
        chat_output(node="ChatOutput-kkkkk"),
        edges=(
            "ChatInput-aaaaa.message > LanguageModelComponent-mmmmm.input_value",
            "LanguageModelComponent-mmmmm.text_output > HumanInput-bbbbb.prompt",
            "HumanInput-bbbbb.branch_approve > Prompt-aaaaa.x",
            "HumanInput-bbbbb.branch_reject > Prompt-rrrrr.x",
            "Prompt-aaaaa.prompt > ChatOutput-sssss.input_value",
            "Prompt-rrrrr.prompt > ChatOutput-kkkkk.input_value",
        ),
    )


def human_twice() -> Graph:
    """A second question behind the first one's approval."""
    return graph_of(
        chat_input(),
        HumanInput(_id="HumanInput-bbbbb"),
        prompt("ppppp", "Once approved: {x}"),
        HumanInput(_id="HumanInput-ccccc"),
        chat_output(node="ChatOutput-zzzzz"),
        chat_output(node="ChatOutput-fffff"),
        chat_output(node="ChatOutput-ttttt"),
        edges=(
            "ChatInput-aaaaa.message > HumanInput-bbbbb.prompt",
            "HumanInput-bbbbb.branch_approve > Prompt-ppppp.x",
            "HumanInput-bbbbb.branch_reject > ChatOutput-fffff.input_value",
            "Prompt-ppppp.prompt > HumanInput-ccccc.prompt",
            "HumanInput-ccccc.branch_approve > ChatOutput-zzzzz.input_value",
            "HumanInput-ccccc.branch_reject > ChatOutput-ttttt.input_value",
        ),
    )


def human_merge() -> Graph:
    """Both branches meet again."""
    return graph_of(
        chat_input(),
        HumanInput(_id="HumanInput-bbbbb"),
        prompt("aaaaa", "A({x})"),
        prompt("rrrrr", "R({x})"),
        GatherTexts(_id="GatherTexts-jjjjj"),
        chat_output(),
        edges=(
            "ChatInput-aaaaa.message > HumanInput-bbbbb.prompt",
            "HumanInput-bbbbb.branch_approve > Prompt-aaaaa.x",
            "HumanInput-bbbbb.branch_reject > Prompt-rrrrr.x",
            "Prompt-aaaaa.prompt > GatherTexts-jjjjj.texts",
            "Prompt-rrrrr.prompt > GatherTexts-jjjjj.texts",
            "GatherTexts-jjjjj.joined > ChatOutput-zzzzz.input_value",
        ),
    )


def human_beside() -> Graph:
    """Two questions that do not know of each other."""
    edges = []
    parts = []
    for name in ("aaaa", "bbbb"):
        parts += [
            HumanInput(_id=f"HumanInput-{name}h"),
            chat_output(node=f"ChatOutput-{name}1"),
            chat_output(node=f"ChatOutput-{name}2"),
        ]
        edges += [
            f"ChatInput-aaaaa.message > HumanInput-{name}h.prompt",
            f"HumanInput-{name}h.branch_approve > ChatOutput-{name}1.input_value",
            f"HumanInput-{name}h.branch_reject > ChatOutput-{name}2.input_value",
        ]
    return graph_of(chat_input(), *parts, edges=tuple(edges))


def agent_approval() -> dict[str, Any]:
    """An agent that must ask before it uses its tool."""
    start = chat_input()
    upper = as_tool(Upper(_id="Upper-uuuuu"))
    thinker = AgentComponent(_id="Agent-bbbbb")
    # In the flow itself: Langflow forgets a run's tweaks when it goes on after a question.
    chosen = [{"name": "gpt-4o-mini", "provider": "OpenAI"}]
    thinker.set(input_value=start.message_response, tools=[upper.to_toolkit], model=chosen)
    made = mark_tool_mode(dumped(Graph(start, chat_output(thinker.message_response))), "Upper-uuuuu")
    node_of(made, "Upper-uuuuu")["template"]["tools_metadata"] = {
        "type": "tools",
        "_input_type": "ToolsInput",
        "name": "tools_metadata",
        "display_name": "Actions",
        "show": True,
        "list": True,
        "value": [
            {
                "name": "to_upper",
                "description": "Upper-case a text.",
                "tags": ["to_upper"],
                "status": True,
                "approval_actions": ["approve", "edit", "reject", "respond"],
                "display_name": "to_upper",
                "display_description": "Upper-case a text.",
                "readonly": False,
                "args": {"text": {"default": "", "title": "Text", "type": "string"}},
            }
        ],
    }
    return made


FLOWS: dict[str, Callable[[], Graph | dict[str, Any]]] = {
    "human_branches": human_branches,
    "human_twice": human_twice,
    "human_merge": human_merge,
    "human_beside": human_beside,
    "agent_approval": agent_approval,
}
