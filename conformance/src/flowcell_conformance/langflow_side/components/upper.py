"""Upper-cases a text; used as a tool by another component."""

from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.message import Message


class Upper(Component):
    display_name = "Upper"
    name = "Upper"
    description = "Upper-case a text."
    inputs = [MessageTextInput(name="text", display_name="Text", tool_mode=True)]
    outputs = [Output(display_name="Text", name="upper", method="to_upper")]

    def to_upper(self) -> Message:
        return Message(text=self.text.upper())
