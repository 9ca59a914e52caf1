"""Components that reach the scripted web."""

from __future__ import annotations

from ..case import WEB, Case, ask

CASES: tuple[Case, ...] = (
    Case("plain", "url", ask("Bob"), uses_web=True),
    Case("follows-links", "url_table", ask("Bob"), uses_web=True),
    Case("plain", "rss", ask(f"{WEB}/feed"), uses_web=True),
    Case("no-feed", "rss", ask(f"{WEB}/page/one"), uses_web=True),
    Case("plain", "web_search", ask("flowcell"), uses_web=True),
    Case("json", "api_request", ask(f"{WEB}/echo?a=1"), uses_web=True),
    Case("page", "api_request", ask(f"{WEB}/page/one"), uses_web=True),
    Case("not-found", "api_request", ask(f"{WEB}/nowhere"), uses_web=True),
    Case("redirect", "api_request", ask(f"{WEB}/redirect"), uses_web=True),
    Case("no-url", "api_request", ask("")),
    Case("plain", "tls", ask("Bob"), uses_web=True),
)
