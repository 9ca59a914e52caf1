"""Knowledge bases and memory bases."""

from __future__ import annotations

from ..case import Case, ask

# Lines without a word in common, so that no two are equally far from a question.
LINES = "cells are small\ndrums beat loudly\nrivers run deep"


def _of_base(name: str, flow: str, text: str, *told: str, base: str | None = None) -> Case:
    body = ask(text, tweaks={"Knowledge-kkkkk": {"knowledge_base": base}}) if base else ask(text)
    return Case(name, flow, body, messages=True, uses_model=True, knowledge=told)


CASES: tuple[Case, ...] = (
    _of_base("new", "knowledge_fill", LINES),
    _of_base("known", "knowledge_fill", LINES + "\nstones are old", LINES),
    _of_base("found", "knowledge_search", "rivers run deep", LINES),
    _of_base("in-two-runs", "knowledge_search", "stones are old", LINES, "stones are old"),
    _of_base("empty", "knowledge_search", "rivers run deep"),
    _of_base("filtered", "knowledge_filtered", "drums beat", LINES),
    _of_base("unknown", "knowledge_search", "rivers run deep", LINES, base="nobody's"),
    Case("plain", "memory_base", ask("What is it?"), messages=True),
)
