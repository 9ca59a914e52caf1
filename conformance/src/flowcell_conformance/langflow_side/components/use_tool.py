"""Calls every tool that an edge brought."""

from lfx.custom.custom_component.component import Component
from lfx.io import HandleInput, MessageTextInput, Output
from lfx.schema.message import Message


class UseTool(Component):
    display_name = "Use Tool"
    name = "UseTool"
    inputs = [
        HandleInput(name="tools", display_name="Tools", input_types=["Tool"], is_list=True),
        MessageTextInput(name="text", display_name="Text"),
    ]
    outputs = [Output(display_name="Result", name="result", method="use")]

    async def use(self) -> Message:
        lines = []
        for tool in self.tools:
            field = next(iter(tool.args_schema.model_json_schema()["properties"]))
            lines.append(f"{tool.name}({field}) = {await tool.ainvoke({field: self.text})}")
        return Message(text="\n".join(lines))
