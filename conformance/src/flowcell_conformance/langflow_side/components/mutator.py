"""Changes what it was given, in place, and says what it is now."""

from lfx.custom.custom_component.component import Component
from lfx.io import DataInput, MessageTextInput, Output
from lfx.schema.message import Message


class Mutator(Component):
    display_name = "Mutator"
    name = "Mutator"
    inputs = [
        DataInput(name="data", display_name="Data"),
        MessageTextInput(name="mark", display_name="Mark"),
    ]
    outputs = [Output(display_name="Text", name="out", method="change")]

    def change(self) -> Message:
        self.data.data.setdefault("marks", []).append(self.mark)
        return Message(text=f"{self.mark} sees {self.data.data['marks']}")
