"""A server made ready for the cases: flows uploaded once, variables set, then asked."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from .compare import Question, Servers, observe
from .flows import DEFAULTS, VARIABLES, load_flow
from .sample_files import SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .normalise import Json
    from .target import FlowRef, Target


class Session:
    """One target with the flows that were needed so far."""

    def __init__(self, target: Target, servers: Servers) -> None:
        self.target = target
        self._servers = servers
        self._flows: dict[str, FlowRef] = {}
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
            self._flows[name] = self.target.upload_flow(load_flow(name, self._servers.web))
        return self._flows[name]

    def ask(self, question: Question) -> dict[str, Json]:
        """The normalised answer to one question."""
        values = {f"$FILE:{name}": self.file(name) for name in question.case.files}
        return observe(self.target, self.flow(question.case.flow), question, self._servers, values)

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


@contextmanager
def prepared(target: Target, servers: Servers) -> Iterator[Session]:
    """A session whose flows are removed at the end."""
    session = Session(target, servers)
    try:
        yield session
    finally:
        session.forget()
