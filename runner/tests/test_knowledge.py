"""Knowledge bases: what a cell adds another one finds, with lfx's own store in both."""

import asyncio
from uuid import UUID

import pytest
from lfx.base.knowledge_bases.backends.base import IngestedDocument
from lfx.components.files_and_knowledge.memory_retrieval import MemoryBaseComponent
from lfx.services.deps import session_scope

from components import component
from flowcell_runner import knowledge, services
from flowcell_runner.knowledge import Knowledge
from flowcell_runner.link import CallError
from flows import USER, node, source_of, task
from worker import run_cell

BASE = "00000000-0000-0000-0000-00000000000a"


class Bases:
    """Keeps segments, as the control plane does: each number once, in order, a few at a time."""

    def __init__(self):
        self.segments, self.figures = {}, {}

    async def call(self, op, args):
        if op == "knowledge.get":
            if args["name"] != "laws":
                raise CallError("not_found", "no")
            return self.shown()
        assert args["id"] == BASE
        if op == "knowledge.add":
            self.segments.setdefault(args["nth"], args["chunks"])
            return {}
        if op == "knowledge.note":
            self.figures |= args["figures"]
            return self.shown()
        behind = [nth for nth in sorted(self.segments) if nth > args["after"]]
        return {
            "segments": [self.segments[nth] for nth in behind[:2]],
            "last": max(behind[:2], default=args["after"]),
            "more": len(behind) > 2,
        }

    def shown(self):
        configuration = {"model_selection": {"name": "m", "provider": "OpenAI"}, "column_config": None}
        return {"id": BASE, "name": "laws", "configuration": configuration, "figures": self.figures}


class Unit:
    """Embeds a question as what it says."""

    async def aembed_query(self, text):
        return [float(number) for number in text.split()]


def chunks(count):
    return [IngestedDocument(f"text {n}", {"_id": str(n)}, [float(n), 0.5, -1.0]) for n in range(count)]


async def opened(bases):
    user = Knowledge(bases, USER)
    record = await user.find("laws")
    return record, await user.open(record, Unit())


def test_what_one_cell_adds_another_finds(monkeypatch):
    monkeypatch.setattr(knowledge, "SEGMENT_BYTES", 400)  # three chunks or so

    async def both():
        bases = Bases()
        record, first = await opened(bases)
        assert (record.id, record.chunks, await first.count()) == (UUID(BASE), 0, 0)
        await first.add_embedded_documents(chunks(20))
        assert len(bases.segments) > 2
        _, second = await opened(bases)
        assert await second.count() == 20
        (found, distance), *_ = await second.similarity_search("7 0.5 -1", k=2, with_scores=True)
        assert (found.page_content, found.metadata, distance) == ("text 7", {"_id": "7"}, 0.0)

    asyncio.run(both())


def test_what_the_store_refuses_does_not_become_part_of_the_base():
    async def add():
        bases = Bases()
        _, store = await opened(bases)
        await store.add_embedded_documents(chunks(1))
        with pytest.raises(ValueError, match="dimension"):
            await store.add_embedded_documents([IngestedDocument("short", {}, [1.0])])
        assert len(bases.segments) == 1

    asyncio.run(add())


def test_figures_come_back_in_langflows_form():
    async def note():
        user = Knowledge(Bases(), USER)
        record = await user.find("laws")
        assert knowledge.metadata_of(record)["status"] == "empty"
        await user.note(record.id, chunks=2, characters=9, status="ready")
        shown = knowledge.metadata_of(user.known(record.id))
        assert (shown["status"], shown["avg_chunk_size"], shown["embedding_model"]) == ("ready", 4.5, "m")
        assert await user.find("other") is None

    asyncio.run(note())


def test_a_flow_has_no_memory_base():
    source = source_of(MemoryBaseComponent)
    memory = node("MemoryBase-a", source, memory_base="mine", search_query="what?")
    outcome = run_cell(task({"nodes": [memory], "edges": []}, "MemoryBase-a"))
    assert "Memory Base 'mine' is not attached to this flow." in outcome.failure["message"]


def test_components_of_before_find_what_lfx_has():
    source = component("Old", "return Message(text=get_settings_service().settings.log_level)")
    old = node("Old-a", "from langflow.services.deps import get_settings_service\n" + source)
    outcome = run_cell(task({"nodes": [old], "edges": []}, "Old-a"))
    assert outcome.result["nodes"]["Old-a"]["outputs"]["output"]["text"] == "CRITICAL", outcome.failure


def test_nothing_else_of_langflow_is_there():
    services.install()

    async def ask():
        from langflow.services.database.models.memory_base.model import MemoryBase
        from sqlmodel import select

        async with session_scope() as session:
            return (await session.exec(select(MemoryBase).where(MemoryBase.name == "mine"))).first()

    assert asyncio.run(ask()) is None
    with pytest.raises(ModuleNotFoundError):
        import langflow
    with pytest.raises(ModuleNotFoundError):
        import langflow.services.auth  # noqa: F401
