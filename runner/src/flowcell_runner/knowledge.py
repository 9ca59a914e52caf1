"""Knowledge bases: lfx's own store, on the cell's disk, filled from the worker and told back to it.

Searching is the cell's work, under the cell's limits; the worker keeps chunks and looks at none.
A base is read when it is first needed, and what is added to it is the base's as soon as the
worker has it, whatever becomes of the cell.
"""

from __future__ import annotations

import base64
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from lfx.base.knowledge_bases.backends.sqlite import SQLiteBackend, SQLiteStorageContext, _source_values

from flowcell_runner.frames import dump_json
from flowcell_runner.link import CallError

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
    from lfx.base.knowledge_bases.backends.base import IngestedDocument

    from flowcell_runner.link import Link

#: Chunks are sent together until they have this many bytes: small beside a message on the bus.
SEGMENT_BYTES = 256 * 1024
#: How Langflow cuts texts for a base that says nothing else.
_CHUNK_SIZE, _CHUNK_OVERLAP = 1000, 200


@dataclass
class Record:
    """A base as Langflow's components know its row."""

    id: UUID
    user_id: UUID
    name: str
    model_selection: dict[str, Any]
    column_config: list[dict[str, Any]] = field(default_factory=list)
    source_types: list[str] = field(default_factory=list)
    status: str = "ready"
    failure_reason: str | None = None
    chunks: int = 0
    words: int = 0
    characters: int = 0
    size_bytes: int = 0
    chunk_size: int = _CHUNK_SIZE
    chunk_overlap: int = _CHUNK_OVERLAP
    separator: str | None = None
    backend_type: str = "sqlite"
    backend_config: dict[str, Any] = field(default_factory=dict)
    storage_state: str = "ready"
    storage_generation: int = 1
    active_migration_id: UUID | None = None


class Knowledge:
    """The bases of the run's user."""

    def __init__(self, link: Link, user_id: str) -> None:
        self._link = link
        self._user_id = UUID(user_id)
        self._records: dict[UUID, Record] = {}
        self._added = 0

    async def find(self, name: str) -> Record | None:
        """Return the base of this name, as it is now."""
        try:
            row = await self._link.call("knowledge.get", {"name": name})
        except CallError as error:
            # A base that no node names is none: whoever guesses names learns nothing.
            if error.kind not in {"not_found", "refused"}:
                raise
            return None
        record = _record(row, self._user_id)
        self._records[record.id] = record
        return record

    def known(self, record_id: UUID) -> Record | None:
        """Return a base that was found before."""
        return self._records.get(record_id)

    async def note(self, record_id: UUID, **figures: Any) -> None:
        """Keep what is known of a base's content."""
        row = await self._link.call("knowledge.note", {"id": str(record_id), "figures": figures})
        self._records[record_id] = _record(row, self._user_id)

    async def open(self, record: Record, embedding_function: Embeddings | None) -> CellStore:
        """Return the base's store, with all that is in it."""
        root = Path(tempfile.mkdtemp(prefix="knowledge-"))
        context = SQLiteStorageContext(root=root, owner_id=record.user_id, kb_id=record.id)
        store = CellStore(self, record.name, embedding_function, context)
        await store.ensure_ready()
        after, more = -1, True
        while more:
            answer = await self._link.call("knowledge.read", {"id": str(record.id), "after": after})
            after, more = answer["last"], answer["more"]
            await store.take([chunk for segment in answer["segments"] for chunk in segment])
        return store

    async def add(self, record_id: UUID, chunks: list[dict[str, Any]]) -> None:
        """Tell the worker what was added, in pieces that it takes once each."""
        for piece in _pieces(chunks):
            nth, self._added = self._added, self._added + 1
            await self._link.call("knowledge.add", {"id": str(record_id), "nth": nth, "chunks": piece})


class CellStore(SQLiteBackend):
    """lfx's store in a file of this cell, whose additions go to the worker too."""

    def __init__(
        self,
        knowledge: Knowledge,
        name: str,
        embedding_function: Embeddings | None,
        context: SQLiteStorageContext,
    ) -> None:
        super().__init__(name, embedding_function=embedding_function, storage_context=context, create=True)
        self._knowledge = knowledge

    async def take(self, chunks: list[dict[str, Any]]) -> None:
        """Take over what the base has already."""
        if chunks:
            await self._run(self._insert, chunks)

    async def _write_embedded(self, ids: list[str], docs: list[IngestedDocument]) -> None:
        # Here first: what lfx finds wrong with them never becomes part of the base.
        await super()._write_embedded(ids, docs)
        await self._knowledge.add(self.storage_context.kb_id, await self._run(self._stored, ids))

    def _stored(self, ids: list[str]) -> list[dict[str, Any]]:
        """Return rows as lfx has written them."""
        question = "SELECT content,metadata,vector,native_distance_safe FROM chunks WHERE id=?"
        with self._connect() as connection:
            rows = [(name, *connection.execute(question, (name,)).fetchone()) for name in ids]
        # As texts, not as a file: the worker hides secrets in what it can read.
        return [
            {
                "id": name,
                "content": content,
                "metadata": json.loads(metadata),
                "vector": base64.b64encode(vector).decode(),
                "safe": safe,
            }
            for name, content, metadata, vector, safe in rows
        ]

    def _insert(self, chunks: list[dict[str, Any]]) -> None:
        """Write rows back that lfx has written once: it checks every number of a new one, which takes a millisecond."""
        rows = [_row(chunk) for chunk in chunks]
        values = [
            (chunk["id"], key, value) for chunk in chunks for key, value in sorted(_source_values(chunk["metadata"]))
        ]
        with self._connect() as connection, connection:
            connection.execute("UPDATE store_header SET dimension=? WHERE singleton=1", (rows[0][4],))
            connection.executemany("INSERT OR REPLACE INTO chunks VALUES (?,?,?,?,?,?,?,?)", rows)
            connection.executemany("INSERT OR REPLACE INTO source_filter_values VALUES (?,?,?)", values)


def _row(chunk: dict[str, Any]) -> tuple[Any, ...]:
    metadata, vector = chunk["metadata"], base64.b64decode(chunk["vector"])
    known = (metadata.get(name) for name in ("job_id", "session_id"))
    job, session = (value if isinstance(value, str) else None for value in known)
    text = json.dumps(metadata, ensure_ascii=False, separators=(",", ":"))
    return chunk["id"], chunk["content"], text, vector, len(vector) // 4, job, session, chunk["safe"]


def metadata_of(record: Record) -> dict[str, Any]:
    """Return a base in the form in which Langflow's components look at it."""
    is_empty = record.status == "ready" and record.chunks <= 0
    average = round(record.characters / record.chunks, 1) if record.chunks > 0 else 0.0
    return {
        "id": str(record.id),
        "name": record.name,
        "embedding_provider": provider_of(record),
        "embedding_model": model_of(record),
        "model_selection": record.model_selection or None,
        "chunk_size": record.chunk_size,
        "chunk_overlap": record.chunk_overlap,
        "separator": record.separator,
        "column_config": record.column_config,
        "backend_type": record.backend_type,
        "backend_config": record.backend_config,
        "storage_state": record.storage_state,
        "storage_generation": record.storage_generation,
        "active_migration_id": None,
        "chunks": record.chunks,
        "words": record.words,
        "characters": record.characters,
        "size": record.size_bytes,
        "source_types": record.source_types,
        "status": "empty" if is_empty else record.status,
        "failure_reason": record.failure_reason,
        "avg_chunk_size": average,
    }


def provider_of(record: Record) -> str:
    """Return who embeds the base's chunks."""
    return str(record.model_selection.get("provider") or "Unknown").strip()


def model_of(record: Record) -> str:
    """Return what embeds them."""
    return str(record.model_selection.get("name") or "").strip()


def _record(row: dict[str, Any], user_id: UUID) -> Record:
    configuration, figures = row["configuration"], row["figures"]
    return Record(
        id=UUID(row["id"]),
        user_id=user_id,
        name=row["name"],
        model_selection=configuration.get("model_selection") or {},
        column_config=configuration.get("column_config") or [],
        source_types=figures.get("source_types") or [],
        status=figures.get("status") or "ready",
        failure_reason=figures.get("failure_reason"),
        chunks=figures.get("chunks") or 0,
        words=figures.get("words") or 0,
        characters=figures.get("characters") or 0,
        size_bytes=figures.get("size") or 0,
    )


def _pieces(chunks: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    pieces: list[list[dict[str, Any]]] = []
    room = 0
    for chunk in chunks:
        size = len(dump_json(chunk))
        if size > room:
            pieces.append([])
            room = SEGMENT_BYTES
        pieces[-1].append(chunk)
        room -= size
    return pieces
