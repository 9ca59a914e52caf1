"""Runs two flows by itself, one after the other."""

from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.message import Message


class RunTwoBelow(Component):
    display_name = "Run Two Below"
    name = "RunTwoBelow"
    inputs = [
        MessageTextInput(name="text", display_name="Text"),
        MessageTextInput(name="first", display_name="First"),
        MessageTextInput(name="second", display_name="Second"),
    ]
    outputs = [Output(display_name="Text", name="out", method="run_both")]

    async def run_both(self) -> Message:
        first = await self.run_flow(inputs={"input_value": self.text}, flow_name=self.first)
        second = await self.run_flow(inputs={"input_value": "8"}, flow_name=self.second)
        texts = [runs[0].outputs[0].results["message"].text for runs in (first, second)]
        return Message(text=" / ".join(texts))
