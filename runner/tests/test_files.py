"""Uploaded files: which the runner asks for, where they lie, what it sends back."""

import base64
import shutil
import uuid
from pathlib import Path

import pytest
from lfx.components.files_and_knowledge.directory import DirectoryComponent
from lfx.components.files_and_knowledge.file import FileComponent
from lfx.components.files_and_knowledge.save_file import SaveToFileComponent
from lfx.schema.message import Message

import flows
from components import component
from flowcell_runner.codec import Encoder
from flowcell_runner.files import FOLDER, Files, appended_to
from flows import edge, node, task
from worker import Refuse, Store, run_cell

PIECE_BYTES = 4


class Shelf(Store):
    """A worker with files, in pieces of a few bytes."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__()
        self.files = files
        self.asked: list[str] = []

    def __call__(self, op, args):
        if op == "file.get":
            self.asked.append(args["path"])
            if args["path"] not in self.files:
                raise Refuse("not_found")
            data, start = self.files[args["path"]], args["piece"] * PIECE_BYTES
            piece, more = data[start : start + PIECE_BYTES], start + PIECE_BYTES < len(data)
            return {"data": base64.b64encode(piece).decode(), "more": more}
        if op == "file.list":
            return {"names": [path.partition("/")[2] for path in self.files if path.startswith(args["owner"])]}
        if op == "file.put":
            self.files[args["path"]] = base64.b64decode(args["data"])
            return {"path": args["path"]}
        return super().__call__(op, args)


@pytest.fixture
def user():
    owner = str(uuid.uuid4())
    yield owner
    shutil.rmtree(FOLDER / owner, ignore_errors=True)


def one(kind, node_id, user, answer, **values):
    flow = {"nodes": [node(node_id, flows.source_of(kind), **values)], "edges": []}
    return run_cell(task(flow, node_id, user_id=user), answer)


def text_of(outcome, node_id, output="message"):
    assert not outcome.failure, outcome.failure
    return outcome.result["nodes"][node_id]["outputs"][output]["text"]


def test_a_named_file_is_there_before_the_component_reads_it(user):
    shelf = Shelf({f"{user}/notes.txt": "Zoë wrote this".encode(), f"{user}/other.txt": b"not named"})
    outcome = one(FileComponent, "File-a", user, shelf, path={"value": "", "file_path": [f"{user}/notes.txt"]})
    assert text_of(outcome, "File-a") == "Zoë wrote this"
    assert set(shelf.asked) == {f"{user}/notes.txt"}


def test_a_file_that_is_not_to_be_had_is_missing_in_lfx_own_words(user):
    shelf = Shelf({})
    outcome = one(FileComponent, "File-a", user, shelf, path={"value": "", "file_path": [f"{user}/gone.txt"]})
    assert f"File not found: '{FOLDER}/{user}/gone.txt'" in outcome.failure["message"]
    assert not (FOLDER / user / "gone.txt").exists()


@pytest.mark.parametrize(
    "path", ["{stranger}/notes.txt", "/tmp/.lfx/{stranger}/notes.txt", "{user}/../{stranger}/notes.txt", "/etc/passwd"]
)
def test_what_is_not_the_users_is_neither_asked_for_nor_read(user, path):
    stranger = str(uuid.uuid4())
    shelf = Shelf({f"{stranger}/notes.txt": b"secret"})
    named = path.format(user=user, stranger=stranger)
    outcome = one(FileComponent, "File-a", user, shelf, path={"value": "", "file_path": [named]})
    assert "outside the authenticated user's storage scope" in outcome.failure["message"]
    assert outcome.failure["kind"] == "input"
    assert shelf.asked == []


def test_chat_input_takes_a_list_of_files(user):
    shelf = Shelf({f"{user}/a.txt": b"first", f"{user}/b.txt": b"second"})
    chat = flows.chat_input()
    chat["data"]["node"]["template"]["files"]["file_path"] = [f"{user}/a.txt", f"{user}/b.txt"]
    outcome = run_cell(task({"nodes": [chat], "edges": []}, "ChatInput-aaaaa", user_id=user), shelf)
    assert not outcome.failure, outcome.failure
    files = outcome.result["nodes"]["ChatInput-aaaaa"]["outputs"]["message"]["fields"]["files"]
    assert files == [f"{FOLDER}/{user}/a.txt", f"{FOLDER}/{user}/b.txt"]


def test_a_folder_brings_all_its_files(user):
    shelf = Shelf({f"{user}/a.txt": b"first", f"{user}/b.txt": b"second"})
    outcome = one(DirectoryComponent, "Directory-a", user, shelf, path=f"{FOLDER}/{user}")
    assert not outcome.failure, outcome.failure
    assert set(shelf.asked) == {f"{user}/a.txt", f"{user}/b.txt"}
    table = outcome.result["nodes"]["Directory-a"]["outputs"]["dataframe"]
    texts = next(column["values"] for column in table["columns"] if column["name"] == "text")
    assert sorted(texts) == ["first", "second"]


def write(user, shelf, **values):
    """Write File, fed by a chat input in another cell."""
    save = node("SaveToFile-a", flows.source_of(SaveToFileComponent), **WRITES, **values)
    flow = {
        "nodes": [flows.chat_input(), save],
        "edges": [edge("ChatInput-aaaaa", "message", "SaveToFile-a", "input")],
    }
    words = {"ChatInput-aaaaa": {"message": Encoder().encode(Message(text="words"))}}
    return run_cell(task(flow, "SaveToFile-a", user_id=user, inputs=words), shelf)


WRITES = {"storage_location": [{"name": "Local"}], "local_format": "txt"}


def test_what_is_written_leaves_the_container(user):
    shelf = Shelf({})
    outcome = write(user, shelf, file_name="out")
    assert text_of(outcome, "SaveToFile-a").startswith("Message saved successfully as")
    assert shelf.files == {f"{user}/out.txt": b"words"}


def test_appending_reads_what_is_there(user):
    shelf = Shelf({f"{user}/log.txt": b"earlier"})
    outcome = write(user, shelf, file_name="log", append_mode=True)
    assert text_of(outcome, "SaveToFile-a").startswith("Message appended to")
    assert shelf.files == {f"{user}/log.txt": b"earlier\nwords"}


def test_a_refused_file_is_the_components_error(user):
    class Full(Shelf):
        def __call__(self, op, args):
            if op == "file.put":
                raise Refuse("invalid", "the sum of the tenant's files would be 9 bytes large; 8 are allowed")
            return super().__call__(op, args)

    outcome = write(user, Full({}), file_name="out")
    assert outcome.failure["kind"] == "component"
    assert "8 are allowed" in outcome.failure["message"]


def test_files_of_stored_messages_are_there_before_the_messages(user):
    body = """
        messages = await aget_messages(session_id="s1")
        return Message(text=str([open(message.files[0]).read() for message in messages]))"""
    source = component("Recall", body, head="from lfx.memory import aget_messages")
    path = f"{flows.FLOW}/old-{user}.txt"
    shelf = Shelf({path: b"from long ago"})
    row = {"id": str(uuid.uuid4()), "sender": "User", "sender_name": "U", "session_id": "s1", "text": "x"}
    shelf.messages["1"] = {**row, "files": [f"{FOLDER}/{path}"], "timestamp": "2026-11-21 23:02:31.321239 UTC"}
    try:
        outcome = run_cell(task({"nodes": [node("Recall-a", source)], "edges": []}, "Recall-a", user_id=user), shelf)
    finally:
        (FOLDER / path).unlink(missing_ok=True)
    assert text_of(outcome, "Recall-a", "output") == "['from long ago']"


def test_a_user_without_files_asks_nothing(user):
    shelf = Shelf({})
    body = "return Message(text='a/b')"
    flow = {"nodes": [node("Plain-a", component("Plain", body))], "edges": []}
    assert not run_cell(task(flow, "Plain-a", user_id=user), shelf).failure
    assert shelf.asked == []


def test_names_are_one_segment():
    files = Files(None, frozenset({"u"}))
    for name in ("u/", "u/.", "u/..", "u/a/b", "u/a\\b", "u/a\0b", f"u/{'x' * 256}", "v/a", "a"):
        assert files._path_of(name) is None, name
    assert files._path_of("u/a b.txt") == "u/a b.txt"
    assert files._path_of(f"{FOLDER}/u/ü.txt") == "u/ü.txt"


def test_only_appending_names_what_is_written():
    template = {"file_name": {"value": "log"}, "append_mode": {"value": False}}
    graph = {"nodes": [{"data": {"node": {"template": template}}}]}
    assert appended_to(graph, "u") == []
    template["append_mode"]["value"] = True
    assert "u/log.txt" in appended_to(graph, "u")


def test_the_folder_is_lfx_own():
    from flowcell_runner import environment

    assert Path(environment._SETTINGS["LANGFLOW_CONFIG_DIR"]) == FOLDER
