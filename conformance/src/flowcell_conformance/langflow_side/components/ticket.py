"""Gives another number every time that it runs."""

import uuid

from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.message import Message


class Ticket(Component):
    display_name = "Ticket"
    name = "Ticket"
    inputs = [MessageTextInput(name="text", display_name="Text")]
    outputs = [Output(display_name="Text", name="out", method="run_it")]

    def run_it(self) -> Message:
        return Message(text=f"{self.text}: {uuid.uuid4()}")
