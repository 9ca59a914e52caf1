"""Tokens in what a chat output shows: those of all nodes before it, though a cell sees only its neighbours."""

from components import component
from flows import chat_output, edge, node, task
from worker import run_cell


def shown(**over):
    """What the output of a two-step flow says was spent."""
    step = component("Step", "return Message(text='hi')")
    flow = {
        "nodes": [node("Step-aaaaa", step), chat_output()],
        "edges": [edge("Step-aaaaa", "output", "ChatOutput-ccccc", "input_value")],
    }
    first = run_cell(task(flow, "Step-aaaaa"))
    assert not first.failure, first.failure
    inputs = {"Step-aaaaa": first.result["nodes"]["Step-aaaaa"]["outputs"]}
    last = run_cell(task(flow, "ChatOutput-ccccc", inputs=inputs, **over))
    assert not last.failure, last.failure
    return last.events[-1]["data"]["properties"]["usage"]


def test_a_neighbour_stands_for_those_behind_it():
    spent = {"Step-aaaaa": {"input_tokens": 30, "output_tokens": 4}}
    assert shown(upstream_usage=spent) == {"input_tokens": 30, "output_tokens": 4, "total_tokens": 34}


def test_nothing_spent_is_nothing_shown():
    assert shown(upstream_usage={}) is None
    assert shown() is None
