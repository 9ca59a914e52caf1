"""Shows fields that variables fill, because they are the default of fields of these names."""

from lfx.custom.custom_component.component import Component
from lfx.io import IntInput, MessageTextInput, MultilineInput, Output, StrInput
from lfx.schema.message import Message


class Defaulted(Component):
    display_name = "Defaulted"
    name = "Defaulted"
    inputs = [
        MessageTextInput(name="text", display_name="Text"),
        StrInput(name="first", display_name="Conformance First"),
        MultilineInput(name="second", display_name="Conformance Second"),
        StrInput(name="filled", display_name="Conformance First", value="mine"),
        StrInput(name="hidden", display_name="Conformance First", show=False),
        IntInput(name="number", display_name="Conformance First", value=7),
    ]
    outputs = [Output(display_name="Text", name="out", method="run_it")]

    def run_it(self) -> Message:
        return Message(
            text=f"{self.text}|{self.first}|{self.second}|{self.filled}|{self.hidden}|{self.number}"
        )
