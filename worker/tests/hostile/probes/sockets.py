"""Kinds of sockets, and Unix sockets that somebody else listens at."""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct

from hostile_kit import probe


def _opens(family: int, kinds: tuple[int, ...], protocol: int = 0) -> str:
    last: OSError | None = None
    for kind in kinds:
        try:
            socket.socket(family, kind, protocol).close()
        except OSError as error:
            last = error
            if error.errno in (errno.ESOCKTNOSUPPORT, errno.EPROTONOSUPPORT, errno.ENODEV):
                continue
            raise
        return f"a socket of family {family}, kind {kind}"
    raise last or OSError


_ALL = (socket.SOCK_RAW, socket.SOCK_DGRAM, socket.SOCK_STREAM, socket.SOCK_SEQPACKET)


@probe("CVE-2020-14386, CVE-2017-7308; CAP_NET_RAW: sniffing and ARP spoofing")
def packet() -> str | None:
    """A packet socket opens."""
    return _opens(17, (socket.SOCK_RAW, socket.SOCK_DGRAM))


@probe("CAP_NET_RAW: forged IP packets")
def raw_ip() -> str | None:
    """A raw IP socket opens."""
    return _opens(socket.AF_INET, (socket.SOCK_RAW,), socket.IPPROTO_RAW)


@probe("CAP_NET_RAW on IPv6")
def raw_ipv6() -> str | None:
    """A raw IPv6 socket opens."""
    return _opens(socket.AF_INET6, (socket.SOCK_RAW,), socket.IPPROTO_ICMPV6)


@probe("AF_ALG: CVE-2019-8912", narrow=True, no_control="needs CONFIG_CRYPTO_USER_API")
def alg() -> str | None:
    """A socket to the kernel's ciphers opens."""
    return _opens(38, (socket.SOCK_SEQPACKET,))


@probe("AF_VSOCK: the hypervisor's own services, past every network rule", narrow=True)
def vsock() -> str | None:
    """A socket to the hypervisor opens."""
    return _opens(40, (socket.SOCK_STREAM, socket.SOCK_SEQPACKET))


@probe("AF_XDP", narrow=True)
def xdp() -> str | None:
    """An XDP socket opens."""
    return _opens(44, (socket.SOCK_RAW,))


@probe("rarely used families: CVE-2021-43267 (TIPC), CVE-2017-6074 (DCCP), CVE-2010-3904 (RDS), CAN, KCM",
       narrow=True, no_control="needs a kernel with one of them")  # fmt: skip
def rare_families() -> str | None:
    """A socket of a family that no component needs opens."""
    for family in (3, 9, 15, 21, 24, 29, 30, 31, 39, 41, 43):
        try:
            return _opens(family, _ALL)
        except OSError:
            continue
    return None


def _netlink(protocol: int) -> socket.socket:
    link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
    link.settimeout(2)
    link.bind((0, 0))
    return link


def _ask_route(kind: int, flags: int, body: bytes) -> str:
    with _netlink(0) as link:
        link.send(struct.pack("=IHHII", 16 + len(body), kind, flags | 5, 1, 0) + body)
        code = struct.unpack_from("=i", link.recv(65536), 16)[0]
    if code:
        raise OSError(-code, os.strerror(-code))
    return "the kernel agreed"


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


@probe("AF_NETLINK: a new network interface")
def adds_an_interface() -> str | None:
    """A network interface can be made."""
    name = _attribute(3, b"hc1\0")
    for kind in (b"bridge", b"dummy", b"veth", b"ifb"):
        body = struct.pack("=BxHiII", 0, 0, 0, 0, 0) + name + _attribute(18, _attribute(1, kind))
        try:
            _ask_route(16, 0x600, body)
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                continue
            raise
        _ask_route(17, 0, struct.pack("=BxHiII", 0, 0, 0, 0, 0) + name)
        return f"a {kind.decode()} was made and removed"
    return None


@probe("AF_NETLINK: an address of another cell")
def adds_an_address() -> str | None:
    """An address can be given to an interface."""
    body = struct.pack("=BBBBI", 2, 32, 0, 0, 1) + _attribute(2, bytes((10, 99, 99, 99)))
    _ask_route(20, 0x600, body)
    _ask_route(21, 0, body)
    return "10.99.99.99 was added to lo and removed"


@probe("AF_NETLINK: a route")
def adds_a_route() -> str | None:
    """A route can be added."""
    body = struct.pack("=8BI", 2, 32, 0, 0, 254, 4, 253, 1, 0)
    body += _attribute(1, bytes((10, 99, 99, 98))) + _attribute(4, struct.pack("=i", 1))
    _ask_route(24, 0x600, body)
    _ask_route(25, 0, body)
    return "a route to 10.99.99.98 was added and removed"


@probe("NETLINK_KOBJECT_UEVENT: events of the host's devices", narrow=True)
def hears_uevents() -> str | None:
    """Events of devices can be listened to."""
    link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15)
    link.bind((0, 1))
    return "listening"


@probe("NETLINK_AUDIT: forged lines in the host's audit log", no_control="only the first process namespace may")
def audit() -> str | None:
    """A line can be written to the audit log."""
    with _netlink(9) as link:
        link.send(struct.pack("=IHHII", 16, 1000, 5, 1, 0))
        code = struct.unpack_from("=i", link.recv(65536), 16)[0]
    if code and -code in (errno.EPERM, errno.EACCES, errno.ECONNREFUSED):
        raise OSError(-code, os.strerror(-code))
    return "audit answered"


@probe("NETLINK_NETFILTER: firewall rules")
def netfilter() -> str | None:
    """The firewall's tables can be asked."""
    with _netlink(12) as link:
        # NFT_MSG_GETGEN, which changes nothing.
        link.send(struct.pack("=IHHII", 20, (10 << 8) | 16, 5, 1, 0) + struct.pack("=BBH", 0, 0, 0))
        code = struct.unpack_from("=i", link.recv(65536), 16)[0]
    if -code in (errno.EPERM, errno.EACCES):
        raise OSError(-code, os.strerror(-code))
    return f"netfilter answered {code}"


@probe("CVE-2020-15257 (CDK shim-pwn): containerd-shim's abstract socket")
def abstract_sockets() -> str | None:
    """Somebody listens at an abstract Unix socket."""
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as lines:
        names = {line.split()[7] for line in lines if " @" in line}
    for name in sorted(names):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
            stream.settimeout(1)
            stream.connect("\0" + name[1:])
        return f"connected to {name}"
    return None


@probe("abstract names that are known: shims, D-Bus, X11")
def known_abstract_sockets() -> str | None:
    """A well-known abstract Unix socket can be connected to."""
    last: OSError | None = None
    for name in ("/containerd-shim/hostile.sock", "/tmp/.X11-unix/X0", "/org/freedesktop/systemd1/notify"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
            try:
                stream.connect("\0" + name)
            except OSError as error:
                last = error
                continue
            return f"connected to @{name}"
    raise last or OSError


@probe("sockets of the host below /run, /var/run, /tmp", seconds=20)
def sockets_in_files() -> str | None:
    """Somebody listens at a Unix socket in the file system, and it is not the cell's own."""
    found = []
    for top in ("/run", "/var", "/tmp", "/host", "/srv", "/mnt", "/dev"):
        for folder, _, names in os.walk(top):
            for name in names:
                path = os.path.join(folder, name)
                if os.path.lexists(path) and stat.S_ISSOCK(os.lstat(path).st_mode):
                    found.append(path)
    own = {"/run/flowcell/cell.sock", "/run/flowcell/egress.sock"}
    return f"{sorted(set(found) - own)[:4]}" if set(found) - own else None


@probe("SCM_RIGHTS and SO_PEERCRED: forged credentials")
def forges_credentials() -> str | None:
    """The process claims to be root towards a Unix socket's other end."""
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    right.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    forged = struct.pack("=iII", 1, 0, 0)
    if os.getuid() == 0:
        forged = struct.pack("=iII", 1, 4711, 4711)
    left.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, forged)])
    return "forged credentials were delivered"


@probe("SO_MARK and SO_BINDTODEVICE go around routing rules")
def marks_packets() -> str | None:
    """Packets can be marked."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setsockopt(socket.SOL_SOCKET, 36, 1)
    return "SO_MARK set"
