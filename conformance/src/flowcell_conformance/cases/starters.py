"""Langflow's 27 starter projects: each runs through, with what it needs from outside scripted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..case import MODEL_CHOICE, Case, Deviation, ask, with_model
from ..knowledge import BASE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..normalise import Json

# Astra DB's packages are in neither installation, and both say so in the same words.
FOUND_LATER = tuple(
    Deviation(path, "Flowcell makes a component when its cell starts: earlier cells have spoken by then")
    for path in ("event*", "messages*", "model_requests*")
)

# On either side, from one run to the next.
ANY_ORDER = (Deviation("events[[]*", "agents beside each other speak in any order"),)

SEARCH = "use the search tool"
QUESTION = "What is a flow cell?"
KNOWN = "a flow cell is a chamber\nrivers run deep\ndrums beat loudly"
STRUCTURED: Json = {"model": [{"name": "gpt-4.1", "provider": "OpenAI"}]}
JSON_ANSWER: Json = {"model": [{"name": "gpt-4o", "provider": "OpenAI"}]}
CHOSEN: Json = {"model": MODEL_CHOICE}


def _starter(flow: str, text: str, *nodes: str) -> Case:
    """An agent flow whose model nodes are these; events of agents come from threads."""
    return _tweaked(flow, text, dict.fromkeys(nodes, CHOSEN))


def _of_knowledge(flow: str, node: str, *agents: str) -> Case:
    """A flow that looks the question up in a base that knows the answer."""
    tweaks: dict[str, Json] = {node: {"knowledge_base": BASE}, **dict.fromkeys(agents, CHOSEN)}
    return replace(_tweaked(flow, QUESTION, tweaks), knowledge=(KNOWN,))


def _tweaked(
    flow: str,
    text: str,
    tweaks: Mapping[str, Json],
    *,
    files: tuple[str, ...] = (),
) -> Case:
    return Case(
        "plain",
        flow,
        ask(text, tweaks=dict(tweaks)),
        uses_model=True,
        uses_web=True,
        interleaved=True,
        messages=True,
        files=files,
    )


CASES: tuple[Case, ...] = (
    Case(
        "no-tool",
        "simple_agent",
        with_model("Say hello", "Agent-EXpSZ"),
        uses_model=True,
        interleaved=True,
        messages=True,
    ),
    _starter("simple_agent", SEARCH, "Agent-EXpSZ"),
    Case(
        "plain",
        "multi_agent",
        with_model("Say hello", "Agent-maf-1", "Agent-maf-2", "Agent-maf-3"),
        uses_model=True,
        messages=True,
        interleaved=True,
    ),
    _starter("seo", "unused", "Agent-seovA"),
    _starter("twitter", "Say hello", "Agent-wh9WY"),
    _tweaked(
        "blog_writer",
        "$WEB/page/one",
        {"Agent-9tNMJ": {"model": MODEL_CHOICE, "input_value": "use the url tool"}},
    ),
    _tweaked(
        "content_aggregator",
        "flowcell",
        {
            "BatchRun-ca": CHOSEN,
            "Agent-ZH2Rd": CHOSEN,
            "SaveToFile-VVVVb": {"storage_location": [{"name": "Local"}]},
        },
    ),
    _starter("component_generator", "use the url tool", "Agent-I0nts"),
    _tweaked(
        "deep_research",
        "What is a flow cell?",
        {
            "Agent-plan": CHOSEN,
            "Agent-mIgZ5": CHOSEN,
            "Agent-synth": CHOSEN,
            "Prompt-rQ5Up": {"template": "use the search tool {previous_response}"},
        },
    ),
    _of_knowledge("document_qa", "KnowledgeRetrieve-docqa", "Agent-docqa"),
    _tweaked(
        "financial_report",
        "unused",
        {"File-NGW2N": {"path": ["$FILE:report.txt"]}, "Agent-6rJWA": JSON_ANSWER},
        files=("report.txt",),
    ),
    replace(_starter("hybrid_search", "What is it?", "Agent-hsr"), deviations=FOUND_LATER),
    _tweaked(
        "image_sentiment",
        "How does it look?",
        {"ChatInput-7S2Wg": {"files": ["$FILE:pixel.png"]}, "LanguageModelComponent-KHx2J": CHOSEN},
        files=("pixel.png",),
    ),
    _starter("instagram", SEARCH, "Agent-caption", "Agent-MnLtf"),
    _of_knowledge("knowledge_retrieval", "Knowledge-Y8gm2"),
    _tweaked("market_research", SEARCH, {"Agent-Hz2it": CHOSEN, "StructuredOutput-zfjb9": STRUCTURED}),
    _tweaked(
        "meeting_summary",
        "Summarise",
        {"AAITranscriber-ms": {"api_key": "not-a-key"}, "Agent-summary": CHOSEN},
    ),
    _starter("memory_chatbot", "Say hello", "Agent-AlLub"),
    _tweaked(
        "portfolio",
        "unused",
        {"File-wvfA7": {"path": ["$FILE:report.txt"]}, "Agent-portfolio": CHOSEN},
        files=("report.txt",),
    ),
    _tweaked("price_deals", SEARCH, {"Agent-4ux6k": JSON_ANSWER}),
    _starter("translation_loop", "flow cells", "LanguageModelComponent-ps5yd"),
    _starter("saas_pricing", "use the sql tool", "Agent-Zm0pK"),
    _starter("sequential_agents", SEARCH, "Agent-EQcU8", "Agent-X1iAT", "Agent-b7nmW"),
    _starter("social_media", SEARCH, "Agent-Ngl5n"),
    replace(
        _tweaked(
            "text_sentiment",
            "unused",
            {
                "File-a3YoT": {"path": ["$FILE:report.txt"]},
                "Agent-tsa-a": CHOSEN,
                "Agent-tsa-b": CHOSEN,
                "Agent-tsa-c": CHOSEN,
            },
            files=("report.txt",),
        ),
        deviations=ANY_ORDER,
    ),
    _starter("travel", SEARCH, "Agent-kwDEl", "Agent-v7SnN", "Agent-1ON2c"),
    _of_knowledge("vector_store_rag", "Knowledge-vLJOb", "Agent-F0Dv0"),
)
