"""Length and digest of a text."""

import hashlib

from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.message import Message


class Digest(Component):
    display_name = "Digest"
    name = "Digest"
    inputs = [MessageTextInput(name="text", display_name="Text")]
    outputs = [Output(display_name="Text", name="out", method="run_it")]

    def run_it(self) -> Message:
        return Message(text=f"{len(self.text)} {hashlib.sha256(self.text.encode()).hexdigest()}")
