"""Sleeps as many seconds as its input says."""

import time

from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.message import Message


class Nap(Component):
    display_name = "Nap"
    name = "Nap"
    inputs = [MessageTextInput(name="text", display_name="Text")]
    outputs = [Output(display_name="Text", name="out", method="run_it")]

    def run_it(self) -> Message:
        time.sleep(float(self.text or "0"))
        return Message(text=self.text)
