"""Sockets and the protocols on them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import http.server
import json
import os
import select
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workload.parts import part, scratch, square


@part
def sockets() -> None:
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family, socket.SOCK_STREAM) as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                server.bind((address, 0))
            except OSError as error:
                # A container without network may have no IPv6 address on `lo`.
                assert error.errno == errno.EADDRNOTAVAIL, error
                continue
            server.listen()
            client = socket.create_connection(server.getsockname()[:2], timeout=5)
            peer, _ = server.accept()
            for option in (socket.TCP_NODELAY, socket.TCP_KEEPIDLE):
                client.setsockopt(socket.IPPROTO_TCP, option, 1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            client.sendmsg([b"a", b"b"])
            assert peer.recvmsg(10)[0] == b"ab"
            assert peer.getpeername() == client.getsockname()
            client.shutdown(socket.SHUT_WR)
            assert peer.recv(1) == b""
            client.close()
            peer.close()
        with socket.socket(family, socket.SOCK_DGRAM) as udp:
            udp.bind((address, 0))
            udp.sendto(b"x", udp.getsockname())
            assert udp.recvfrom(10)[0] == b"x"
    with scratch() as here:
        for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
            with socket.socket(socket.AF_UNIX, kind) as server, socket.socket(socket.AF_UNIX, kind) as client:
                server.bind(str(here / f"s{kind}"))
                server.listen()
                client.connect(str(here / f"s{kind}"))
                client.send(b"x")
    left, right = socket.socketpair()
    socket.send_fds(left, [b"x"], [0])
    _, descriptors, _, _ = socket.recv_fds(right, 10, 1)
    os.close(descriptors[0])
    left.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        left.recv(1)
    right.send(b"x")
    assert select.select([left], [], [], 1)[0]
    poll = select.poll()
    poll.register(left, select.POLLIN)
    assert poll.poll(1000)
    with select.epoll() as epoll:
        epoll.register(left, select.EPOLLIN)
        assert epoll.poll(1)
    socket.getaddrinfo("localhost", 80)
    socket.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    with contextlib.suppress(socket.gaierror):
        socket.getaddrinfo("no.such.host.example", 80)
    socket.gethostbyname("localhost")
    with contextlib.suppress(OSError):
        socket.getnameinfo(("127.0.0.1", 80), 0)
    with contextlib.suppress(OSError):
        socket.if_nameindex()
    with contextlib.suppress(OSError):
        socket.getfqdn()
    assert socket.has_dualstack_ipv6() in {True, False}


def _certificate(here: Path) -> tuple[str, str]:
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (here / "cert.pem").write_bytes(certificate.public_bytes(pem))
    plain = serialization.NoEncryption()
    (here / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return str(here / "cert.pem"), str(here / "key.pem")


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(b'{"ok": true}', "application/json")

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or "{}")
        if not asked.get("stream"):
            message = {"role": "assistant", "content": "hi"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            body = {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
            self._answer(json.dumps(body).encode(), "application/json")
            return
        chunk = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "m"}
        events = [{**chunk, "choices": [{"index": 0, "delta": {"content": word}}]} for word in ("a", "b")]
        text = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
        self._answer(text.encode(), "text/event-stream")

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@contextlib.contextmanager
def _server(context: ssl.SSLContext | None = None) -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@part
def http_clients() -> None:
    import urllib.request

    import httpx
    import requests

    async def fetch(url: str) -> None:
        async with httpx.AsyncClient() as client:
            answers = await asyncio.gather(*(client.get(url) for _ in range(5)))
        assert all(answer.json()["ok"] for answer in answers)

    with _server() as port:
        url = f"http://localhost:{port}/"
        assert httpx.get(url).json()["ok"]
        assert requests.get(url, timeout=5).json()["ok"]
        assert json.load(urllib.request.urlopen(url))["ok"]
        asyncio.run(fetch(url))


@part
def tls() -> None:
    import httpx
    import requests

    with scratch() as here:
        certificate, key = _certificate(here)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        with _server(context) as port:
            url = f"https://localhost:{port}/"
            trust = ssl.create_default_context(cafile=certificate)
            assert httpx.get(url, verify=trust).json()["ok"]
            with httpx.Client(http2=True, verify=trust) as client:
                client.get(url)
            assert requests.get(url, timeout=5, verify=certificate).json()["ok"]
            ssl.create_default_context()


@part
def openai_client() -> None:
    import openai

    async def ask(port: int) -> str:
        client = openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="k")
        stream = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "x"}], stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    with _server() as port:
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="k")
        answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
        assert answer.choices[0].message.content == "hi"
        assert asyncio.run(ask(port)) == "ab"


@part
def langchain_models() -> None:
    from langchain_openai import ChatOpenAI
    from langchain_text_splitters import RecursiveCharacterTextSplitter
    from langgraph.graph import END, START, StateGraph

    with _server() as port:
        model = ChatOpenAI(model="m", base_url=f"http://127.0.0.1:{port}/v1", api_key="k")
        assert model.invoke("x").content == "hi"
        assert asyncio.run(model.ainvoke("x")).content == "hi"
        assert [chunk.content for chunk in model.stream("x")][:2] == ["a", "b"]
        assert model.batch(["x", "y"])[1].content == "hi"
    assert RecursiveCharacterTextSplitter(chunk_size=10, chunk_overlap=0).split_text("word " * 10)
    graph = StateGraph(dict)
    graph.add_node("one", lambda state: {"n": state["n"] + 1})
    graph.add_edge(START, "one")
    graph.add_edge("one", END)
    assert graph.compile().invoke({"n": 1})["n"] == 2


async def _asyncio_body() -> None:
    loop = asyncio.get_running_loop()
    child = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
    assert (await child.communicate(b"x"))[0] == b"x"
    child = await asyncio.create_subprocess_shell("exit 3")
    assert await child.wait() == 3

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(10))
        await writer.drain()
        writer.close()

    with scratch() as here:
        servers = [
            await asyncio.start_server(echo, "127.0.0.1", 0),
            await asyncio.start_unix_server(echo, here / "s"),
        ]
        opened = [
            await asyncio.open_connection(*servers[0].sockets[0].getsockname()),
            await asyncio.open_unix_connection(here / "s"),
        ]
        for reader, writer in opened:
            writer.write(b"x")
            assert await reader.read(1) == b"x"
            writer.close()
        for server in servers:
            server.close()
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))
    transport.close()
    await asyncio.to_thread(time.sleep, 0.01)
    assert await loop.run_in_executor(None, square, 3) == 9
    got = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR2, got.set)
    os.kill(os.getpid(), signal.SIGUSR2)
    await asyncio.wait_for(got.wait(), 5)
    await loop.getaddrinfo("localhost", 80)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.01):
            await asyncio.sleep(1)


@part
def event_loops() -> None:
    import uvloop

    asyncio.run(_asyncio_body())
    for watcher in (asyncio.ThreadedChildWatcher, asyncio.PidfdChildWatcher, asyncio.SafeChildWatcher):
        asyncio.set_child_watcher(watcher())
        asyncio.run(_watched())
    asyncio.set_child_watcher(None)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_asyncio_body())


async def _watched() -> None:
    watcher = asyncio.get_child_watcher()
    watcher.attach_loop(asyncio.get_running_loop())
    try:
        child = await asyncio.create_subprocess_exec("true")
    except OSError as error:
        assert error.errno == errno.ENOSYS, error  # PidfdChildWatcher on a kernel without pidfds
        return
    await child.wait()


@part
def web_servers() -> None:
    import fastapi
    import httpx
    import uvicorn
    import websockets.sync.client
    import websockets.sync.server

    app = fastapi.FastAPI()
    app.get("/")(lambda: {"ok": True})
    for loop in ("asyncio", "uvloop"):
        server = uvicorn.Server(uvicorn.Config(app, port=0, loop=loop, log_level="error"))
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        assert httpx.get(f"http://127.0.0.1:{port}/").json()["ok"]
        server.should_exit = True
        thread.join()

    def echo(connection: Any) -> None:
        connection.send(connection.recv())

    with websockets.sync.server.serve(echo, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.socket.getsockname()[1]
        with websockets.sync.client.connect(f"ws://127.0.0.1:{port}", proxy=None) as client:
            client.send("x")
            assert client.recv() == "x"


@part
def mcp_servers() -> None:
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    source = """
from mcp.server.fastmcp import FastMCP
server = FastMCP("x")
@server.tool()
def add(a: int, b: int) -> int:
    return a + b
server.run()
"""

    async def main(path: Path) -> None:
        server = StdioServerParameters(command=sys.executable, args=[str(path)])
        async with stdio_client(server, errlog=sys.__stderr__) as streams, ClientSession(*streams) as session:
            await session.initialize()
            answer = await session.call_tool("add", {"a": 1, "b": 2})
            assert answer.content[0].text == "3"

    with scratch() as here:
        (here / "server.py").write_text(source)
        asyncio.run(main(here / "server.py"))
