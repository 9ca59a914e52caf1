"""Langflow of the version Flowcell answers like: installed, started headless, stopped.

Everything it writes goes to one directory that the caller owns. Nothing of the caller's
environment reaches it, since Langflow would take provider keys from there.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import httpx

from .model_server import ADDRESS as MODEL_ADDRESS
from .paths import REQUIREMENTS_LOCK, langflow_environment
from .process import Process

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

# A cold start imports several hundred megabytes and runs the database migrations.
READY_SECONDS = 300.0
STAMP = "flowcell-installed"
SUPERUSER = "conformance"


@dataclass(frozen=True)
class Credentials:
    """Where a server answers, and the key that opens it."""

    url: str
    api_key: str
    storage: str = "/tmp/.lfx"  # noqa: S108 - where Flowcell's containers have them
    """The folder of uploaded files, as components see it."""


def uv_program() -> str:
    """The `uv` that runs this, which names itself and need not be on PATH, or the one that is."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if not uv:
        message = "uv is needed to install what Flowcell is compared with (pip install uv)"
        raise RuntimeError(message)
    return uv


def ensure_installed() -> Path:
    """Make Langflow's environment once per lock file; returns its Python."""
    environment = langflow_environment()
    python = environment / "bin" / "python"
    stamp = environment / STAMP
    lock = REQUIREMENTS_LOCK.read_text()
    if stamp.exists() and stamp.read_text() == lock:
        return python
    uv = uv_program()
    print(f"installing Langflow into {environment}", file=sys.stderr)
    environment.parent.mkdir(parents=True, exist_ok=True)
    # Without bytecode every start of the server compiles some 10,000 files again.
    install_environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    for argv in (
        [uv, "venv", "--quiet", "--allow-existing", "--python", "3.11", str(environment)],
        [uv, "pip", "sync", "--quiet", "--python", str(python), str(REQUIREMENTS_LOCK)],
    ):
        subprocess.run(argv, check=True, env=install_environment)  # noqa: S603
    stamp.write_text(lock)
    return python


def free_port() -> int:
    """A loopback port that was free a moment ago; Langflow cannot report one of its own choice."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def clean_environment(home: Path, python: Path) -> dict[str, str]:
    """The whole environment of a Langflow process."""
    return {
        "PATH": f"{python.parent}:/usr/bin:/bin",
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        # Langflow fetches it from the internet, where there is one.
        "TIKTOKEN_CACHE_DIR": str(_packages(python) / "litellm/litellm_core_utils/tokenizers"),
        "DO_NOT_TRACK": "true",
        "LANGFLOW_DO_NOT_TRACK": "true",
        "LANGFLOW_CONFIG_DIR": str(home / "config"),
        "LANGFLOW_DIRECTORY_COMPONENT_ALLOWED_ROOTS": str(home / "config"),
    }


def _packages(python: Path) -> Path:
    return next(python.parent.parent.glob("lib/python3*/site-packages"))


def server_settings(home: Path, port: int, password: str) -> dict[str, str]:
    """Settings that make Langflow a plain, quiet, password-protected API server."""
    return {
        "LANGFLOW_HOST": "127.0.0.1",
        "LANGFLOW_PORT": str(port),
        "LANGFLOW_BACKEND_ONLY": "true",
        "LANGFLOW_OPEN_BROWSER": "false",
        "LANGFLOW_DATABASE_URL": f"sqlite:///{home / 'langflow.db'}",
        "LANGFLOW_AUTO_LOGIN": "false",
        "LANGFLOW_SUPERUSER": SUPERUSER,
        "LANGFLOW_SUPERUSER_PASSWORD": password,
        "LANGFLOW_CREATE_STARTER_PROJECTS": "false",
        "LANGFLOW_UPDATE_STARTER_PROJECTS": "false",
        "LANGFLOW_STORE": "false",
        "LANGFLOW_STORE_ENVIRONMENT_VARIABLES": "false",
        "LANGFLOW_FALLBACK_TO_ENV_VAR": "false",
        "LANGFLOW_AGENTIC_EXPERIENCE": "false",
        "LANGFLOW_MCP_COMPOSER_ENABLED": "false",
        "LANGFLOW_MCP_SERVER_ENABLED": "false",
        # lfx refuses loopback addresses of model providers otherwise.
        "LANGFLOW_SSRF_ALLOWED_HOSTS": MODEL_ADDRESS,
        "LANGFLOW_LOG_LEVEL": "warning",
        "LANGFLOW_PRETTY_LOGS": "false",
    }


class LangflowServer:
    """A running reference server; `credentials` is ready when the constructor returns."""

    def __init__(self, home: Path, *, extra_settings: Mapping[str, str] | None = None) -> None:
        python = ensure_installed()
        home.mkdir(parents=True, exist_ok=True)
        (home / "config").mkdir(exist_ok=True)
        port = free_port()
        password = secrets.token_urlsafe(24)
        self.url = f"http://127.0.0.1:{port}"
        self._process = Process(
            [str(python.parent / "langflow"), "run"],
            environment=clean_environment(home, python)
            | server_settings(home, port, password)
            | dict(extra_settings or {}),
            log=home / "langflow.log",
            name="Langflow",
        )
        try:
            self._process.wait_ready(self._healthy, seconds=READY_SECONDS)
            key = create_api_key(self.url, SUPERUSER, password)
            self.credentials = Credentials(self.url, key, str((home / "config").resolve()))
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        """Id of the server's first process."""
        return self._process.pid

    @property
    def log(self) -> Path:
        """What the server wrote to stdout and stderr."""
        return self._process.log

    def _healthy(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health_check", timeout=5.0).status_code == 200
        except httpx.HTTPError:
            return False

    def stop(self) -> None:
        """End the server and its workers."""
        self._process.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def create_api_key(url: str, username: str, password: str) -> str:
    """Log in with a password and make an API key, as Langflow's own page does."""
    with httpx.Client(base_url=url, timeout=60.0, trust_env=False) as client:
        login = client.post("/api/v1/login", data={"username": username, "password": password})
        login.raise_for_status()
        made = client.post(
            "/api/v1/api_key/",
            json={"name": "conformance"},
            headers={"Authorization": f"Bearer {login.json()['access_token']}"},
        )
        made.raise_for_status()
        key: str = made.json()["api_key"]
        return key
