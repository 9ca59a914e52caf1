"""A language model that needs no network and streams its answer word by word."""

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from lfx.base.models.model import LCModelComponent
from lfx.field_typing import LanguageModel
from lfx.io import MessageTextInput


class FakeLLM(LCModelComponent):
    display_name = "Fake LLM"
    name = "FakeLLM"
    inputs = [
        *LCModelComponent.get_base_inputs(),
        MessageTextInput(name="answer", display_name="Answer", value="one two three"),
    ]

    def build_model(self) -> LanguageModel:
        return GenericFakeChatModel(messages=iter([AIMessage(content=self.answer)]))
