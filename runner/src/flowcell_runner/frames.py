"""Framing: eight bytes of header, then one JSON object.

The contract is `proto/FRAMES.md`. Both sides treat the other as hostile: a
length is checked before a byte is read for it, JSON is strict, and nothing is
resynchronised after an error, because a peer that breaks framing once cannot be
trusted to know where the next frame starts.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

MAGIC = b"FC"
VERSION = 1
HEADER = struct.Struct(">2sBBI")
#: 32 MiB: far above any value that should travel inline, far below what hurts a worker.
PAYLOAD_BYTES_MAX = 33_554_432


class Kind(IntEnum):
    """Frame kinds; those from 128 up travel from the runner to the worker."""

    TASK = 1
    REPLY = 2
    READY = 129
    EVENT = 130
    LOG = 131
    CALL = 132
    RESULT = 133
    FAILURE = 134


class FrameError(Exception):
    """The peer does not speak this protocol, or a frame of ours would break it."""


class PayloadTooLargeError(FrameError):
    """A payload of ours is over the limit of the protocol."""

    def __init__(self, kind: Kind, payload_bytes: int) -> None:
        super().__init__(f"{kind.name.lower()} frame of {payload_bytes} bytes is over the limit of {PAYLOAD_BYTES_MAX}")


class Readable(Protocol):
    """The part of a socket that reading frames needs."""

    def recv_into(self, buffer: memoryview, nbytes: int = 0, flags: int = 0, /) -> int:
        """Fill the buffer with what has arrived; 0 at the end of the stream."""
        ...


def encode(kind: Kind, payload: Mapping[str, Any]) -> bytes:
    """Return one whole frame; raises `PayloadTooLargeError` rather than send what would be refused."""
    body = dump_json(payload)
    if len(body) > PAYLOAD_BYTES_MAX:
        raise PayloadTooLargeError(kind, len(body))
    return HEADER.pack(MAGIC, VERSION, kind, len(body)) + body


def read(stream: Readable, accepted: frozenset[Kind]) -> tuple[Kind, dict[str, Any]] | None:
    """Return the next frame, or None at a clean end of the stream."""
    header = _read_exactly(stream, HEADER.size, at_start=True)
    if header is None:
        return None
    magic, version, kind_number, length = HEADER.unpack(header)
    if magic != MAGIC:
        msg = "not a frame: wrong magic"
        raise FrameError(msg)
    if version != VERSION:
        msg = f"frame version {version} is not supported (this side speaks {VERSION})"
        raise FrameError(msg)
    if kind_number not in accepted:
        msg = f"unexpected frame kind {kind_number}"
        raise FrameError(msg)
    if length > PAYLOAD_BYTES_MAX:
        msg = f"frame of {length} bytes is over the limit of {PAYLOAD_BYTES_MAX}"
        raise FrameError(msg)
    kind = Kind(kind_number)
    body = _read_exactly(stream, length, at_start=False)
    try:
        payload = orjson.loads(body or b"")
    except orjson.JSONDecodeError as error:
        msg = f"{kind.name.lower()} frame is not JSON: {error}"
        raise FrameError(msg) from error
    if not isinstance(payload, dict):
        msg = f"{kind.name.lower()} frame is not an object"
        raise FrameError(msg)
    return kind, payload


def dump_json(value: Any) -> bytes:
    """Strict JSON for anything JSON-like.

    What has no place in JSON is made to fit instead of failing the cell: NaN and
    infinities become null, keys become text, lone surrogates become `?`, integers
    beyond 64 bits become floats. Values that must survive as they are go through
    `codec`, which leaves nothing of this kind behind.
    """
    try:
        return orjson.dumps(value)
    except TypeError:  # orjson.JSONEncodeError is one
        return orjson.dumps(_fit(value, 0))


_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1
_DEPTH_MAX = 200


def _fit(value: Any, depth: int) -> Any:  # noqa: PLR0911 - one line a type
    if depth > _DEPTH_MAX:
        return "…"
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return int(value) if _INT_MIN <= value <= _INT_MAX else _as_float(value)
    if isinstance(value, dict):
        return {_fit(str(key), depth): _fit(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_fit(item, depth + 1) for item in value]
    return _fit(str(value), depth)


def _as_float(value: int) -> float | None:
    try:
        return float(value)
    except OverflowError:
        return None


def _read_exactly(stream: Readable, count: int, *, at_start: bool) -> bytearray | None:
    buffer = bytearray(count)
    view = memoryview(buffer)
    filled = 0
    while filled < count:
        received = stream.recv_into(view[filled:])
        if received == 0:
            if at_start and filled == 0:
                return None
            msg = f"the stream ended inside a frame ({filled} of {count} bytes)"
            raise FrameError(msg)
        filled += received
    return buffer
