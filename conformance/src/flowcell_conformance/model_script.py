"""What the scripted model answers. The first rule that fits the last user message does."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .normalise import Json

FLOW_INPUT = "ChatInput-aaaaa~input_value"
TOOLS: tuple[tuple[str, str, dict[str, Json]], ...] = (
    ("use the tool", "to_upper", {"text": "quiet words"}),
    ("use the mcp tool", "shout", {"text": "quiet words"}),
    ("use the search tool", "perform_search", {"query": "flow cells"}),
    ("use the url tool", "fetch_content", {"urls": ["$WEB/page/one"]}),
    ("use the calculator", "evaluate_expression", {"expression": "6*7"}),
    ("use the sql tool", "run_sql_query", {"query": "select 1 as one, 'zwei' as two"}),
    ("use the failing tool", "try_it", {"text": "quiet words"}),
    ("use the secret tool", "tell_secret", {"text": "it is"}),
    ("break the secret tool", "tell_secret", {"text": "fail"}),
    ("ask the flow below", "conformance-below_tool", {"flow_tweak_data": {FLOW_INPUT: "from the tool"}}),
    ("ask the flow that fails", "conformance-below_fails_tool", {"flow_tweak_data": {FLOW_INPUT: "x"}}),
    ("ask the old flow tool", "ask_below", {"chat_input": "from the tool"}),
    ("ask the agent", "Call_Agent_message_response", {"input_value": "use the tool"}),
)
PERSON: Json = {"objects": [{"name": "Ada", "age": 36}]}
COMPANY: Json = {
    "domain": "example.com",
    "linkedinUrl": "https://example.com/company",
    "cheapestPlan": "9",
    "hasFreeTrial": True,
    "hasEnterprisePlan": False,
    "hasAPI": True,
    "market": "B2B",
    "pricingTiers": ["free", "paid"],
    "KeyFeatures": ["one", "two"],
    "targetIndustries": ["all"],
}
DEAL = '{"retailer": "Shop", "price": "9 EUR", "url": "https://example.com/9", "notes": ""}'
REPORT = (
    '{"objects": [{"EBITDA": "1", "NET_INCOME": "2", "GROSS_PROFIT": "3", "REVENUE": "4", "EBIT": "5",'
    ' "NET_MARGIN": "6", "COMPANY": "Acme"}]}'
)
TEXTS = (
    ("日本語", "Grüße 🦀 日本語 — done."),
    ('to classify: "great', "Positive"),
    ('to classify: "awful', "Negative"),
    ('to classify: "', "NONE"),
    ("write the lambda", "lambda data: {'changed': True, **data}"),
)


def script_for(web: str) -> dict[str, Json]:
    """The rules, with the address of the scripted web in them."""
    return {"rules": [*_refusals(), *_structures(), *_tools(web), *_texts()]}


def _refusals() -> list[Json]:
    refusal: Json = {"status": 400, "message": "scripted refusal", "type": "invalid_request_error"}
    return [{"name": "fail", "match": {"contains": "fail please"}, "fail": refusal}]


def _structures() -> list[Json]:
    """Models named for it answer in a structure: one by a tool call, one in its text."""
    person: Json = [{"name": "Person", "arguments": PERSON}]
    company: Json = [{"name": "OutputModel", "arguments": {"objects": [COMPANY]}}]
    return [
        {"name": "person", "match": {"model": "gpt-4.1", "contains": "person"}, "tool_calls": person},
        {"name": "company", "match": {"model": "gpt-4.1"}, "tool_calls": company},
        {
            "name": "search-first",
            "match": {"model": "gpt-4o", "contains": "use the search tool", "turn": 1},
            "tool_calls": [{"name": "perform_search", "arguments": {"query": "flow cells"}}],
        },
        {"name": "report", "match": {"model": "gpt-4o", "contains": "revenue"}, "text": REPORT},
        {"name": "deal", "match": {"model": "gpt-4o"}, "text": DEAL},
    ]


def _tools(web: str) -> list[Json]:
    both: Json = [
        {"name": "to_upper", "arguments": {"text": "quiet words"}},
        {"name": "count_letters", "arguments": {"text": "quiet", "times": 2}},
    ]
    rules: list[Json] = [
        {"name": "tool-answer", "match": {"last_role": "tool"}, "text": "The tool has spoken."},
        {"name": "both", "match": {"contains": "use both tools"}, "tool_calls": both},
        {
            "name": "ask-first",
            "match": {"contains": "ask before you act"},
            # Langflow loses an agent's question when its model answers fast.
            "first_token_ms": 300,
            "token_ms": 60,
            "tool_calls": [{"name": "to_upper", "arguments": {"text": "quiet words"}}],
        },
    ]
    for phrase, tool, arguments in TOOLS:
        told: Json = {key: _with_web(value, web) for key, value in arguments.items()}
        rules.append(
            {"name": phrase, "match": {"contains": phrase}, "tool_calls": [{"name": tool, "arguments": told}]}
        )
    return rules


def _with_web(value: Json, web: str) -> Json:
    if isinstance(value, list):
        return [_with_web(item, web) for item in value]
    return value.replace("$WEB", web) if isinstance(value, str) else value


def _texts() -> list[Json]:
    rules: list[Json] = [{"name": said, "match": {"contains": heard}, "text": said} for heard, said in TEXTS]
    return [*rules, {"name": "hello", "match": {}, "text": "Hello from the scripted model, word by word."}]
