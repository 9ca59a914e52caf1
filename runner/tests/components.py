"""Components as users write them."""

HEAD = """
from langflow.custom import Component
from langflow.io import MessageTextInput, SecretStrInput, Output, HandleInput
from langflow.schema import Data
from langflow.schema.message import Message
"""


def component(name: str, body: str, head: str = "", inputs: str = "") -> str:
    """A component with one text input and one output whose method has the given body."""
    indented = "\n".join(f"        {line}" for line in body.strip("\n").splitlines())
    return f"""{HEAD}{head}

class {name}(Component):
    display_name = "{name}"
    name = "{name}"
    inputs = [MessageTextInput(name="input_value", display_name="Input"), {inputs}]
    outputs = [Output(display_name="Out", name="output", method="build_output")]

    async def build_output(self) -> Message:
{indented}
"""


BOOM = (
    HEAD
    + """
class Boom(Component):
    display_name = "Boom"
    name = "Boom"
    inputs = [MessageTextInput(name="input_value", display_name="Input")]
    outputs = [Output(display_name="Out", name="output", method="build_output")]

    def build_output(self) -> Message:
        raise RuntimeError("kaboom: " + str(self.input_value))
"""
)

STREAMING = """
from langflow.base.models.model import LCModelComponent
from langflow.field_typing import LanguageModel


class FakeLLM(LCModelComponent):
    display_name = "Fake LLM"
    name = "FakeLLM"
    inputs = [*LCModelComponent.get_base_inputs()]

    def build_model(self) -> LanguageModel:
        from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
        from langchain_core.messages import AIMessage
        return GenericFakeChatModel(messages=iter([AIMessage(content="one two three")]))
"""

UPPER = (
    HEAD
    + """
class Upper(Component):
    display_name = "Upper"
    name = "Upper"
    description = "Uppercases text"
    inputs = [MessageTextInput(name="text", display_name="Text", tool_mode=True, info="text to upper-case")]
    outputs = [Output(display_name="Out", name="out", method="run_upper")]

    def run_upper(self) -> Data:
        return Data(data={"up": self.text.upper()})
"""
)

USE_TOOLS = component(
    "UseTools",
    """
tool = self.tools[0]
answer = await tool.ainvoke({"text": self.input_value})
return Message(text=f"{tool.name}|{sorted(tool.args_schema.model_json_schema()['properties'])}|{answer}")
""",
    inputs='HandleInput(name="tools", display_name="Tools", input_types=["Tool"], is_list=True)',
)

#: A loop as flows exported before Langflow 1.8 carry it: a real cycle in the graph.
OLD_LOOP = (
    HEAD
    + """
from langflow.schema.dataframe import DataFrame


class LoopComponent(Component):
    display_name = "Loop"
    name = "LoopComponent"
    inputs = [HandleInput(name="data", display_name="Inputs", input_types=["DataFrame", "Data"])]
    outputs = [
        Output(display_name="Item", name="item", method="item_output", allows_loop=True, group_outputs=True),
        Output(display_name="Done", name="done", method="done_output", group_outputs=True),
    ]

    def _state(self):
        if not self.ctx.get(f"{self._id}_initialized"):
            rows = self.data.to_data_list() if isinstance(self.data, DataFrame) else [self.data]
            self.update_ctx({f"{self._id}_rows": rows, f"{self._id}_index": 0, f"{self._id}_done": [],
                             f"{self._id}_initialized": True})
        return self.ctx[f"{self._id}_rows"], self.ctx[f"{self._id}_index"], self.ctx[f"{self._id}_done"]

    def item_output(self) -> Data:
        rows, index, done = self._state()
        if index > len(rows):
            self.stop("item")
            return Data(text="")
        if self.item is not None and not isinstance(self.item, str):
            done.append(self.item)
        self.update_ctx({f"{self._id}_index": index + 1, f"{self._id}_done": done})
        feedback = self.get_incoming_edge_by_target_param("item")
        waits = self.graph.run_manager.run_predecessors[self._id]
        if feedback not in waits:
            waits.append(feedback)
        return rows[index] if index < len(rows) else Data(text="")

    def done_output(self) -> DataFrame:
        rows, index, done = self._state()
        if index > len(rows):
            self.stop("item")
            self.start("done")
            return DataFrame([{"text": item.get_text()} for item in done])
        self.stop("done")
        return DataFrame([])
"""
)
