"""What the scripted web answers. Pure: the same question always gets the same answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HTML = "text/html; charset=utf-8"
XML = "application/xml; charset=utf-8"
JSON = "application/json"


@dataclass(frozen=True)
class Page:
    """One answer."""

    text: str
    content_type: str = HTML
    status: int = 200
    location: str = ""


@dataclass(frozen=True)
class Asked:
    """One question; `base` is the address of the server itself."""

    base: str
    path: str
    query: Mapping[str, str]
    word: str


def page_of(base: str, path: str, query: Mapping[str, str], word: str) -> Page:
    """The answer to one question."""
    asked = Asked(base, path, query, word)
    for prefix, answer in _PARTS:
        if path.startswith(prefix):
            return answer(asked)
    return Page("<html><body>nothing here</body></html>", status=404)


def _search(asked: Asked) -> Page:
    """As html.duckduckgo.com writes its results."""
    results = "".join(
        f'<div class="result"><a class="result__a" href="//duckduckgo.com/l/?uddg='
        f'{quote(f"{asked.base}/page/{name}", safe="")}">Result {name}</a>'
        f'<a class="result__snippet">About {name} and {escape(asked.query.get("q", ""))}</a></div>'
        for name in ("one", "two")
    )
    return Page(f"<html><body>{results}</body></html>")


def _page(asked: Asked) -> Page:
    name = asked.path.rsplit("/", 1)[-1]
    links = (
        "".join(f'<a href="/page/{other}">{other}</a> ' for other in ("one", "two"))
        if name == "links"
        else ""
    )
    return Page(
        f"<html><head><title>Page {name}</title></head><body><h1>Page {name}</h1>"
        f"<p>Grüße from page {name}, 日本語.</p>{links}</body></html>"
    )


def _feed(asked: Asked) -> Page:
    items = "".join(
        f"<item><title>Item {name}</title><link>{asked.base}/page/{name}</link>"
        "<pubDate>Fri, 02 Jan 2026 03:04:05 GMT</pubDate>"
        f"<description>&lt;b&gt;About&lt;/b&gt; {name}</description></item>"
        for name in ("one", "two")
    )
    return Page(
        f'<?xml version="1.0"?><rss version="2.0"><channel><title>Feed</title>{items}</channel></rss>', XML
    )


def _papers(asked: Asked) -> Page:
    """As export.arxiv.org writes its answers."""
    entries = "".join(
        f"<entry><id>{asked.base}/abs/{number}</id><title>Paper {number}</title>"
        f"<summary>On topic {number}.</summary>"
        f"<published>2026-01-0{number}T00:00:00Z</published>"
        f"<updated>2026-01-0{number}T00:00:00Z</updated>"
        f"<author><name>Author {number}</name></author>"
        f'<link rel="alternate" href="{asked.base}/abs/{number}"/>'
        f'<arxiv:primary_category term="cs.DC"/><category term="cs.DC"/></entry>'
        for number in (1, 2)
    )
    return Page(
        '<feed xmlns="http://www.w3.org/2005/Atom" xmlns:arxiv="http://arxiv.org/schemas/atom">'
        + entries
        + "</feed>",
        XML,
    )


def _transcript(asked: Asked) -> Page:
    """As api.assemblyai.com: made at once, so that nobody has to wait."""
    return Page(
        json.dumps({"id": "t-1", "status": "completed", "text": f"We met and agreed ({asked.path[-1]})."}),
        JSON,
    )


def _echo(asked: Asked) -> Page:
    return Page(
        json.dumps({"path": asked.path, "query": dict(asked.query), "word": asked.word, "list": [1, None]}),
        JSON,
    )


def _redirect(asked: Asked) -> Page:
    return Page("", status=302, location=f"{asked.base}/page/one")


_PARTS: tuple[tuple[str, Callable[[Asked], Page]], ...] = (
    ("/duckduckgo/", _search),
    ("/page/", _page),
    ("/feed", _feed),
    ("/arxiv/", _papers),
    ("/assemblyai/", _transcript),
    ("/echo", _echo),
    ("/redirect", _redirect),
)
