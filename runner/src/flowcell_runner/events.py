"""Events of components, sent as frames the moment they happen.

Langflow's API shows version-1 shapes: message content is projected onto the form
it had before 1.11 at the edge of the API. The Rust API has no Python to do that,
so it happens here, for events and results alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.encoders import jsonable_encoder
from lfx.events.event_manager import EventManager
from lfx.schema.legacy_render import project_payload_to_v1
from lfx.serialization.serialization import serialize

from flowcell_runner.errors import OutputLimitError
from flowcell_runner.frames import Kind

if TYPE_CHECKING:
    from flowcell_runner.link import Link

#: As lfx's own default manager registers them; the API passes on what its endpoint shows.
_EVENTS = {
    "on_token": "token",
    "on_vertices_sorted": "vertices_sorted",
    "on_error": "error",
    "on_end": "end",
    "on_message": "add_message",
    "on_remove_message": "remove_message",
    "on_end_vertex": "end_vertex",
    "on_build_start": "build_start",
    "on_build_end": "build_end",
    "on_log": "log",
}


def to_api_json(value: Any) -> Any:
    """Return what Langflow's version-1 API would show for a value."""
    try:
        encoded = jsonable_encoder(value)
    except (ValueError, TypeError, RecursionError):
        # The API's encoder gives up on foreign objects; lfx then shows them as text.
        encoded = serialize(value, to_str=True)
    return project_payload_to_v1(encoded)


class CellEvents(EventManager):
    """lfx's event manager without its queue: an event is on the socket when the call returns.

    Writing at once keeps the order of events from threads and from loops the same
    as the order they happened in, and no event can be left behind the result.
    """

    def __init__(self, link: Link, bytes_max: int) -> None:
        super().__init__(queue=None)
        self._link = link
        self._bytes_max = bytes_max
        self._bytes_sent = 0
        for name, event_type in _EVENTS.items():
            self.register_event(name, event_type)

    def send_event(self, *, event_type: str, data: Any) -> None:
        """Send one event frame."""
        self.check()
        self._bytes_sent += self._link.send(Kind.EVENT, {"event": event_type, "data": to_api_json(data)})

    def check(self, more_bytes: int = 0) -> None:
        """Raise `OutputLimitError` when events and these bytes are over the cell's limit."""
        if self._bytes_sent + more_bytes > self._bytes_max:
            msg = f"the component's output is over the limit of {self._bytes_max} bytes"
            raise OutputLimitError(msg)
