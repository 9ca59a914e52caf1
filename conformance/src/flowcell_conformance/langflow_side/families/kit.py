"""What the families build their graphs from."""

from collections.abc import Callable
from typing import Any

from lfx.components.input_output import ChatInput, ChatOutput
from lfx.components.models_and_agents import PromptComponent
from lfx.custom.custom_component.component import Component
from lfx.graph import Graph


def chat_input() -> ChatInput:
    return ChatInput(_id="ChatInput-aaaaa")


def chat_output(source: Callable[..., object] | None = None, node: str = "ChatOutput-zzzzz") -> ChatOutput:
    output = ChatOutput(_id=node)
    if source is not None:
        output.set(input_value=source)
    return output


def prompt(node: str, template: str, **values: object) -> PromptComponent:
    made = PromptComponent(_id=f"Prompt-{node}")
    made.set(template=template, **values)
    return made


def one_step(kind: type[Component]) -> Callable[[], Graph]:
    """ChatInput, one component with a `text` input and a `run_it` output method, ChatOutput."""

    def build() -> Graph:
        start = chat_input()
        step = kind(_id=f"{kind.__name__}-bbbbb")
        step.set(text=start.message_response)
        return Graph(start, chat_output(step.run_it))

    return build


def graph_of(*components: Component, edges: tuple[str, ...] = ()) -> Graph:
    """A graph with edges written as `Source-aaaaa.output > Target-bbbbb.field`.

    For what `set` cannot say: two outputs of one method, or two edges into one field.
    """
    graph = Graph()
    for component in components:
        graph.add_component(component)
    for edge in edges:
        source, target = (end.strip().split(".") for end in edge.split(">"))
        graph.add_component_edge(source[0], (source[1], target[1]), target[0])
    return graph


def dumped(graph: Graph) -> dict[str, Any]:
    """The export, to be changed where lfx's API cannot say what the editor can."""
    graph.prepare()
    exported: dict[str, Any] = graph.dump()
    return exported


def node_of(exported: dict[str, Any], node_id: str) -> dict[str, Any]:
    return next(node for node in exported["data"]["nodes"] if node["id"] == node_id)["data"]["node"]


def name_a_variable(exported: dict[str, Any], node_id: str, field: str) -> None:
    """Mark a field's value as the name of a variable, as the editor's globe button does.

    Setting a value through lfx's API clears that mark.
    """
    node_of(exported, node_id)["template"][field]["load_from_db"] = True


def shown(exported: dict[str, Any], node_id: str, *fields: str) -> dict[str, Any]:
    """Show fields that an operation brings up, as the editor does: hidden ones have no value."""
    for field in fields:
        node_of(exported, node_id)["template"][field]["show"] = True
    return exported


def as_tool(component: Component) -> Component:
    """Give a component the output that tool mode gives it."""
    component._append_tool_to_outputs_map()
    return component


def mark_tool_mode(exported: dict[str, Any], *node_ids: str) -> dict[str, Any]:
    """Leave nodes the tool output alone, as the editor does when tool mode is switched on."""
    for node_id in node_ids:
        node = node_of(exported, node_id)
        node["tool_mode"] = True
        node["outputs"] = [output for output in node["outputs"] if output["name"] == "component_as_tool"]
    return exported
