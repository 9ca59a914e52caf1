"""What is asked of both servers: for each flow, inputs that have been or could be answered differently."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .normalise import Json

SESSION = "$SESSION"
"""Stands in a body for a session id that is new in every execution."""

MODEL_NAME = "gpt-4o-mini"
MODEL_NODE = "LanguageModelComponent-FLeYF"
MODEL_CHOICE: Json = [{"name": MODEL_NAME, "provider": "OpenAI"}]

Address = Literal["name", "id", "unknown-name", "unknown-id"]
Key = Literal["right", "wrong", "none"]


@dataclass(frozen=True)
class Deviation:
    """A place where Flowcell answers otherwise on purpose; shown, but not counted as different."""

    path: str
    """Shell pattern of the places, for example `events[[]*].data.text`."""
    reason: str


@dataclass(frozen=True)
class Part:
    """Where a run starts and stops."""

    start: str | None = None
    stop: str | None = None


@dataclass(frozen=True)
class Case:
    """One request, asked with the stream on and off unless `streams` says otherwise."""

    name: str
    flow: str
    body: Json = None
    raw: bytes | None = None
    streams: tuple[bool | None, ...] = (False, True)
    headers: Mapping[str, str] = field(default_factory=dict)
    address: Address = "name"
    key: Key = "right"
    before: tuple[Json, ...] = ()
    """Bodies run first, in order, without a stream; their answers are not compared."""
    uses_model: bool = False
    uses_files: bool = False
    """Whether the body names files, in the words of `places.py`."""
    messages: bool = False
    """Whether the stored messages of the session are compared too."""
    interleaved: bool = False
    """Events of different names come in no fixed order, since Langflow sends them from several
    threads: only the order among events of one name is compared."""
    deviations: tuple[Deviation, ...] = ()
    route: Literal["run", "webhook"] = "run"
    part: Part | None = None
    """Which part of the flow to build; then only the nodes that were built are compared, since
    Langflow answers such requests on routes of its editor."""
    in_background: int = 0
    """Messages that the run stores after its answer, in the flow's own session: they are waited for
    and compared. Earlier ones of that session are deleted first."""

    def content(self, body: Json, session: str) -> bytes:
        """The bytes to send for a body of this case."""
        return json.dumps(body).replace(SESSION, session).encode()


def ask(text: str, **more: Json) -> dict[str, Json]:
    """The plain body of a chat, in a session of its own."""
    return {"input_value": text, "session_id": SESSION, **more}


def _model(text: str, **more: Json) -> dict[str, Json]:
    tweaks: Json = {MODEL_NODE: {"model": MODEL_CHOICE}}
    return ask(text, tweaks=tweaks, **more)


def _agents(text: str, *nodes: str, **more: Json) -> dict[str, Json]:
    """With the model set on these nodes."""
    tweaks: Json = {node: {"model": MODEL_CHOICE} for node in nodes}
    return ask(text, tweaks=tweaks, **more)


MASKED_EARLIER = (
    Deviation("events[[]*.text", "Flowcell masks secrets in message events too"),
    Deviation("messages[[]*].text", "Flowcell masks secrets in stored messages too"),
)
NO_NAN = (
    Deviation("events[[]*].maybe", "NaN is not JSON: Flowcell answers null, as Langflow does unstreamed"),
)

FOUND_LATER = (
    Deviation("event*", "Flowcell makes a component when its cell starts: earlier cells have spoken by then"),
)

LONG = "All work and no play makes Jack a dull boy. " * 500
UNICODE = 'Zoë 🦀 日本語 \u202eעברית\u202c "quoted" \\ back\nnew\tline \u0000 end'


def _read(*paths: str, **more: Json) -> dict[str, Json]:
    """With these files in the File component."""
    listed: list[Json] = list(paths)
    return ask("unused", tweaks={"File-bbbbb": {"path": listed}}, **more)


def _show(*paths: str, text: str = "What is this?") -> dict[str, Json]:
    """A chat with these files, sent to the model."""
    listed: list[Json] = list(paths)
    return ask(text, tweaks={MODEL_NODE: {"model": MODEL_CHOICE}, "Chat Input": {"files": listed}})


def _file_cases() -> list[Case]:
    """Uploaded files in components."""

    def case(name: str, flow: str, body: Json, *, model: bool = False, before: tuple[Json, ...] = ()) -> Case:
        return Case(name, flow, body, before=before, uses_files=True, uses_model=model, messages=True)

    def save(**fields: Json) -> dict[str, Json]:
        return ask("some text", tweaks={"SaveToFile-bbbbb": fields})

    return [
        case("text", "read_file", _read("$USER/notes.txt")),
        case("csv", "read_file", _read("$USER/table.csv")),
        case("json", "read_file", _read("$USER/data.json")),
        case("two", "read_file", _read("$USER/notes.txt", "$USER/table.csv")),
        case("debug", "read_file", _read("$USER/notes.txt", output_type="debug")),
        case("none", "read_file", ask("unused")),
        case("missing", "read_file", _read("$USER/gone.txt")),
        case("foreign", "read_file", _read("$STRANGER/notes.txt")),
        case("foreign-absolute", "read_file", _read("$STORAGE/$STRANGER/notes.txt")),
        case("upwards", "read_file", _read("$USER/../$STRANGER/notes.txt")),
        case("outside", "read_file", _read("/etc/passwd")),
        # One file of a kind: a folder has no order.
        case(
            "folder",
            "read_folder",
            ask("x", tweaks={"Directory-bbbbb": {"path": "$STORAGE/$USER", "types": ["csv"]}}),
        ),
        case("upwards", "read_folder", ask("x", tweaks={"Directory-bbbbb": {"path": "$STORAGE/.."}})),
        case("foreign", "read_folder", ask("x", tweaks={"Directory-bbbbb": {"path": "$STORAGE/$STRANGER"}})),
        case("picture", "model", _show("$FLOW_PICTURE"), model=True),
        case("picture-of-user", "model", _show("$USER/picture.png"), model=True),
        case("two-files", "model", _show("$FLOW_PICTURE", "$USER/notes.txt"), model=True),
        case("no-picture", "model", _show("$USER/no picture.png"), model=True),
        case("missing-picture", "model", _show("$FLOW/gone.png"), model=True),
        case("foreign-picture", "model", _show("$STRANGER/picture.png"), model=True),
        case("picture", "echo_files", ask("hi", tweaks={"ChatInput-aaaaa": {"files": ["$FLOW_PICTURE"]}})),
        case("text", "write_file", save(local_format="txt")),
        case("json", "write_file", save(file_name="other", local_format="json")),
        case("upwards", "write_file", save(file_name="../out", local_format="txt")),
        case(
            "append",
            "write_file",
            save(file_name="log", local_format="txt", append_mode=True),
            before=(save(file_name="log", local_format="txt", append_mode=True),),
        ),
    ]


CASES: tuple[Case, ...] = (
    # echo: inputs
    Case("plain", "echo", ask("Bob"), messages=True),
    Case("by-id", "echo", ask("Bob"), address="id"),
    Case("no-session", "echo", {"input_value": "Bob"}),
    Case("stream-not-said", "echo", ask("Bob"), streams=(None,)),
    Case("empty-input", "echo", ask("")),
    Case("null-input", "echo", {"input_value": None, "session_id": SESSION}),
    Case("no-input", "echo", {"session_id": SESSION}),
    Case("empty-object", "echo", {}),
    Case("unicode", "echo", ask(UNICODE), messages=True),
    Case("long", "echo", ask(LONG)),
    Case("braces", "echo", ask("{name} {{x}} {")),
    Case("html", "echo", ask("<b>&amp;</b>")),
    Case("session-with-spaces", "echo", {"input_value": "Bob", "session_id": "a b/c ä " + SESSION}),
    Case("empty-session", "echo", {"input_value": "Bob", "session_id": ""}),
    Case("user-id", "echo", ask("Bob", user_id="someone")),
    Case("extra-key", "echo", ask("Bob", no_such_key=1)),
    Case("wrapped", "echo", {"input_request": ask("Bob")}),
    Case("wrapped-with-context", "echo", {"input_request": ask("Bob"), "context": {"a": 1}}),
    Case("wrapped-wrong-type", "echo", {"input_request": {"input_value": 7}}),
    # echo: what comes back
    Case("output-any", "echo", ask("Bob", output_type="any")),
    Case("output-text", "echo", ask("Bob", output_type="text")),
    Case("output-debug", "echo", ask("Bob", output_type="debug")),
    Case("output-unknown-type", "echo", ask("Bob", output_type="nonsense")),
    Case("output-component", "echo", ask("Bob", output_component="Prompt-bbbbb")),
    Case("output-component-input", "echo", ask("Bob", output_component="ChatInput-aaaaa")),
    Case("output-component-display-name", "echo", ask("Bob", output_component="Chat Output")),
    Case("output-component-unknown", "echo", ask("Bob", output_component="Nope-nnnnn")),
    Case("input-text", "echo", ask("Bob", input_type="text")),
    Case("input-any", "echo", ask("Bob", input_type="any")),
    Case("input-unknown-type", "echo", ask("Bob", input_type="nonsense")),
    # echo: tweaks
    Case("tweak-id", "echo", ask("Bob", tweaks={"Prompt-bbbbb": {"template": "Hi {name}"}})),
    Case("tweak-name", "echo", ask("Bob", tweaks={"Prompt Template": {"template": "Hi {name}"}})),
    Case("tweak-type", "echo", ask("Bob", tweaks={"Prompt": {"template": "Hi {name}"}})),
    Case("tweak-all", "echo", ask("Bob", tweaks={"template": "Hi {name}"})),
    Case("tweak-unknown-node", "echo", ask("Bob", tweaks={"Nope-nnnnn": {"template": "Hi"}})),
    Case("tweak-unknown-field", "echo", ask("Bob", tweaks={"Prompt-bbbbb": {"nope": "Hi"}})),
    Case("tweak-code", "echo", ask("Bob", tweaks={"Prompt-bbbbb": {"code": "print(1)"}})),
    Case("tweak-new-variable", "echo", ask("Bob", tweaks={"Prompt-bbbbb": {"template": "Hi {other}"}})),
    Case("tweak-wrong-type", "echo", ask("Bob", tweaks={"Prompt-bbbbb": {"template": 7}})),
    Case("tweak-null", "echo", ask("Bob", tweaks={"Prompt-bbbbb": {"template": None}})),
    Case("tweak-not-object", "echo", ask("Bob", tweaks={"Prompt-bbbbb": "Hi {name}"})),
    Case("tweak-list", "echo", ask("Bob", tweaks=[1])),
    Case("tweak-list-value", "echo", ask("Bob", tweaks={"template": ["a"]})),
    Case("tweak-number-value", "echo", ask("Bob", tweaks={"template": 7})),
    Case("tweak-bool-value", "echo", ask("Bob", tweaks={"use_double_brackets": True})),
    Case(
        "tweak-sender",
        "echo",
        ask("Bob", tweaks={"ChatOutput-zzzzz": {"sender_name": "Robot"}}),
        messages=True,
    ),
    Case(
        "tweak-no-store",
        "echo",
        ask("Bob", tweaks={"ChatInput-aaaaa": {"should_store_message": False}}),
        messages=True,
    ),
    Case("tweak-conflict", "echo", ask("Bob", tweaks={"ChatInput-aaaaa": {"input_value": "Eve"}})),
    Case("tweak-conflict-name", "echo", ask("Bob", tweaks={"Chat Input": {"input_value": "Eve"}})),
    Case(
        "tweak-input", "echo", {"session_id": SESSION, "tweaks": {"ChatInput-aaaaa": {"input_value": "Eve"}}}
    ),
    Case("tweak-stream", "echo", ask("Bob", tweaks={"stream": True})),
    # requests that are refused, and ones that one would expect to be
    Case("unknown-name", "echo", ask("Bob"), address="unknown-name"),
    Case("unknown-id", "echo", ask("Bob"), address="unknown-id"),
    Case("no-key", "echo", ask("Bob"), key="none"),
    Case("wrong-key", "echo", ask("Bob"), key="wrong"),
    Case("unknown-name-no-key", "echo", ask("Bob"), address="unknown-name", key="none"),
    Case("malformed-json", "echo", raw=b'{"input_value": Bob}'),
    Case("truncated-json", "echo", raw=b'{"input_value": "Bob"'),
    Case("empty-body", "echo", raw=b""),
    Case("json-null", "echo", raw=b"null"),
    Case("json-list", "echo", raw=b"[1, 2]"),
    Case("json-string", "echo", raw=b'"Bob"'),
    Case("not-utf8", "echo", raw=b'{"input_value": "\xff\xfe"}'),
    Case("flat-wrong-type", "echo", {"input_value": 7, "session_id": SESSION}),
    Case("flat-wrong-session", "echo", {"input_value": "Bob", "session_id": 7}),
    Case("text-plain", "echo", ask("Bob"), headers={"content-type": "text/plain"}),
    Case(
        "form", "echo", raw=b"input_value=Bob", headers={"content-type": "application/x-www-form-urlencoded"}
    ),
    # the other flows
    Case("plain", "tok", ask("Bob"), messages=True),
    Case("no-stream-field", "tok", ask("Bob", tweaks={"FakeLLM-bbbbb": {"stream": False}})),
    Case("answer", "tok", ask("Bob", tweaks={"FakeLLM-bbbbb": {"answer": "ünï 🦀  two  spaces\nline"}})),
    Case("empty-input", "tok", ask("")),
    Case("debug", "tok", ask("Bob", output_type="debug")),
    Case("plain", "boom", ask("Bob"), messages=True),
    Case("unicode", "boom", ask("Zoë 🦀")),
    Case("true", "router", ask("yes"), messages=True),
    Case("false", "router", ask("no"), messages=True),
    Case("any", "router", ask("yes", output_type="any")),
    Case("debug", "router", ask("no", output_type="debug")),
    Case("component-inactive", "router", ask("yes", output_component="ChatOutput-fffff")),
    Case("plain", "diamond", ask("x"), messages=True),
    Case("debug", "diamond", ask("x", output_type="debug")),
    Case("tweak-one-branch", "diamond", ask("x", tweaks={"Prompt-lllll": {"template": "L"}})),
    Case("tweak-by-shared-name", "diamond", ask("x", tweaks={"Prompt Template": {"template": "T"}})),
    Case("plain", "text", ask("Bob", input_type="text", output_type="text")),
    Case("any", "text", ask("Bob", input_type="any", output_type="any")),
    Case("chat-defaults", "text", ask("Bob")),
    Case("debug", "text", ask("Bob", input_type="text", output_type="debug")),
    Case("conflict", "text", ask("Bob", input_type="text", tweaks={"TextInput-aaaaa": {"input_value": "x"}})),
    Case("plain", "variable", ask("Bob")),
    Case("tweak-literal", "variable", ask("Bob", tweaks={"Greet-bbbbb": {"greeting": "Ahoy"}})),
    Case(
        "tweak-missing",
        "variable",
        ask("Bob", tweaks={"Greet-bbbbb": {"greeting": {"value": "NO_SUCH_VARIABLE", "load_from_db": True}}}),
    ),
    Case(
        "header-override",
        "variable",
        ask("Bob"),
        headers={"X-LANGFLOW-GLOBAL-VAR-CONFORMANCE_GREETING": "From header"},
    ),
    Case("debug", "variable", ask("Bob", output_type="debug")),
    Case("plain", "leak", ask("Bob"), messages=True, deviations=MASKED_EARLIER),
    Case("debug", "leak", ask("Bob", output_type="debug"), deviations=MASKED_EARLIER),
    Case("plain", "live_model", ask("why?")),
    Case("debug", "live_model", ask("why?", output_type="debug")),
    Case("component", "live_model", ask("why?", output_component="FakeModel-mmmmm")),
    Case("tweak", "live_model", ask("why?", tweaks={"FakeModel-mmmmm": {"answer": "because"}})),
    Case("plain", "live_tool", ask("shout")),
    Case("debug", "live_tool", ask("shout", output_type="debug")),
    Case("plain", "table", ask("the quick brown fox")),
    Case("debug", "table", ask("the quick brown fox", output_type="debug"), deviations=NO_NAN),
    Case("component", "table", ask("a b", output_component="MakeTable-ccccc"), deviations=NO_NAN),
    Case("empty-rows", "table", ask("   ")),
    Case("plain", "data_out", ask("some words"), messages=True),
    Case("debug", "data_out", ask("some words", output_type="debug")),
    Case("first", "recall", ask("one"), messages=True),
    Case("second", "recall", ask("two"), before=(ask("one"),), messages=True),
    Case("plain", "bad_import", ask("Bob"), deviations=FOUND_LATER),
    Case("plain", "pass_through", ask("Bob")),
    Case("zero", "nap", ask("0")),
    Case("not-a-number", "nap", ask("abc")),
    Case("plain", "model", _model("Say hello"), uses_model=True, messages=True),
    Case(
        "stream-field",
        "model",
        ask("Say hello", tweaks={MODEL_NODE: {"model": MODEL_CHOICE, "stream": True}}),
        uses_model=True,
        messages=True,
    ),
    Case(
        "by-display-name",
        "model",
        ask(
            "Say hello",
            tweaks={"Language Model": {"model": MODEL_CHOICE, "temperature": 0.7, "max_tokens": 50}},
        ),
        uses_model=True,
    ),
    Case("unicode", "model", _model("Zoë 🦀 日本語"), uses_model=True),
    Case("no-model", "model", ask("Say hello"), uses_model=True),
    Case(
        "unknown-provider",
        "model",
        ask("Say hello", tweaks={MODEL_NODE: {"model": [{"name": "x", "provider": "Nobody"}]}}),
        uses_model=True,
    ),
    Case("provider-fails", "model", _model("fail please"), uses_model=True),
    Case("debug", "model", _model("Say hello", output_type="debug"), uses_model=True),
    Case("plain", "loop", ask("the quick brown fox"), messages=True),
    Case("debug", "loop", ask("a b", output_type="debug"), deviations=NO_NAN),
    Case("one-row", "loop", ask("single")),
    Case("no-rows", "loop", ask("   ")),
    Case("same-branch", "loop_router", ask("a at"), messages=True),
    Case("both-branches", "loop_router", ask("a b a c"), messages=True),
    Case("plain", "loop_outside", ask("the fox"), messages=True),
    Case("plain", "loop_side", ask("the fox"), messages=True),
    Case("plain", "loop_nested", ask("the fox")),
    Case("plain", "old_loop", ask("the quick brown fox"), messages=True),
    Case("one-row", "old_loop", ask("single")),
    Case("no-rows", "old_loop", ask("   ")),
    Case("debug", "old_loop", ask("a b", output_type="debug"), deviations=NO_NAN),
    Case("same-branch", "old_loop_router", ask("a at")),
    Case("both-branches", "old_loop_router", ask("a b a"), messages=True),
    Case("plain", "old_loop_side", ask("the fox"), messages=True),
    Case("plain", "circle", ask("x"), messages=True),
    Case("true", "merge", ask("a")),
    Case("false", "merge", ask("b")),
    Case("plain", "live_context", ask("Bob")),
    Case("plain", "chatty", ask("Bob"), messages=True),
    Case("debug", "chatty", ask("Bob", output_type="debug")),
    Case("plain", "legacy", ask("Bob"), messages=True),
    Case("debug", "legacy", ask("Bob", output_type="debug")),
    Case(
        "no-tool",
        "agent",
        _agents("Say hello", "Agent-bbbbb"),
        uses_model=True,
        interleaved=True,
        messages=True,
    ),
    Case(
        "tool",
        "agent",
        _agents("use the tool", "Agent-bbbbb"),
        uses_model=True,
        interleaved=True,
        messages=True,
    ),
    Case(
        "history",
        "agent",
        _agents("again", "Agent-bbbbb"),
        before=(_agents("Say hello", "Agent-bbbbb"),),
        uses_model=True,
    ),
    Case(
        "provider-fails",
        "agent",
        _agents("fail please", "Agent-bbbbb"),
        uses_model=True,
        interleaved=True,
        messages=True,
    ),
    Case(
        "debug",
        "agent",
        _agents("use the tool", "Agent-bbbbb", output_type="debug"),
        uses_model=True,
        interleaved=True,
    ),
    Case(
        "plain",
        "simple_agent",
        _agents("Say hello", "Agent-EXpSZ"),
        uses_model=True,
        interleaved=True,
        messages=True,
    ),
    Case(
        "plain",
        "multi_agent",
        _agents("Say hello", "Agent-maf-1", "Agent-maf-2", "Agent-maf-3"),
        uses_model=True,
        interleaved=True,
        messages=True,
    ),
    Case("plain", "seo", _agents("unused", "Agent-seovA"), uses_model=True, interleaved=True, messages=True),
    Case(
        "plain",
        "twitter",
        _agents("Say hello", "Agent-wh9WY"),
        uses_model=True,
        interleaved=True,
        messages=True,
    ),
    *_file_cases(),
)
