"""Calls the object that an edge brought."""

from lfx.custom.custom_component.component import Component
from lfx.io import HandleInput, MessageTextInput, Output
from lfx.schema.message import Message


class CountOn(Component):
    display_name = "Count On"
    name = "CountOn"
    inputs = [
        HandleInput(name="counter", display_name="Counter", input_types=["Data"]),
        MessageTextInput(name="note", display_name="Note"),
    ]
    outputs = [Output(display_name="Text", name="text_out", method="count")]

    def count(self) -> Message:
        return Message(text=f"{self.note} {self.counter.next()} {self.counter.next()}")
