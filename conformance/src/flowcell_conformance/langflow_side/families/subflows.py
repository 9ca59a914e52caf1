"""Flows that run flows: as a component, by a component's own code, as tools of an agent.

`$FLOW_NAME:x` and `$FLOW_ID:x` in a flow stand for the name and the id that the server gave to
flow `x` of the harness, which is uploaded before it.
"""

import json
from typing import Any

from boom import Boom
from lfx.components.flow_controls.flow_tool import FlowToolComponent
from lfx.components.flow_controls.run_flow import RunFlowComponent
from lfx.components.flow_controls.sub_flow import SubFlowComponent
from lfx.components.input_output import TextInputComponent
from lfx.components.models_and_agents import AgentComponent, LanguageModelComponent
from lfx.custom.custom_component.component import Component
from lfx.graph import Graph
from make_data import MakeData
from make_table import MakeTable
from nap import Nap
from run_below import RunBelow
from run_two_below import RunTwoBelow

from .basics import variable
from .kit import as_tool, chat_input, chat_output, dumped, graph_of, mark_tool_mode, node_of, prompt

ANSWER = "ChatOutput-zzzzz~message"
QUESTION = "ChatInput-aaaaa~input_value"


# ---------------------------------------------------------------- flows that are run


def _saved(made: Graph | dict[str, Any]) -> dict[str, Any]:
    """The export with the order of fields that the editor writes: Run Flow offers those it lists."""
    exported = dumped(made) if isinstance(made, Graph) else made
    for node in exported["data"]["nodes"]:
        inner = node["data"]["node"]
        inner["field_order"] = [name for name in inner["template"] if name not in {"code", "_type"}]
    return exported


def below() -> dict[str, Any]:
    start = chat_input()
    said = prompt("bbbbb", "Below says: {x}", x=start.message_response)
    return _saved(Graph(start, chat_output(said.build_prompt)))


def below_two() -> dict[str, Any]:
    """Two answers, and an input that is no chat."""
    start = chat_input()
    text = TextInputComponent(_id="TextInput-bbbbb")
    text.set(input_value="stored")
    one = chat_output(start.message_response, "ChatOutput-11111")
    both = prompt("ppppp", "{a}/{b}", a=start.message_response, b=text.text_response)
    graph = Graph(start, one)
    graph.add_component(chat_output(both.build_prompt, "ChatOutput-22222"))
    return _saved(graph)


def below_fails() -> dict[str, Any]:
    start = chat_input()
    boom = Boom(_id="Boom-bbbbb")
    boom.set(input_value=start.message_response)
    return _saved(Graph(start, chat_output(boom.build_output)))


def below_values() -> Graph:
    """Values that are no messages, seen where every node is asked for."""
    start = chat_input()
    data = MakeData(_id="MakeData-ddddd")
    data.set(text=start.message_response)
    table = MakeTable(_id="MakeTable-ttttt")
    table.set(data=data.build_data)
    graph = Graph(start, chat_output(data.build_data))
    graph.add_component(chat_output(table.build_table, "ChatOutput-22222"))
    return graph


def below_model() -> dict[str, Any]:
    """A model that its author chose, and told to stream."""
    start = chat_input()
    model = LanguageModelComponent(_id="LanguageModelComponent-mmmmm")
    model.set(input_value=start.message_response)
    exported = dumped(Graph(start, chat_output(model.text_response)))
    template = node_of(exported, "LanguageModelComponent-mmmmm")["template"]
    template["model"]["value"] = [{"name": "gpt-4o-mini", "provider": "OpenAI"}]
    template["stream"]["value"] = True
    return _saved(exported)


# ---------------------------------------------------------------- flows that run them


def _run(node: str, flow: str, made: dict[str, Any]) -> tuple[RunFlowComponent, dict[str, Any]]:
    """Run Flow, and its node once a flow was chosen in the editor."""
    graph = Graph.from_payload(_saved(made)["data"], flow_id="below", flow_name=flow)
    component = RunFlowComponent(_id=f"RunFlow-{node}")
    component.set(flow_name_selected=f"$FLOW_NAME:{flow}")
    outputs = [output.model_dump() for output in component._format_flow_outputs(graph)]
    chosen = {"flow": flow, "fields": component.get_new_fields_from_graph(graph), "outputs": outputs}
    # Plain JSON: what lfx hands out here cannot be copied.
    return component, json.loads(json.dumps(chosen, default=str))


def _choose(exported: dict[str, Any], node_id: str, chosen: dict[str, Any]) -> None:
    """Do what the editor does when a flow is chosen: its inputs and outputs are the node's."""
    node = node_of(exported, node_id)
    node["template"].update({field["name"]: field for field in chosen["fields"]})
    node["template"]["flow_id_selected"]["value"] = f"$FLOW_ID:{chosen['flow']}"
    node["outputs"] = chosen["outputs"]


def _join(exported: dict[str, Any], source: str, target: str) -> None:
    """An edge written as `Node-aaaaa.output` and `Node-bbbbb.field`, between fields of Run Flow too."""
    (source_id, output), (target_id, field) = source.split("."), target.split(".")
    exported["data"]["edges"].append(
        {
            "source": source_id,
            "target": target_id,
            "data": {
                "sourceHandle": {
                    "dataType": source_id.split("-")[0],
                    "id": source_id,
                    "name": output,
                    "output_types": ["Message"],
                },
                "targetHandle": {
                    "fieldName": field,
                    "id": target_id,
                    "inputTypes": ["Message"],
                    "type": "str",
                },
            },
        }
    )


def _around(
    component: Component, chosen: dict[str, Any], *, question: str = QUESTION, answer: str = ANSWER
) -> dict[str, Any]:
    """A question through Run Flow to an answer."""
    exported = dumped(graph_of(chat_input(), component, chat_output()))
    _choose(exported, component.get_id(), chosen)
    _join(exported, "ChatInput-aaaaa.message", f"{component.get_id()}.{question}")
    _join(exported, f"{component.get_id()}.{answer}", "ChatOutput-zzzzz.input_value")
    return exported


def subflow() -> dict[str, Any]:
    return _around(*_run("bbbbb", "below", below()))


def subflow_cached() -> dict[str, Any]:
    exported = subflow()
    node_of(exported, "RunFlow-bbbbb")["template"]["cache_flow"]["value"] = True
    return exported


def subflow_by_name() -> dict[str, Any]:
    """Without the id that the editor notes beside the name."""
    exported = subflow()
    node_of(exported, "RunFlow-bbbbb")["template"]["flow_id_selected"]["value"] = ""
    return exported


def subflow_fixed() -> dict[str, Any]:
    """Nothing but values of the node itself reaches the other flow."""
    component, chosen = _run("bbbbb", "below", below())
    exported = dumped(graph_of(component, chat_output()))
    _choose(exported, "RunFlow-bbbbb", chosen)
    template = node_of(exported, "RunFlow-bbbbb")["template"]
    template[QUESTION]["value"] = "fixed"
    template["ChatInput-aaaaa~sender_name"]["value"] = "Somebody"
    _join(exported, f"RunFlow-bbbbb.{ANSWER}", "ChatOutput-zzzzz.input_value")
    return exported


def subflow_two_outputs() -> dict[str, Any]:
    """Both answers of one run, in one prompt."""
    component, chosen = _run("bbbbb", "below_two", below_two())
    both = prompt("ppppp", "{a} + {b}", a="", b="")
    exported = dumped(graph_of(chat_input(), component, both, chat_output()))
    _choose(exported, "RunFlow-bbbbb", chosen)
    _join(exported, "ChatInput-aaaaa.message", f"RunFlow-bbbbb.{QUESTION}")
    _join(exported, "RunFlow-bbbbb.ChatOutput-11111~message", "Prompt-ppppp.a")
    _join(exported, "RunFlow-bbbbb.ChatOutput-22222~message", "Prompt-ppppp.b")
    _join(exported, "Prompt-ppppp.prompt", "ChatOutput-zzzzz.input_value")
    return exported


def subflow_fails() -> dict[str, Any]:
    return _around(*_run("bbbbb", "below_fails", below_fails()))


def subflow_unknown() -> dict[str, Any]:
    """A flow that was deleted since."""
    exported = subflow()
    template = node_of(exported, "RunFlow-bbbbb")["template"]
    template["flow_id_selected"]["value"] = "11111111-1111-4111-8111-111111111111"
    return exported


def subflow_deep() -> dict[str, Any]:
    """A flow that runs a flow that runs a flow."""
    return _around(*_run("bbbbb", "subflow", subflow()))


def subflow_in_a_row() -> dict[str, Any]:
    """The answer of one is the question of the next, which is the same flow."""
    first, chosen = _run("bbbbb", "below", below())
    second, _ = _run("ccccc", "below", below())
    exported = dumped(graph_of(chat_input(), first, second, chat_output()))
    for node in ("RunFlow-bbbbb", "RunFlow-ccccc"):
        _choose(exported, node, chosen)
    _join(exported, "ChatInput-aaaaa.message", f"RunFlow-bbbbb.{QUESTION}")
    _join(exported, f"RunFlow-bbbbb.{ANSWER}", f"RunFlow-ccccc.{QUESTION}")
    _join(exported, f"RunFlow-ccccc.{ANSWER}", "ChatOutput-zzzzz.input_value")
    return exported


def subflow_model() -> dict[str, Any]:
    """The other flow asks a model, and would stream."""
    return _around(*_run("bbbbb", "below_model", below_model()))


def subflow_variable() -> dict[str, Any]:
    """The other flow reads a variable, which a caller may give for the run."""
    return _around(*_run("bbbbb", "variable", variable()))


def subflow_old() -> dict[str, Any]:
    """Sub Flow, the older component."""
    start = chat_input()
    component = SubFlowComponent(_id="SubFlow-bbbbb")
    component.set(flow_name="$FLOW_NAME:below")
    exported = dumped(
        graph_of(
            start,
            component,
            chat_output(),
            edges=("SubFlow-bbbbb.flow_outputs > ChatOutput-zzzzz.input_value",),
        )
    )
    field = {**node_of(below(), "ChatInput-aaaaa")["template"]["input_value"]}
    name = "ChatInput-aaaaa|input_value"
    node_of(exported, "SubFlow-bbbbb")["template"][name] = {**field, "name": name, "input_types": ["Message"]}
    _join(exported, "ChatInput-aaaaa.message", f"SubFlow-bbbbb.{name}")
    return exported


# ---------------------------------------------------------------- by a component's own code


def _by_code(flow: str, **fields: str) -> Graph:
    start = chat_input()
    component = RunBelow(_id="RunBelow-bbbbb")
    component.set(text=start.message_response, flow=flow, **fields)
    return Graph(start, chat_output(component.run_below))


def subflow_by_code() -> Graph:
    return _by_code("$FLOW_NAME:below")


def subflow_tweaked() -> Graph:
    return _by_code("$FLOW_NAME:below", template="Tweaked: {x}")


def subflow_debug() -> Graph:
    """The results of every node."""
    return _by_code("$FLOW_NAME:below_values", output_type="debug")


def subflow_code_fails() -> Graph:
    return _by_code("$FLOW_NAME:below_fails")


def subflow_code_unknown() -> Graph:
    return _by_code("conformance no such flow")


def subflow_itself() -> Graph:
    """A flow that runs itself, without end."""
    return _by_code("$FLOW_NAME:subflow_itself")


def below_slow() -> dict[str, Any]:
    """Sleeps for as many seconds as it is told."""
    start = chat_input()
    nap = Nap(_id="Nap-bbbbb")
    nap.set(text=start.message_response)
    return _saved(Graph(start, chat_output(nap.run_it)))


def subflow_slow() -> Graph:
    return _by_code("$FLOW_NAME:below_slow")


def subflow_then_slow() -> Graph:
    """One flow that is done soon, and one that is not."""
    start = chat_input()
    component = RunTwoBelow(_id="RunTwoBelow-bbbbb")
    component.set(text=start.message_response, first="$FLOW_NAME:below", second="$FLOW_NAME:below_slow")
    return Graph(start, chat_output(component.run_both))


# ---------------------------------------------------------------- as tools


def _agent(*flows: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    start = chat_input()
    tools, nodes = [], []
    for number, (name, made) in enumerate(flows):
        component, chosen = _run(f"tttt{number}", name, made)
        tools.append(as_tool(component))
        nodes.append((component.get_id(), chosen))
    thinker = AgentComponent(_id="Agent-bbbbb")
    thinker.set(input_value=start.message_response, tools=[tool.to_toolkit for tool in tools])
    exported = dumped(Graph(start, chat_output(thinker.message_response)))
    for node_id, chosen in nodes:
        toolkit = node_of(exported, node_id)["outputs"]
        _choose(exported, node_id, chosen)
        node_of(exported, node_id)["outputs"] = toolkit
    return mark_tool_mode(exported, *(node_id for node_id, _ in nodes))


def subflow_agent() -> dict[str, Any]:
    return _agent(("below", below()))


def subflow_agent_two() -> dict[str, Any]:
    """Two flows to choose from, one of which fails."""
    return _agent(("below", below()), ("below_fails", below_fails()))


def subflow_agent_old() -> dict[str, Any]:
    """Flow as Tool, the older component."""
    start = chat_input()
    tool = FlowToolComponent(_id="FlowTool-ttttt")
    tool.set(flow_name="$FLOW_NAME:below", tool_name="ask_below", tool_description="Asks below.")
    thinker = AgentComponent(_id="Agent-bbbbb")
    thinker.set(input_value=start.message_response, tools=[tool.build_tool])
    return dumped(Graph(start, chat_output(thinker.message_response)))


FLOWS = {
    "below": below,
    "below_two": below_two,
    "below_fails": below_fails,
    "below_values": below_values,
    "below_model": below_model,
    "subflow": subflow,
    "subflow_cached": subflow_cached,
    "subflow_by_name": subflow_by_name,
    "subflow_fixed": subflow_fixed,
    "subflow_two_outputs": subflow_two_outputs,
    "subflow_fails": subflow_fails,
    "subflow_unknown": subflow_unknown,
    "subflow_deep": subflow_deep,
    "subflow_in_a_row": subflow_in_a_row,
    "subflow_model": subflow_model,
    "subflow_variable": subflow_variable,
    "subflow_itself": subflow_itself,
    "below_slow": below_slow,
    "subflow_slow": subflow_slow,
    "subflow_then_slow": subflow_then_slow,
    "subflow_old": subflow_old,
    "subflow_by_code": subflow_by_code,
    "subflow_tweaked": subflow_tweaked,
    "subflow_debug": subflow_debug,
    "subflow_code_fails": subflow_code_fails,
    "subflow_code_unknown": subflow_code_unknown,
    "subflow_agent": subflow_agent,
    "subflow_agent_two": subflow_agent_two,
    "subflow_agent_old": subflow_agent_old,
}
