"""Cells that ask a person: they end with the question, and go on with the answer."""

import pytest
from lfx.components.flow_controls.human_input import HumanInput

import flows
from components import component
from flows import chat_output, edge, node, prompt, task
from worker import run_cell

REQUEST = f"HumanInput-bbbbb:{flows.RUN}"
KEEPER = """
from lfx.graph.checkpoint.store import default_checkpoint_store
run = str(self.graph.run_id)
request = f"{self._id}:{run}:one"
store = default_checkpoint_store()
decision = self.graph.human_input_decisions.get(request)
if decision is None:
    await store.save_blob(run, "agent", "what it was about to do")
    self.graph.request_pause(reason="human_input_required", data={"request_id": request, "prompt": "Go on?"})
    return Message(text="")
return Message(text=f"{decision['action_id']}: {await store.load_blob(run, 'agent')}")
"""


def asker():
    """A prompt, a question about it, and a node behind each answer."""
    return {
        "nodes": [
            prompt("Prompt-aaaaa", "Hello"),
            node("HumanInput-bbbbb", flows.source_of(HumanInput)),
            chat_output("ChatOutput-yyyyy"),
            chat_output("ChatOutput-nnnnn"),
        ],
        "edges": [
            edge("Prompt-aaaaa", "prompt", "HumanInput-bbbbb", "prompt"),
            edge("HumanInput-bbbbb", "branch_approve", "ChatOutput-yyyyy", "input_value"),
            edge("HumanInput-bbbbb", "branch_reject", "ChatOutput-nnnnn", "input_value"),
        ],
    }


def asked(**over):
    flow = asker()
    said = run_cell(task(flow, "Prompt-aaaaa")).result["nodes"]["Prompt-aaaaa"]["outputs"]
    return run_cell(task(flow, "HumanInput-bbbbb", inputs={"Prompt-aaaaa": said}, **over))


def test_a_question_is_the_whole_result():
    outcome = asked(may_pause=True)
    assert outcome.exit_code == 0
    assert not outcome.result["nodes"]
    paused = outcome.result["paused"]
    assert paused["node"] == "HumanInput-bbbbb"
    assert paused["saved"] == {}
    request = paused["request"]
    assert (request["request_id"], request["prompt"]) == (REQUEST, "Hello")
    assert request["allowed_decisions"] == ["approve", "reject"]


@pytest.mark.parametrize(("chosen", "stopped"), [("approve", "branch_reject"), ("reject", "branch_approve")])
def test_an_answer_takes_its_branch(chosen, stopped):
    outcome = asked(may_pause=True, decisions={REQUEST: {"action_id": chosen}})
    assert "paused" not in outcome.result
    assert outcome.result["nodes"]["HumanInput-bbbbb"]["outputs"][f"branch_{chosen}"]["text"] == "Hello"
    assert outcome.result["operations"] == [
        {"op": "mark_branch", "node": "HumanInput-bbbbb", "output": stopped, "state": "INACTIVE"}
    ]


def test_an_answer_that_came_too_late_takes_no_branch():
    outcome = asked(may_pause=True, decisions={REQUEST: {"action_id": "__expired__"}})
    stopped = {operation["output"] for operation in outcome.result["operations"]}
    assert stopped == {"branch_approve", "branch_reject"}


def test_a_run_that_waits_for_nobody_goes_on_without_an_answer():
    outcome = asked()
    assert "paused" not in outcome.result
    assert outcome.result["nodes"]["HumanInput-bbbbb"]["outputs"]["branch_approve"]["text"] == ""


def test_what_a_component_keeps_is_there_when_it_goes_on():
    flow = {"nodes": [node("Keeper-aaaaa", component("Keeper", KEEPER))], "edges": []}
    first = run_cell(task(flow, "Keeper-aaaaa", may_pause=True))
    assert not first.failure, first.failure
    paused = first.result["paused"]
    assert paused["saved"] == {"agent": "what it was about to do"}
    answers = {paused["request"]["request_id"]: {"action_id": "approve"}}
    again = run_cell(task(flow, "Keeper-aaaaa", may_pause=True, decisions=answers, saved=paused["saved"]))
    assert again.result["nodes"]["Keeper-aaaaa"]["outputs"]["output"]["text"] == "approve: what it was about to do"
