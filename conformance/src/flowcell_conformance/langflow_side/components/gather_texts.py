"""Joins every text that reached its list field, sorted: Langflow keeps edges in a set, in no order."""

from lfx.custom.custom_component.component import Component
from lfx.io import HandleInput, Output
from lfx.schema.message import Message


class GatherTexts(Component):
    display_name = "Gather Texts"
    name = "GatherTexts"
    inputs = [HandleInput(name="texts", display_name="Texts", input_types=["Message"], is_list=True)]
    outputs = [Output(display_name="Text", name="joined", method="join")]

    def join(self) -> Message:
        texts = self.texts if isinstance(self.texts, list) else [self.texts]
        words = [text.text if isinstance(text, Message) else repr(text) for text in texts]
        return Message(text=f"{len(words)}: {' | '.join(sorted(words))}")
