"""A list of three Data values, one with a text key of its own."""

from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.data import Data


class DataList(Component):
    display_name = "Data List"
    name = "DataList"
    inputs = [MessageTextInput(name="text", display_name="Text")]
    outputs = [Output(display_name="Data", name="out", method="run_it")]

    def run_it(self) -> list[Data]:
        return [
            Data(data={"text": self.text, "n": 0}),
            Data(data={"title": self.text, "n": 1}, text_key="title", default_value="nothing"),
            Data(data={}),
        ]
