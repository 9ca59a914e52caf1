"""Sends messages of its own before it answers."""

from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.message import Message


class Say(Component):
    display_name = "Say"
    name = "Say"
    inputs = [MessageTextInput(name="text", display_name="Text")]
    outputs = [Output(display_name="Text", name="out", method="run_it")]

    async def run_it(self) -> Message:
        session = self.graph.session_id
        first = await self.send_message(
            Message(text=f"thinking of {self.text}", sender="Machine", sender_name="Say", session_id=session)
        )
        first.text = f"thought of {self.text}"
        await self.send_message(first)
        return Message(text=f"{self.text}: said")
