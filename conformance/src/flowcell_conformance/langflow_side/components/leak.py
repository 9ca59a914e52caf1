"""Puts its secret into its result and its log on purpose."""

from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output, SecretStrInput
from lfx.schema.message import Message


class Leak(Component):
    display_name = "Leak"
    name = "Leak"
    inputs = [
        MessageTextInput(name="text", display_name="Text"),
        SecretStrInput(name="token", display_name="Token"),
    ]
    outputs = [Output(display_name="Text", name="out", method="leak")]

    def leak(self) -> Message:
        token = self.token.get_secret_value() if hasattr(self.token, "get_secret_value") else self.token
        self.log(f"the token is {token}")
        return Message(text=f"{self.text}: {token}")
