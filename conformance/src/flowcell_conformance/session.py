"""A server made ready for the cases: flows uploaded once, variables set, then asked."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from .compare import Question, Servers, Words, observe
from .flows import DEFAULTS, VARIABLES, load_flow
from .knowledge import FILLING, refill
from .places import places_of, put_user_files
from .sample_files import SAMPLES
from .target import FlowRef

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .normalise import Json
    from .places import Places
    from .target import Target

_OTHER_FLOW = re.compile(r"\$FLOW_(NAME|ID):(\w+)\"")
"""How a flow names another one of the harness."""


class Session:
    """One target with the flows that were needed so far."""

    def __init__(self, target: Target, servers: Servers) -> None:
        self.target = target
        self._servers = servers
        self._flows: dict[str, FlowRef] = {}
        self._places: dict[str, Places] = {}
        self._files: dict[str, str] = {}
        for name, value, kind in VARIABLES:
            target.set_variable(name, value, kind)
        for name, value, kind, fields in DEFAULTS:
            target.set_variable(name, value, kind, fields)
        model = servers.model
        if model is not None:
            # In this order: Langflow tries a provider's key out when it is stored.
            target.set_variable("OPENAI_BASE_URL", model.base_url, "Generic")
            target.set_variable("OPENAI_API_KEY", "sk-conformance-not-a-key", "Credential")

    def flow(self, name: str) -> FlowRef:
        """The flow on this server, uploaded when it is first asked for."""
        if name not in self._flows:
            exported = load_flow(name, self._servers.web)
            self._flows[name] = self.target.upload_flow(self._with_flows(name, exported))
        return self._flows[name]

    def _with_flows(self, name: str, exported: dict[str, Json]) -> dict[str, Json]:
        """The export with the names and ids of the flows that it runs, which are uploaded before it."""
        text = json.dumps(exported)
        for kind, other in sorted(set(_OTHER_FLOW.findall(text))):
            # A flow that runs itself has the name it asks for, and no id yet.
            known = self.flow(other) if other != name else FlowRef("", "", str(exported["name"]))
            text = text.replace(f'$FLOW_{kind}:{other}"', f'{known.name if kind == "NAME" else known.id}"')
        return cast("dict[str, Json]", json.loads(text))

    def ask(self, question: Question) -> dict[str, Json]:
        """The normalised answer to one question."""
        case = question.case
        flow = self.flow(case.flow)
        if case.knowledge is not None:
            refill(self.target, self.flow(FILLING), case.knowledge)
        values = {f"$FILE:{name}": self.file(name) for name in case.files}
        words = Words(values, {self.target.storage: "storage"} if case.files else {})
        if case.uses_files:
            places = self._places_of(case.flow)
            words = Words(values | places.stands(), places.names())
        return observe(self.target, flow, question, self._servers, words)

    def _places_of(self, name: str) -> Places:
        """Where the files of a flow and of the user are, uploaded before each case."""
        # Each time: a case may have written files of its own.
        put_user_files(self.target)
        self._files.clear()
        if name not in self._places:
            self._places[name] = places_of(self.target, self.flow(name))
        return self._places[name]

    def file(self, name: str) -> str:
        """The path that this server gave to a sample file, uploaded when it is first asked for."""
        if name not in self._files:
            self._files[name] = self.target.upload_file(name, SAMPLES[name])
        return self._files[name]

    def forget(self) -> None:
        """Remove the flows again."""
        for flow in self._flows.values():
            self.target.delete_flow(flow)
        self._flows.clear()
        if self._places:
            self.target.call("DELETE", "/api/v2/files/")
        self._places.clear()


@contextmanager
def prepared(target: Target, servers: Servers) -> Iterator[Session]:
    """A session whose flows are removed at the end."""
    session = Session(target, servers)
    try:
        yield session
    finally:
        session.forget()
