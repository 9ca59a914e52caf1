"""Forms that exports of older Langflow versions have."""

import json
from typing import Any

from ask_model import AskModel
from fake_model import FakeModel
from lfx.graph import Graph

from . import basics, processing
from .kit import chat_input, chat_output, dumped

Exported = dict[str, Any]


def _code(node: Exported) -> Exported | None:
    field = node["data"]["node"]["template"].get("code")
    return field if isinstance(field, dict) else None


def langflow_imports(exported: Exported) -> Exported:
    """Before 1.5 every component imported `langflow`, not `lfx`."""
    for node in exported["data"]["nodes"]:
        if field := _code(node):
            field["value"] = (
                field["value"]
                .replace("from lfx.", "from langflow.")
                .replace("import lfx.", "import langflow.")
            )
    return exported


def written_by(exported: Exported, version: str) -> Exported:
    """What an older version wrote about itself."""
    exported["last_tested_version"] = version
    for node in exported["data"]["nodes"]:
        node["data"]["node"]["lf_version"] = version
        node["data"]["node"].pop("metadata", None)
    return exported


def string_handles(exported: Exported) -> Exported:
    """Edges whose handles stand as text only, with œ for quotes."""
    for edge in exported["data"]["edges"]:
        for end in ("sourceHandle", "targetHandle"):
            edge[end] = json.dumps(edge["data"][end], ensure_ascii=False).replace('"', "œ")
    return exported


def without_new_keys(exported: Exported) -> Exported:
    """Fields and outputs as 1.0 knew them."""
    for node in exported["data"]["nodes"]:
        for output in node["data"]["node"]["outputs"]:
            for key in (
                "allows_loop",
                "loop_types",
                "group_outputs",
                "tool_mode",
                "required_inputs",
                "options",
            ):
                output.pop(key, None)
        for field in node["data"]["node"]["template"].values():
            if isinstance(field, dict):
                for key in ("override_skip", "api_editable", "track_in_telemetry", "tool_mode", "ai_enabled"):
                    field.pop(key, None)
    return exported


def old_1_0() -> Exported:
    """ChatInput, Prompt, ChatOutput as of 1.0."""
    return string_handles(without_new_keys(written_by(langflow_imports(dumped(basics.echo())), "1.0.19")))


def old_1_1_router() -> Exported:
    """If-Else as of 1.1."""
    return written_by(langflow_imports(dumped(basics.router())), "1.1.4")


def old_1_2_table() -> Exported:
    """Tables as of 1.2, when JSON and Table were called Data and DataFrame."""
    exported = dumped(processing.parse_table())
    text = json.dumps(exported["data"]["edges"])
    exported["data"]["edges"] = json.loads(text.replace('"JSON"', '"Data"').replace('"Table"', '"DataFrame"'))
    return written_by(exported, "1.2.0")


def old_1_4_model_edge() -> Exported:
    """A model over an edge, as before 1.7."""
    start = chat_input()
    model = FakeModel(_id="FakeModel-mmmmm")
    ask = AskModel(_id="AskModel-bbbbb")
    ask.set(model=model.build_model, question=start.message_response)
    return written_by(langflow_imports(dumped(Graph(start, chat_output(ask.ask)))), "1.4.2")


def old_1_9() -> Exported:
    """One minor version back but four."""
    return written_by(dumped(basics.diamond()), "1.9.0")


def unknown_version() -> Exported:
    """A version from the future."""
    return written_by(dumped(basics.echo()), "9.9.9")


FLOWS = {
    "old_1_0": old_1_0,
    "old_1_1_router": old_1_1_router,
    "old_1_2_table": old_1_2_table,
    "old_1_4_model_edge": old_1_4_model_edge,
    "old_1_9": old_1_9,
    "unknown_version": unknown_version,
}
