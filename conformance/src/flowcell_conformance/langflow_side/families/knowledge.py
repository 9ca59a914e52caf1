"""Knowledge bases: one flow that fills a base, and flows that look something up in it."""

from typing import Any

from lfx.components.files_and_knowledge.knowledge import KnowledgeComponent
from lfx.components.files_and_knowledge.memory_retrieval import MemoryBaseComponent
from lfx.components.processing.parser import ParserComponent
from lfx.components.processing.split_text import SplitTextComponent
from lfx.graph import Graph

from .kit import chat_input, chat_output, dumped, shown

BASE = "conformance_base"


def _base(**fields: object) -> KnowledgeComponent:
    base = KnowledgeComponent(_id="Knowledge-kkkkk")
    base.set(knowledge_base=BASE, **fields)
    return base


def knowledge_fill() -> Graph:
    """Each line of the input becomes a chunk."""
    start = chat_input()
    split = SplitTextComponent(_id="SplitText-sssss")
    split.set(data_inputs=start.message_response, separator="\n", chunk_size=10, chunk_overlap=0)
    base = _base(mode="Ingest", input_df=split.split_text, metadata_json='{"tag": "told"}')
    parser = ParserComponent(_id="Parser-ppppp")
    parser.set(input_data=base.build_kb_info, mode="Stringify")
    return Graph(start, chat_output(parser.parse_combined_text))


def _search(pattern: str, **fields: object) -> dict[str, Any]:
    start = chat_input()
    base = _base(mode="Retrieve", search_query=start.message_response, **fields)
    parser = ParserComponent(_id="Parser-ppppp")
    parser.set(input_data=base.retrieve_data, pattern=pattern)
    made = dumped(Graph(start, chat_output(parser.parse_combined_text)))
    names = ("search_query", "top_k", "include_metadata", "include_embeddings", "metadata_filter")
    return shown(made, "Knowledge-kkkkk", *names)


def knowledge_search() -> dict[str, Any]:
    return _search("{content} {_score}", top_k=2)


def knowledge_filtered() -> dict[str, Any]:
    """Only chunks that were told with this; and what they are embedded as."""
    return _search(
        "{content} {source_metadata} {_embeddings}",
        metadata_filter='{"tag": "told"}',
        include_embeddings=True,
    )


def memory_base() -> Graph:
    """A Memory Base that the flow does not have."""
    start = chat_input()
    memory = MemoryBaseComponent(_id="MemoryBase-mmmmm")
    memory.set(memory_base="nobody's", search_query=start.message_response)
    parser = ParserComponent(_id="Parser-ppppp")
    parser.set(input_data=memory.retrieve_memory, pattern="{content}")
    return Graph(start, chat_output(parser.parse_combined_text))


FLOWS = {
    "knowledge_fill": knowledge_fill,
    "knowledge_search": knowledge_search,
    "knowledge_filtered": knowledge_filtered,
    "memory_base": memory_base,
}
