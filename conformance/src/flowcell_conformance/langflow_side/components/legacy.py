"""Written for an older Langflow: imports `langflow`, which lfx stands in for."""

from langflow.custom import Component
from langflow.io import MessageTextInput, Output
from langflow.schema import Data
from langflow.schema.message import Message


class Legacy(Component):
    display_name = "Legacy"
    name = "Legacy"
    inputs = [MessageTextInput(name="text", display_name="Text")]
    outputs = [Output(display_name="Text", name="out", method="run_it")]

    def run_it(self) -> Message:
        self.status = Data(data={"seen": self.text})
        return Message(text=f"legacy {self.text}", sender="Machine", sender_name="Legacy")
