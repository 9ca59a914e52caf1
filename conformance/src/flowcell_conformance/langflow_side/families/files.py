"""Flows that read and write uploaded files."""

from collections.abc import Callable

from describe_table import DescribeTable
from lfx.components.files_and_knowledge.directory import DirectoryComponent
from lfx.components.files_and_knowledge.file import FileComponent
from lfx.components.files_and_knowledge.save_file import SaveToFileComponent
from lfx.graph import Graph

from .kit import chat_input, chat_output


def read_file() -> Graph:
    start = FileComponent(_id="File-bbbbb")
    return Graph(start, chat_output(start.load_files_message))


def read_folder() -> Graph:
    start = DirectoryComponent(_id="Directory-bbbbb")
    words = DescribeTable(_id="DescribeTable-ddddd")
    words.set(table=start.as_dataframe)
    return Graph(start, chat_output(words.describe))


def echo_files() -> Graph:
    start = chat_input()
    return Graph(start, chat_output(start.message_response))


def write_file() -> Graph:
    start = chat_input()
    save = SaveToFileComponent(_id="SaveToFile-bbbbb")
    save.set(input=start.message_response, file_name="out", storage_location=[{"name": "Local"}])
    return Graph(start, chat_output(save.save_to_file))


FLOWS: dict[str, Callable[[], Graph]] = {
    "read_file": read_file,
    "read_folder": read_folder,
    "echo_files": echo_files,
    "write_file": write_file,
}
