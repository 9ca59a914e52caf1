"""What lfx's components reach for in Langflow's application, where this runner has an answer.

They import these modules inside their functions, by full name. So the modules stand here under
their full names and nothing else of `langflow` does: whoever asks for more finds, as before, that
there is no such package.
"""

from __future__ import annotations

import hashlib
import sys
from contextlib import asynccontextmanager
from enum import StrEnum
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from lfx.services import deps

from flowcell_runner import knowledge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from langchain_core.embeddings import Embeddings

    from flowcell_runner.knowledge import CellStore, Knowledge, Record
    from flowcell_runner.link import Link

_bases: Knowledge | None = None
_user: SimpleNamespace | None = None


def install() -> None:
    """Put the modules where components import them from; once, before any component is built."""
    service = _module(
        "langflow.api.utils.knowledge_base_service",
        get_by_user_and_name=_find,
        get_by_id=_known,
        record_to_metadata_dict=knowledge.metadata_of,
        update_stats=_update_stats,
        update_status=_update_status,
    )
    runs = _module(
        "langflow.api.utils.ingestion_run_service",
        create_run=_create_ingestion,
        mark_running=_nothing,
        finalize_run=_nothing,
    )
    _module("langflow.api.utils", knowledge_base_service=service, ingestion_run_service=runs)
    _module(
        "langflow.api.utils.kb_helpers",
        backend_for_name=_open,
        resolve_embedding_selection=_embedding_of,
        resolve_local_store_path=_no_path,
    )
    _module("langflow.services.knowledge_base_storage.runtime", operation=_operation, resolve_record=_resolve)
    _module("langflow.services.database.models.user.crud", get_user_by_id=_get_user)
    _module("langflow.services.database.models.jobs.model", JobStatus=JobStatus, JobType=JobType)
    _module("langflow.services.database.models.knowledge_base.model", KnowledgeBaseStatus=KnowledgeBaseStatus)
    # lfx has this one too, and takes its own for it only where there is none.
    _module("langflow.services.deps", **{**_public(deps), "get_job_service": _Jobs})
    _module("langflow.services.database.models.memory_base.model", __getattr__=_memory_base)
    _module("langflow.services.memory_base.kb_path_helpers", hash_session_id=_hash)


def bind(link: Link, user_id: str) -> None:
    """Serve this cell."""
    global _bases, _user  # noqa: PLW0603 - one cell in this process
    _bases = knowledge.Knowledge(link, user_id)
    _user = SimpleNamespace(id=UUID(user_id), username="", is_superuser=False, is_active=True)


def _public(module: ModuleType) -> dict[str, Any]:
    return {name: member for name, member in vars(module).items() if not name.startswith("_")}


def _module(name: str, **members: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(members)
    sys.modules[name] = module
    return module


def _ours() -> Knowledge:
    if _bases is None:
        msg = "no cell is bound"
        raise RuntimeError(msg)
    return _bases


async def _get_user(_session: Any, user_id: Any) -> SimpleNamespace | None:
    return _user if _user is not None and str(user_id) == str(_user.id) else None


# ---------------------------------------------------------------- knowledge bases


class KnowledgeBaseStatus(StrEnum):
    """Langflow's."""

    CREATING = "creating"
    READY = "ready"
    INGESTING = "ingesting"
    FAILED = "failed"


async def _find(_user_id: UUID, name: str) -> Record | None:
    return await _ours().find(name)


async def _known(record_id: UUID) -> Record | None:
    return _ours().known(record_id)


async def _update_stats(record_id: UUID, *, size_bytes: int = 0, **figures: Any) -> None:
    await _ours().note(record_id, size=size_bytes, **figures)


async def _update_status(record_id: UUID, *, status: Any, failure_reason: str | None = None) -> None:
    await _ours().note(record_id, status=getattr(status, "value", status), failure_reason=failure_reason)


async def _open(_user_id: UUID, kb_name: str, *, embedding_function: Embeddings | None = None, **_: Any) -> CellStore:
    return await _ours().open(await _resolve(_user_id, kb_name), embedding_function)


async def _resolve(_user_id: UUID, name: str) -> Record:
    record = await _ours().find(name)
    if record is None:
        msg = f"Knowledge base '{name}' has no storage record."
        raise ValueError(msg)
    return record


async def _embedding_of(*, user_id: UUID, kb_name: str) -> tuple[str, str]:
    record = await _find(user_id, kb_name)
    if record is not None and (model := knowledge.model_of(record)):
        return knowledge.provider_of(record), model
    return "OpenAI", "text-embedding-3-small"


def _no_path(*_: Any, **__: Any) -> None:
    """Return that nothing of a base has a place on Langflow's disk."""


@asynccontextmanager
async def _operation(record: Record, **_: Any) -> AsyncIterator[Record]:
    # Langflow locks the file that its processes share; here each cell has one of its own.
    yield record


# ---------------------------------------------------------------- ingestion runs


class JobStatus(StrEnum):
    """Langflow's."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    SUSPENDED = "suspended"


class JobType(StrEnum):
    """Langflow's."""

    WORKFLOW = "workflow"
    INGESTION = "ingestion"
    EVALUATION = "evaluation"


class _Jobs:
    """No job beside the run: its cancellation ends the cell."""

    async def get_job_by_job_id(self, _job_id: UUID) -> None:
        return None

    def __getattr__(self, _name: str) -> Any:
        return _nothing


async def _create_ingestion(**_: Any) -> UUID:
    return uuid4()


async def _nothing(*_: Any, **__: Any) -> None:
    """Keep no record: the run is one."""


# ---------------------------------------------------------------- memory bases


def _memory_base(name: str) -> Any:
    if name != "MemoryBase":
        raise AttributeError(name)
    from sqlmodel import Field, SQLModel

    class MemoryBase(SQLModel, table=True):
        """Enough of Langflow's table to ask for a row. There is none: no flow has a memory base here."""

        id: UUID = Field(primary_key=True)
        name: str
        flow_id: UUID
        user_id: UUID
        kb_name: str

    vars(sys.modules["langflow.services.database.models.memory_base.model"])[name] = MemoryBase
    return MemoryBase


def _hash(session_id: str) -> str:
    return hashlib.sha256(session_id.encode()).hexdigest()[:12]
