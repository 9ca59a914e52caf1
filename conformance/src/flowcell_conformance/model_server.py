"""The scripted model server, `flowcell-model`, as a child process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Self, cast

import httpx

from .model_script import script_for
from .process import Process

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from .normalise import Json

READY_SECONDS = 20.0

# Not 127.0.0.1: when lfx believes that it is inside a container it rewrites `localhost` and
# `127.0.0.1` in a provider's address to the container's gateway.
ADDRESS = "127.0.0.2"


class ModelServer:
    """A running model server and its record of what was asked."""

    def __init__(self, binary: Path, home: Path, *, web: str = "", token_ms: int = 0) -> None:
        """`web` is the address that the model asks the URL tool for."""
        home.mkdir(parents=True, exist_ok=True)
        script = home / "model-script.json"
        script.write_text(json.dumps(script_for(web)))
        port_file = home / "model-port"
        port_file.unlink(missing_ok=True)
        self._process = Process(
            [
                str(binary),
                *("--listen", f"{ADDRESS}:0"),
                *("--port-file", str(port_file)),
                *("--script", str(script)),
                *("--token-ms", str(token_ms)),
            ],
            environment={"PATH": "/usr/bin:/bin"},
            log=home / "model.log",
            name="flowcell-model",
        )
        try:
            self._process.wait_ready(port_file.exists, seconds=READY_SECONDS)
        except BaseException:
            self._process.stop()
            raise
        self.host_and_port = (ADDRESS, int(port_file.read_text()))
        self.address = "{}:{}".format(*self.host_and_port)
        self._http = httpx.Client(base_url=f"http://{self.address}", timeout=30.0, trust_env=False)

    @property
    def base_url(self) -> str:
        """What an OpenAI client wants as its base URL."""
        return f"http://{self.address}/v1"

    def forget(self) -> None:
        """Clear the record."""
        self._http.delete("/recorded").raise_for_status()

    def recorded(self) -> list[Json]:
        """Path and body of each request since the record was cleared."""
        answer = self._http.get("/recorded").raise_for_status().json()
        return [{"path": entry["path"], "body": cast("Json", entry["body"])} for entry in answer["requests"]]

    def stop(self) -> None:
        """End the server."""
        self._http.close()
        self._process.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
