"""Hands a language model object, not its answer, to the component behind it."""

from langchain_core.language_models.fake_chat_models import FakeListChatModel
from lfx.custom.custom_component.component import Component
from lfx.field_typing import LanguageModel
from lfx.io import MessageTextInput, Output


class FakeModel(Component):
    display_name = "Fake Model"
    name = "FakeModel"
    inputs = [MessageTextInput(name="answer", display_name="Answer", value="the scripted answer")]
    outputs = [Output(display_name="Model", name="model", method="build_model")]

    def build_model(self) -> LanguageModel:
        return FakeListChatModel(responses=[self.answer])
