"""Flows as Langflow exports them, made from component source, and cut into tasks."""

from __future__ import annotations

import inspect
from typing import Any

from lfx.components.input_output import ChatInput, ChatOutput
from lfx.components.models_and_agents.prompt import PromptComponent
from lfx.custom.custom_component.component import Component
from lfx.custom.utils import build_custom_component_template

FLOW = "5635757c-fda8-4a2e-80c9-4af18ace63f7"
USER = "4b5ea31d-0a44-431e-b734-40fc64dee354"
RUN = "22c6626f-f50b-45c7-b412-3187fc38b446"
SESSION = "s1"

TOOL_OUTPUT = {
    "types": ["Tool"],
    "selected": "Tool",
    "name": "component_as_tool",
    "display_name": "Toolset",
    "method": "to_toolkit",
    "value": "__UNDEFINED__",
    "cache": True,
    "tool_mode": True,
}


def source_of(component: type) -> str:
    """The source that Langflow would embed in an export."""
    module = inspect.getmodule(component)
    assert module
    return inspect.getsource(module)


def node(node_id: str, source: str, *, tool_mode: bool = False, **values: Any) -> dict[str, Any]:
    """One node; keyword arguments are field values, or whole field changes when dicts with a value."""
    frontend, _ = build_custom_component_template(Component(_code=source))
    if tool_mode:
        frontend |= {"tool_mode": True, "outputs": [TOOL_OUTPUT], "output_types": ["Tool"]}
    for name, value in values.items():
        field = frontend["template"].setdefault(name, {"type": "str", "name": name, "show": True})
        field.update(value if isinstance(value, dict) and "value" in value else {"value": value})
    kind = node_id.split("-", maxsplit=1)[0]
    return {"id": node_id, "type": "genericNode", "data": {"id": node_id, "type": kind, "node": frontend}}


def edge(source: str, output: str, target: str, field: str, kind: str = "Message") -> dict[str, Any]:
    """One edge."""
    return {
        "id": f"{source}.{output}->{target}.{field}",
        "source": source,
        "target": target,
        "sourceHandle": "",
        "targetHandle": "",
        "data": {
            "sourceHandle": {
                "dataType": source.split("-", maxsplit=1)[0],
                "id": source,
                "name": output,
                "output_types": [kind],
            },
            "targetHandle": {"fieldName": field, "id": target, "inputTypes": [kind], "type": "other"},
        },
    }


def chat_input(node_id: str = "ChatInput-aaaaa") -> dict[str, Any]:
    """Langflow's ChatInput."""
    return node(node_id, source_of(ChatInput))


def chat_output(node_id: str = "ChatOutput-ccccc") -> dict[str, Any]:
    """Langflow's ChatOutput."""
    return node(node_id, source_of(ChatOutput))


def prompt(node_id: str, template: str, *variables: str) -> dict[str, Any]:
    """Langflow's Prompt with the given variables."""
    made = node(node_id, source_of(PromptComponent), template=template)
    for name in variables:
        made["data"]["node"]["template"][name] = {
            "type": "str",
            "_input_type": "DefaultPromptField",
            "name": name,
            "display_name": name,
            "input_types": ["Message"],
            "value": "",
            "show": True,
        }
    return made


def echo() -> dict[str, Any]:
    """ChatInput, Prompt, ChatOutput."""
    return {
        "nodes": [chat_input(), prompt("Prompt-bbbbb", "Hello {name}!", "name"), chat_output()],
        "edges": [
            edge("ChatInput-aaaaa", "message", "Prompt-bbbbb", "name"),
            edge("Prompt-bbbbb", "prompt", "ChatOutput-ccccc", "input_value"),
        ],
    }


def task(flow: dict[str, Any], *members: str, **over: Any) -> dict[str, Any]:
    """Cut the cell out of the flow as the worker would: neighbours' code blanked."""
    edges = [item for item in flow["edges"] if item["source"] in members or item["target"] in members]
    near = {*members, *(item[end] for item in edges for end in ("source", "target"))}
    nodes = []
    for item in flow["nodes"]:
        if item["id"] in members:
            nodes.append(item)
        elif item["id"] in near:
            frontend = item["data"]["node"]
            template = {**frontend["template"], "code": {**frontend["template"]["code"], "value": ""}}
            nodes.append({**item, "data": {**item["data"], "node": {**frontend, "template": template}}})
    return {
        "run_id": RUN,
        "flow_id": FLOW,
        "flow_name": "Test",
        "user_id": USER,
        "session_id": SESSION,
        "cell": members[-1],
        "attempt": 1,
        "graph": {"nodes": nodes, "edges": edges},
        "members": list(members),
        "inputs": {},
        "parameters": {},
        "variables": {},
        "context": {},
        "egress": None,
        "limits": {"log_bytes_max": 1 << 20, "output_bytes_max": 16 << 20},
        **over,
    }
