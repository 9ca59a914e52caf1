"""Says what a Message carried across the edge."""

from lfx.custom.custom_component.component import Component
from lfx.io import MessageInput, Output
from lfx.schema.message import Message


class DescribeMessage(Component):
    display_name = "Describe Message"
    name = "DescribeMessage"
    inputs = [MessageInput(name="text", display_name="Message")]
    outputs = [Output(display_name="Text", name="out", method="run_it")]

    def run_it(self) -> Message:
        seen = self.text
        blocks = [
            (block.title, [content.type for content in block.contents]) for block in seen.content_blocks
        ]
        return Message(
            text=f"{type(seen).__name__} {seen.text!r} {seen.sender} {seen.sender_name} {seen.context_id}"
            f" {seen.category} {seen.files} {blocks} {seen.properties.background_color}"
            f" {seen.properties.targets} {seen.data.get('extra')}"
        )
