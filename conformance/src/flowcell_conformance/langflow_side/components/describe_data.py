"""Says what arrived, with its Python types."""

from lfx.custom.custom_component.component import Component
from lfx.io import DataInput, Output
from lfx.schema.data import Data
from lfx.schema.message import Message


class DescribeData(Component):
    display_name = "Describe Data"
    name = "DescribeData"
    inputs = [DataInput(name="data", display_name="Data", is_list=True)]
    outputs = [Output(display_name="Text", name="text", method="describe")]

    def describe(self) -> Message:
        items = self.data if isinstance(self.data, list) else [self.data]
        return Message(text=f"{len(items)} items\n" + "\n".join(self.one(item) for item in items))

    def one(self, item: object) -> str:
        if not isinstance(item, Data):
            return f"{type(item).__name__}: {item!r}"
        lines = [f"{key}: {type(value).__name__} {value!r}" for key, value in sorted(item.data.items())]
        return "\n".join([f"{type(item).__name__} text_key={item.text_key}", *lines])
