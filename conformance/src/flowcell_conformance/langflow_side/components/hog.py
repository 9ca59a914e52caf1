"""Takes memory until something stops it."""

import os

from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.message import Message


class Hog(Component):
    display_name = "Hog"
    name = "Hog"
    inputs = [MessageTextInput(name="text", display_name="Text")]
    outputs = [Output(display_name="Text", name="out", method="run_it")]

    def run_it(self) -> Message:
        held = []
        while True:
            held.append(bytearray(os.urandom(1 << 20)) * 16)
