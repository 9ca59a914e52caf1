"""Langflow's own components between input and output."""

from __future__ import annotations

from functools import partial

from ..case import Case, ask

PEOPLE = '{"people": [{"name": "Ada", "age": 36}, {"name": "Zoë"}], "n": 1.5}'

_plain = partial(Case, streams=(False,))

CASES: tuple[Case, ...] = (
    Case(
        "plain",
        "split_text",
        ask("The quick brown fox jumps over the lazy dog again and again"),
    ),
    _plain("one-chunk", "split_text", ask("short")),
    Case("plain", "parse_table", ask("the quick brown fox")),
    Case("json", "convert_round", ask(PEOPLE)),
    _plain("text", "convert_round", ask("just words")),
    Case("plain", "many_fields", ask("Bob")),
    Case("found", "regex", ask("a1 b22 c")),
    _plain("nothing-found", "regex", ask("none")),
    Case("found", "regex_data", ask("1 and 22")),
    Case("clean", "clean_json", ask('{"a": 1, "b": "ü"}')),
    _plain("broken", "clean_json", ask("{'a': 1, b: [1, 2,]} trailing")),
    Case("object", "load_json", ask(PEOPLE)),
    _plain("list", "load_json", ask('[{"a": 1}, {"a": 2}]')),
    _plain("broken", "load_json", ask("{a: 1")),
    _plain("nothing", "load_json", ask("")),
    Case("plain", "select_keys", ask("some words")),
    Case("plain", "json_query", ask(PEOPLE)),
    Case("plain", "sort_table", ask("the quick brown fox")),
    Case("plain", "text_case", ask("Hello World ß")),
    Case("plain", "combine_text", ask("Bob")),
    Case("plain", "create_list", ask("Bob"), messages=True),
    Case("plain", "merge_data", ask("some words")),
    Case("plain", "extract_key", ask("some words")),
    Case("sum", "calculator", ask("2*(3+4)/7")),
    _plain("zero", "calculator", ask("1/0")),
    _plain("words", "calculator", ask("import os")),
    Case("prints", "interpreter", ask("print(math.sqrt(16), json.dumps([1]))")),
    _plain("raises", "interpreter", ask("raise ValueError('no')")),
    Case("select", "sql", ask("select 1 as one, 'zwei' as two")),
    _plain("error", "sql", ask("select * from nowhere")),
)
