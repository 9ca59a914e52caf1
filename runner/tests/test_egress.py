"""The bridge alone: its listeners on loopback, a scripted proxy on a Unix socket."""

import contextlib
import os
import socket
import tempfile
import threading
import time
from pathlib import Path

import pytest

from flowcell_runner import egress


@pytest.fixture(autouse=True)
def _environment():
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def free_port(address="127.1.0.9"):
    with socket.create_server((address, 0)) as listener:
        return listener.getsockname()[1]


@contextlib.contextmanager
def proxy(serve):
    """A proxy whose connections are served by a function, and the requests that it read."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "egress.sock"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        listener.listen(64)

        def accept():
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(client,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield str(path)
        listener.close()


def read_head(client):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1)
    return head


def bridge(path, port, host="db.example"):
    forward = {"host": host, "address": "127.1.0.9", "port": port}
    task = {"socket": path, "forwards": [forward]}
    assert egress.is_egress(task)
    return egress.open_egress(task)


def test_a_forward_asks_for_a_tunnel_and_carries_both_ways():
    heads = []

    def serve(client):
        with client:
            heads.append(read_head(client))
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while chunk := client.recv(65536):
                client.sendall(chunk.upper())

    port = free_port()
    with proxy(serve) as path:
        bridge(path, port)
        with socket.create_connection(("127.1.0.9", port)) as client:
            client.sendall(b"startup")
            assert client.recv(100) == b"STARTUP"
            data = b"x" * 5_000_000
            threading.Thread(target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR))).start()
            got = 0
            while chunk := client.recv(65536):
                got += len(chunk)
            assert got == len(data)
    assert heads == [f"CONNECT db.example:{port} HTTP/1.1\r\nHost: db.example:{port}\r\n\r\n".encode()]


def test_a_server_may_speak_first():
    def serve(client):
        with client:
            read_head(client)
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n220 hello\r\n")
            time.sleep(0.2)
            client.sendall(b"more\r\n")

    port = free_port()
    with proxy(serve) as path:
        bridge(path, port)
        with socket.create_connection(("127.1.0.9", port)) as client:
            assert client.makefile("rb").read() == b"220 hello\r\nmore\r\n"


def test_a_refused_tunnel_resets_the_connection_and_says_why(capfd):
    body = b'{"error": "egress_refused", "message": "no egress rule allows it"}'
    head = b"HTTP/1.1 403 Forbidden\r\ncontent-length: %d\r\n\r\n" % len(body)

    def serve(client):
        read_head(client)
        # In two pieces; the connection stays open, as a proxy's does.
        client.sendall(head + body[:10])
        time.sleep(0.05)
        client.sendall(body[10:])
        client.recv(1)

    port = free_port()
    with proxy(serve) as path:
        bridge(path, port)
        with socket.create_connection(("127.1.0.9", port)) as client, pytest.raises(ConnectionResetError):
            client.recv(1)
    assert f"flowcell: no connection to db.example:{port}: no egress rule allows it" in capfd.readouterr().err


def test_many_connections_take_one_thread():
    def serve(client):
        with client:
            while chunk := client.recv(100):
                client.sendall(chunk)

    with proxy(serve) as path:
        port = egress.open_egress({"socket": path})
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]
        for index, client in enumerate(clients):
            client.sendall(str(index).encode())
        assert [client.recv(10) for client in clients] == [str(index).encode() for index in range(60)]
        names = [thread.name for thread in threading.enumerate()]
        assert names.count("flowcell-egress") <= 4, names  # one for each test of this file
        for client in clients:
            client.close()


@pytest.mark.parametrize(
    "forward",
    [
        {"host": "x", "address": "10.0.0.1", "port": 1},
        {"host": "x", "address": "::1", "port": 1},
        {"host": "x", "address": "127.1.0.1", "port": 0},
        {"host": "x", "address": "127.1.0.1", "port": "1"},
        {"host": 1, "address": "127.1.0.1", "port": 1},
        "x",
    ],
    ids=str,
)
def test_what_is_no_forward_is_refused(forward):
    assert not egress.is_egress({"socket": "/x", "forwards": [forward]})


def test_what_cannot_be_listened_on_is_said_and_left_out(capfd):
    with socket.create_server(("127.1.0.9", 0)) as taken:
        egress.open_egress(
            {
                "socket": "/nowhere",
                "forwards": [{"host": "x", "address": "127.1.0.9", "port": taken.getsockname()[1]}],
            }
        )
    assert "is not forwarded" in capfd.readouterr().err
