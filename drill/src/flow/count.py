"""Has its executions counted outside of the cluster, and passes the count on."""

import json
import time
import urllib.request

from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.message import Message


class Count(Component):
    display_name = "Count"
    name = "Count"
    inputs = [
        MessageTextInput(name="text", display_name="Text"),
        MessageTextInput(name="url", display_name="Url"),
        MessageTextInput(name="cell", display_name="Cell"),
    ]
    outputs = [Output(display_name="Text", name="out", method="count")]

    def count(self) -> Message:
        body = json.dumps({"cell": self.cell, "text": self.text}).encode()
        request = urllib.request.Request(self.url, body, {"content-type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            counted = json.load(answer)
        # Faults are to meet cells that run.
        time.sleep(counted["nap_seconds"])
        return Message(text=counted["text"])
