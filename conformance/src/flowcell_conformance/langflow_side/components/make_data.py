"""Turns a text into a Data value with several kinds of JSON in it."""

from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.data import Data


class MakeData(Component):
    display_name = "Make Data"
    name = "MakeData"
    inputs = [MessageTextInput(name="text", display_name="Text")]
    outputs = [Output(display_name="Data", name="data", method="build_data")]

    def build_data(self) -> Data:
        return Data(
            data={
                "text": self.text,
                "length": len(self.text),
                "half": len(self.text) / 2,
                "nothing": None,
                "yes": True,
                "nested": {"words": self.text.split()},
            }
        )
