"""Fetches a page, over TLS if a certificate authority is given."""

import ssl

import httpx
from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, MultilineInput, Output
from lfx.schema.message import Message


class Fetch(Component):
    display_name = "Fetch"
    name = "Fetch"
    inputs = [
        MessageTextInput(name="text", display_name="Text"),
        MessageTextInput(name="url", display_name="URL"),
        MultilineInput(name="authority", display_name="Authority"),
    ]
    outputs = [Output(display_name="Text", name="out", method="run_it")]

    async def run_it(self) -> Message:
        context = ssl.create_default_context(cadata=self.authority) if self.authority else True
        async with httpx.AsyncClient(verify=context) as client:
            answer = await client.get(self.url, params={"q": self.text})
        return Message(text=f"{answer.status_code} {answer.text}")
