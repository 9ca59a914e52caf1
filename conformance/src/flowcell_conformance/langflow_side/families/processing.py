"""Langflow's own components between input and output, one flow each."""

from typing import Any

from describe_data import DescribeData
from describe_table import DescribeTable
from lfx.components.data_source.json_to_data import JSONToDataComponent
from lfx.components.data_source.sql_executor import SQLComponent
from lfx.components.processing.combine_text import CombineTextComponent
from lfx.components.processing.converter import TypeConverterComponent
from lfx.components.processing.create_list import CreateListComponent
from lfx.components.processing.data_operations import DataOperationsComponent
from lfx.components.processing.dataframe_operations import DataFrameOperationsComponent
from lfx.components.processing.extract_key import ExtractDataKeyComponent
from lfx.components.processing.json_cleaner import JSONCleaner
from lfx.components.processing.merge_data import MergeDataComponent
from lfx.components.processing.parser import ParserComponent
from lfx.components.processing.regex import RegexExtractorComponent
from lfx.components.processing.split_text import SplitTextComponent
from lfx.components.processing.text_operations import TextOperations
from lfx.components.utilities.calculator_core import CalculatorComponent
from lfx.components.utilities.python_repl_core import PythonREPLComponent
from lfx.graph import Graph
from lfx.template.field.base import Output
from make_data import MakeData
from make_table import MakeTable

from .kit import chat_input, chat_output, dumped, prompt, shown

MANY_FIELDS = 24


def _table() -> tuple[Any, MakeTable]:
    start = chat_input()
    data = MakeData(_id="MakeData-bbbbb")
    data.set(text=start.message_response)
    table = MakeTable(_id="MakeTable-ccccc")
    table.set(data=data.build_data)
    return start, table


def _told(start: Any, output: Any, reader: type = DescribeData, field: str = "data") -> Graph:
    said = reader(_id=f"{reader.__name__}-yyyyy")
    said.set(**{field: output})
    return Graph(start, chat_output(said.describe))


def split_text() -> Graph:
    start = chat_input()
    split = SplitTextComponent(_id="SplitText-bbbbb")
    split.set(data_inputs=start.message_response, chunk_size=20, chunk_overlap=5, separator=" ")
    return _told(start, split.split_text, DescribeTable, "table")


def parse_table() -> Graph:
    start, table = _table()
    parser = ParserComponent(_id="Parser-ppppp")
    parser.set(input_data=table.build_table, pattern="{word}={length} {maybe}", sep=" ; ")
    return Graph(start, chat_output(parser.parse_combined_text))


def convert_round() -> Graph:
    """A text as JSON, as a table, and as a text again."""
    start = chat_input()
    first = TypeConverterComponent(_id="TypeConverterComponent-aaaa1")
    first.set(input_data=start.message_response, output_type="JSON", auto_parse=True)
    second = TypeConverterComponent(_id="TypeConverterComponent-aaaa2")
    second.set(input_data=first.convert_to_data, output_type="Table")
    third = TypeConverterComponent(_id="TypeConverterComponent-aaaa3")
    third.set(input_data=second.convert_to_dataframe, output_type="Message")
    return Graph(start, chat_output(third.convert_to_message))


def many_fields() -> Graph:
    """A prompt with two dozen variables, most of them of its own."""
    start = chat_input()
    names = [f"v{number}" for number in range(MANY_FIELDS)]
    values: dict[str, Any] = {name: f"<{name}>" for name in names}
    values |= {"v3": start.message_response, "v7": start.message_response}
    many = prompt("bbbbb", " ".join(f"{{{name}}}" for name in names), **values)
    return Graph(start, chat_output(many.build_prompt))


def regex() -> Graph:
    start = chat_input()
    found = RegexExtractorComponent(_id="RegexExtractorComponent-bbbbb")
    found.set(input_text=start.message_response, pattern=r"[a-z]+(\d+)")
    return Graph(start, chat_output(found.get_matches_text))


def regex_data() -> Graph:
    start = chat_input()
    found = RegexExtractorComponent(_id="RegexExtractorComponent-bbbbb")
    found.set(input_text=start.message_response, pattern=r"\d+")
    return _told(start, found.extract_matches)


def clean_json() -> Graph:
    start = chat_input()
    clean = JSONCleaner(_id="JSONCleaner-bbbbb")
    clean.set(
        json_str=start.message_response, remove_control_chars=True, normalize_unicode=True, validate_json=True
    )
    return Graph(start, chat_output(clean.clean_json))


def load_json() -> Graph:
    start = chat_input()
    load = JSONToDataComponent(_id="JSONtoData-bbbbb")
    load.set(json_string=start.message_response)
    return _told(start, load.convert_json_to_data)


def select_keys() -> dict[str, Any]:
    start = chat_input()
    data = MakeData(_id="MakeData-bbbbb")
    data.set(text=start.message_response)
    chosen = DataOperationsComponent(_id="DataOperations-ccccc")
    chosen.set(data=data.build_data, operations=[{"name": "Select Keys"}], select_keys_input=["text"])
    return shown(dumped(_told(start, chosen.as_data)), "DataOperations-ccccc", "select_keys_input")


def json_query() -> dict[str, Any]:
    start = chat_input()
    load = JSONToDataComponent(_id="JSONtoData-bbbbb")
    load.set(json_string=start.message_response)
    chosen = DataOperationsComponent(_id="DataOperations-ccccc")
    chosen.set(
        data=load.convert_json_to_data, operations=[{"name": "JQ Expression"}], query=".people | map(.name)"
    )
    return shown(dumped(_told(start, chosen.as_data)), "DataOperations-ccccc", "query")


def sort_table() -> dict[str, Any]:
    start, table = _table()
    ordered = DataFrameOperationsComponent(_id="DataFrameOperations-ddddd")
    ordered.set(df=table.build_table, operation=[{"name": "Sort"}], column_name="length", ascending=False)
    return shown(
        dumped(_told(start, ordered.perform_operation, DescribeTable, "table")),
        "DataFrameOperations-ddddd",
        "column_name",
        "ascending",
    )


def text_case() -> dict[str, Any]:
    start = chat_input()
    changed = TextOperations(_id="TextOperations-bbbbb")
    # The editor adds the outputs of the chosen operation.
    changed.outputs = [
        Output(name="message", display_name="Message", method="get_message", types=["Message"])
    ]
    changed.map_outputs()
    changed.set(
        text_input=start.message_response, operation=[{"name": "Case Conversion"}], case_type="swapcase"
    )
    return shown(dumped(Graph(start, chat_output(changed.get_message))), "TextOperations-bbbbb", "case_type")


def combine_text() -> Graph:
    start = chat_input()
    both = CombineTextComponent(_id="CombineText-bbbbb")
    both.set(text1=start.message_response, text2=start.message_response, delimiter=" <> ")
    return Graph(start, chat_output(both.combine_texts))


def create_list() -> Graph:
    start = chat_input()
    made = CreateListComponent(_id="CreateList-bbbbb")
    made.set(texts=["one", "zwei", "三"])
    graph = Graph(start, chat_output(start.message_response))
    said = DescribeData(_id="DescribeData-yyyyy")
    said.set(data=made.create_list)
    graph.add_component(chat_output(said.describe, "ChatOutput-lllll"))
    return graph


def merge_data() -> Graph:
    start = chat_input()
    made = []
    for node in ("bbbb1", "bbbb2"):
        data = MakeData(_id=f"MakeData-{node}")
        data.set(text=start.message_response)
        made.append(data.build_data)
    merged = MergeDataComponent(_id="MergeDataComponent-ccccc")
    merged.set(data_inputs=made, operation="Append")
    return _told(start, merged.combine_data, DescribeTable, "table")


def extract_key() -> Graph:
    start = chat_input()
    data = MakeData(_id="MakeData-bbbbb")
    data.set(text=start.message_response)
    extract = ExtractDataKeyComponent(_id="ExtractaKey-ccccc")
    extract.set(data_input=data.build_data, key="text")
    return _told(start, extract.extract_key)


def calculator() -> Graph:
    start = chat_input()
    sums = CalculatorComponent(_id="CalculatorComponent-bbbbb")
    sums.set(expression=start.message_response)
    return _told(start, sums.evaluate_expression)


def interpreter() -> Graph:
    """Python code from the chat."""
    start = chat_input()
    python = PythonREPLComponent(_id="PythonREPLComponent-bbbbb")
    python.set(python_code=start.message_response, global_imports="math,json")
    return _told(start, python.run_python_repl)


def sql() -> Graph:
    """A query against a database in the cell's own memory."""
    start = chat_input()
    query = SQLComponent(_id="SQLComponent-bbbbb")
    query.set(database_url="sqlite://", query=start.message_response, add_error=True)
    return _told(start, query.run_sql_query, DescribeTable, "table")


FLOWS = {
    "split_text": split_text,
    "parse_table": parse_table,
    "convert_round": convert_round,
    "many_fields": many_fields,
    "regex": regex,
    "regex_data": regex_data,
    "clean_json": clean_json,
    "load_json": load_json,
    "select_keys": select_keys,
    "json_query": json_query,
    "sort_table": sort_table,
    "text_case": text_case,
    "combine_text": combine_text,
    "create_list": create_list,
    "merge_data": merge_data,
    "extract_key": extract_key,
    "calculator": calculator,
    "interpreter": interpreter,
    "sql": sql,
}
