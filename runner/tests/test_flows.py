"""Flows that a component runs: what the runner asks for, and what the component gets."""

from pathlib import Path

import lfx
import pytest
from lfx.schema.message import Message

import flows
from components import HEAD, component
from flowcell_runner import flows as stand_ins
from flowcell_runner.codec import Encoder
from flows import edge, node, task
from worker import Refuse, Store, run_cell

# The templates of these components are made in this process, which has no Langflow either.
stand_ins.install()

CHILD = "0c9cf0d5-8c2f-4f53-9a2c-6a3b1ad0f6e7"
RUN = "5b0d8f8e-64a4-4b70-9a0c-1f0f5f8f4a11"
FOLDER = "b1a1a1a1-0000-4000-8000-000000000001"


def reply(text):
    message = Message(text=text, sender="Machine", sender_name="AI", session_id="s1")
    shown = {"message": message.model_dump(mode="json")}
    record = {"results": shown, "artifacts": {"message": text, "type": "object"}, "component_id": "ChatOutput-ccccc"}
    chat = {"message": text, "type": "text", "component_id": "ChatOutput-ccccc"}
    return {
        "node": "ChatOutput-ccccc",
        "result": {**record, "messages": [chat]},
        "outputs": {"message": Encoder().encode(message)},
    }


def shipped(name):
    """The source of a component."""
    return (Path(lfx.__file__).parent / "components" / "flow_controls" / f"{name}.py").read_text()


class Flows(Store):
    """A worker that knows one flow, whose runs say what they were given."""

    def __init__(self, end=None):
        super().__init__()
        self.asked = []
        self.end = end or {"state": "completed", "outputs": [reply("Hello from below!")]}

    def __call__(self, op, args):
        if op == "flow.list":
            return {"flows": [self.header()]}
        if op == "flow.get":
            if args.get("id", CHILD) != CHILD or args.get("name", "Below") != "Below":
                raise Refuse("not_found")
            return {**self.header(), "data": flows.echo()}
        if op == "flow.run":
            self.asked.append(args)
            return {"run": RUN}
        if op == "flow.wait":
            assert args == {"run": RUN}
            return self.end
        return super().__call__(op, args)

    @staticmethod
    def header():
        return {"id": CHILD, "name": "Below", "description": "a flow", "folder_id": FOLDER, "updated_ms": 0}


def run_flow(**values):
    made = node("RunFlow-bbbbb", shipped("run_flow"), flow_name_selected="Below", **values)
    output = {"types": ["Message"], "selected": "Message", "name": "ChatOutput-ccccc~message", "method": "gone"}
    output |= {"display_name": "Chat Output", "value": "__UNDEFINED__", "cache": True}
    made["data"]["node"]["outputs"] = [output]
    return made


def above(**values):
    output = "ChatOutput-ccccc~message"
    return {
        "nodes": [run_flow(**values), flows.chat_output("ChatOutput-ddddd")],
        "edges": [edge("RunFlow-bbbbb", output, "ChatOutput-ddddd", "input_value")],
    }


def ask(answer, **values):
    return run_cell(task(above(**values), "RunFlow-bbbbb"), answer)


def test_the_flow_runs_elsewhere_and_its_value_comes_back():
    answer = Flows()
    outcome = ask(answer, flow_id_selected=CHILD, **{"ChatInput-aaaaa~input_value": "Bob"})
    assert not outcome.failure, outcome.failure
    given = outcome.result["nodes"]["RunFlow-bbbbb"]["outputs"]["ChatOutput-ccccc~message"]
    assert (given["$"], given["text"]) == ("message", "Hello from below!")
    (asked,) = answer.asked
    assert (asked["id"], asked["input_value"], asked["input_type"]) == (CHILD, "Bob", "chat")
    assert (asked["components"], asked["outputs"]) == (["ChatInput-aaaaa"], ["ChatOutput-ccccc"])
    assert (asked["session_id"], asked["repeated"]) == ("s1", 0)
    assert asked["overrides"] == {"ChatInput-aaaaa": {"input_value": "Bob"}}
    assert not outcome.events, "what happens below is told nobody"


def test_a_flow_that_does_not_exist_fails_in_langflows_words():
    outcome = ask(Flows(), flow_id_selected="11111111-1111-4111-8111-111111111111")
    assert outcome.failure["message"] == "Error building Component Run Flow: \n\nError running flow: Below"
    assert outcome.failure["kind"] == "component"


def test_a_flow_that_fails_fails_its_component():
    end = {"state": "failed", "failure": {"kind": "component", "message": "Error building Component Boom: \n\nx"}}
    outcome = ask(Flows(end))
    assert outcome.failure["message"] == "Error building Component Run Flow: \n\nError running flow: Below"


def test_flows_that_run_too_deeply_are_named_as_the_reason():
    class Deep(Flows):
        def __call__(self, op, args):
            if op == "flow.run":
                raise Refuse("limit", "too deep")
            return super().__call__(op, args)

    outcome = ask(Deep())
    assert (outcome.failure["kind"], outcome.failure["limit"]) == ("limit", "flow_depth_max")
    below = ask(Flows({"state": "failed", "failure": {"kind": "flows_too_deep", "message": "x"}}))
    assert (below.failure["kind"], below.failure["limit"]) == ("limit", "flow_depth_max")


def test_the_same_request_is_counted_and_asked_again_while_nobody_answers():
    class Busy(Flows):
        busy = 1

        def __call__(self, op, args):
            if op == "flow.run" and self.busy:
                self.busy -= 1
                raise Refuse("unavailable")
            return super().__call__(op, args)

    body = """
for _ in range(2):
    outputs = await self.run_flow(flow_name="Below", inputs={"input_value": "x"}, tweaks={"stream": True})
other = await self.run_flow(flow_name="Below", output_type="debug")
return Message(text=outputs[0].outputs[0].results["message"].text + str(len(other)))
"""
    answer = Busy()
    flow = {"nodes": [node("Ask-a", component("Ask", body))], "edges": []}
    outcome = run_cell(task(flow, "Ask-a"), answer)
    assert not outcome.failure, outcome.failure
    assert outcome.result["nodes"]["Ask-a"]["outputs"]["output"]["text"] == "Hello from below!1"
    assert [asked["repeated"] for asked in answer.asked] == [0, 1, 0]
    assert [asked["tweaks"] for asked in answer.asked] == [{"stream": True}, {"stream": True}, {}]
    assert len(answer.asked[2]["outputs"]) == 3
    assert answer.asked[2]["input_value"] is None


def test_no_code_of_the_other_flow_runs_in_this_cell():
    class Hostile(Flows):
        def __call__(self, op, args):
            answer = super().__call__(op, args)
            if op == "flow.get":
                for other in answer["data"]["nodes"]:
                    other["data"]["node"]["template"]["code"]["value"] = HEAD + "raise SystemExit('ran')\n"
            return answer

    outcome = ask(Hostile())
    assert not outcome.failure, outcome.failure


def test_older_components_run_flows_too():
    made = node("SubFlow-a", shipped("sub_flow"), flow_name="Below")
    answer = Flows()
    outcome = run_cell(task({"nodes": [made], "edges": []}, "SubFlow-a"), answer)
    assert not outcome.failure, outcome.failure
    (given,) = outcome.result["nodes"]["SubFlow-a"]["outputs"]["flow_outputs"]
    assert given["text"] == "Hello from below!"
    assert answer.asked[0]["outputs"] == []


def test_a_value_that_is_no_json_is_handed_down_as_it_is():
    body = """
message = Message(text="said", sender="User", sender_name="Zoë")
await self.run_flow(flow_name="Below", tweaks={"ChatInput-aaaaa": {"input_value": message, "sender": "User"}})
return message
"""
    answer = Flows()
    flow = {"nodes": [node("Ask-a", component("Ask", body))], "edges": []}
    outcome = run_cell(task(flow, "Ask-a"), answer)
    assert not outcome.failure, outcome.failure
    (asked,) = answer.asked
    assert asked["tweaks"] == {"ChatInput-aaaaa": {"sender": "User"}}
    given = asked["overrides"]["ChatInput-aaaaa"]["input_value"]
    assert (given["$"], given["text"]) == ("message", "said")


def test_names_of_flows_are_those_the_schedulers_tell():
    body = "return Message(text=','.join(flow.data['name'] for flow in await self.alist_flows()))"
    flow = {"nodes": [node("Ask-a", component("Ask", body))], "edges": []}
    outcome = run_cell(task(flow, "Ask-a"), Flows())
    assert outcome.result["nodes"]["Ask-a"]["outputs"]["output"]["text"] == "Below"


def test_a_message_that_a_flow_below_has_said_is_said_anew():
    class OtherFlow(Flows):
        def __call__(self, op, args):
            if op == "message.update" and args["message"]["id"] == CHILD:
                raise Refuse("other_flow")
            return super().__call__(op, args)

    said = Message(text="from below", sender="Machine", sender_name="AI", session_id="s1")
    said.id = CHILD
    flow = {
        "nodes": [flows.chat_input(), flows.chat_output()],
        "edges": [edge("ChatInput-aaaaa", "message", "ChatOutput-ccccc", "input_value")],
    }
    inputs = {"ChatInput-aaaaa": {"message": Encoder().encode(said)}}
    answer = OtherFlow()
    outcome = run_cell(task(flow, "ChatOutput-ccccc", inputs=inputs), answer)
    assert not outcome.failure, outcome.failure
    (stored,) = answer.messages.values()
    assert (stored["text"], stored["flow_id"]) == ("from below", flows.FLOW)
    assert stored["id"] != CHILD


@pytest.mark.parametrize("child", [True, False])
def test_a_child_tells_nobody_and_takes_what_was_handed_down(child):
    flow = flows.echo()
    handed = {"ChatInput-aaaaa": {"input_value": Encoder().encode("handed"), "sender_name": "Zoë"}}
    over = {"child": child, "overrides": handed, "session_id": "below"}
    outcome = run_cell(task(flow, "ChatInput-aaaaa", **over), Store())
    given = outcome.result["nodes"]["ChatInput-aaaaa"]["outputs"]["message"]
    assert (given["text"], given["fields"]["sender_name"]) == ("handed", "Zoë")
    assert given["fields"]["session_id"] == "below"
    assert bool(outcome.events) is not child
