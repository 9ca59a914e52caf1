"""Joins whatever texts arrive: behind the branches of a router, and at the end of a loop's body."""

from lfx.custom.custom_component.component import Component
from lfx.io import HandleInput, Output
from lfx.schema.data import Data
from lfx.schema.message import Message


class JoinTexts(Component):
    display_name = "Join Texts"
    name = "JoinTexts"
    inputs = [HandleInput(name="texts", display_name="Texts", input_types=["Message"], is_list=True)]
    outputs = [
        Output(display_name="Text", name="text", method="as_text"),
        Output(display_name="Row", name="row", method="as_row"),
    ]

    def as_text(self) -> Message:
        texts = self.texts if isinstance(self.texts, list) else [self.texts]
        return Message(text=" & ".join(text.text for text in texts if text))

    def as_row(self) -> Data:
        return Data(data={"text": self.as_text().text})
