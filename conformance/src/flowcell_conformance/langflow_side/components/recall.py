"""Lists what this session has said so far, from the message store."""

from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output
from lfx.memory import aget_messages
from lfx.schema.message import Message


class Recall(Component):
    display_name = "Recall"
    name = "Recall"
    inputs = [MessageTextInput(name="text", display_name="Text")]
    outputs = [Output(display_name="Text", name="out", method="recall")]

    async def recall(self) -> Message:
        stored = await aget_messages(session_id=self.graph.session_id, order="ASC", limit=100)
        lines = [f"{message.sender}: {message.text}" for message in stored]
        return Message(text="\n".join([f"{len(lines)} stored", *lines]))
