"""Ends its process at once, without a word."""

import os

from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.message import Message


class Vanish(Component):
    display_name = "Vanish"
    name = "Vanish"
    inputs = [MessageTextInput(name="text", display_name="Text")]
    outputs = [Output(display_name="Text", name="out", method="run_it")]

    def run_it(self) -> Message:
        os._exit(int(self.text or "0"))
        return Message(text=self.text)
