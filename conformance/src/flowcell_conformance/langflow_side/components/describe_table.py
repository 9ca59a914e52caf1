"""Says what arrived: values, their order and the column types."""

from lfx.custom.custom_component.component import Component
from lfx.io import DataFrameInput, Output
from lfx.schema.message import Message


class DescribeTable(Component):
    display_name = "Describe Table"
    name = "DescribeTable"
    inputs = [DataFrameInput(name="table", display_name="Table")]
    outputs = [Output(display_name="Text", name="text", method="describe")]

    def describe(self) -> Message:
        table = self.table
        types = ", ".join(f"{name}: {kind}" for name, kind in table.dtypes.items())
        return Message(text=f"{type(table).__name__} {table.shape}\n{types}\n{table.to_csv(index=True)}")
