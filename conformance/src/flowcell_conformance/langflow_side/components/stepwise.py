"""Gives its text piece by piece: a Message whose text is an iterator, as a streaming model's is."""

from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.message import Message


class Stepwise(Component):
    display_name = "Stepwise"
    name = "Stepwise"
    inputs = [MessageTextInput(name="text", display_name="Text")]
    outputs = [Output(display_name="Text", name="out", method="run_it")]

    def run_it(self) -> Message:
        return Message(text=(f"{word} " for word in ["one", "two", self.text]))
