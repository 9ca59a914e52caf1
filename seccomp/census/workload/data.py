"""Tables, formats, models, and the components themselves."""

from __future__ import annotations

import contextlib
import io
import pkgutil
import sqlite3

from workload.parts import part, scratch


@part
def tables() -> None:
    import numpy as np
    import pandas as pd

    a = np.random.default_rng(1).random((400, 400))
    assert np.allclose(np.linalg.inv(a) @ a, np.eye(400))
    with scratch() as here:
        np.save(here / "a.npy", a)
        assert np.load(here / "a.npy", mmap_mode="r").shape == (400, 400)
        np.memmap(here / "m", mode="w+", shape=(100,)).flush()
        frame = pd.DataFrame({"x": range(1000), "y": ["t"] * 1000, "d": pd.Timestamp("2024-01-01", tz="UTC")})
        frame.to_csv(here / "x.csv")
        assert len(pd.read_csv(here / "x.csv")) == 1000
        frame.drop(columns="d").to_excel(here / "x.xlsx")
        assert len(pd.read_excel(here / "x.xlsx")) == 1000
        frame.to_json(here / "x.json")
        frame.to_pickle(here / "x.pkl")
        frame.to_sql("t", sqlite3.connect(here / "x.db"))
    assert frame.groupby("y").sum(numeric_only=True).shape == (1, 1)
    assert frame.query("x > 5 and x < 7").shape == (1, 3)


@part
def formats() -> None:
    import bcrypt
    import bs4
    import markitdown
    import networkx
    import orjson
    import ormsgpack
    import PIL.Image
    import pypdf
    import regex
    import sympy
    import tiktoken
    import xxhash
    import yaml
    import zstandard
    from cryptography.fernet import Fernet

    assert tiktoken.__version__
    assert orjson.loads(orjson.dumps({"x": 1})) == {"x": 1}
    assert ormsgpack.unpackb(ormsgpack.packb([1])) == [1]
    assert zstandard.decompress(zstandard.compress(b"x" * 10_000)) == b"x" * 10_000
    zstandard.ZstdCompressor(threads=2).compress(b"x" * 1_000_000)
    assert regex.sub("a", "b", "a") == "b"
    assert sympy.integrate("x") is not None
    assert networkx.shortest_path(networkx.path_graph(5), 0, 4)
    assert bs4.BeautifulSoup("<p>x</p>", "html.parser").p
    assert yaml.safe_load("x: 1") == {"x": 1}
    assert xxhash.xxh64(b"x").hexdigest()
    assert bcrypt.checkpw(b"x", bcrypt.hashpw(b"x", bcrypt.gensalt(4)))
    key = Fernet(Fernet.generate_key())
    assert key.decrypt(key.encrypt(b"x")) == b"x"
    with scratch() as here:
        image = PIL.Image.new("RGB", (100, 100), "red")
        for name in ("x.png", "x.jpg", "x.webp"):
            image.save(here / name)
            PIL.Image.open(here / name).resize((10, 10))
        writer = pypdf.PdfWriter()
        writer.add_blank_page(100, 100)
        writer.write(here / "x.pdf")
        assert len(pypdf.PdfReader(here / "x.pdf").pages) == 1
        (here / "x.html").write_text("<h1>Title</h1>")
        assert "Title" in markitdown.MarkItDown().convert(here / "x.html").text_content


@part
def inference() -> None:
    import magika

    assert magika.Magika().identify_bytes(b"#!/bin/sh\necho x\n").output.label


@part
def components() -> None:
    """Import every component that lfx ships; those whose packages are missing fail as they do in Langflow."""
    import importlib

    import lfx.components

    loaded = 0
    for module in pkgutil.walk_packages(lfx.components.__path__, "lfx.components.", onerror=lambda _name: None):
        with contextlib.suppress(Exception), contextlib.redirect_stderr(io.StringIO()):
            importlib.import_module(module.name)
            loaded += 1
    assert loaded > 100, loaded
