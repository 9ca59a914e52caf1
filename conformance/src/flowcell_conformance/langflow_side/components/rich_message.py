"""A Message with everything a Message can carry but a stream."""

from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.content_block import ContentBlock
from lfx.schema.content_types import TextContent
from lfx.schema.message import Message


class RichMessage(Component):
    display_name = "Rich Message"
    name = "RichMessage"
    inputs = [MessageTextInput(name="text", display_name="Text")]
    outputs = [Output(display_name="Message", name="out", method="run_it")]

    def run_it(self) -> Message:
        message = Message(
            text=self.text,
            sender="Machine",
            sender_name="Rich",
            context_id="somewhere",
            category="message",
            content_blocks=[ContentBlock(title="Block", contents=[TextContent(text="inside")])],
            properties={"background_color": "red", "allow_markdown": True, "targets": ["t"]},
        )
        message.data["extra"] = {"kept": [1, 2]}
        return message
