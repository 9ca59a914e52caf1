"""Never returns and never yields."""

from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.message import Message


class Spin(Component):
    display_name = "Spin"
    name = "Spin"
    inputs = [MessageTextInput(name="text", display_name="Text")]
    outputs = [Output(display_name="Text", name="out", method="run_it")]

    def run_it(self) -> Message:
        while True:
            pass
