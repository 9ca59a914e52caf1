"""Members of one cell find in the chat history what they would find in cells of their own."""

import asyncio

from lfx.schema.message import Message

from components import component
from flowcell_runner.history import History
from flowcell_runner.services import MessageStore
from flows import chat_input, edge, node, task
from worker import Store, run_cell

INPUT, BESIDE, BEHIND = "ChatInput-aaaaa", "Beside-bbbbb", "Behind-ccccc"
BEFORE = {"text": "before", "sender": "User", "sender_name": "User", "session_id": "s1"}


def recall(name, inputs="", limit=None):
    body = f"""
await asyncio.sleep(0.2)  # until the input's message is stored
found = await aget_messages(session_id="s1", order="DESC", limit={limit})
return Message(text=str(self.input_value) + "| " + " ".join(message.text for message in found))
"""
    return component(name, body, head="import asyncio\nfrom lfx.memory import aget_messages\n", inputs=inputs)


def heard(limit=None, **over):
    """What the one beside the input finds, and the one behind both."""
    flow = {
        "nodes": [
            chat_input(),
            node(BESIDE, recall("Beside", limit=limit)),
            node(BEHIND, recall("Behind", inputs="MessageTextInput(name='after')")),
        ],
        "edges": [edge(INPUT, "message", BEHIND, "after"), edge(BESIDE, "output", BEHIND, "input_value")],
    }
    store = Store()
    store.messages["first"] = {**BEFORE, "id": "00000000-0000-0000-0000-000000000001"}
    parameters = {INPUT: {"input_value": "now"}}
    outcome = run_cell(task(flow, INPUT, BESIDE, BEHIND, parameters=parameters, **over), store)
    assert not outcome.failure, outcome.failure
    return outcome.result["nodes"][BEHIND]["outputs"]["output"]["text"].split("| ")


def test_what_one_beside_says_is_not_found_though_it_came_first():
    assert heard() == ["", "before", "now before"]


def test_lfx_may_build_both_at_once():
    assert heard(driver="graph") == ["", "before", "now before"]


def test_what_is_left_out_does_not_count():
    assert heard(limit=1) == ["", "before", "now before"]


class SlowLink:
    """Stores at once, and says so only when somebody has read."""

    def __init__(self):
        self.rows, self.is_stored, self.is_read = [], asyncio.Event(), asyncio.Event()

    async def call(self, op, args):
        if op == "message.store":
            row = {**args["message"], "id": f"00000000-0000-0000-0000-{len(self.rows):012}"}
            self.rows.append(row)
            self.is_stored.set()
            await self.is_read.wait()
            return row
        self.is_read.set()
        return {"messages": self.rows[::-1][: args["limit"]]}


class NoFiles:
    async def place(self, named):
        pass


def test_what_is_stored_while_another_reads_is_not_found():
    async def both():
        link, history = SlowLink(), History()
        link.rows.append({**BEFORE, "id": "00000000-0000-0000-0000-000000000009"})
        store = MessageStore(link, NoFiles(), history)

        async def says():
            history.at("input")
            await store.aadd_messages(Message(text="now", sender="User", sender_name="User", session_id="s1"))

        async def reads():
            history.at("memory")
            await link.is_stored.wait()
            return [message.text for message in await store.aget_messages(session_id="s1", limit=1)]

        return await asyncio.gather(says(), reads())

    assert asyncio.run(both())[1] == ["before"]
