"""Returns a plain Python list of texts."""

from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.message import Message


class Lister(Component):
    display_name = "Lister"
    name = "Lister"
    inputs = [MessageTextInput(name="text", display_name="Text")]
    outputs = [Output(display_name="Texts", name="out", method="run_it")]

    def run_it(self) -> list[Message]:
        return [Message(text=f"{self.text} {number}") for number in range(3)]
