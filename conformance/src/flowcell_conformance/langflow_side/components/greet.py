"""Reads one ordinary and one secret variable by the names in its fields."""

import hashlib

from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output, SecretStrInput
from lfx.schema.message import Message


class Greet(Component):
    display_name = "Greet"
    name = "Greet"
    inputs = [
        MessageTextInput(name="who", display_name="Who"),
        MessageTextInput(name="greeting", display_name="Greeting", load_from_db=True),
        SecretStrInput(name="token", display_name="Token"),
    ]
    outputs = [Output(display_name="Text", name="text", method="greet")]

    def greet(self) -> Message:
        token = self.token.get_secret_value() if hasattr(self.token, "get_secret_value") else self.token
        proof = hashlib.sha256((token or "").encode()).hexdigest()[:8]
        return Message(text=f"{self.greeting}, {self.who} (token {proof})")
