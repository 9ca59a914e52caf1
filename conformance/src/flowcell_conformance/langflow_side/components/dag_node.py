"""A node of a random graph: a text made of its own name and of what reached it, in whatever order."""

import hashlib

from lfx.custom.custom_component.component import Component
from lfx.io import HandleInput, IntInput, Output
from lfx.schema.data import Data
from lfx.schema.message import Message


class DagNode(Component):
    display_name = "Node"
    name = "DagNode"
    inputs = [
        HandleInput(name="items", display_name="Items", input_types=["Message", "Data"], is_list=True),
        IntInput(name="salt", display_name="Salt", value=0),
    ]
    outputs = [
        Output(display_name="Text", name="text", method="as_text"),
        Output(display_name="Data", name="data", method="as_data"),
    ]

    def seen(self) -> str:
        items = self.items if isinstance(self.items, list) else [self.items]
        words = [
            item.text if isinstance(item, Message) else str(sorted(item.data.items()))
            for item in items
            if item
        ]
        words.sort()
        return hashlib.sha256(f"{self.salt} {words}".encode()).hexdigest()[:12]

    def as_text(self) -> Message:
        return Message(text=f"{self._id}:{self.seen()}")

    def as_data(self) -> Data:
        return Data(data={"node": self._id, "seen": self.seen(), "salt": self.salt})
