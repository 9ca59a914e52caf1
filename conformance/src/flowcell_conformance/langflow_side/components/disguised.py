"""Says that it gives Data, and gives an object that only lives in its process."""

import threading
from typing import Any

from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.data import Data
from lfx.schema.message import Message


class Counter:
    """Counts behind a lock, which no codec takes anywhere."""

    def __init__(self, start: str) -> None:
        self.lock = threading.Lock()
        self.start = start
        self.turns = 0

    def next(self) -> str:
        with self.lock:
            self.turns += 1
            return f"{self.start}#{self.turns}"


class Disguised(Component):
    display_name = "Disguised"
    name = "Disguised"
    inputs = [MessageTextInput(name="text", display_name="Text")]
    outputs = [
        Output(display_name="Counter", name="counter", method="make"),
        Output(display_name="Note", name="note", method="say"),
    ]

    def make(self) -> Data:
        counter: Any = Counter(self.text)
        return counter

    def say(self) -> Message:
        return Message(text=f"a counter for {self.text}")
