"""Language models: handed over an edge, asked row by row, asked for structure."""

from typing import Any

from ask_model import AskModel
from describe_data import DescribeData
from describe_table import DescribeTable
from lfx.components.llm_operations.batch_run import BatchRunComponent
from lfx.components.llm_operations.lambda_filter import LambdaFilterComponent
from lfx.components.llm_operations.structured_output import StructuredOutputComponent
from lfx.components.models_and_agents import LanguageModelComponent
from lfx.components.processing.parser import ParserComponent
from lfx.graph import Graph
from make_data import MakeData
from make_table import MakeTable

from .kit import chat_input, chat_output, prompt


def _table() -> tuple[Any, MakeTable]:
    start = chat_input()
    data = MakeData(_id="MakeData-bbbbb")
    data.set(text=start.message_response)
    table = MakeTable(_id="MakeTable-ccccc")
    table.set(data=data.build_data)
    return start, table


def model_edge() -> Graph:
    """The model itself goes over an edge, as in the exports of Langflow 1.6 and before."""
    start = chat_input()
    model = LanguageModelComponent(_id="LanguageModelComponent-mmmmm")
    ask = AskModel(_id="AskModel-bbbbb")
    ask.set(model=model.build_model, question=start.message_response)
    return Graph(start, chat_output(ask.ask))


def model_both() -> Graph:
    """One model node that answers, and is handed on as well."""
    start = chat_input()
    model = LanguageModelComponent(_id="LanguageModelComponent-mmmmm")
    model.set(input_value=start.message_response)
    ask = AskModel(_id="AskModel-bbbbb")
    ask.set(model=model.build_model, question=start.message_response)
    both = prompt("ppppp", "{a} / {b}", a=model.text_response, b=ask.ask)
    return Graph(start, chat_output(both.build_prompt))


def model_chain() -> Graph:
    """Three models in a row; the answer counts the tokens of all."""
    start = chat_input()
    step = start.message_response
    for number in range(3):
        model = LanguageModelComponent(_id=f"LanguageModelComponent-mmmm{number}")
        model.set(input_value=step, system_message=f"step {number}")
        step = model.text_response
    return Graph(start, chat_output(step))


def batch_run() -> Graph:
    start, table = _table()
    batch = BatchRunComponent(_id="BatchRunComponent-rrrrr")
    batch.set(df=table.build_table, column_name="word", system_message="Be short.", enable_metadata=True)
    said = DescribeTable(_id="DescribeTable-ddddd")
    said.set(table=batch.run_batch)
    return Graph(start, chat_output(said.describe))


def batch_run_rows() -> Graph:
    """Whole rows as questions."""
    start, table = _table()
    batch = BatchRunComponent(_id="BatchRunComponent-rrrrr")
    batch.set(df=table.build_table)
    parser = ParserComponent(_id="Parser-ppppp")
    parser.set(input_data=batch.run_batch, pattern="{batch_index}: {model_response}")
    return Graph(start, chat_output(parser.parse_combined_text))


def structured_output() -> Graph:
    start = chat_input()
    structured = StructuredOutputComponent(_id="StructuredOutput-sssss")
    structured.set(
        input_value=start.message_response,
        schema_name="Person",
        output_schema=[
            {"name": "name", "description": "a name", "type": "str", "multiple": "False"},
            {"name": "age", "description": "an age", "type": "int", "multiple": "False"},
        ],
    )
    said = DescribeData(_id="DescribeData-ddddd")
    said.set(data=structured.build_structured_output)
    return Graph(start, chat_output(said.describe))


def smart_transform() -> Graph:
    """A model writes the function that is applied."""
    start = chat_input()
    data = MakeData(_id="MakeData-bbbbb")
    data.set(text=start.message_response)
    change = LambdaFilterComponent(_id="SmartTransform-ttttt")
    change.set(data=data.build_data, filter_instruction="write the lambda")
    said = DescribeData(_id="DescribeData-ddddd")
    said.set(data=change.process_as_data)
    return Graph(start, chat_output(said.describe))


FLOWS = {
    "model_edge": model_edge,
    "model_both": model_both,
    "model_chain": model_chain,
    "batch_run": batch_run,
    "batch_run_rows": batch_run_rows,
    "structured_output": structured_output,
    "smart_transform": smart_transform,
}
