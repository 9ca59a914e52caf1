"""Needs a module that nobody has."""

import no_such_module_of_flowcell  # noqa: F401
from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.message import Message


class BadImport(Component):
    display_name = "BadImport"
    name = "BadImport"
    inputs = [MessageTextInput(name="text", display_name="Text")]
    outputs = [Output(display_name="Text", name="out", method="run_it")]

    def run_it(self) -> Message:
        return Message(text=self.text)
