"""A Flowcell server with everything a test needs to use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .durable import DurableRuns
from .session import Session
from .target import Target

if TYPE_CHECKING:
    from .compare import Servers
    from .flowcell_server import FlowcellServer
    from .normalise import Json


def open_egress(runs: DurableRuns, servers: Servers) -> None:
    """Let flows reach the scripted servers: Flowcell lets no flow connect anywhere unless told."""
    if servers.model is not None:
        runs.allow_egress(*servers.model.host_and_port)
    for host, port in servers.web.hosts_and_ports if servers.web else ():
        runs.allow_egress(host, port)


class Flowcell:
    """A server, clients for both of its APIs, and the harness's flows."""

    def __init__(self, server: FlowcellServer, servers: Servers) -> None:
        self.server = server
        self.target = Target(server.credentials, name="flowcell")
        self.runs = DurableRuns(server.credentials)
        open_egress(self.runs, servers)
        self.session = Session(self.target, servers)

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
