"""VALUE: what a component hands to the next one, as strict JSON.

`proto/VALUES.md` is the contract. The next component runs in another process, so
a value must come back as what it was: the same class, the same fields, the same
identity. Tags name a class from a fixed table; nothing in the data is ever
imported or unpickled. What only lives inside its process (a model, a tool, a
connection) becomes a marker that says so, never a silent None.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
import itertools
import math
import re
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import PurePath, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from langchain_core.documents import Document
from lfx.schema.data import Data
from lfx.schema.dataframe import DataFrame
from lfx.schema.image import Image
from lfx.schema.message import Message

if TYPE_CHECKING:
    from lfx.schema.properties import Usage

TAG = "$"
#: Levels of a value in one piece. A level is up to four of JSON, and JSON readers on the way stop at 128.
_PIECE_DEPTH_MAX = 24
_PIECE_JSON_DEPTH_MAX = 100
#: Levels of a value in all its pieces: a hundred nodes that each keep the message before them are honest.
DEPTH_MAX = 1_000
#: Frames of Python for each level, to encode it.
_FRAMES_PER_LEVEL = 8
#: An endless generator must end somewhere.
ITEMS_MAX = 1_000_000
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1


_MESSAGE_FIELDS = tuple(name for name in Message.model_fields if name not in {"data", "text_key", "default_value"})


class CodecError(Exception):
    """A value cannot be encoded, or what arrived is not a value."""


class LiveError(CodecError):
    """A value lives in the process that made it."""


class Elsewhere:
    """Stands for a shared value that cannot be handed over; whoever uses it is told so."""

    def __init__(self, encoded: Any, why: str) -> None:
        # Set past __getattr__, whose business is everything else.
        self.__dict__.update(_encoded=encoded, _why=why)

    def _refuse(self, *_: Any) -> Any:
        raise LiveError(self._why)

    __bool__ = __call__ = __contains__ = __getitem__ = __iter__ = __len__ = _refuse
    __eq__ = __setattr__ = __setitem__ = __str__ = _refuse
    __hash__ = None  # type: ignore[assignment]

    def __getattr__(self, _name: str) -> Any:
        """Refuse every attribute."""
        self._refuse()


# ---------------------------------------------------------------- encoding


@contextmanager
def _deep_recursion() -> Iterator[None]:
    """Let a deep value be encoded: Python's own limit is the components'."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(before + DEPTH_MAX * _FRAMES_PER_LEVEL)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


class Encoder:
    """Encodes values and remembers the types of those that could not travel."""

    def __init__(self) -> None:
        self.live: list[str] = []
        self._pieces: list[Any] = []
        self._above = 0

    def encode(self, value: Any) -> Any:
        """Return the JSON form of a value whose streams have been drained."""
        with _deep_recursion():
            root = self._encode(value, 0)
        pieces, self._pieces = self._pieces, []
        return {TAG: "pieces", "pieces": [*pieces, root]} if pieces else root

    def _piece(self, value: Any, depth: int) -> Any:
        """Put the rest of a deep value beside it, after what that rest itself is made of."""
        if self._above + depth > DEPTH_MAX:
            msg = f"a value is nested deeper than {DEPTH_MAX} levels"
            raise CodecError(msg)
        self._above += depth
        piece = self._encode_compound(value, 1)
        self._above -= depth
        self._pieces.append(piece)
        return {TAG: "piece", "at": len(self._pieces) - 1}

    def _encode(self, value: Any, depth: int) -> Any:
        if value is None or value is True or value is False:
            return value
        if type(value) is Elsewhere:
            return value.__dict__["_encoded"]
        if isinstance(value, str):
            return _encode_text(value)
        for kind, encode in self._scalars:
            if isinstance(value, kind):
                return encode(value)
        if depth >= _PIECE_DEPTH_MAX:
            return self._piece(value, depth)
        return self._encode_compound(value, depth + 1)

    _scalars: tuple[tuple[Any, Callable[[Any], Any]], ...] = ()

    def _encode_compound(self, value: Any, depth: int) -> Any:  # noqa: C901, PLR0911 - one line a type
        if isinstance(value, Message):
            return self._message(value, depth)
        if isinstance(value, Data):
            return {
                TAG: "data",
                "data": self._pairs_or_object(value.data, depth),
                "text_key": value.text_key,
                "default_value": self._encode(value.default_value, depth),
            }
        if isinstance(value, pd.DataFrame):
            return self._table(value, depth)
        if isinstance(value, Document):
            return {
                TAG: "document",
                "text": _encode_text(value.page_content),
                "metadata": self._pairs_or_object(value.metadata, depth),
                "id": value.id,
            }
        if isinstance(value, Image):
            return {TAG: "image", "path": self._encode(value.path, depth), "url": self._encode(value.url, depth)}
        if isinstance(value, Mapping):
            return self._pairs_or_object(value, depth)
        if isinstance(value, list):
            return [self._encode(item, depth) for item in value]
        if isinstance(value, tuple):
            return {TAG: "tuple", "items": [self._encode(item, depth) for item in value]}
        if isinstance(value, set | frozenset):
            tag = "set" if isinstance(value, set) else "frozenset"
            return {TAG: tag, "items": [self._encode(item, depth) for item in value]}
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
            return _encode_array(value)
        if isinstance(value, np.generic) and value.dtype.kind in "biufUS":
            return self._encode(value.item(), depth)
        return self._live(value)

    def _live(self, value: Any) -> dict[str, str]:
        kind = type(value)
        name = f"{kind.__module__}.{kind.__qualname__}"
        self.live.append(name)
        return {TAG: "live", "type": name}

    def _pairs_or_object(self, value: Mapping[Any, Any], depth: int) -> Any:
        if all(type(key) is str and _is_clean(key) for key in value) and TAG not in value:
            return {key: self._encode(item, depth) for key, item in value.items()}
        return {
            TAG: "map",
            "items": [[self._encode(key, depth), self._encode(item, depth)] for key, item in value.items()],
        }

    def _message(self, message: Message, depth: int) -> dict[str, Any]:
        # The attributes, not the `data` dict, are what a component changed in place. The dict's
        # other keys are taken as they are: a dump would flatten messages among them.
        fields = {name: getattr(message, name) for name in _MESSAGE_FIELDS}
        fields["properties"] = message.properties.model_dump()
        fields["content_blocks"] = [block.model_dump() for block in message.content_blocks]
        data = message.data
        extra = {key: value for key, value in data.items() if key not in fields and key != "text"}
        text = message.text if isinstance(message.text, str) else ""
        encoded = {
            TAG: "message",
            "text": _encode_text(text) if text or data.get("text") is not None else None,
            "fields": {key: self._encode(value, depth) for key, value in fields.items()},
            "extra": self._pairs_or_object(extra, depth),
            # Components make columns of them.
            "keys": [self._encode(key, depth) for key in data],
        }
        if message.text_key != "text":
            encoded["text_key"] = message.text_key
        if message.default_value != "":
            encoded["default_value"] = self._encode(message.default_value, depth)
        return encoded

    def _table(self, table: pd.DataFrame, depth: int) -> dict[str, Any]:
        columns = [
            {
                "name": self._encode(name, depth),
                "dtype": str(table.dtypes.iloc[position]),
                "values": self._column(table.iloc[:, position], depth),
            }
            for position, name in enumerate(table.columns)
        ]
        encoded: dict[str, Any] = {TAG: "table", "rows": len(table), "columns": columns}
        index = table.index
        if not (isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1):
            encoded["index"] = [self._encode(label, depth) for label in index.tolist()]
        if isinstance(table, DataFrame):
            encoded["text_key"] = table._text_key  # noqa: SLF001 - the public setter refuses absent columns
            encoded["default_value"] = self._encode(table._default_value, depth)  # noqa: SLF001
        return encoded

    def _column(self, column: pd.Series[Any], depth: int) -> list[Any]:
        if isinstance(column.dtype, pd.DatetimeTZDtype) or column.dtype.kind == "M":
            return [int(value) for value in pd.DatetimeIndex(column).as_unit("ns").asi8]
        if column.dtype.kind == "m":
            return [int(value) for value in pd.TimedeltaIndex(column).as_unit("ns").asi8]
        return [self._encode(item, depth) for item in column.tolist()]


def _encode_text(value: str) -> Any:
    if _is_clean(value):
        return str(value) if type(value) is not str else value
    # Lone surrogates (undecodable file names, mostly) are not Unicode text and not JSON.
    return {TAG: "text", "utf8": base64.b64encode(value.encode("utf-8", "surrogatepass")).decode()}


def _is_clean(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _encode_int(value: int) -> Any:
    return int(value) if _INT_MIN <= value <= _INT_MAX else {TAG: "int", "value": hex(value)}


def _encode_float(value: float) -> Any:
    if math.isfinite(value):
        return float(value)
    return {TAG: "float", "value": "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"}


def _encode_bytes(value: bytes | bytearray | memoryview) -> Any:
    return {TAG: "bytes", "base64": base64.b64encode(value).decode()}


def _encode_array(value: np.ndarray[Any, Any]) -> Any:
    little = np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"), copy=False)
    return {
        TAG: "array",
        "dtype": little.dtype.str,
        "shape": list(value.shape),
        "base64": base64.b64encode(little.tobytes()).decode(),
    }


Encoder._scalars = (  # noqa: SLF001
    (int, _encode_int),
    (float, _encode_float),
    ((bytes, bytearray, memoryview), _encode_bytes),
    # NaT calls itself a datetime; it must be asked first.
    (type(pd.NaT), lambda _: {TAG: "nat"}),
    (type(pd.NA), lambda _: {TAG: "na"}),
    (datetime, lambda value: {TAG: "datetime", "value": value.isoformat(), "fold": value.fold}),
    (date, lambda value: {TAG: "date", "value": value.isoformat()}),
    (time, lambda value: {TAG: "time", "value": value.isoformat(), "fold": value.fold}),
    (timedelta, lambda value: {TAG: "timedelta", "value": [value.days, value.seconds, value.microseconds]}),
    (Decimal, lambda value: {TAG: "decimal", "value": str(value)}),
    (uuid.UUID, lambda value: {TAG: "uuid", "value": str(value)}),
    (PurePath, lambda value: {TAG: "path", "value": _encode_text(str(value))}),
)


# ---------------------------------------------------------------- streams


async def drain(value: Any, depth: int = 0) -> Any:  # noqa: PLR0911 - one line a type
    """Return the value with every stream in it read to its end.

    A stream lives in one process. The text of a Message that nobody consumed is
    read into it; a bare iterator of text becomes text, any other becomes a list.
    """
    if depth > DEPTH_MAX or type(value) is Elsewhere:
        return value  # the encoder says what is wrong with it
    if isinstance(value, Message):
        stream = value.text_stream
        if stream is not None:
            value.text = _join(await _collect(stream))
            value.properties.state = "complete"
            # A stream given under another key stays there as well; it is empty now.
            for key in [key for key, item in value.data.items() if item is stream]:
                del value.data[key]
        return value
    if isinstance(value, list) and type(value) is list:
        return [await drain(item, depth + 1) for item in value]
    if type(value) is tuple:
        return tuple([await drain(item, depth + 1) for item in value])
    if type(value) is dict:
        return {key: await drain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, AsyncIterator | Iterator) and not isinstance(value, io.IOBase):
        items = await _collect(value)
        if items and all(_chunk_text(item) is not None for item in items):
            return _join(items)
        return [await drain(item, depth + 1) for item in items]
    return value


async def _collect(stream: AsyncIterator[Any] | Iterator[Any]) -> list[Any]:
    if isinstance(stream, AsyncIterator):
        items: list[Any] = []
        async for item in stream:
            items.append(item)
            if len(items) > ITEMS_MAX:
                break
    else:
        items = await asyncio.to_thread(lambda: list(itertools.islice(stream, ITEMS_MAX + 1)))
    if len(items) > ITEMS_MAX:
        msg = f"a stream has more than {ITEMS_MAX} items"
        raise CodecError(msg)
    return items


def _chunk_text(item: Any) -> str | None:
    if isinstance(item, str):
        return item
    content = getattr(item, "content", None)
    return content if isinstance(content, str) else None


def _join(items: list[Any]) -> str:
    return "".join(text if (text := _chunk_text(item)) is not None else str(item) for item in items)


# ---------------------------------------------------------------- decoding


class _At:
    """A place in a value that is being decoded: how deep it is, and the pieces that may be put there."""

    __slots__ = ("depth", "pieces")

    def __init__(self, depth: int, pieces: list[Any]) -> None:
        self.depth = depth
        self.pieces = pieces

    def below(self) -> _At:
        """Return a place one level deeper."""
        if self.depth >= _PIECE_JSON_DEPTH_MAX:
            msg = f"a piece of a value is nested deeper than {_PIECE_JSON_DEPTH_MAX} levels"
            raise CodecError(msg)
        return _At(self.depth + 1, self.pieces)


#: What a piece is replaced with once it has its place: it has only one.
_TAKEN = object()


def decode(value: Any) -> Any:
    """Return the Python value; raises `CodecError` for anything not in the table."""
    pieces = [value]
    if isinstance(value, dict) and value.get(TAG) == "pieces":
        pieces = value.get("pieces") or []
        if not isinstance(pieces, list) or not pieces:
            msg = "malformed pieces of a value"
            raise CodecError(msg)
    made: list[Any] = []
    # Each comes after those that it is made of; the last one is the value.
    for piece in pieces:
        made.append(_decode(piece, _At(0, made)))
    return made[-1]


def _piece(value: dict[str, Any], at: _At) -> Any:
    index = value["at"]
    if type(index) is not int or not 0 <= index < len(at.pieces) or at.pieces[index] is _TAKEN:
        msg = "a value lacks a piece"
        raise CodecError(msg)
    piece, at.pieces[index] = at.pieces[index], _TAKEN
    return piece


def _decode(value: Any, at: _At) -> Any:
    if isinstance(value, list):
        below = at.below()
        return [_decode(item, below) for item in value]
    if not isinstance(value, dict):
        return value
    below = at.below()
    if TAG not in value:
        return {key: _decode(item, below) for key, item in value.items()}
    tag = value[TAG]
    build = _DECODERS.get(tag) if isinstance(tag, str) else None
    if build is None:
        msg = f"unknown kind of value: {tag!r}"
        raise CodecError(msg)
    try:
        return build(value, below)
    except CodecError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError, InvalidOperation, binascii.Error) as error:
        msg = f"malformed {tag} value: {type(error).__name__}: {error}"
        raise CodecError(msg) from error


def decode_shared(key: str, value: Any) -> Any:
    """Return a value of the run's shared context.

    Every cell gets the whole context and few read it, so what cannot be handed over
    fails the component that uses it, not the cell.
    """
    try:
        return decode(value)
    except LiveError as error:
        return Elsewhere(value, f"ctx[{key!r}] cannot be used here: {error}")


def _items(value: dict[str, Any], at: _At) -> list[Any]:
    return [_decode(item, at) for item in value["items"]]


def _map(value: dict[str, Any], at: _At) -> dict[Any, Any]:
    return {_decode(key, at): _decode(item, at) for key, item in value["items"]}


def _live(value: dict[str, Any], _at: _At) -> Any:
    msg = f"a {value.get('type')} lives in the process that made it and cannot be handed over"
    raise LiveError(msg)


def _array(value: dict[str, Any], _at: _At) -> np.ndarray[Any, Any]:
    if not re.fullmatch(r"[<|][biuf]\d{1,2}", value["dtype"]):
        msg = f"arrays of {value['dtype']} are not supported"
        raise CodecError(msg)
    flat = np.frombuffer(base64.b64decode(value["base64"], validate=True), dtype=np.dtype(value["dtype"]))
    return flat.reshape([int(length) for length in value["shape"]]).copy()


def _message(value: dict[str, Any], at: _At) -> Message:
    fields = {str(key): _decode(item, at) for key, item in value["fields"].items()}
    extra = _decode(value["extra"], at)
    message = Message(
        text=_decode(value["text"], at),
        text_key=value.get("text_key", "text"),
        default_value=_decode(value.get("default_value", ""), at),
        **{name: item for name, item in fields.items() if name in _MESSAGE_FIELDS},
    )
    message.data.update(extra)
    found = dict(message.data)
    message.data.clear()
    message.data.update({key: found[key] for key in _decode(value.get("keys", []), at) if key in found})
    message.data.update(found)
    return message


def _data(value: dict[str, Any], at: _At) -> Data:
    return Data(
        data=_decode(value["data"], at),
        text_key=value["text_key"],
        default_value=_decode(value["default_value"], at),
    )


def _document(value: dict[str, Any], at: _At) -> Document:
    return Document(
        page_content=_decode(value["text"], at), metadata=_decode(value["metadata"], at), id=value.get("id")
    )


#: dtypes a column may ask for; anything else stays as Python objects.
_PLAIN_DTYPE = re.compile(
    r"(u?int(8|16|32|64)|float(16|32|64)|bool|U?Int(8|16|32|64)|Float(32|64)|boolean|string|str|category)"
)
_TIME_DTYPE = re.compile(r"(datetime64|timedelta64)\[(s|ms|us|ns)(?:, ([\w/+:\-]+))?\]")


def _table(value: dict[str, Any], at: _At) -> pd.DataFrame:
    rows = int(value["rows"])
    index = _index(_decode(value["index"], at)) if "index" in value else pd.RangeIndex(rows)
    series = [_series(column, index, at) for column in value["columns"]]
    names = [_decode(column["name"], at) for column in value["columns"]]
    frame = pd.concat(series, axis=1) if series else pd.DataFrame(index=index)
    frame.columns = _index(names) if names else frame.columns
    if "text_key" not in value:
        return frame
    return DataFrame(frame, text_key=value["text_key"], default_value=_decode(value["default_value"], at))


def _index(labels: list[Any]) -> pd.Index[Any]:
    if labels and all(isinstance(label, tuple) for label in labels):
        return pd.MultiIndex.from_tuples(labels)
    return pd.Index(labels)


def _series(column: dict[str, Any], index: pd.Index[Any], at: _At) -> pd.Series[Any]:
    dtype = str(column["dtype"])
    if times := _TIME_DTYPE.fullmatch(dtype):
        return pd.Series(_times(column["values"], *times.groups()), index=index)
    objects = pd.Series([_decode(item, at) for item in column["values"]], index=index, dtype=object)
    return objects.astype(dtype) if _PLAIN_DTYPE.fullmatch(dtype) else objects  # type: ignore[call-overload]


def _times(values: list[int], kind: str, unit: str, zone: str | None) -> pd.Index[Any]:
    raw = np.array(values, dtype="int64")
    if kind == "timedelta64":
        return pd.TimedeltaIndex(raw.view("m8[ns]")).as_unit(unit)  # type: ignore[arg-type]
    stamps = pd.DatetimeIndex(raw.view("M8[ns]"))
    if zone is not None:
        stamps = stamps.tz_localize("UTC").tz_convert(zone)
    return stamps.as_unit(unit)  # type: ignore[arg-type]


_DECODERS: dict[str, Callable[[dict[str, Any], _At], Any]] = {
    "array": _array,
    "bytes": lambda value, _: base64.b64decode(value["base64"], validate=True),
    "data": _data,
    "date": lambda value, _: date.fromisoformat(value["value"]),
    "datetime": lambda value, _: datetime.fromisoformat(value["value"]).replace(fold=value.get("fold", 0)),
    "decimal": lambda value, _: Decimal(value["value"]),
    "document": _document,
    "float": lambda value, _: {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[value["value"]],
    "frozenset": lambda value, at: frozenset(_items(value, at)),
    "image": lambda value, at: Image(path=_decode(value["path"], at), url=_decode(value["url"], at)),
    "int": lambda value, _: int(value["value"], 16),
    "live": _live,
    "map": _map,
    "message": _message,
    "na": lambda _value, _at: pd.NA,
    "nat": lambda _value, _at: pd.NaT,
    "path": lambda value, at: PurePosixPath(_decode(value["value"], at)),
    "piece": _piece,
    "set": lambda value, at: set(_items(value, at)),
    "table": _table,
    "text": lambda value, _: base64.b64decode(value["utf8"], validate=True).decode("utf-8", "surrogatepass"),
    "time": lambda value, _: time.fromisoformat(value["value"]).replace(fold=value.get("fold", 0)),
    "timedelta": lambda value, _: timedelta(*[int(part) for part in value["value"]]),
    "tuple": lambda value, at: tuple(_items(value, at)),
    "uuid": lambda value, _: uuid.UUID(value["value"]),
}


def usage_of(value: Any) -> Usage | None:
    """Token usage that a value carries, if it is a message of a model."""
    return value.properties.usage if isinstance(value, Message) else None
