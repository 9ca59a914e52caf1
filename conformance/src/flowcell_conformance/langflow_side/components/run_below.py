"""Runs another flow by itself, and says what came back with its Python types."""

from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.message import Message


class RunBelow(Component):
    display_name = "Run Below"
    name = "RunBelow"
    inputs = [
        MessageTextInput(name="text", display_name="Text"),
        MessageTextInput(name="flow", display_name="Flow"),
        MessageTextInput(name="output_type", display_name="Output Type", value="chat"),
        MessageTextInput(name="template", display_name="Template", value=""),
    ]
    outputs = [Output(display_name="Text", name="out", method="run_below")]

    async def run_below(self) -> Message:
        runs = await self.run_flow(
            inputs={"input_value": self.text},
            flow_name=self.flow,
            output_type=self.output_type,
            tweaks={"Prompt-bbbbb": {"template": self.template}} if self.template else None,
        )
        lines = [f"{run.inputs}" for run in runs]
        for result in runs[0].outputs:
            kinds = sorted(f"{name}={type(value).__name__}" for name, value in (result.results or {}).items())
            said = [message.message for message in result.messages or []]
            lines.append(f"{result.component_id}: {kinds} {said}")
        return Message(text="\n".join(lines))
