"""Tells what the run's shared context holds."""

from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.message import Message


class Tell(Component):
    display_name = "Tell"
    name = "Tell"
    inputs = [MessageTextInput(name="text", display_name="Text")]
    outputs = [Output(display_name="Text", name="out", method="run_it")]

    def run_it(self) -> Message:
        kept = {key: value for key, value in self.ctx.items() if key == "said" or key.startswith("Remember")}
        return Message(text=f"{self.text} {sorted(kept.items())}")
