"""Leaves something in the run's shared context that only lives in its process."""

import threading

from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.message import Message


class KeepLock(Component):
    display_name = "Keep Lock"
    name = "KeepLock"
    inputs = [MessageTextInput(name="text", display_name="Text")]
    outputs = [Output(display_name="Text", name="text_out", method="run_it")]

    def run_it(self) -> Message:
        self.update_ctx({"lock": threading.Lock(), "seen": self.text})
        return Message(text=f"kept by {self.text}")
