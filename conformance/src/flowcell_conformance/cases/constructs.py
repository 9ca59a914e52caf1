"""Shapes, groups, values, state, inputs and older exports."""

from __future__ import annotations

from ..case import Case, Deviation, ask

LONG_SECONDS = 600.0
OWN_COPY = (
    Deviation("*", "each reader has a copy of its own: in Langflow one reader's change shows in another's"),
)
STREAM_KEPT = (Deviation("*", "a text that is an iterator is read: Langflow answers without it, or fails"),)
READ_FIRST = (
    Deviation(
        "*",
        "a history holds what was said before the run and in the layers before: in Langflow, which reads "
        "while the input stores its message, that message is in it by chance",
    ),
)
PAYLOAD = '{"event": "push", "items": [1, "zwei", null], "text": "日本語"}'

# On either side, from one run to the next.
ANY_ORDER = (Deviation("events[[]*", "two answers at once come in any order"),)

SHAPES = (
    Case("plain", "two_answers", ask("Bob"), deviations=ANY_ORDER),
    Case(
        "one-of-two",
        "two_answers",
        ask("Bob", output_component="ChatOutput-22222"),
        deviations=ANY_ORDER,
    ),
    Case("plain", "answer_goes_on", ask("Bob"), messages=True),
    Case("plain", "fan_in", ask("Bob"), messages=True),
    Case("debug", "fan_in", ask("Bob", output_type="debug"), streams=(False,)),
    Case("plain", "same_edge_twice", ask("Bob")),
    Case("plain", "two_outputs_two_readers", ask("Bob"), messages=True),
    Case("debug", "two_outputs_two_readers", ask("Bob", output_type="debug"), streams=(False,)),
    Case("plain", "one_output_unread", ask("Bob")),
    Case("plain", "long_chain", ask("Bob"), seconds=LONG_SECONDS),
    Case("plain", "wide", ask("Bob")),
    Case("plain", "islands", ask("Bob"), messages=True),
    Case("debug", "islands", ask("Bob", output_type="debug"), streams=(False,)),
    Case("plain", "two_chat_inputs", ask("Bob")),
    Case("plain", "no_answer", ask("Bob")),
    Case("debug", "no_answer", ask("Bob", output_type="debug")),
    Case("plain", "no_question", ask("Bob")),
    Case("plain", "double_diamond", ask("x")),
    Case("plain", "unicode_names", ask("größer 🦀")),
)
GROUPS = (
    Case("plain", "group", ask("Bob"), messages=True),
    Case("debug", "group", ask("Bob", output_type="debug"), streams=(False,)),
    Case("plain", "deep_groups", ask("Bob")),
    Case("plain", "grouped_output", ask("Bob"), messages=True),
    Case("tweak-inside", "group", ask("Bob", tweaks={"Prompt-gggg0": {"template": "T {x}"}})),
)
VALUES = (
    Case("plain", "mutation", ask("Bob"), deviations=OWN_COPY),
    Case("plain", "mutation_alone", ask("Bob")),
    Case("plain", "stepwise", ask("Bob"), messages=True, deviations=STREAM_KEPT),
    Case("plain", "stepwise_read_twice", ask("Bob"), deviations=STREAM_KEPT),
    Case("plain", "list_of_messages", ask("Bob")),
    Case("plain", "odd_numbers", ask("Bob")),
    Case("plain", "odd_numbers_out", ask("Bob")),
    Case("plain", "many_types", ask("Bob")),
    Case("plain", "data_list", ask("Bob")),
    Case("plain", "data_list_out", ask("Bob")),
    Case("five-megabytes", "big_text", ask("Bob")),
    Case("plain", "rich_message", ask("Bob")),
    Case("plain", "rich_message_out", ask("Bob"), messages=True),
    Case("plain", "nothing", ask("Bob")),
    Case("plain", "nothing_read", ask("Bob")),
    Case("plain", "disguised", ask("Bob")),
    Case("debug", "disguised", ask("Bob", output_type="debug"), streams=(False,)),
    Case("plain", "disguised_twice", ask("Bob")),
)
STATE = (
    Case("plain", "shared_context", ask("Bob")),
    Case("first", "history", ask("one"), messages=True, deviations=READ_FIRST),
    Case("second", "history", ask("two"), before=(ask("one"),), messages=True, deviations=READ_FIRST),
    Case(
        "third",
        "history",
        ask("three"),
        before=(ask("one"), ask("two")),
        streams=(False,),
        deviations=READ_FIRST,
    ),
    Case("second", "history_table", ask("two"), before=(ask("one"),), deviations=READ_FIRST),
    Case("plain", "say", ask("Bob"), messages=True),
    Case("plain", "look_around", ask("Bob")),
)
INPUTS = (
    Case("payload", "webhook", {"session_id": "$SESSION", "tweaks": {"Webhook-aaaaa": {"data": PAYLOAD}}}),
    Case("not-json", "webhook", {"session_id": "$SESSION", "tweaks": {"Webhook-aaaaa": {"data": "plain"}}}),
    Case("empty", "webhook", {"session_id": "$SESSION"}),
    Case("chat", "chat_and_text", ask("Bob")),
    Case("text", "chat_and_text", ask("Bob", input_type="text")),
    Case("any", "chat_and_text", ask("Bob", input_type="any")),
    Case("plain", "run_flow", ask("Bob")),
)
OLD = (
    Case("plain", "old_1_0", ask("Bob"), messages=True),
    Case("yes", "old_1_1_router", ask("yes")),
    Case("no", "old_1_1_router", ask("no")),
    Case("plain", "old_1_2_table", ask("the quick brown fox")),
    Case("plain", "old_1_4_model_edge", ask("why?")),
    Case("plain", "old_1_9", ask("x")),
    Case("plain", "unknown_version", ask("Bob")),
    Case("fails", "old_1_0", ask("Bob", tweaks={"Prompt-bbbbb": {"template": "{"}})),
)
CASES: tuple[Case, ...] = (*SHAPES, *GROUPS, *VALUES, *STATE, *INPUTS, *OLD)
