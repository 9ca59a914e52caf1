"""Body of a loop that says something aside: an output of its own, which nobody closes."""

from lfx.custom.custom_component.component import Component
from lfx.io import DataInput, Output
from lfx.schema.message import Message


class TwoTexts(Component):
    display_name = "Two Texts"
    name = "TwoTexts"
    inputs = [DataInput(name="row", display_name="Row")]
    outputs = [
        Output(display_name="Text", name="text", method="write", group_outputs=True),
        Output(display_name="Aside", name="aside", method="say_aside", group_outputs=True),
    ]

    def write(self) -> Message:
        return Message(text=self._word())

    def say_aside(self) -> Message:
        return Message(text=f"({self._word()})")

    def _word(self) -> str:
        return (self.row.data if self.row else {}).get("word", "")
