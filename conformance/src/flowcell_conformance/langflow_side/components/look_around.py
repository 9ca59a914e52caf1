"""Looks at the graph it is part of, as user code may."""

from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.message import Message


class LookAround(Component):
    display_name = "Look Around"
    name = "LookAround"
    inputs = [MessageTextInput(name="text", display_name="Text")]
    outputs = [Output(display_name="Text", name="out", method="run_it")]

    def run_it(self) -> Message:
        ids = sorted(vertex.id for vertex in self.graph.vertices)
        return Message(text=f"{len(ids)} {ids} {self.graph.session_id} {self._id}")
