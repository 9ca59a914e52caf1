"""What of the environment lfx and components see.

lfx reads its settings from the environment once, so they are put there before it
is imported. Everything else is cleared: components resolve variables through
their task only, and a name left here by an image or a host would be readable by
any of them.
"""

from __future__ import annotations

import os

#: Settings of lfx, and of libraries that would otherwise phone home or start threads.
_SETTINGS = {
    # lfx writes rich tracebacks of every failing component at ERROR; that takes seconds.
    "LANGFLOW_LOG_LEVEL": "CRITICAL",
    "LANGFLOW_PRETTY_LOGS": "false",
    "LANGFLOW_CONFIG_DIR": "/tmp/.lfx",  # noqa: S108 - the container's only writable place
    # Uploaded files lie there; whose they are is checked as well.
    "LANGFLOW_DIRECTORY_COMPONENT_ALLOWED_ROOTS": "/tmp/.lfx",  # noqa: S108
    "LANGFLOW_DO_NOT_TRACK": "true",
    "LANGFLOW_VERTEX_BUILDS_STORAGE_ENABLED": "false",
    "LANGFLOW_TRANSACTIONS_STORAGE_ENABLED": "false",
    "LANGFLOW_FALLBACK_TO_ENV_VAR": "false",
    # There is no resolver here. Which addresses may be reached is decided, and checked
    # against the address that is really dialled, by the proxy outside.
    "LANGFLOW_SSRF_PROTECTION_ENABLED": "false",
    "LANGFLOW_CONNECTOR_SSRF_VALIDATION_ENABLED": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "LANGSMITH_TRACING": "false",
    "ANONYMIZED_TELEMETRY": "false",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # In the image: no flow with OpenAI's embeddings needs a way to where tiktoken would fetch it.
    # (By its older name: the newer one looks like a secret to whoever searches for one.)
    "DATA_GYM_CACHE_DIR": "/opt/flowcell/share/tiktoken",
    # Every cell has a user of its own, which no file names: `getpass` would fail.
    "LOGNAME": "runner",
    # One thread: a forked process must have no other, and one cell has one CPU at most.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # The allocator inside pyarrow, which pandas imports, tidies up in a thread of its own otherwise.
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
_KEPT = frozenset({"PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"})


def prepare() -> None:
    """Replace the environment by the settings above; call before lfx is imported."""
    for name in list(os.environ):
        if name not in _KEPT:
            del os.environ[name]
    os.environ.update(_SETTINGS)
    os.environ.setdefault("HOME", "/tmp")  # noqa: S108
