"""Five megabytes of text that no compressor or guess can shorten."""

import random

from lfx.custom.custom_component.component import Component
from lfx.io import IntInput, MessageTextInput, Output
from lfx.schema.message import Message


class BigText(Component):
    display_name = "Big Text"
    name = "BigText"
    inputs = [
        MessageTextInput(name="text", display_name="Text"),
        IntInput(name="length", display_name="Length", value=5_000_000),
    ]
    outputs = [Output(display_name="Text", name="out", method="run_it")]

    def run_it(self) -> Message:
        letters = random.Random(self.text).choices("abcdefghijklmnopqrstuvwxyz äöü🦀\n", k=self.length)
        return Message(text="".join(letters))
