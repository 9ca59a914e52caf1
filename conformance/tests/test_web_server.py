from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import httpx
import pytest

from flowcell_conformance.web_pages import page_of
from flowcell_conformance.web_server import WebServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebServer]:
    with WebServer(tmp_path) as server:
        yield server


def test_pages_are_served_and_recorded(web: WebServer) -> None:
    answer = httpx.get(f"{web.url}/page/one?a=1", trust_env=False)
    assert "Grüße from page one" in answer.text
    assert web.recorded() == [{"method": "GET", "path": "/page/one?a=1", "body": ""}]
    web.forget()
    assert web.recorded() == []


def test_tls_is_vouched_for_by_the_authority_alone(web: WebServer) -> None:
    context = ssl.create_default_context(cadata=web.authority)
    assert httpx.get(f"{web.tls_url}/echo", verify=context, trust_env=False).json()["path"] == "/echo"
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{web.tls_url}/echo", trust_env=False)


def test_search_results_lead_back_to_the_server() -> None:
    text = page_of("http://here", "/duckduckgo/html/", {"q": "a<b"}, "").text
    assert "uddg=http%3A%2F%2Fhere%2Fpage%2Fone" in text
    assert "a&lt;b" in text


def test_what_is_not_there_is_a_404() -> None:
    assert page_of("http://here", "/nowhere", {}, "").status == 404
