"""Puts its text into the run's shared context, next to what others put there."""

from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.message import Message


class Remember(Component):
    display_name = "Remember"
    name = "Remember"
    inputs = [MessageTextInput(name="text", display_name="Text")]
    outputs = [Output(display_name="Text", name="out", method="run_it")]

    def run_it(self) -> Message:
        self.update_ctx({"said": [*self.ctx.get("said", []), self.text], self._id: {"n": len(self.text)}})
        return Message(text=f"{self.text}!")
