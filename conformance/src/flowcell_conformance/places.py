"""Files that both servers have before a case is asked, and how a case's body names them.

A body cannot know the ids of users and flows, nor the moment of an upload that is part of a
file's name: it says `$USER/notes.txt` or `$FLOW_PICTURE`, and what a server answers with its own
values is turned back into such words.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from .normalise import Json
    from .target import FlowRef, Target

# One red pixel.
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)
USER_FILES: dict[str, bytes] = {
    "notes.txt": "First line.\nZoë 🦀 日本語\n".encode(),
    "table.csv": b"name,count\napple,3\npear,5\n",
    "data.json": b'{"colour": "red", "sizes": [1, 2, 3]}',
    "picture.png": PICTURE,
    "no picture.png": b"this is no picture",
}
FLOW_PICTURE = "picture of the flow.png"
STRANGER = "11111111-2222-4333-8444-555555555555"


@dataclass(frozen=True)
class Places:
    """What stands for what, on one server and for one flow."""

    user: str
    flow: str
    flow_picture: str
    storage: str

    def stands(self) -> dict[str, str]:
        """What stands for what in bodies."""
        return {
            "$USER": self.user,
            "$STORAGE": self.storage,
            "$STRANGER": STRANGER,
            # Longer words first: one is the beginning of the other.
            "$FLOW_PICTURE": self.flow_picture,
            "$FLOW": self.flow,
        }

    def names(self) -> dict[str, str]:
        """What the server's values are called in a comparison."""
        return {
            self.user: "user",
            self.storage: "storage",
            self.flow_picture.partition("/")[2]: "flow-picture",
        }


def put_user_files(target: Target) -> None:
    """Upload the user's files anew, so that each has its own name."""
    target.call("DELETE", "/api/v2/files/")
    for name, content in USER_FILES.items():
        target.upload("/api/v2/files/", name, content)


def places_of(target: Target, flow: FlowRef) -> Places:
    """Upload the flow's file, and say what stands for what."""
    user = cast("dict[str, str]", target.call("GET", "/api/v1/users/whoami"))["id"]
    sent = cast("dict[str, Json]", target.upload(f"/api/v1/files/upload/{flow.id}", FLOW_PICTURE, PICTURE))
    return Places(user, flow.id, str(sent["file_path"]), target.storage)
