"""Values come back as what they were, or say that they cannot."""

import json
import math
import uuid
from collections import OrderedDict
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.messages import AIMessageChunk
from lfx.schema.content_types import TextContent, ToolContent
from lfx.schema.data import Data
from lfx.schema.dataframe import DataFrame
from lfx.schema.image import Image
from lfx.schema.message import Message

from flowcell_runner import frames
from flowcell_runner.codec import CodecError, Encoder, decode, drain


def wire(value):
    """The value as another process would get it: through strict JSON text."""
    encoder = Encoder()
    text = frames.dump_json(encoder.encode(value))
    assert text == frames.dump_json(json.loads(text, parse_constant=pytest.fail))
    assert not encoder.live
    return json.loads(text)


def trip(value):
    return decode(wire(value))


SCALARS = [
    None,
    True,
    0,
    -(2**63),
    2**64 - 1,
    2**64,
    -(10**40),
    0.1,
    -0.0,
    math.inf,
    -math.inf,
    "text",
    "\ud800 half",
    b"\x00\xff",
    date(2026, 1, 2),
    datetime(2026, 1, 2, 3, 4, 5, 6),
    datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=2)), fold=1),
    time(1, 2, 3, 4),
    timedelta(days=-1, microseconds=3),
    Decimal("1.50"),
    uuid.UUID(int=7),
    PurePosixPath("/a/b"),
]


@pytest.mark.parametrize("value", SCALARS, ids=repr)
def test_scalars(value):
    back = trip(value)
    assert back == value
    assert type(back) is type(value)


def test_nan_and_missing_times():
    assert math.isnan(trip(math.nan))
    assert trip(pd.NaT) is pd.NaT
    assert trip(pd.NA) is pd.NA


@pytest.mark.parametrize(
    "value",
    [
        (1, (2,)),
        {1, 2},
        frozenset({"a"}),
        {1: "a", (1, 2): "b", None: "c"},
        {"$": "message", "x": 1},
        {"a": {"$": {"$": 1}}},
        {"\ud800": 1},
        [{"a": [{}]}, []],
        OrderedDict(a=1),
    ],
    ids=repr,
)
def test_containers(value):
    assert trip(value) == value


JSON_LIKE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.dates()
    | st.datetimes()
    | st.uuids()
    | st.decimals(allow_nan=False)
    | st.timedeltas(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=3) | st.just("$") | st.integers(), inner, max_size=4)
        | st.tuples(inner, inner)
    ),
    max_leaves=15,
)


@settings(max_examples=200, deadline=None)
@given(JSON_LIKE)
def test_anything_nested_comes_back(value):
    assert trip(value) == value


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(max_size=5), JSON_LIKE, max_size=4), st.text(), st.text(max_size=4) | st.none())
def test_data_comes_back(data, text_key, default):
    back = trip(Data(data=dict(data), text_key=text_key, default_value=default))
    assert (back.data, back.text_key, back.default_value) == (data, text_key, default)


@settings(max_examples=50, deadline=None)
@given(
    st.recursive(
        st.none() | st.text() | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.just("$") | st.text(), inner),
    )
)
def test_whatever_arrives_decodes_or_is_refused(value):
    try:
        decode(value)
    except CodecError:
        pass


def test_a_message_keeps_everything():
    message = Message(
        text="x",
        sender="AI",
        sender_name="Bot",
        session_id="s",
        files=["f/a.txt"],
        properties={"icon": "bot", "state": "partial"},
        content_blocks=[ToolContent(name="t", tool_input={"a": 1}, id="call-1"), TextContent(text="x")],
    )
    message.properties.state = "complete"
    message.text = "xyz"
    message.id = uuid.UUID(int=3)
    message.data["extra"] = {"nested": Message(text="inner", sender="User")}
    back = trip(message)
    assert type(back) is Message
    assert back.text == "xyz"
    assert back.properties.state == "complete"
    assert back.get_id() == uuid.UUID(int=3)
    assert isinstance(back.data["extra"]["nested"], Message)
    assert back.data["extra"]["nested"].text == "inner"
    ours, theirs = back.model_dump(), message.model_dump()
    assert (ours.pop("data"), ours)[1] == (theirs.pop("data"), theirs)[1]
    assert set(back.data) == set(message.data)


def test_a_message_without_text_stays_so():
    assert trip(Message(text=None, sender="AI")).data["text"] is None
    assert trip(Message(text="", sender="AI")).data["text"] == ""


def test_a_message_with_another_text_key():
    message = Message(text_key="body", body="hello", default_value="none")
    back = trip(message)
    assert (back.text, back.text_key, back.default_value) == ("hello", "body", "none")


async def test_streams_are_read_before_encoding():
    async def stream():
        for word in ("one", " ", "two"):
            yield AIMessageChunk(content=word)

    message = Message(text=stream(), sender="AI", properties={"state": "partial"})
    back = trip(await drain([message]))[0]
    assert back.text == "one two"
    assert back.properties.state == "complete"
    assert await drain({"a": (word for word in "abc")}) == {"a": "abc"}
    assert await drain(number for number in (1, 2)) == [1, 2]


async def test_an_endless_stream_is_refused(monkeypatch):
    monkeypatch.setattr("flowcell_runner.codec.ITEMS_MAX", 1000)

    def forever():
        while True:
            yield 1

    with pytest.raises(CodecError, match="more than"):
        await drain(forever())


def test_a_table_keeps_types_index_and_text_key():
    table = DataFrame(
        {
            "text": ["a", None],
            "n": [1, 2],
            "f": [1.5, math.nan],
            "b": [True, False],
            "t": pd.to_datetime(["2026-01-01", None]),
            "z": pd.to_datetime(["2026-01-01", "2026-06-01"]).tz_localize("Europe/Berlin"),
            "d": pd.to_timedelta([1, None], unit="s"),
            "i": pd.array([1, None], dtype="Int64"),
            "c": pd.Categorical(["x", "y"]),
            "o": [{"k": [1]}, (1, 2)],
        },
        text_key="n",
        default_value="none",
    )
    back = trip(table)
    assert type(back) is DataFrame
    pd.testing.assert_frame_equal(pd.DataFrame(back), pd.DataFrame(table))
    assert (back.text_key, back.default_value) == ("n", "none")


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame(),
        pd.DataFrame({"a": []}),
        pd.DataFrame(index=["x", "y"]),
        pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"], index=["x", "y"]),
        pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", 1)])),
    ],
    ids=["empty", "no rows", "no columns", "same names", "multi-level"],
)
def test_unusual_tables(frame):
    back = trip(frame)
    assert type(back) is pd.DataFrame
    assert back.shape == frame.shape
    assert back.to_numpy().tolist() == frame.to_numpy().tolist()
    assert list(back.columns) == list(frame.columns)


def test_documents_images_arrays():
    document = Document(page_content="p", metadata={"page": 1, 2: b"x"}, id="d1")
    assert trip(document) == document
    assert trip(Image(path="a/b.png")).path == "a/b.png"
    array = np.arange(6, dtype=">f4").reshape(2, 3)
    assert (trip(array) == array).all()
    assert trip(np.float64(1.5)) == 1.5


def test_live_objects_are_marked_never_dropped():
    encoder = Encoder()
    encoded = encoder.encode({"tools": [print, object()], "ok": 1})
    assert encoded["ok"] == 1
    assert encoded["tools"][1] == {"$": "live", "type": "builtins.object"}
    assert encoder.live == ["builtins.builtin_function_or_method", "builtins.object"]
    with pytest.raises(CodecError, match="lives in the process"):
        decode(encoded)


@pytest.mark.parametrize(
    "value",
    [
        {"$": "os.system"},
        {"$": 1},
        {"$": None},
        {"$": "uuid", "value": "x"},
        {"$": "bytes", "base64": "%"},
        {"$": "array", "dtype": "O", "shape": [1], "base64": ""},
        {"$": "message"},
        {"$": "table", "rows": 1, "columns": [{}]},
        {"$": "set", "items": [[]]},
    ],
    ids=repr,
)
def test_what_is_not_in_the_table_is_refused(value):
    with pytest.raises(CodecError):
        decode(value)


def nested(levels: int) -> list:
    deep: list = []
    for _ in range(levels):
        deep = [deep]
    return deep


def test_depth_is_bounded_both_ways():
    with pytest.raises(CodecError, match="deeper"):
        Encoder().encode(nested(5_000))
    with pytest.raises(CodecError, match="deeper"):
        decode(nested(101))


def json_depth(value) -> int:
    if isinstance(value, dict | list):
        items = value.values() if isinstance(value, dict) else value
        return 1 + max(map(json_depth, items), default=0)
    return 0


def test_a_message_in_a_message_in_a_message_comes_in_pieces():
    message = Message(text="m0")
    for number in range(1, 200):
        # With a key that makes a map of it, which is deepest in JSON.
        message = Message(text=f"m{number}", **{"before": message, "$": 1})
    encoded = Encoder().encode({"all": [message, nested(90)]})
    assert json_depth(encoded) < 120
    back = decode(json.loads(json.dumps(encoded)))["all"]
    assert back[1] == nested(90)
    for number in range(199, -1, -1):
        assert back[0].text == f"m{number}"
        back[0] = back[0].data.get("before")


@pytest.mark.parametrize(
    "value",
    [
        {"$": "pieces", "pieces": []},
        {"$": "pieces"},
        {"$": "piece", "at": 0},
        {"$": "pieces", "pieces": [1, {"$": "piece", "at": 1}]},
        {"$": "pieces", "pieces": [1, {"$": "piece", "at": True}]},
        {"$": "pieces", "pieces": [[1], [{"$": "piece", "at": 0}, {"$": "piece", "at": 0}]]},
        [{"$": "pieces", "pieces": [1]}],
    ],
    ids=repr,
)
def test_a_piece_has_one_place(value):
    with pytest.raises(CodecError):
        decode(value)


def test_the_fields_of_a_message_keep_their_order():
    for message in (Message(text="a"), Message(files=[], text="b", more=1), Message(template="x", sender="me")):
        back = decode(json.loads(json.dumps(Encoder().encode(message))))
        assert list(back.data) == list(message.data)
