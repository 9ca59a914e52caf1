"""A tool beside others: counts letters, and returns a number inside Data."""

from lfx.custom.custom_component.component import Component
from lfx.io import IntInput, MessageTextInput, Output
from lfx.schema.data import Data


class CountLetters(Component):
    display_name = "Count Letters"
    name = "CountLetters"
    description = "Counts the letters of a text."
    inputs = [
        MessageTextInput(name="text", display_name="Text", tool_mode=True),
        IntInput(name="times", display_name="Times", value=1, tool_mode=True),
    ]
    outputs = [Output(display_name="Data", name="out", method="count_letters")]

    def count_letters(self) -> Data:
        return Data(data={"letters": len(self.text) * self.times})
