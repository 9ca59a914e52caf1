"""Group nodes: a part of a flow folded into one node, also within another group."""

from typing import Any

from lfx.graph import Graph

from .kit import chat_input, chat_output, dumped, prompt

Exported = dict[str, Any]


def fold(exported: Exported, group: str, members: set[str]) -> Exported:
    """Fold nodes into one group node, as the editor does with a selection."""
    data = exported["data"]
    inside = [node for node in data["nodes"] if node["id"] in members]
    edges = [edge for edge in data["edges"] if {edge["source"], edge["target"]} <= members]
    crossing = [edge for edge in data["edges"] if len({edge["source"], edge["target"]} & members) == 1]
    kept = [edge for edge in data["edges"] if not {edge["source"], edge["target"]} & members]
    for edge in crossing:
        _point_at_group(edge, group, members)
    node = {
        "display_name": "Group",
        "description": "",
        "documentation": "",
        "base_classes": ["Message"],
        "template": _template(inside),
        "outputs": _outputs(inside),
        "flow": {
            "data": {"nodes": inside, "edges": edges, "viewport": {"x": 0, "y": 0, "zoom": 1}},
            "name": "Group",
        },
    }
    data["nodes"] = [node for node in data["nodes"] if node["id"] not in members] + [
        {
            "id": group,
            "type": "genericNode",
            "position": {"x": 0, "y": 0},
            "data": {"id": group, "type": "GroupNode", "node": node},
        }
    ]
    data["edges"] = kept + crossing
    return exported


def _point_at_group(edge: Exported, group: str, members: set[str]) -> None:
    handles = edge["data"]
    if edge["target"] in members:
        handle = handles["targetHandle"]
        field = handle["fieldName"]
        handle["proxy"] = {"id": edge["target"], "field": field}
        handle["fieldName"] = f"{field}_{edge['target']}"
        handle["id"] = edge["target"] = group
    else:
        handle = handles["sourceHandle"]
        handle["name"] = f"{edge['source']}_{handle['name']}"
        handle["id"] = edge["source"] = group


def _template(nodes: list[Exported]) -> Exported:
    """The fields of all members, each with a note of whose it is."""
    template: Exported = {}
    for node in nodes:
        for field, value in node["data"]["node"]["template"].items():
            if field not in {"code", "_type"} and isinstance(value, dict):
                template[f"{field}_{node['id']}"] = value | {"proxy": {"id": node["id"], "field": field}}
    return template


def _outputs(nodes: list[Exported]) -> list[Exported]:
    return [
        output
        | {"name": f"{node['id']}_{output['name']}", "proxy": {"id": node["id"], "name": output["name"]}}
        for node in nodes
        for output in node["data"]["node"]["outputs"]
    ]


def _chain(length: int) -> Exported:
    start = chat_input()
    step = start.message_response
    for number in range(length):
        step = prompt(f"gggg{number}", f"{number}({{x}})", x=step).build_prompt
    return dumped(Graph(start, chat_output(step)))


def group() -> Exported:
    """Two nodes of four in a group."""
    return fold(_chain(2), "Group-11111", {"Prompt-gggg0", "Prompt-gggg1"})


def deep_groups() -> Exported:
    """A group in a group in a group."""
    exported = fold(_chain(4), "Group-11111", {"Prompt-gggg0", "Prompt-gggg1"})
    exported = fold(exported, "Group-22222", {"Group-11111", "Prompt-gggg2"})
    return fold(exported, "Group-33333", {"Group-22222", "Prompt-gggg3"})


def grouped_output() -> Exported:
    """The Chat Output itself is in the group."""
    return fold(_chain(1), "Group-11111", {"Prompt-gggg0", "ChatOutput-zzzzz"})


FLOWS = {"group": group, "deep_groups": deep_groups, "grouped_output": grouped_output}
