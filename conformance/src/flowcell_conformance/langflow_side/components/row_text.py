"""Body of a loop: the word of a row, with something else in front of it, as text."""

from lfx.custom.custom_component.component import Component
from lfx.io import DataInput, MessageTextInput, Output
from lfx.schema.message import Message


class RowText(Component):
    display_name = "Row Text"
    name = "RowText"
    inputs = [
        DataInput(name="row", display_name="Row"),
        MessageTextInput(name="front", display_name="Front"),
    ]
    outputs = [Output(display_name="Text", name="text", method="write")]

    def write(self) -> Message:
        row = self.row.data if self.row else {}
        return Message(text=f"{self.front}{row.get('word', row.get('text', ''))}")
