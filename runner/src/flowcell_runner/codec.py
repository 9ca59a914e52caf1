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
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
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
#: Deeper than any honest value; JSON readers on the way have limits of their own.
DEPTH_MAX = 100
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


class Encoder:
    """Encodes values and remembers the types of those that could not travel."""

    def __init__(self) -> None:
        self.live: list[str] = []

    def encode(self, value: Any, depth: int = 0) -> Any:
        """Return the JSON form of a value whose streams have been drained."""
        if depth > DEPTH_MAX:
            msg = f"a value is nested deeper than {DEPTH_MAX} levels"
            raise CodecError(msg)
        if value is None or value is True or value is False:
            return value
        if type(value) is Elsewhere:
            return value.__dict__["_encoded"]
        if isinstance(value, str):
            return _encode_text(value)
        for kind, encode in self._scalars:
            if isinstance(value, kind):
                return encode(value)
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
                "default_value": self.encode(value.default_value, depth),
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
            return {TAG: "image", "path": self.encode(value.path, depth), "url": self.encode(value.url, depth)}
        if isinstance(value, Mapping):
            return self._pairs_or_object(value, depth)
        if isinstance(value, list):
            return [self.encode(item, depth) for item in value]
        if isinstance(value, tuple):
            return {TAG: "tuple", "items": [self.encode(item, depth) for item in value]}
        if isinstance(value, set | frozenset):
            tag = "set" if isinstance(value, set) else "frozenset"
            return {TAG: tag, "items": [self.encode(item, depth) for item in value]}
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
            return _encode_array(value)
        if isinstance(value, np.generic) and value.dtype.kind in "biufUS":
            return self.encode(value.item(), depth)
        return self._live(value)

    def _live(self, value: Any) -> dict[str, str]:
        kind = type(value)
        name = f"{kind.__module__}.{kind.__qualname__}"
        self.live.append(name)
        return {TAG: "live", "type": name}

    def _pairs_or_object(self, value: Mapping[Any, Any], depth: int) -> Any:
        if all(type(key) is str and _is_clean(key) for key in value) and TAG not in value:
            return {key: self.encode(item, depth) for key, item in value.items()}
        return {
            TAG: "map",
            "items": [[self.encode(key, depth), self.encode(item, depth)] for key, item in value.items()],
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
            "fields": {key: self.encode(value, depth) for key, value in fields.items()},
            "extra": self._pairs_or_object(extra, depth),
        }
        if message.text_key != "text":
            encoded["text_key"] = message.text_key
        if message.default_value != "":
            encoded["default_value"] = self.encode(message.default_value, depth)
        return encoded

    def _table(self, table: pd.DataFrame, depth: int) -> dict[str, Any]:
        columns = [
            {
                "name": self.encode(name, depth),
                "dtype": str(table.dtypes.iloc[position]),
                "values": self._column(table.iloc[:, position], depth),
            }
            for position, name in enumerate(table.columns)
        ]
        encoded: dict[str, Any] = {TAG: "table", "rows": len(table), "columns": columns}
        index = table.index
        if not (isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1):
            encoded["index"] = [self.encode(label, depth) for label in index.tolist()]
        if isinstance(table, DataFrame):
            encoded["text_key"] = table._text_key  # noqa: SLF001 - the public setter refuses absent columns
            encoded["default_value"] = self.encode(table._default_value, depth)  # noqa: SLF001
        return encoded

    def _column(self, column: pd.Series[Any], depth: int) -> list[Any]:
        if isinstance(column.dtype, pd.DatetimeTZDtype) or column.dtype.kind == "M":
            return [int(value) for value in pd.DatetimeIndex(column).as_unit("ns").asi8]
        if column.dtype.kind == "m":
            return [int(value) for value in pd.TimedeltaIndex(column).as_unit("ns").asi8]
        return [self.encode(item, depth) for item in column.tolist()]


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


def decode(value: Any, depth: int = 0) -> Any:
    """Return the Python value; raises `CodecError` for anything not in the table."""
    if depth > DEPTH_MAX:
        msg = f"a value is nested deeper than {DEPTH_MAX} levels"
        raise CodecError(msg)
    if isinstance(value, list):
        return [decode(item, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    if TAG not in value:
        return {key: decode(item, depth + 1) for key, item in value.items()}
    tag = value[TAG]
    build = _DECODERS.get(tag) if isinstance(tag, str) else None
    if build is None:
        msg = f"unknown kind of value: {tag!r}"
        raise CodecError(msg)
    try:
        return build(value, depth + 1)
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


def _items(value: dict[str, Any], depth: int) -> list[Any]:
    return [decode(item, depth) for item in value["items"]]


def _map(value: dict[str, Any], depth: int) -> dict[Any, Any]:
    return {decode(key, depth): decode(item, depth) for key, item in value["items"]}


def _live(value: dict[str, Any], _depth: int) -> Any:
    msg = f"a {value.get('type')} lives in the process that made it and cannot be handed over"
    raise LiveError(msg)


def _array(value: dict[str, Any], _depth: int) -> np.ndarray[Any, Any]:
    if not re.fullmatch(r"[<|][biuf]\d{1,2}", value["dtype"]):
        msg = f"arrays of {value['dtype']} are not supported"
        raise CodecError(msg)
    flat = np.frombuffer(base64.b64decode(value["base64"], validate=True), dtype=np.dtype(value["dtype"]))
    return flat.reshape([int(length) for length in value["shape"]]).copy()


def _message(value: dict[str, Any], depth: int) -> Message:
    fields = {str(key): decode(item, depth) for key, item in value["fields"].items()}
    extra = decode(value["extra"], depth)
    message = Message(
        text=decode(value["text"], depth),
        text_key=value.get("text_key", "text"),
        default_value=decode(value.get("default_value", ""), depth),
        **{name: item for name, item in fields.items() if name in _MESSAGE_FIELDS},
    )
    message.data.update(extra)
    return message


def _data(value: dict[str, Any], depth: int) -> Data:
    return Data(
        data=decode(value["data"], depth),
        text_key=value["text_key"],
        default_value=decode(value["default_value"], depth),
    )


def _document(value: dict[str, Any], depth: int) -> Document:
    return Document(
        page_content=decode(value["text"], depth), metadata=decode(value["metadata"], depth), id=value.get("id")
    )


#: dtypes a column may ask for; anything else stays as Python objects.
_PLAIN_DTYPE = re.compile(
    r"(u?int(8|16|32|64)|float(16|32|64)|bool|U?Int(8|16|32|64)|Float(32|64)|boolean|string|str|category)"
)
_TIME_DTYPE = re.compile(r"(datetime64|timedelta64)\[(s|ms|us|ns)(?:, ([\w/+:\-]+))?\]")


def _table(value: dict[str, Any], depth: int) -> pd.DataFrame:
    rows = int(value["rows"])
    index = _index(decode(value["index"], depth)) if "index" in value else pd.RangeIndex(rows)
    series = [_series(column, index, depth) for column in value["columns"]]
    names = [decode(column["name"], depth) for column in value["columns"]]
    frame = pd.concat(series, axis=1) if series else pd.DataFrame(index=index)
    frame.columns = _index(names) if names else frame.columns
    if "text_key" not in value:
        return frame
    return DataFrame(frame, text_key=value["text_key"], default_value=decode(value["default_value"], depth))


def _index(labels: list[Any]) -> pd.Index[Any]:
    if labels and all(isinstance(label, tuple) for label in labels):
        return pd.MultiIndex.from_tuples(labels)
    return pd.Index(labels)


def _series(column: dict[str, Any], index: pd.Index[Any], depth: int) -> pd.Series[Any]:
    dtype = str(column["dtype"])
    if times := _TIME_DTYPE.fullmatch(dtype):
        return pd.Series(_times(column["values"], *times.groups()), index=index)
    objects = pd.Series([decode(item, depth) for item in column["values"]], index=index, dtype=object)
    return objects.astype(dtype) if _PLAIN_DTYPE.fullmatch(dtype) else objects  # type: ignore[call-overload]


def _times(values: list[int], kind: str, unit: str, zone: str | None) -> pd.Index[Any]:
    raw = np.array(values, dtype="int64")
    if kind == "timedelta64":
        return pd.TimedeltaIndex(raw.view("m8[ns]")).as_unit(unit)  # type: ignore[arg-type]
    stamps = pd.DatetimeIndex(raw.view("M8[ns]"))
    if zone is not None:
        stamps = stamps.tz_localize("UTC").tz_convert(zone)
    return stamps.as_unit(unit)  # type: ignore[arg-type]


_DECODERS: dict[str, Callable[[dict[str, Any], int], Any]] = {
    "array": _array,
    "bytes": lambda value, _: base64.b64decode(value["base64"], validate=True),
    "data": _data,
    "date": lambda value, _: date.fromisoformat(value["value"]),
    "datetime": lambda value, _: datetime.fromisoformat(value["value"]).replace(fold=value.get("fold", 0)),
    "decimal": lambda value, _: Decimal(value["value"]),
    "document": _document,
    "float": lambda value, _: {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[value["value"]],
    "frozenset": lambda value, depth: frozenset(_items(value, depth)),
    "image": lambda value, depth: Image(path=decode(value["path"], depth), url=decode(value["url"], depth)),
    "int": lambda value, _: int(value["value"], 16),
    "live": _live,
    "map": _map,
    "message": _message,
    "na": lambda _value, _depth: pd.NA,
    "nat": lambda _value, _depth: pd.NaT,
    "path": lambda value, depth: PurePosixPath(decode(value["value"], depth)),
    "set": lambda value, depth: set(_items(value, depth)),
    "table": _table,
    "text": lambda value, _: base64.b64decode(value["utf8"], validate=True).decode("utf-8", "surrogatepass"),
    "time": lambda value, _: time.fromisoformat(value["value"]).replace(fold=value.get("fold", 0)),
    "timedelta": lambda value, _: timedelta(*[int(part) for part in value["value"]]),
    "tuple": lambda value, depth: tuple(_items(value, depth)),
    "uuid": lambda value, _: uuid.UUID(value["value"]),
}


def usage_of(value: Any) -> Usage | None:
    """Token usage that a value carries, if it is a message of a model."""
    return value.properties.usage if isinstance(value, Message) else None
