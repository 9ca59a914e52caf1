"""What stands in for the services that a flow needs and the harness has not.

The same change is made for both servers, before upload, and listed in docs/COMPATIBILITY.md. Only
addresses change: a component's code is Langflow's in every other character.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .normalise import Json
    from .web_server import WebServer

# Written into flows by `langflow_side/families/web.py`, since a port is known only at run time.
WEB = "http://web.conformance.invalid"
WEB_TLS = "https://web-tls.conformance.invalid"
AUTHORITY = "AUTHORITY-OF-THE-CONFORMANCE-WEB-SERVER"


@dataclass(frozen=True)
class Substitute:
    """One text in the code of a flow's components, and what replaces it."""

    what: str
    old: str
    new: str
    times: int = 1
    """In how many nodes; another number means that Langflow's component has changed."""


SEARCH = Substitute(
    "DuckDuckGo is the scripted web", '"https://html.duckduckgo.com/html/"', f'"{WEB}/duckduckgo/html/"'
)
NEWS = Substitute(
    "Google News is the scripted web", '"https://news.google.com/rss/search?q="', f'"{WEB}/feed?q="'
)
ARXIV = (
    Substitute(
        "arXiv is the scripted web", '"http://export.arxiv.org/api/query?"', f'"{WEB}/arxiv/api/query?"'
    ),
    Substitute("arXiv's host check too", '!= "export.arxiv.org"', '!= "127.0.0.2"'),
)
ASSEMBLYAI = Substitute(
    "AssemblyAI is the scripted web", '"https://api.assemblyai.com/v2"', f'"{WEB}/assemblyai/v2"'
)
DATABASE = "the database is SQLite in memory"
FIELDS: Mapping[str, tuple[str, str, str, str]] = {
    # A tweak may not set it: the flow's author says which database.
    "saas_pricing": (DATABASE, "SQLComponent-NMSUa", "database_url", "sqlite://"),
}
"""By flow: what is replaced, the node, its field and the value."""
MODEL = "the model is a scripted OpenAI server (by tweak)"

CODE: Mapping[str, tuple[Substitute, ...]] = {
    "content_aggregator": (NEWS,),
    "deep_research": (SEARCH,),
    "instagram": (SEARCH,),
    "market_research": (SEARCH,),
    "meeting_summary": (ASSEMBLYAI,),
    "price_deals": (SEARCH,),
    "sequential_agents": (SEARCH,),
    "simple_agent": (SEARCH,),
    "social_media": (SEARCH,),
    "translation_loop": ARXIV,
    "travel": (SEARCH,),
    "web_search": (SEARCH,),
}


def substituted(name: str, exported: dict[str, Json], web: WebServer | None) -> dict[str, Json]:
    """The flow as it is uploaded to both servers."""
    for substitute in CODE.get(name, ()):
        _replace(name, exported, substitute)
    if name in FIELDS:
        _set_field(exported, *FIELDS[name][1:])
    if web is None:
        return exported
    text = json.dumps(exported)
    authority = json.dumps(web.authority)[1:-1]
    for old, new in ((WEB, web.url), (WEB_TLS, web.tls_url), (AUTHORITY, authority)):
        text = text.replace(old, new)
    return cast("dict[str, Json]", json.loads(text))


def _replace(name: str, exported: dict[str, Json], substitute: Substitute) -> None:
    data = cast(
        "dict[str, list[dict[str, dict[str, dict[str, dict[str, dict[str, str]]]]]]]", exported["data"]
    )
    found = 0
    for node in data["nodes"]:
        code = node["data"]["node"].get("template", {}).get("code")
        if isinstance(code, dict) and substitute.old in code["value"]:
            code["value"] = code["value"].replace(substitute.old, substitute.new)
            found += 1
    if found != substitute.times:
        message = f"{name}: {substitute.what}: found in {found} nodes, not in {substitute.times}"
        raise LookupError(message)


def _set_field(exported: dict[str, Json], node_id: str, field: str, value: str) -> None:
    for node in cast("dict[str, list[dict[str, dict[str, Json]]]]", exported["data"])["nodes"]:
        if cast("Json", node["id"]) == node_id:
            template = cast("dict[str, dict[str, dict[str, Json]]]", node["data"]["node"])["template"]
            template[field]["value"] = value
            return
    message = f"no node {node_id}"
    raise LookupError(message)


def declared(name: str, *, uses_model: bool) -> tuple[str, ...]:
    """What is replaced in a flow, for the table."""
    replaced = [MODEL] if uses_model else []
    replaced += [substitute.what for substitute in CODE.get(name, ())]
    return (*replaced, *FIELDS.get(name, ())[:1])
