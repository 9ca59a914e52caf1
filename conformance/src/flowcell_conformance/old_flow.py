"""A flow that an older lfx wrote, made with that very lfx in the image of its runtime."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, cast

from .docker import docker

if TYPE_CHECKING:
    from .normalise import Json

PROGRAM = '''
import json
import sys
from importlib.metadata import version
from pathlib import Path

CODE = """
from importlib.metadata import version
from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.message import Message

class WhichLfx(Component):
    display_name = "Which Lfx"
    inputs = [MessageTextInput(name="text", display_name="Text")]
    outputs = [Output(display_name="Says", name="says", method="say")]

    def say(self) -> Message:
        return Message(text=f"{self.text}, lfx {version('lfx')}")
"""
# lfx reads a component's code from its file.
Path("/tmp/which_lfx.py").write_text(CODE)
sys.path.insert(0, "/tmp")

from lfx.components.input_output import ChatInput, ChatOutput
from lfx.graph import Graph
from which_lfx import WhichLfx

said = ChatInput(_id="ChatInput-aaaaa")
which = WhichLfx(_id="WhichLfx-bbbbb")
shown = ChatOutput(_id="ChatOutput-zzzzz")
which.set(text=said.message_response)
shown.set(input_value=which.say)
graph = Graph(said, shown)
graph.prepare()
made = graph.dump()
made["last_tested_version"] = version("lfx")
print(json.dumps(made, default=str))
'''


def image_exists(image: str) -> bool:
    """Whether the engine has it."""
    found = subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False)  # noqa: S603, S607
    return found.returncode == 0


def exported_by(image: str) -> dict[str, Json]:
    """A flow that says which lfx runs it, as the lfx of this image exports it."""
    python = "/opt/flowcell/bin/python"
    made = docker("run", "--rm", "--network", "none", "--entrypoint", python, image, "-c", PROGRAM)
    return cast("dict[str, Json]", json.loads(made.splitlines()[-1]))
