"""The first flows: inputs that have been or could be answered differently."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..case import MODEL_CHOICE, SESSION, Case, Deviation, ask, with_model

if TYPE_CHECKING:
    from ..normalise import Json

MODEL_NODE = "LanguageModelComponent-FLeYF"


def _model(text: str, **more: Json) -> dict[str, Json]:
    tweaks: Json = {MODEL_NODE: {"model": MODEL_CHOICE}}
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
    Case("plain", "old_loop_exit", ask("the fox"), messages=True),
    Case("no-rows", "old_loop_exit", ask("   "), messages=True),
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
        with_model("Say hello", "Agent-bbbbb"),
        uses_model=True,
        interleaved=True,
        messages=True,
    ),
    Case(
        "tool",
        "agent",
        with_model("use the tool", "Agent-bbbbb"),
        uses_model=True,
        interleaved=True,
        messages=True,
    ),
    Case(
        "history",
        "agent",
        with_model("again", "Agent-bbbbb"),
        before=(with_model("Say hello", "Agent-bbbbb"),),
        uses_model=True,
        interleaved=True,
    ),
    Case(
        "provider-fails",
        "agent",
        with_model("fail please", "Agent-bbbbb"),
        uses_model=True,
        interleaved=True,
        messages=True,
    ),
    Case(
        "debug",
        "agent",
        with_model("use the tool", "Agent-bbbbb", output_type="debug"),
        uses_model=True,
        interleaved=True,
    ),
)
