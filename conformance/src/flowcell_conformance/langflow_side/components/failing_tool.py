"""A tool that always fails."""

from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.message import Message


class FailingTool(Component):
    display_name = "Failing Tool"
    name = "FailingTool"
    description = "Fails."
    inputs = [MessageTextInput(name="text", display_name="Text", tool_mode=True)]
    outputs = [Output(display_name="Text", name="out", method="try_it")]

    def try_it(self) -> Message:
        msg = f"the tool broke on {self.text}"
        raise ValueError(msg)
