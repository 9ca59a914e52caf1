"""Branches: each way of every router."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..case import Case, Deviation, ask, with_model

if TYPE_CHECKING:
    from ..normalise import Json

NO_ORDER = (
    Deviation(
        "*", "Langflow's own answer changes with its process: which output reaches the field is chance"
    ),
)

AT_ONCE = (Deviation("*", "two answers at once come in any order"),)

NOT_BUILT = (
    Deviation("*", "Langflow fails: the merge waits for the stopped branch. Here the live branch goes on"),
)


def _ways(flow: str, *texts: str, deviations: tuple[Deviation, ...] = ()) -> tuple[Case, ...]:
    return tuple(
        Case(text.replace(" ", "-"), flow, ask(text), messages=True, deviations=deviations) for text in texts
    )


def _operator(name: str, text: str, operator: str, match: str, **more: bool) -> Case:
    fields: dict[str, Json] = {"operator": operator, "match_text": match, **more}
    return Case(
        f"operator-{name}", "router", ask(text, tweaks={"ConditionalRouter-bbbbb": fields}), streams=(False,)
    )


CASES: tuple[Case, ...] = (
    _operator("contains", "oh yes", "contains", "yes"),
    _operator("starts", "yes and", "starts with", "yes"),
    _operator("ends", "and yes", "ends with", "yes"),
    _operator("not", "yes", "not equals", "yes"),
    _operator("regex", "a77", "regex", r"[a-z]\d+"),
    _operator("regex-broken", "a77", "regex", "["),
    _operator("less", "3", "less than", "10"),
    _operator("less-text", "three", "less than", "10"),
    _operator("greater-equal", "10.0", "greater than or equal", "10"),
    _operator("case", "YES", "equals", "yes", case_sensitive=False),
    *_ways("merge_if_else", "yes", "no"),
    *_ways("merge_if_else_fields", "yes", "no"),
    *_ways("merge_at_once", "yes", "no", deviations=NO_ORDER),
    *_ways("merge_with_live_side", "yes", "no"),
    *_ways("dead_chain", "yes", "no"),
    *_ways("three_ways", "one", "two", "more"),
    *_ways("three_ways_merged", "one", "two", "more", deviations=NO_ORDER),
    *_ways("two_routers_one_merge", "yes", "yo", "no"),
    Case("debug", "merge_if_else", ask("yes", output_type="debug")),
    Case(
        "debug",
        "three_ways_merged",
        ask("two", output_type="debug"),
        streams=(False,),
        deviations=NO_ORDER,
    ),
    Case("yes", "retry_until", ask("yes")),
    Case("no", "retry_until", ask("no")),
    *_ways("data_router", "yes it is", "it is not"),
    *_ways("merge_data_router", "yes it is", "it is not", deviations=NOT_BUILT),
    *(
        Case(text.split()[0], flow, with_model(text, "SmartRouter-bbbbb"), uses_model=True, messages=True)
        for flow in ("smart_router", "merge_smart_router")
        for text in ("great work", "awful work", "neither work")
    ),
    *_ways("splitter", "left", "right", "both"),
    *_ways("splitter", "none", deviations=AT_ONCE),
    *_ways("merge_splitter", "left", "right", deviations=NOT_BUILT),
    *_ways("merge_splitter", "none"),
    Case("both", "merge_splitter", ask("both")),
)
