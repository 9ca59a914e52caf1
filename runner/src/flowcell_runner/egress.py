"""A way out of a container that has no network.

The worker's proxy listens on a Unix socket that only this container has. HTTP
clients want a proxy at a TCP address, so a thread listens on loopback and splices
every connection to that socket, byte for byte; the proxy variables that every
client reads point there. Whether a connection is allowed is decided by the proxy,
outside: nothing here can be trusted with that.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import sys
import threading

_CHUNK_BYTES = 1 << 16
#: Connections of one cell at a time; more wait in the listener's backlog.
CONNECTIONS_MAX = 64
_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def open_egress(socket_path: str) -> int:
    """Start the bridge, point this process's HTTP clients at it and return its port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    port: int = listener.getsockname()[1]
    slots = threading.BoundedSemaphore(CONNECTIONS_MAX)
    threading.Thread(target=_accept, args=(listener, socket_path, slots), name="flowcell-egress", daemon=True).start()
    proxy = f"http://127.0.0.1:{port}"
    for name in _VARIABLES:
        os.environ[name] = proxy
        os.environ[name.lower()] = proxy
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ""
    _make_aiohttp_read_the_environment()
    return port


def _accept(listener: socket.socket, socket_path: str, slots: threading.BoundedSemaphore) -> None:
    while True:
        slots.acquire()
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(client, socket_path, slots), daemon=True).start()


def _serve(client: socket.socket, socket_path: str, slots: threading.BoundedSemaphore) -> None:
    try:
        with client, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as proxy:
            proxy.connect(socket_path)
            back = threading.Thread(target=_copy, args=(proxy, client), daemon=True)
            back.start()
            _copy(client, proxy)
            back.join()
    except OSError:
        pass  # the client sees its connection close, which is what happened
    finally:
        slots.release()


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while chunk := source.recv(_CHUNK_BYTES):
            target.sendall(chunk)
    except OSError:
        pass
    finally:
        # Half-close: the other direction may still have an answer to deliver.
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


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
