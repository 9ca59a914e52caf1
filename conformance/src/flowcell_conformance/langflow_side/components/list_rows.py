"""Writes the rows of a table as lines; the order of columns is kept."""

from lfx.custom.custom_component.component import Component
from lfx.io import DataFrameInput, Output
from lfx.schema.message import Message


class ListRows(Component):
    display_name = "List Rows"
    name = "ListRows"
    inputs = [DataFrameInput(name="table", display_name="Table")]
    outputs = [Output(display_name="Text", name="text", method="write")]

    def write(self) -> Message:
        return Message(text=self.table.to_csv(index=False))
