"""A way out of a container that has no network.

The worker's proxy listens on a Unix socket that only this container has. HTTP
clients want a proxy at a TCP address, so one thread listens on loopback and splices
every connection to that socket, byte for byte; the proxy variables that every
client reads point there. Programs that know nothing of proxies connect to a name,
which the container's hosts file maps to a loopback address of its own: there the
same thread listens too, and asks the proxy for a tunnel first. Whether a connection
is allowed is decided by the proxy, outside: nothing here can be trusted with that.

One thread for all connections: each would count against the cell's processes, and
they would all compete with the component for the interpreter.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import ipaddress
import json
import os
import selectors
import socket
import sys
import threading
import time
from typing import Any

_CHUNK_BYTES = 1 << 16
#: Connections of one cell at a time; more wait in the listener's backlog. The proxy refuses
#: far fewer, and says why.
CONNECTIONS_MAX = 512
#: The proxy's answer to a tunnel that it refuses is a few lines.
_ANSWER_BYTES_MAX = 16 * 1024
_BACKLOG = 128
_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def open_egress(egress: dict[str, Any]) -> int:
    """Start the bridge, point this process's HTTP clients at it and return its port."""
    bridge = _Bridge(egress["socket"])
    # First: a forward's port must not be taken by the listener that takes any.
    for forward in egress.get("forwards", []):
        bridge.forward(forward["host"], forward["address"], forward["port"])
    port = bridge.listen("127.0.0.1", 0, None)
    threading.Thread(target=bridge.run, name="flowcell-egress", daemon=True).start()
    proxy = f"http://127.0.0.1:{port}"
    for name in _VARIABLES:
        os.environ[name] = proxy
        os.environ[name.lower()] = proxy
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ""
    _make_aiohttp_read_the_environment()
    return port


def is_egress(value: object) -> bool:
    """Whether the task's description of the way out can be used."""
    if not isinstance(value, dict) or not isinstance(value.get("socket"), str):
        return False
    forwards = value.get("forwards", [])
    return isinstance(forwards, list) and all(_is_forward(forward) for forward in forwards)


def _is_forward(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    host, address, port = (value.get(name) for name in ("host", "address", "port"))
    if not (isinstance(host, str) and isinstance(address, str) and isinstance(port, int)):
        return False
    try:
        return ipaddress.IPv4Address(address).is_loopback and 0 < port < 1 << 16
    except ValueError:
        return False


class _End:
    """One end of a spliced connection: a socket, and what still has to be written to it."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.peer: _End = self
        self.splice: _Splice
        self.pending = b""
        #: Nothing more comes from it.
        self.ended = False
        #: Nothing more goes to it.
        self.shut = False
        self.watched = 0

    def wanted(self) -> int:
        """Tell what to wait for: it is read only when the other side took everything before."""
        wanted = 0
        if not self.ended and not self.peer.pending:
            wanted |= selectors.EVENT_READ
        if self.pending:
            wanted |= selectors.EVENT_WRITE
        return wanted


class _Splice:
    """A connection of a component and its counterpart at the proxy."""

    def __init__(self, client: _End, proxy: _End, tunnel: str | None) -> None:
        self.ends = (client, proxy)
        client.peer, proxy.peer = proxy, client
        client.splice = proxy.splice = self
        self.tunnel = tunnel
        #: What the proxy answered so far, while a tunnel is being asked for.
        self.answer: bytes | None = None
        if tunnel is not None:
            self.answer = b""
            proxy.pending = f"CONNECT {tunnel} HTTP/1.1\r\nHost: {tunnel}\r\n\r\n".encode()


class _Bridge:
    """All listeners and connections, served by one thread."""

    def __init__(self, socket_path: str) -> None:
        self._path = socket_path
        self._selector = selectors.DefaultSelector()
        self._listeners: list[tuple[socket.socket, str | None]] = []
        self._splices = 0
        self._listening = False

    def forward(self, host: str, address: str, port: int) -> None:
        """Listen in a destination's stead."""
        destination = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            self.listen(address, port, destination)
        except OSError as error:
            _say(f"{destination} is not forwarded: {error}")

    def listen(self, address: str, port: int, tunnel: str | None) -> int:
        """Accept connections here; the port."""
        listener = socket.create_server((address, port), backlog=_BACKLOG)
        listener.setblocking(False)
        self._listeners.append((listener, tunnel))
        found: int = listener.getsockname()[1]
        return found

    def run(self) -> None:
        """Serve for ever: the container ends, not this."""
        self._listen(True)
        while True:
            for key, events in self._selector.select():
                if isinstance(key.data, _End):
                    self._serve(key.data, events)
                else:
                    self._accept(key.fileobj, key.data[0])  # type: ignore[arg-type]
            self._listen(self._splices < CONNECTIONS_MAX)

    def _listen(self, wanted: bool) -> None:
        if wanted == self._listening:
            return
        self._listening = wanted
        for listener, tunnel in self._listeners:
            if wanted:
                self._selector.register(listener, selectors.EVENT_READ, (tunnel,))
            else:
                self._selector.unregister(listener)

    def _accept(self, listener: socket.socket, tunnel: str | None) -> None:
        try:
            client, _ = listener.accept()
        except OSError as error:
            # It went away; or there are no files left, and it stays readable until others end.
            if error.errno in {errno.EMFILE, errno.ENFILE}:
                time.sleep(0.05)
            return
        proxy = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            proxy.connect(self._path)
        except OSError as error:
            _say(f"the way out is closed: {error}")
            client.close()
            proxy.close()
            return
        splice = _Splice(_End(client), _End(proxy), tunnel)
        self._splices += 1
        for end in splice.ends:
            self._watch(end)

    def _serve(self, end: _End, events: int) -> None:
        if end.watched == 0:
            return  # closed by an event before this one in the same round
        try:
            if events & selectors.EVENT_WRITE:
                self._write(end)
            if events & selectors.EVENT_READ and not end.ended:
                self._read(end)
        except OSError:
            # A reset of one side is a reset of the other.
            self._close(end.splice, reset=True)
            return
        if all(side.ended and side.shut for side in end.splice.ends):
            self._close(end.splice)
            return
        for side in end.splice.ends:
            self._watch(side)

    def _read(self, end: _End) -> None:
        try:
            chunk = end.sock.recv(_CHUNK_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        splice = end.splice
        if splice.answer is not None and end is splice.ends[1]:
            self._answered(splice, chunk)
            return
        # What the client says before the tunnel stands goes after the request for it.
        if not chunk:
            end.ended = True
            self._finish(end.peer)
            return
        end.peer.pending += chunk
        self._write(end.peer)

    def _answered(self, splice: _Splice, chunk: bytes) -> None:
        client, _ = splice.ends
        answer = (splice.answer or b"") + chunk
        head, end_of_head, rest = answer.partition(b"\r\n\r\n")
        status = head[:13].split(b" ")[1:2]
        if end_of_head and status == [b"200"]:
            splice.answer = None
            client.pending += rest
            self._write(client)
            return
        if chunk and len(answer) < _ANSWER_BYTES_MAX and not _is_whole(head, end_of_head, rest):
            splice.answer = answer
            return
        _say(f"no connection to {splice.tunnel}: {_reason(rest)}")
        raise ConnectionResetError(errno.ECONNRESET, "refused")

    def _write(self, end: _End) -> None:
        if end.pending:
            try:
                sent = end.sock.send(end.pending)
            except (BlockingIOError, InterruptedError):
                return
            end.pending = end.pending[sent:]
        self._finish(end)

    def _finish(self, end: _End) -> None:
        """Half-close: the other direction may still have something to deliver."""
        if end.peer.ended and not end.pending and not end.shut:
            end.shut = True
            with contextlib.suppress(OSError):
                end.sock.shutdown(socket.SHUT_WR)

    def _watch(self, end: _End) -> None:
        wanted = end.wanted()
        if wanted == end.watched:
            return
        if end.watched == 0:
            self._selector.register(end.sock, wanted, end)
        elif wanted == 0:
            self._selector.unregister(end.sock)
        else:
            self._selector.modify(end.sock, wanted, end)
        end.watched = wanted

    def _close(self, splice: _Splice, *, reset: bool = False) -> None:
        self._splices -= 1
        for end in splice.ends:
            if end.watched:
                self._selector.unregister(end.sock)
                end.watched = 0
            if reset and end is splice.ends[0]:
                # The client sees a reset, not an answer that merely ended.
                linger = b"\x01\0\0\0\0\0\0\0"
                with contextlib.suppress(OSError):
                    end.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            end.sock.close()


def _is_whole(head: bytes, end_of_head: bytes, body: bytes) -> bool:
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length" and value.strip().isdigit():
            return bool(end_of_head) and len(body) >= int(value)
    return False


def _reason(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return "the proxy closed it"


def _say(text: str) -> None:
    """To the run's log: a component sees only a connection that failed."""
    with contextlib.suppress(OSError, ValueError):
        print(f"flowcell: {text}", file=sys.stderr, flush=True)  # noqa: T201 - captured


def _make_aiohttp_read_the_environment() -> None:
    """Aiohttp is the one common client that ignores proxy variables unless told."""
    aiohttp = sys.modules.get("aiohttp")
    if aiohttp is None:
        _ImportHook.install()
        return
    _patch_aiohttp(aiohttp)


def _patch_aiohttp(aiohttp: object) -> None:
    session = aiohttp.ClientSession  # type: ignore[attr-defined]
    original = session.__init__

    @functools.wraps(original)
    def init(self: object, *args: object, **kwargs: object) -> None:
        kwargs.setdefault("trust_env", True)
        original(self, *args, **kwargs)

    session.__init__ = init


class _ImportHook:
    """Patches aiohttp when a component first imports it, so that others do not pay for the import."""

    @classmethod
    def install(cls) -> None:
        sys.meta_path.insert(0, cls())  # type: ignore[arg-type]

    def find_spec(self, name: str, path: object = None, target: object = None) -> object | None:
        del path, target
        if name != "aiohttp":
            return None
        from importlib.util import find_spec

        sys.meta_path.remove(self)  # type: ignore[arg-type]
        spec = find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def exec_module(module: object) -> None:
            load(module)  # type: ignore[arg-type]
            _patch_aiohttp(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
