"""A tool that gives its secret away: in its answer, in its log, and when it fails."""

from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output, SecretStrInput
from lfx.schema.message import Message


class SecretTool(Component):
    display_name = "Secret Tool"
    name = "SecretTool"
    description = "Tells a secret."
    inputs = [
        MessageTextInput(name="text", display_name="Text", tool_mode=True),
        SecretStrInput(name="token", display_name="Token"),
    ]
    outputs = [Output(display_name="Text", name="out", method="tell_secret")]

    def tell_secret(self) -> Message:
        token = self.token.get_secret_value() if hasattr(self.token, "get_secret_value") else self.token
        self.log(f"the token is {token}")
        if self.text == "fail":
            msg = f"no entry with {token}"
            raise ValueError(msg)
        return Message(text=f"{self.text}: {token}")
