"""Raises, as components do that meet bad input."""

from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.message import Message


class Boom(Component):
    display_name = "Boom"
    name = "Boom"
    inputs = [MessageTextInput(name="input_value", display_name="Input")]
    outputs = [Output(display_name="Out", name="output", method="build_output")]

    def build_output(self) -> Message:
        raise RuntimeError("kaboom: " + str(self.input_value))
