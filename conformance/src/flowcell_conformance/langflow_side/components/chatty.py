"""Sends a message of its own, logs, sets a status, prints, and remembers something in its context."""

import sys

from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.message import Message


class Chatty(Component):
    display_name = "Chatty"
    name = "Chatty"
    inputs = [MessageTextInput(name="text", display_name="Text")]
    outputs = [
        Output(display_name="One", name="one", method="first"),
        Output(display_name="Two", name="two", method="second"),
    ]

    async def first(self) -> Message:
        print("to stdout")
        print("to stderr", file=sys.stderr)
        self.log("a log line", name="Diary")
        self.log({"a": [1, None]})
        self.update_ctx({"said": self.text})
        self.status = "halfway"
        return Message(text=f"one {self.text}")

    def second(self) -> Message:
        return Message(text=f"two {self.ctx.get('said')}")
