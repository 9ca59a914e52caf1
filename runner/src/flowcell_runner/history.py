"""Which of the cell's own messages a member finds in the chat history.

Langflow builds a layer's members at the same time, and reading is done before one of them stores a
message. Here the answers of calls come in any order, and members may be built one after the other; so
what members say is kept from each other by their place in the graph, as the scheduler keeps apart
what the cells of a run say.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

#: Whose code this is. Threads that a component starts by itself do not have it.
_member: ContextVar[str | None] = ContextVar("member", default=None)


class History:
    """Who said what, and who hears it."""

    def __init__(self) -> None:
        self._layers: dict[str, int] = {}
        self._last: str | None = None
        self._said: list[tuple[str, str | None]] = []
        self._said_before: dict[str, int] = {}
        self._being_said: set[Future[None]] = set()

    def plan(self, members: Iterable[str], predecessors: Mapping[str, Iterable[str]]) -> None:
        """Take the members in the order in which they are built, each behind its predecessors.

        Without a plan lfx builds them, a layer at once and a circle again and again: then a member
        finds what was said before its turn began.
        """
        for member in members:
            before = [self._layers[node] for node in predecessors.get(member, ()) if node in self._layers]
            self._layers[member] = max(before, default=-1) + 1

    def at(self, member: str) -> None:
        """Begin a member's turn."""
        _member.set(member)
        self._last = member
        self._said_before[member] = len(self._said)

    @contextmanager
    def saying(self) -> Iterator[Callable[[str], None]]:
        """While a message is being stored; what it gives takes the id that the message gets."""
        member = _member.get() or self._last
        done: Future[None] = Future()
        self._being_said.add(done)
        try:
            yield lambda message: self._said.append((message, member))
        finally:
            self._being_said.discard(done)
            done.set_result(None)

    async def settle(self) -> None:
        """Wait for the ids of messages that are being stored: a reader may have found them already."""
        if open_ := [asyncio.wrap_future(done) for done in tuple(self._being_said)]:
            await asyncio.wait(open_)

    def unheard(self) -> set[str]:
        """Return the ids that the member whose turn it is does not find."""
        reader = _member.get() or self._last
        if reader is None:
            return set()
        others = [(place, message, by) for place, (message, by) in enumerate(self._said) if by not in {reader, None}]
        if reader in self._layers:
            own = self._layers[reader]
            return {message for _, message, by in others if self._layers.get(by or "", -1) >= own}
        return {message for place, message, _ in others if place >= self._said_before[reader]}
