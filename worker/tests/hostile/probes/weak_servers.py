"""Servers of the weak container: at forbidden addresses, a resolver, a proxy that is wrong in every way."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
import time
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hostile_kit import Scene

PROXY_PORT = 3128
_ASKED = Path("/run/asked-names")


def _serve(listener: socket.socket, handle) -> None:  # noqa: ANN001
    while True:
        stream, _ = listener.accept()
        threading.Thread(target=_guarded, args=(handle, stream), daemon=True).start()


def _guarded(handle, stream: socket.socket) -> None:  # noqa: ANN001
    with contextlib.suppress(OSError, ValueError, IndexError), stream:
        stream.settimeout(10)
        handle(stream)


def _respond(stream: socket.socket, body: str, head: str = "HTTP/1.1 200 OK") -> None:
    text = f"{head}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
    stream.sendall(text.encode())


def _answer(stream: socket.socket, world: dict[str, Any], canary: str) -> None:
    where = stream.getsockname()
    address = where[0].removeprefix("::ffff:")
    allowed = world["allowed"]
    request = stream.recv(65536).decode(errors="replace")
    path = request.split(" ")[1] if request.count(" ") > 1 else "/"
    if (address, where[1]) != (allowed["address"], allowed["port"]):
        _respond(stream, f"{canary} at {address}")
    elif "/redirect?to=" in path:
        _respond(stream, "", f"HTTP/1.1 302 Found\r\nLocation: {path.split('to=')[1]}")
    elif "/asked" in path:
        _respond(stream, "asked: " + (_ASKED.read_text() if _ASKED.exists() else ""))
    else:
        _respond(stream, "the allowed server")


def forbidden(world: dict[str, Any], scene: Scene) -> None:
    """Answer with the canary at every address and port, but for the one that is allowed."""
    for port in world["ports"]:
        listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=256)
        arguments = (listener, lambda stream: _answer(stream, world, scene.canary))
        threading.Thread(target=_serve, args=arguments, daemon=True).start()
    time.sleep(3600)


def resolver(world: dict[str, Any], scene: Scene) -> None:
    """Answer every datagram to port 53, which is all the probes look at."""
    del world, scene

    def serve(family: int, host: str) -> None:
        udp = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        udp.bind((host, 53))
        while True:
            question, sender = udp.recvfrom(512)
            udp.sendto(question[:2] + b"\x81\x80" + question[4:], sender)

    # One socket per address, so that the answer comes from where it was asked.
    for family, host in (
        (socket.AF_INET, "8.8.8.8"), (socket.AF_INET, "127.0.0.11"), (socket.AF_INET6, "2001:4860:4860::8888"),
    ):  # fmt: skip
        threading.Thread(target=serve, args=(family, host), daemon=True).start()
    time.sleep(3600)


def engines(world: dict[str, Any], scene: Scene) -> None:
    """Pose as Docker and as a containerd shim on Unix sockets."""
    del world
    for name in ("/var/run/docker.sock", "/run/containerd/containerd.sock", "\0/containerd-shim/hostile.sock"):
        if name[0] == "/":
            os.makedirs(os.path.dirname(name), exist_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(name)
        listener.listen(64)
        arguments = (listener, lambda stream: (stream.recv(4096), _respond(stream, scene.canary)))
        threading.Thread(target=_serve, args=arguments, daemon=True).start()
    time.sleep(3600)


def wait(world: dict[str, Any]) -> None:
    """Wait until all of them listen."""
    for port in (*world["ports"], PROXY_PORT):
        _until(lambda port=port: socket.create_connection(("127.0.0.1", port), timeout=1).close())
    _until(lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).connect("\0/containerd-shim/hostile.sock"))


def _until(attempt) -> None:  # noqa: ANN001
    until = time.monotonic() + 10
    while True:
        try:
            return attempt()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


# ---- the proxy ----


def proxy(world: dict[str, Any], scene: Scene) -> None:
    """Go wherever anything in the request says, checking nothing."""
    del scene
    resolve = _Resolver(world)
    listener = socket.create_server(("127.0.0.1", PROXY_PORT), backlog=512)
    _serve(listener, lambda stream: _relay(stream, resolve))


class _Resolver:
    """Names to addresses; those with two answers give the second one when asked again."""

    def __init__(self, world: dict[str, Any]) -> None:
        self._names, self._other = world["names"], world["any_other_name"]

    def __call__(self, host: str) -> str:
        host = urllib.parse.unquote(host).replace("。", ".").strip("[]")
        try:
            return socket.getaddrinfo(host, 1, flags=socket.AI_NUMERICHOST)[0][4][0]
        except OSError:
            pass
        if host == "localhost":
            return "127.0.0.1"
        with _ASKED.open("a") as file:
            file.write(f"{host} ")
        # It was asked once to check, and is asked again to connect.
        return self._names.get(host, [self._other])[-1]


def _relay(client: socket.socket, resolve: _Resolver) -> None:
    buffer, upstream = b"", None
    while True:
        chunk = client.recv(65536)
        if not chunk:
            return
        buffer += chunk
        # Whatever looks like a request is one, wherever it stands.
        while match := re.search(rb"(GET|POST|CONNECT) (\S+) HTTP/1\.[01]\r?\n|(GET) (\S+)\n", buffer):
            head, _, rest = buffer[match.start() :].partition(b"\r\n\r\n" if b"\r\n\r\n" in buffer else b"\n\n")
            text = head.decode("utf-8", "replace")
            if upstream is not None and "://" not in text and not text.startswith("CONNECT"):
                break  # for whoever is at the other end of the tunnel
            upstream = _obey(client, text, resolve)
            buffer = rest
            if "Connection: close" in text and not rest:
                return
        if upstream is not None and buffer:
            upstream.sendall(buffer)
            buffer = b""


def _obey(client: socket.socket, head: str, resolve: _Resolver) -> socket.socket:
    lines = head.splitlines()
    method, target = lines[0].split(" ")[:2]
    host, port = _destination(method, target, [line[5:].strip() for line in lines[1:] if line[:5].lower() == "host:"])
    upstream = socket.create_connection((resolve(host), port), timeout=5)
    if method == "CONNECT":
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        threading.Thread(target=_copy, args=(upstream, client), daemon=True).start()
        return upstream
    path = "/" + target.split("://", maxsplit=1)[-1].partition("/")[2]
    upstream.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode("utf-8", "replace"))
    _copy(upstream, client)
    return upstream


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)


def _destination(method: str, target: str, hosts: list[str]) -> tuple[str, int]:
    where = target.split("://", maxsplit=1)[-1].split("/")[0]
    if re.search(r"[\\#]", target):
        where = re.split(r"[\\#]", where)[0]
    elif "@" in where:
        where = where.rsplit("@", maxsplit=1)[1]
    elif hosts and (method != "CONNECT" or ":" in hosts[-1]):
        where = hosts[-1]
    host, _, port = where.rpartition(":") if re.search(r":\d+$", where) and not where.endswith("]") else (where, "", "80")
    return host, int(port) & 0xFFFF
