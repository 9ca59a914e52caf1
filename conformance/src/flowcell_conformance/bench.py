"""A Flowcell server with everything a test needs to use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .durable import DurableRuns
from .session import Session
from .target import Target

if TYPE_CHECKING:
    from .flowcell_server import FlowcellServer
    from .model_server import ModelServer
    from .normalise import Json


class Flowcell:
    """A server, clients for both of its APIs, and the harness's flows."""

    def __init__(self, server: FlowcellServer, model: ModelServer | None) -> None:
        self.server = server
        self.target = Target(server.credentials, name="flowcell")
        self.runs = DurableRuns(server.credentials)
        if model is not None:
            self.runs.allow_egress(*model.host_and_port)
        self.session = Session(self.target, model)

    def flow(self, name: str) -> str:
        """Endpoint name of a flow, uploaded when it is first asked for."""
        return self.session.flow(name).endpoint_name

    def run(self, flow: str, text: str, **more: Json) -> str:
        """Start a durable run of one of the harness's flows; its id."""
        return self.runs.start(self.flow(flow), text, **more).id

    def reconnect(self) -> None:
        """After the server was started again: its port has changed, its data has not."""
        self.disconnect()
        self.target = Target(self.server.credentials, name="flowcell")
        self.runs = DurableRuns(self.server.credentials)
        self.session.target = self.target

    def crash_and_restart(self) -> None:
        """Kill the server and start it on the same data."""
        self.server.kill()
        self.server.restart()
        self.reconnect()

    def disconnect(self) -> None:
        """Give the connections back."""
        self.target.close()
        self.runs.close()
