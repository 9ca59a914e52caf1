"""Flows whose component needs a package, and packages that try something."""

from __future__ import annotations

import io
import tarfile
import zipfile
from typing import TYPE_CHECKING, cast

from .flows import load_flow

if TYPE_CHECKING:
    from pathlib import Path

    from .normalise import Json

NODE = "BadImport-bbbbb"

_CODE = """
{imports}
from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.message import Message


class BadImport(Component):
    display_name = "BadImport"
    name = "BadImport"
    inputs = [MessageTextInput(name="text", display_name="Text")]
    outputs = [Output(display_name="Text", name="out", method="run_it")]

    def run_it(self) -> Message:
        return Message(text={text})
"""

HUMANIZE = _CODE.format(imports="import humanize", text="humanize.intcomma(int(self.text))")
"""Writes a number with commas, by a package of pure Python."""

LOOK_AROUND = _CODE.format(
    imports="import os\nimport sys\nimport eager",
    text="f\"{eager.NAME}, site={'sitecustomize' in sys.modules}, pth={os.environ.get('EAGER_PTH')}, \"\n"
    "            f\"json={sys.modules['json'].__file__}\"",
)
"""Says what of the package `eager` has run in its cell."""


def flow_of(code: str, name: str) -> dict[str, Json]:
    """The flow that shows what a component of this code says."""
    flow = load_flow("bad_import")
    data = cast("dict[str, list[dict[str, Json]]]", flow["data"])
    node = next(node for node in data["nodes"] if node["id"] == NODE)
    inner = cast("dict[str, dict[str, dict[str, dict[str, Json]]]]", node["data"])["node"]
    inner["template"]["code"]["value"] = code
    return flow | {"name": name, "endpoint_name": name}


def eager_wheel(folder: Path) -> None:
    """A wheel with every file that Python runs by itself, and one in the place of a module of ours."""
    files = {
        "eager/__init__.py": 'NAME = "eager"\n',
        "eager.pth": "import os; os.environ['EAGER_PTH'] = 'ran'\n",
        "sitecustomize.py": "",
        "json/__init__.py": "raise RuntimeError('in the place of json')\n",
        "eager-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: eager\nVersion: 1.0\n",
        "eager-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "eager-1.0.dist-info/RECORD"
    files[record] = "".join(f"{name},,\n" for name in (*files, record))
    with zipfile.ZipFile(folder / "eager-1.0-py3-none-any.whl", "w") as wheel:
        for name, content in files.items():
            wheel.writestr(name, content)


def sneaky_source(folder: Path) -> None:
    """A package without a wheel, whose installation would run its code."""
    with tarfile.open(folder / "sneaky-1.0.tar.gz", "w:gz") as source:
        for name, text in (
            ("setup.py", "raise SystemExit('code of sneaky ran')\n"),
            ("PKG-INFO", "Metadata-Version: 2.1\nName: sneaky\nVersion: 1.0\n"),
        ):
            content = text.encode()
            entry = tarfile.TarInfo(f"sneaky-1.0/{name}")
            entry.size = len(content)
            source.addfile(entry, io.BytesIO(content))
