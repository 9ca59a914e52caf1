"""Whole cells: one process each, over a real socket, with real lfx."""

import json
import os
import re
import signal
import tempfile
import time
from pathlib import Path

import pytest

import components
import flows
from components import component
from flowcell_runner.frames import Kind
from flows import chat_input, chat_output, edge, node, task
from proxy import Proxy
from worker import Refuse, Runner, Store, run_cell

CAPTURES = Path(os.environ.get("FLOWCELL_LANGFLOW_CAPTURES", "/nonexistent"))


def outputs_of(outcome, node_id):
    assert not outcome.failure, outcome.failure
    assert outcome.exit_code == 0
    return outcome.result["nodes"][node_id]["outputs"]


def one(source, node_id, **values):
    """A flow of one node."""
    return {"nodes": [node(node_id, source, **values)], "edges": []}


def run_one(name, body, answer=None, head="", inputs="", over=None, **values):
    flow = one(component(name, body, head=head, inputs=inputs), f"{name}-aaaaa", **values)
    return run_cell(task(flow, f"{name}-aaaaa", **(over or {})), answer)


def text_out(outcome, node_id):
    return outputs_of(outcome, node_id)["output"]["text"]


@pytest.fixture(scope="module")
def echo_outcomes():
    flow, store = flows.echo(), Store()
    first = run_cell(task(flow, "ChatInput-aaaaa", parameters={"ChatInput-aaaaa": {"input_value": "Bob"}}), store)
    second = run_cell(
        task(flow, "Prompt-bbbbb", inputs={"ChatInput-aaaaa": outputs_of(first, "ChatInput-aaaaa")}), store
    )
    third = run_cell(task(flow, "ChatOutput-ccccc", inputs={"Prompt-bbbbb": outputs_of(second, "Prompt-bbbbb")}), store)
    return [first, second, third, store]


def test_a_chain_of_cells_gives_what_langflow_gives(echo_outcomes):
    first, second, third, store = echo_outcomes
    assert first.event_names == ["add_message"]
    assert second.event_names == []
    assert third.event_names == ["add_message"]
    result = third.result["nodes"]["ChatOutput-ccccc"]["result"]
    message = result["results"]["message"]
    assert message["text"] == "Hello Bob!"
    assert list(message["data"]) == [
        "timestamp", "sender", "sender_name", "session_id", "context_id", "text", "files", "error", "edit",
        "properties", "category", "content_blocks", "session_metadata", "id", "flow_id", "run_id", "duration",
    ]  # fmt: skip
    assert message["properties"]["source"] == {
        "id": "Prompt-bbbbb",
        "display_name": "Prompt Template",
        "source": "Prompt Template",
    }
    assert message["session_metadata"] == {"graph_run_id": flows.RUN}
    assert third.events[0]["data"]["id"] in store.messages
    assert second.result["nodes"]["Prompt-bbbbb"]["result"]["artifacts"]["prompt"]["raw"] == "Hello Bob!"
    assert first.ready["lfx"] == "1.13.0"


def test_a_whole_flow_in_one_cell_gives_what_its_cells_give(echo_outcomes):
    flow = flows.echo()
    members = [item["id"] for item in flow["nodes"]]
    parameters = {"ChatInput-aaaaa": {"input_value": "Bob"}}
    whole = run_cell(task(flow, *members, parameters=parameters, driver="graph"))
    assert whole.event_names == [name for outcome in echo_outcomes[:3] for name in outcome.event_names]
    assert whole.result["operations"] == []
    for outcome in echo_outcomes[:3]:
        for node_id, alone in outcome.result["nodes"].items():
            together = whole.result["nodes"][node_id]["result"]
            assert json.dumps(_shape(together)) == json.dumps(_shape(alone["result"]))


def _shape(value):
    """The value without what differs between any two runs."""
    if isinstance(value, dict):
        return {
            key: key if key in {"timestamp", "id", "flow_id", "run_id", "graph_run_id", "session_id"} else _shape(item)
            for key, item in value.items()
        }
    return [_shape(item) for item in value] if isinstance(value, list) else value


@pytest.mark.skipif(not CAPTURES.is_dir(), reason="no captures of a Langflow server")
def test_the_answer_equals_a_captured_one(echo_outcomes):
    body = (CAPTURES / "run_echo.http").read_text().split("\n\n", 1)[1]
    captured = json.loads(body)["outputs"][0]["outputs"][0]
    ours = echo_outcomes[2].result["nodes"]["ChatOutput-ccccc"]["result"]
    assert json.dumps(_shape(ours)) == json.dumps(_shape(captured))


def stream_flow():
    return {
        "nodes": [node("FakeLLM-mmmmm", components.STREAMING, input_value="hi", stream=True), chat_output()],
        "edges": [edge("FakeLLM-mmmmm", "text_output", "ChatOutput-ccccc", "input_value")],
    }


@pytest.fixture(scope="module")
def stream_outcomes():
    flow, store = stream_flow(), Store()
    model = run_cell(task(flow, "FakeLLM-mmmmm"), store)
    inputs = {"FakeLLM-mmmmm": outputs_of(model, "FakeLLM-mmmmm")}
    return [model, run_cell(task(flow, "ChatOutput-ccccc", inputs=inputs), store), store]


def test_tokens_stream_in_langflows_order(stream_outcomes):
    model, out, store = stream_outcomes
    message = outputs_of(model, "FakeLLM-mmmmm")["text_output"]
    assert model.event_names == ["add_message", *["token"] * 5, "add_message"]
    assert [event["data"]["chunk"] for event in model.events[1:-1]] == ["one", " ", "two", " ", "three"]
    states = [event["data"]["properties"]["state"] for event in (model.events[0], model.events[-1])]
    assert states == ["partial", "complete"]
    assert model.events[0]["data"]["text"] == "one"
    assert message["text"] == "one two three"
    assert model.kinds[-1] is Kind.RESULT

    outputs_of(out, "ChatOutput-ccccc")
    assert out.event_names == ["add_message"]
    last = out.events[0]["data"]
    assert last["properties"]["state"] == "complete"
    assert last["data"]["properties"]["state"] == "complete"
    assert last["properties"]["source"]["source"] == "Fake LLM"
    assert last["content_blocks"] == []
    assert last["id"] == model.events[0]["data"]["id"]
    assert [call["op"] for call in out.calls] == ["message.update"]
    assert len(store.messages) == 1


@pytest.mark.skipif(not CAPTURES.is_dir(), reason="no captures of a Langflow server")
def test_the_stream_equals_a_captured_one(stream_outcomes):
    body = (CAPTURES / "run_tok_stream.http").read_text().split("\n\n", 1)[1]
    captured = [json.loads(line) for line in body.split("\n\n") if line.strip()]
    ours = [*stream_outcomes[0].events, *stream_outcomes[1].events]

    def plain(events):
        return re.sub(r" at 0x[0-9a-f]+", "", json.dumps([_shape(event) for event in events], indent=1))

    assert plain(ours) == plain(captured[1:-1])
    result = stream_outcomes[1].result["nodes"]["ChatOutput-ccccc"]["result"]
    assert plain([result]) == plain([captured[-1]["data"]["result"]["outputs"][0]["outputs"][0]])


@pytest.mark.skipif(not CAPTURES.is_dir(), reason="no captures of a Langflow server")
def test_the_error_equals_a_captured_one():
    body = (CAPTURES / "run_boom_stream.http").read_text().split("\n\n", 1)[1]
    captured = json.loads(body.split("\n\n")[1])
    ours = run_cell(task(one(components.BOOM, "Boom-bbbbb", input_value="Bob"), "Boom-bbbbb")).events[0]
    for event in (ours, captured):
        for blocks in (event["data"]["content_blocks"], event["data"]["data"]["content_blocks"]):
            # The line in our copy of the component differs.
            leaf = blocks[0]["contents"][0]
            leaf["traceback"] = re.sub(r"(\"<string>\", line) \d+", r"\1", leaf["traceback"])
    assert json.dumps(_shape(ours), indent=1) == json.dumps(_shape(captured), indent=1)


def test_a_raising_component_fails_in_langflows_words():
    outcome = run_cell(task(one(components.BOOM, "Boom-bbbbb", input_value="Bob"), "Boom-bbbbb"))
    assert outcome.event_names == ["error"]
    block = outcome.events[0]["data"]["content_blocks"][0]
    assert list(block) == ["title", "contents", "allow_markdown", "media_url"]
    assert block["contents"][0]["reason"] == "**RuntimeError**\n - **Details: kaboom: Bob**\n"
    assert outcome.events[0]["data"]["category"] == "error"
    failure = outcome.failure
    assert failure["kind"] == "component"
    assert failure["node"] == "Boom-bbbbb"
    assert failure["component"] == "Boom"
    assert failure["message"] == "Error building Component Boom: \n\nkaboom: Bob"
    assert failure["exception"] == "RuntimeError"
    assert 'raise RuntimeError("kaboom: "' in failure["traceback"]
    assert "/" not in failure["traceback"]
    assert outcome.kinds[-1] is Kind.FAILURE
    assert outcome.exit_code == 0


@pytest.mark.parametrize(
    ("head", "body"),
    [("import no_such_package.part", "return Message(text='')"), ("", "import no_such_package\nreturn None")],
    ids=["at the top", "inside"],
)
def test_a_missing_package_is_named(head, body):
    flow = one(component("Needs", body), "Needs-aaaaa")
    # The exporting Langflow had the package.
    flow["nodes"][0]["data"]["node"]["template"]["code"]["value"] = component("Needs", body, head=head)
    outcome = run_cell(task(flow, "Needs-aaaaa"))
    assert outcome.failure["kind"] == "import"
    assert outcome.failure["package"] == "no_such_package"
    assert outcome.failure["node"] == "Needs-aaaaa"


def tool_flow():
    return {
        "nodes": [
            node("Upper-uuuuu", components.UPPER, tool_mode=True),
            node("UseTools-ttttt", components.USE_TOOLS, input_value="abc"),
        ],
        "edges": [edge("Upper-uuuuu", "component_as_tool", "UseTools-ttttt", "tools", "Tool")],
    }


def test_a_live_object_and_its_consumer_share_a_cell():
    outcome = run_cell(task(tool_flow(), "Upper-uuuuu", "UseTools-ttttt"))
    assert outputs_of(outcome, "UseTools-ttttt")["output"]["text"] == "run_upper|['text']|{'up': 'ABC'}"
    assert outputs_of(outcome, "Upper-uuuuu") == {}
    assert outcome.result["live"] == []


def test_a_live_object_that_would_have_to_travel_is_reported():
    outcome = run_cell(task(tool_flow(), "Upper-uuuuu"))
    live = outcome.result["live"]
    assert [(item["node"], item["output"]) for item in live] == [("Upper-uuuuu", "component_as_tool")]
    assert live[0]["type"].endswith("ComponentStructuredTool")


SECRET = 'SecretStrInput(name="key", display_name="Key", load_from_db=True)'
KEY = {"value": "MY_KEY", "load_from_db": True}


def test_variables_come_from_the_task_and_are_masked_in_results():
    outcome = run_one(
        "Keys", "return Message(text=self.key)", inputs=SECRET, key=KEY, over={"variables": {"MY_KEY": "sk-123456789"}}
    )
    assert text_out(outcome, "Keys-aaaaa") == "sk-123456789"
    assert "sk-123456789" not in json.dumps(outcome.result["nodes"]["Keys-aaaaa"]["result"])
    assert outcome.calls == []


def test_what_the_caller_gave_goes_before_stored_variables_and_is_not_shared():
    body = "self.ctx['seen'] = 1\nself.graph.context['request_variables']['MORE'] = 'x'\nreturn Message(text=self.key)"
    over = {"variables": {"MY_KEY": "sk-stored"}, "request_variables": {"MY_KEY": "sk-given"}}
    outcome = run_one("Keys", body, inputs=SECRET, key=KEY, over=over)
    assert text_out(outcome, "Keys-aaaaa") == "sk-given"
    assert outcome.result["context"] == {"seen": 1}
    assert outcome.calls == []
    # A name that is not stored.
    over = {"request_variables": {"MY_KEY": "sk-given"}}
    outcome = run_one("Keys", "return Message(text=self.key)", inputs=SECRET, key=KEY, over=over)
    assert text_out(outcome, "Keys-aaaaa") == "sk-given"


def test_other_variables_are_asked_for():
    outcome = run_one(
        "Keys", "return Message(text=self.key)", Store(variables={"MY_KEY": "sk-asked"}), inputs=SECRET, key=KEY
    )
    assert text_out(outcome, "Keys-aaaaa") == "sk-asked"


def test_a_missing_variable_fails_and_the_environment_is_never_read():
    outcome = run_one("Keys", "return Message(text=self.key)", inputs=SECRET, key={**KEY, "value": "PATH"})
    assert outcome.failure["message"] == "Error building Component Keys: \n\nPATH variable not found."
    assert [call["args"] for call in outcome.calls] == [{"name": "PATH"}]


def test_provider_keys_are_looked_up_by_name():
    body = """
from lfx.base.models.unified_models import get_api_key_for_provider
return Message(text=str(get_api_key_for_provider(self.user_id, "OpenAI")))
"""
    assert text_out(run_one("Keys", body, Store(variables={"OPENAI_API_KEY": "sk-x"})), "Keys-aaaaa") == "sk-x"


def test_the_host_environment_is_not_visible():
    outcome = run_one("Env", "import os\nreturn Message(text=' '.join(os.environ))")
    names = text_out(outcome, "Env-aaaaa").split()
    assert "SECRET_OF_THE_HOST" not in names
    assert "FLOWCELL_SOCKET" not in names


def test_messages_can_be_stored_read_and_deleted():
    body = """
from lfx.memory import aget_messages, astore_message, delete_message, get_messages, store_message
first = Message(text="a", sender="User", sender_name="U", session_id="s9")
first = (await astore_message(first, flow_id=self.graph.flow_id))[0]
store_message(Message(text="b", sender="AI", sender_name="A", session_id="s9"))
first.text = "changed"
await astore_message(first)
seen = [message.text for message in await aget_messages(session_id="s9", order="ASC")]
newest = get_messages(session_id="s9", limit=1)[0]
await delete_message(str(newest.id))
left = len(await aget_messages(session_id="s9"))
foreign = await aget_messages(session_id="s9", flow_id="00000000-0000-0000-0000-000000000001")
return Message(text=f"{seen} {newest.text} {left} {foreign}")
"""
    store = Store()
    outcome = run_one("Chat", body, store)
    assert text_out(outcome, "Chat-aaaaa") == "['changed', 'b'] b 1 []"
    stored = outcome.calls[0]["args"]["message"]
    assert (stored["flow_id"], stored["session_id"], stored["error"]) == (flows.FLOW, "s9", False)
    assert len(store.messages) == 1


def test_a_message_that_is_not_there_cannot_be_updated():
    body = """
from lfx.memory import astore_message
message = Message(text="a", sender="User", sender_name="U", session_id="s9")
message.id = "00000000-0000-0000-0000-000000000009"
await astore_message(message)
"""
    failure = run_one("Chat", body).failure
    assert failure["message"].endswith("Message with id 00000000-0000-0000-0000-000000000009 not found")


def test_a_store_that_is_down_fails_the_component():
    def down(op, args):
        raise Refuse("unavailable", "the store is down")

    flow = flows.echo()
    outcome = run_cell(task(flow, "ChatInput-aaaaa", parameters={"ChatInput-aaaaa": {"input_value": "x"}}), down)
    assert "the store is down" in outcome.failure["message"]


def test_a_flood_of_output_neither_blocks_nor_kills():
    body = """
import os, subprocess, sys
for _ in range(100):
    print("x" * 1_000_000)
print("to stderr", file=sys.stderr)
os.write(1, b"raw")
subprocess.run(["sh", "-c", "yes | head -c 5000000"], check=True)
return Message(text="done")
"""
    started = time.monotonic()
    limits = {"log_bytes_max": 100_000, "output_bytes_max": 1 << 20}
    outcome = run_one("Loud", body, over={"limits": limits})
    assert text_out(outcome, "Loud-aaaaa") == "done"
    printed = outcome.text_of("stdout")
    assert len(printed) < 100_200
    assert printed.count("log_bytes_max of 100000 reached") == 1
    assert max(len(log["text"]) for log in outcome.logs) <= 65536
    assert time.monotonic() - started < 30


def test_output_arrives_in_order_and_before_the_result():
    body = """
import os, subprocess, sys
print("one ü")
subprocess.run(["echo", "two"], check=True)
print("three", end="")
sys.stderr.write("err")
print(repr(sys.stdin.read()))
return Message(text="")
"""
    outcome = run_one("Says", body)
    assert outcome.text_of("stdout") == "one ü\ntwo\nthree''\n"
    assert outcome.text_of("stderr") == "err"
    assert outcome.kinds[-1] is Kind.RESULT


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("import sys\nsys.exit(3)", "exit code 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("class Odd(BaseException): pass\nraise Odd('odd')", "odd"),
    ],
)
def test_exits_and_base_exceptions_are_failures(body, words):
    outcome = run_one("Exits", body)
    assert words in outcome.failure["message"]
    assert outcome.failure["kind"] == "component"


def test_a_hard_exit_is_an_end_without_a_final_frame():
    outcome = run_one("Exits", "import os\nprint('bye')\nos._exit(9)")
    assert outcome.exit_code == 9
    assert not outcome.result
    assert not outcome.failure


def test_output_over_the_limit_is_a_failure_of_its_kind():
    limits = {"log_bytes_max": 0, "output_bytes_max": 10_000}
    outcome = run_one("Big", "return Message(text='x' * 20_000)", over={"limits": limits})
    assert outcome.failure["kind"] == "limit"


def limited(body, **limits):
    return run_one("Limited", body, over={"limits": {"log_bytes_max": 1 << 20, "output_bytes_max": 1 << 20, **limits}})


def test_lines_of_output_over_the_limit_are_dropped_and_the_cell_goes_on():
    body = "import sys\nfor n in range(50_000):\n    print('line', n)\nreturn Message(text='done')"
    outcome = limited(body, log_lines_max=100)
    assert text_out(outcome, "Limited-aaaaa") == "done"
    lines = outcome.text_of("stdout").splitlines()
    assert lines[:100] == [f"line {n}" for n in range(100)]
    assert lines[100:] == ["", "[log_lines_max of 100 reached, the rest is dropped]"]


def test_open_files_are_lowered_and_an_error_for_too_many_names_the_limit():
    shown = "import resource\nreturn Message(text=str(resource.getrlimit(resource.RLIMIT_NOFILE)))"
    assert text_out(limited(shown, open_files=70), "Limited-aaaaa") == "(70, 70)"
    assert "-1" not in text_out(limited(shown, open_files=1 << 40), "Limited-aaaaa"), "never raised"
    leak = "files = [open('/dev/null') for _ in range(1000)]"
    outcome = limited(leak, open_files=70)
    assert (outcome.failure["kind"], outcome.failure["limit"]) == ("component", "open_files")
    assert "Too many open files" in outcome.failure["message"]


@pytest.mark.parametrize(
    ("body", "limit"),
    [
        ("raise OSError(28, 'No space left on device', '/tmp/x')", "tmpfs_bytes"),
        (
            "try:\n    raise OSError(28, 'full')\nexcept OSError as e:\n    raise ValueError('wrapped') from e",
            "tmpfs_bytes",
        ),
        ("raise OSError(28, 'No space left on device', '/dev/shm/x')", None),
        ('raise RuntimeError("can\'t start new thread")', "pids"),
        ("raise BlockingIOError(11, 'Resource temporarily unavailable')", "pids"),
        ("raise FileNotFoundError(2, 'no', '/tmp/x')", None),
        ("raise ValueError('just wrong')", None),
    ],
)
def test_the_limit_behind_an_error_is_told_beside_its_words(body, limit):
    outcome = limited(body)
    assert (outcome.failure["kind"], outcome.failure["limit"]) == ("component", limit)


def test_processor_time_ends_a_component_that_computes_in_a_thread():
    body = "while True:\n    try:\n        pass\n    except BaseException:\n        pass"
    outcome = limited(body, cpu_ms=200)
    assert (outcome.failure["kind"], outcome.failure["limit"]) == ("limit", "cpu_ms")
    assert outcome.exit_code == 0


def test_the_shared_context_travels_both_ways_and_only_changes_come_back():
    body = """
seen = self.ctx.get("count")
self.update_ctx({"count": seen + 1, "new": (1, 2)})
return Message(text=str(seen))
"""
    outcome = run_one("Ctx", body, over={"context": {"count": 4, "same": {"$": "tuple", "items": [1]}}})
    assert text_out(outcome, "Ctx-aaaaa") == "4"
    assert outcome.result["context"] == {"count": 5, "new": {"$": "tuple", "items": [1, 2]}}


def test_a_live_value_in_the_shared_context_fails_only_who_uses_it():
    live = {"$": "live", "type": "threading.Lock"}
    context = {"lock": live, "count": 1}
    outcome = run_one("Ctx", "return Message(text=str(self.ctx['count']))", over={"context": context})
    assert text_out(outcome, "Ctx-aaaaa") == "1"
    assert outcome.result["context"] == {}
    outcome = run_one("Ctx", "return Message(text=str(self.ctx['lock'].locked()))", over={"context": context})
    assert outcome.failure["kind"] == "component"
    assert "ctx['lock'] cannot be used here: a threading.Lock lives" in outcome.failure["message"]
    outcome = run_one("Ctx", "self.ctx['lock'] = 2\nreturn Message(text='x')", over={"context": context})
    assert outcome.result["context"] == {"lock": 2}


def router_flow():
    from lfx.components.flow_controls.conditional_router import ConditionalRouterComponent

    return {
        "nodes": [
            node(
                "ConditionalRouter-rrrrr",
                flows.source_of(ConditionalRouterComponent),
                input_text="a",
                match_text="a",
                operator="equals",
            ),
            chat_output("ChatOutput-ttttt"),
            chat_output("ChatOutput-fffff"),
        ],
        "edges": [
            edge("ConditionalRouter-rrrrr", "true_result", "ChatOutput-ttttt", "input_value"),
            edge("ConditionalRouter-rrrrr", "false_result", "ChatOutput-fffff", "input_value"),
        ],
    }


def test_branch_decisions_are_reported():
    outcome = run_cell(task(router_flow(), "ConditionalRouter-rrrrr"))
    outputs_of(outcome, "ConditionalRouter-rrrrr")
    operations = outcome.result["operations"]
    assert {operation["op"] for operation in operations} <= {
        "mark_branch",
        "exclude_branch_conditionally",
        "exclude_branches_conditionally",
    }
    assert all(operation["node"] == "ConditionalRouter-rrrrr" for operation in operations)
    assert "false_result" in json.dumps(operations)


def test_a_branch_decided_against_inside_the_cell_is_not_built():
    flow = router_flow()
    members = ["ConditionalRouter-rrrrr", "ChatOutput-ttttt", "ChatOutput-fffff"]
    outcome = run_cell(task(flow, *members))
    assert set(outcome.result["nodes"]) == {"ConditionalRouter-rrrrr", "ChatOutput-ttttt"}


def loop_flow(source=None):
    from lfx.components.flow_controls.loop import LoopComponent

    items = component(
        "Items",
        "return DataFrame([{'text': 'a'}, {'text': 'b'}])",
        head="from langflow.schema.dataframe import DataFrame",
    ).replace("-> Message", "-> DataFrame")
    shout = component("Shout", "return Message(text=self.input_value.upper())")
    feedback = edge("Shout-sssss", "output", "Loop-lllll", "item")
    feedback["data"]["targetHandle"] = {
        "dataType": "Loop", "id": "Loop-lllll", "name": "item", "output_types": ["Data", "Message"],
    }  # fmt: skip
    item = edge("Loop-lllll", "item", "Shout-sssss", "input_value", "Data")
    item["data"]["targetHandle"]["inputTypes"] = ["Data", "Message"]
    loop = node("Loop-lllll", source or flows.source_of(LoopComponent))
    loop["data"]["node"]["outputs"][0]["types"] = ["Data"]
    return {
        "nodes": [node("Items-iiiii", items), loop, node("Shout-sssss", shout), chat_output()],
        "edges": [
            edge("Items-iiiii", "output", "Loop-lllll", "data", "DataFrame"),
            item,
            feedback,
            edge("Loop-lllll", "done", "ChatOutput-ccccc", "input_value", "DataFrame"),
        ],
    }


def run_loop(source=None):
    flow = loop_flow(source)
    table = outputs_of(run_cell(task(flow, "Items-iiiii")), "Items-iiiii")
    return run_cell(task(flow, "Loop-lllll", "Shout-sssss", inputs={"Items-iiiii": table}, driver="graph"))


def test_a_loop_runs_its_body_inside_its_cell():
    outcome = run_loop()
    done = outputs_of(outcome, "Loop-lllll")
    # Its body ran in graphs of its own; to the rest of the flow it is a branch that is not taken.
    assert outcome.result["operations"] == [
        {"op": "mark_branch", "node": "Loop-lllll", "output": "item", "state": "INACTIVE"}
    ]
    assert set(outcome.result["nodes"]) == {"Loop-lllll"}
    assert "done" in done
    columns = {column["name"]: column["values"] for column in done["done"]["columns"]}
    assert columns["text"] == ["A", "B"]


def test_a_loop_of_an_older_export_is_a_cycle_that_ends():
    outcome = run_loop(components.OLD_LOOP.replace("class LoopComponent", "class Loop"))
    done = outputs_of(outcome, "Loop-lllll")["done"]
    assert done["columns"][0]["values"][:2] == ["A", "B"]
    states = [(operation["output"], operation["state"]) for operation in outcome.result["operations"]]
    assert states == [("done", "INACTIVE"), ("item", "INACTIVE"), ("done", "ACTIVE")]


def circle_flow(*, entered, **router):
    """An If-Else whose false branch leads back; where nothing leads in, lfx begins at a component in it."""
    from lfx.components.flow_controls.conditional_router import ConditionalRouterComponent

    grow = component("ChatGrow", "return Message(text=str(self.input_value or 'x') + '+')")
    flow = {
        "nodes": [
            node("ChatGrow-ggggg", grow),
            node("ConditionalRouter-rrrrr", flows.source_of(ConditionalRouterComponent), **router),
        ],
        "edges": [
            edge("ChatGrow-ggggg", "output", "ConditionalRouter-rrrrr", "input_text"),
            edge("ConditionalRouter-rrrrr", "false_result", "ChatGrow-ggggg", "input_value"),
        ],
    }
    if entered:
        flow["nodes"].insert(0, chat_input())
        flow["edges"].append(edge("ChatInput-aaaaa", "message", "ConditionalRouter-rrrrr", "match_text"))
    return flow


CIRCLE = ("ChatGrow-ggggg", "ConditionalRouter-rrrrr")


def test_a_circle_that_never_starts_keeps_what_is_behind_it_from_running():
    flow = circle_flow(entered=True, operator="equals")
    inputs = {"ChatInput-aaaaa": {"message": "x+++"}}
    outcome = run_cell(task(flow, *CIRCLE, inputs=inputs, driver="graph"))
    assert outcome.result["nodes"] == {}
    assert outcome.result["operations"] == [
        {"op": "mark_branch", "node": member, "output": None, "state": "INACTIVE"} for member in CIRCLE
    ]


def test_a_router_that_turned_often_enough_takes_its_exclusion_back():
    flow = circle_flow(
        entered=False, match_text="never", operator="equals", max_iterations=3, default_route="true_result"
    )
    flow["nodes"].append(node("Sink-sssss", component("Sink", "return Message(text='')")))
    flow["edges"].append(edge("ConditionalRouter-rrrrr", "true_result", "Sink-sssss", "input_value"))
    operations = run_cell(task(flow, *CIRCLE, driver="graph")).result["operations"]
    assert {"op": "exclude_branch_conditionally", "node": CIRCLE[1], "output": "true_result"} in operations
    assert operations[-1] == {"op": "exclude_branches_conditionally", "node": CIRCLE[1], "outputs": []}


def test_a_failure_in_a_circle_names_its_node():
    flow = loop_flow(components.OLD_LOOP.replace("class LoopComponent", "class Loop"))
    flow["nodes"][2] = node("Shout-sssss", component("Shout", "raise RuntimeError('no ' + self.input_value)"))
    table = outputs_of(run_cell(task(flow, "Items-iiiii")), "Items-iiiii")
    outcome = run_cell(task(flow, "Loop-lllll", "Shout-sssss", inputs={"Items-iiiii": table}, driver="graph"))
    assert (outcome.failure["node"], outcome.failure["component"]) == ("Shout-sssss", "Shout")
    assert outcome.failure["message"] == "Error building Component Shout: \n\nno a"


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": {"ChatInput-aaaaa": {"message": {"$": "live", "type": "x.Y"}}}},
        {"inputs": {"Nobody-00000": {}}},
        {"members": ["Nobody-00000"]},
        {"members": "Prompt-bbbbb"},
        {"variables": None},
    ],
    ids=str,
)
def test_a_task_that_cannot_be_run_is_an_input_failure(change):
    outcome = run_cell(task(flows.echo(), "Prompt-bbbbb", **change))
    assert outcome.failure["kind"] == "input"


def test_http_clients_leave_through_the_egress_socket():
    body = """
import httpx, requests, urllib.request
url = "http://model.example/v1/x"
async with httpx.AsyncClient() as client:
    first = (await client.post(url, json={"n": 1})).json()
second = requests.post(url, json={"n": 2}).json()
third = json.loads(urllib.request.urlopen(url).read())
try:
    httpx.get("https://secure.example/")
except httpx.ProxyError as error:
    refused = str(error)
texts = [answer["choices"][0]["message"]["content"] for answer in (first, second, third)]
return Message(text=f"{texts} {refused}")
"""
    with tempfile.TemporaryDirectory() as directory:
        proxy = Proxy(Path(directory) / "egress.sock").start()
        outcome = run_one("Net", body, head="import json", over={"egress": {"socket": str(proxy.path)}})
    assert text_out(outcome, "Net-aaaaa") == "['Hi there', 'Hi there', 'Hi there'] 403 Forbidden"
    assert [line for line, _ in proxy.requests] == [
        "POST http://model.example/v1/x HTTP/1.1",
        "POST http://model.example/v1/x HTTP/1.1",
        "GET http://model.example/v1/x HTTP/1.1",
        "CONNECT secure.example:443 HTTP/1.1",
    ]


def test_an_openai_model_streams_through_the_egress_socket():
    from lfx.components.models_and_agents.language_model import LanguageModelComponent

    model = node(
        "LanguageModelComponent-m",
        flows.source_of(LanguageModelComponent),
        model=[{"provider": "OpenAI", "name": "gpt-4o-mini"}],
        input_value="hi",
        stream=True,
    )
    flow = {
        "nodes": [model, chat_output()],
        "edges": [edge("LanguageModelComponent-m", "text_output", "ChatOutput-ccccc", "input_value")],
    }
    store = Store(variables={"OPENAI_API_KEY": "sk-1234567", "OPENAI_BASE_URL": "http://model.example/v1"})
    with tempfile.TemporaryDirectory() as directory:
        proxy = Proxy(Path(directory) / "egress.sock").start()
        egress = {"socket": str(proxy.path)}
        outcome = run_cell(task(flow, "LanguageModelComponent-m", egress=egress), store)
    message = outputs_of(outcome, "LanguageModelComponent-m")["text_output"]
    assert message["text"] == "Hi there"
    assert "token" in outcome.event_names
    assert outcome.result["usage"] == {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
    assert proxy.requests[0][0] == "POST http://model.example/v1/chat/completions HTTP/1.1"
    out = run_cell(task(flow, "ChatOutput-ccccc", inputs={"LanguageModelComponent-m": {"text_output": message}}), store)
    last = out.events[-1]["data"]["properties"]
    assert last["usage"] == outcome.result["usage"]
    assert last["source"]["source"] == "gpt-4o-mini"


def test_the_process_ends_when_its_lifeline_does():
    runner = Runner()
    runner.process.stdin.close()
    assert runner.process.wait(30) == 70
    runner.close()


def test_a_running_component_does_not_outlive_the_lifeline():
    runner = Runner()
    closing = lambda op, args: runner.process.stdin.close()  # noqa: E731
    flow = one(
        component("Sleeps", "import time\nawait self.get_variable('x', '', None)\ntime.sleep(60)"), "Sleeps-aaaaa"
    )
    started = time.monotonic()
    outcome = runner.run(task(flow, "Sleeps-aaaaa"), closing)
    assert outcome.exit_code in {70, -signal.SIGKILL}
    assert time.monotonic() - started < 30
