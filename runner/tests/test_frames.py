"""Framing refuses everything that is not a frame, before it buffers anything for it."""

import json
import socket
import struct

import pytest

from flowcell_runner import frames
from flowcell_runner.frames import FrameError, Kind

TASKS = frozenset({Kind.TASK})


def read_bytes(data: bytes, accepted=TASKS):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)  # little enough for the socket's buffer
        theirs.shutdown(socket.SHUT_WR)
        return frames.read(ours, accepted)


def header(magic=b"FC", version=1, kind=1, length=2):
    return struct.pack(">2sBBI", magic, version, kind, length)


def test_a_frame_comes_back_as_it_was():
    payload = {"a": [1, 2.5, None, "ü"], "b": {"c": True}}
    assert read_bytes(frames.encode(Kind.TASK, payload)) == (Kind.TASK, payload)


def test_the_end_between_frames_is_clean():
    assert read_bytes(b"") is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (header(magic=b"XX") + b"{}", "magic"),
        (header(version=2) + b"{}", "version 2"),
        (header(kind=2) + b"{}", "kind 2"),
        (header(kind=99) + b"{}", "kind 99"),
        (header(length=frames.PAYLOAD_BYTES_MAX + 1), "over the limit"),
        (header(length=0xFFFFFFFF), "over the limit"),
        (header(length=0), "not JSON"),
        (header() + b"[]", "not an object"),
        (header(length=9) + b'{"a":NaN}', "not JSON"),
        (header(length=4) + b"\xff\xfe{}", "not JSON"),
        (header(length=50) + b"{}", "ended inside"),
        (header()[:5], "ended inside"),
    ],
)
def test_anything_else_is_refused(data, words):
    with pytest.raises(FrameError, match=words):
        read_bytes(data)


def test_our_own_frames_have_the_limit_too():
    with pytest.raises(frames.PayloadTooLargeError):
        frames.encode(Kind.RESULT, {"x": "y" * frames.PAYLOAD_BYTES_MAX})


def test_json_is_strict_whatever_goes_in():
    value = {"nan": float("nan"), 5: "key", "big": 2**80, "half": "\ud800", "set": {1}, "huge": 10**400}
    assert json.loads(frames.dump_json(value), parse_constant=pytest.fail) == {
        "nan": None,
        "5": "key",
        "big": float(2**80),
        "half": "?",
        "set": [1],
        "huge": None,
    }


def test_json_of_endless_nesting_ends():
    value: list = []
    value.append(value)
    assert len(frames.dump_json(value)) < 10_000
