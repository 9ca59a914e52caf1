"""Components that reach the web; `substitutes.WEB` stands for the address of the scripted server."""

from describe_data import DescribeData
from describe_table import DescribeTable
from fetch import Fetch
from lfx.components.data_source.api_request import APIRequestComponent
from lfx.components.data_source.rss import RSSReaderComponent
from lfx.components.data_source.url import URLComponent
from lfx.components.data_source.web_search import WebSearchComponent
from lfx.graph import Graph

from .kit import chat_input, chat_output

# The same names as in `substitutes.py`, which this environment cannot import.
WEB = "http://web.conformance.invalid"
WEB_TLS = "https://web-tls.conformance.invalid"
AUTHORITY = "AUTHORITY-OF-THE-CONFORMANCE-WEB-SERVER"


def url() -> Graph:
    """Two pages as text."""
    pages = URLComponent(_id="URLComponent-uuuuu")
    pages.set(urls=[f"{WEB}/page/one", f"{WEB}/page/two"], max_depth=1)
    return Graph(pages, chat_output(pages.fetch_content_as_message))


def url_table() -> Graph:
    """A page and what it links to, as a table."""
    pages = URLComponent(_id="URLComponent-uuuuu")
    pages.set(urls=[f"{WEB}/page/links"], max_depth=2)
    said = DescribeTable(_id="DescribeTable-ddddd")
    said.set(table=pages.fetch_content)
    return Graph(pages, chat_output(said.describe))


def rss() -> Graph:
    start = chat_input()
    feed = RSSReaderComponent(_id="RSSReaderSimple-rrrrr")
    feed.set(rss_url=start.message_response)
    said = DescribeTable(_id="DescribeTable-ddddd")
    said.set(table=feed.read_rss)
    return Graph(start, chat_output(said.describe))


def web_search() -> Graph:
    start = chat_input()
    search = WebSearchComponent(_id="UnifiedWebSearch-sssss")
    search.set(query=start.message_response)
    said = DescribeTable(_id="DescribeTable-ddddd")
    said.set(table=search.perform_search)
    return Graph(start, chat_output(said.describe))


def api_request() -> Graph:
    start = chat_input()
    call = APIRequestComponent(_id="APIRequest-rrrrr")
    call.set(url_input=start.message_response, headers=[{"key": "X-Word", "value": "hello"}])
    said = DescribeData(_id="DescribeData-ddddd")
    said.set(data=call.make_api_request)
    return Graph(start, chat_output(said.describe))


def tls() -> Graph:
    """A page over TLS, from a server whose authority the flow names."""
    start = chat_input()
    page = Fetch(_id="Fetch-fffff")
    page.set(text=start.message_response, url=f"{WEB_TLS}/echo", authority=AUTHORITY)
    return Graph(start, chat_output(page.run_it))


FLOWS = {
    "url": url,
    "url_table": url_table,
    "rss": rss,
    "web_search": web_search,
    "api_request": api_request,
    "tls": tls,
}
