"""Two outputs; the text says which of them stops its branch: `left`, `right`, `both` or neither."""

from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.message import Message


class Splitter(Component):
    display_name = "Splitter"
    name = "Splitter"
    inputs = [MessageTextInput(name="text", display_name="Text")]
    outputs = [
        Output(display_name="Left", name="left", method="to_left"),
        Output(display_name="Right", name="right", method="to_right"),
    ]

    def to_left(self) -> Message:
        if self.text in {"left", "both"}:
            self.stop("left")
        return Message(text=f"left of {self.text}")

    def to_right(self) -> Message:
        if self.text in {"right", "both"}:
            self.stop("right")
        return Message(text=f"right of {self.text}")
