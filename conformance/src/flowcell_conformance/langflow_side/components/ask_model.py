"""Asks the language model object that an edge brought."""

from lfx.custom.custom_component.component import Component
from lfx.io import HandleInput, MessageTextInput, Output
from lfx.schema.message import Message


class AskModel(Component):
    display_name = "Ask Model"
    name = "AskModel"
    inputs = [
        HandleInput(name="model", display_name="Model", input_types=["LanguageModel"]),
        MessageTextInput(name="question", display_name="Question"),
    ]
    outputs = [Output(display_name="Answer", name="answer", method="ask")]

    async def ask(self) -> Message:
        answer = await self.model.ainvoke(self.question)
        return Message(text=f"{self.question} -> {answer.content}")
