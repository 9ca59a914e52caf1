"""What lfx expects of the platform around it, answered by the worker.

Where lfx has a service for it, ours is registered: variables, tracing, and a
database whose only purpose is not to be lfx's no-op (with that one lfx would read
variables from the environment). The message store has no service; its functions
are looked up at call time in `lfx.memory.stubs`, and are replaced there.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from fastapi.encoders import jsonable_encoder
from lfx.memory import flow_context, stubs
from lfx.schema.legacy_render import render_v1_content_blocks
from lfx.schema.message import Message
from lfx.schema.properties import Properties
from lfx.schema.validators import str_to_timestamp
from lfx.services.database.service import NoopDatabaseService
from lfx.services.manager import get_service_manager
from lfx.services.schema import ServiceType
from lfx.services.session import NoopSession
from lfx.services.tracing.service import TracingService
from lfx.services.variable.exceptions import VariableNotFoundError
from lfx.services.variable.service import VariableService

from flowcell_runner import children, flows
from flowcell_runner import files as cell_files
from flowcell_runner.errors import without_paths
from flowcell_runner.link import CallError

try:
    from flowcell_runner import application
except ImportError:  # an lfx before 1.13 keeps its knowledge in another way
    application = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from flowcell_runner.files import Files
    from flowcell_runner.history import History
    from flowcell_runner.link import Link


# ---------------------------------------------------------------- services


class CellVariables(VariableService):
    """The task's variables first; the worker is asked for any other name; the environment never."""

    name = "variable_service"

    def __init__(self) -> None:
        super().__init__()
        self._link: Link | None = None
        self._missing: set[str] = set()

    def bind(self, variables: dict[str, str], link: Link) -> None:
        """Serve this cell."""
        self._variables = dict(variables)
        self._link = link

    async def get_variable(self, name: str, **_: Any) -> str:
        """Return the value, or raise as Langflow's service does."""
        if name in self._variables:
            return self._variables[name]
        if self._link is None or name in self._missing or not isinstance(name, str):
            raise _not_found(name)
        try:
            answer = await self._link.call("variable.get", {"name": name})
        except CallError as error:
            # A refused name is answered like an absent one: a component that tries names
            # learns nothing, and lfx goes on without an optional provider setting.
            if error.kind not in {"not_found", "refused"}:
                raise
            self._missing.add(name)
            raise _not_found(name) from None
        value: str = answer["value"]
        self._variables[name] = value
        return value


def _not_found(name: str) -> VariableNotFoundError:
    return VariableNotFoundError(f"{name} variable not found.")


class CellTracing(TracingService):
    """Present, so that messages carry the run's id as under Langflow; spans are the worker's."""

    @property
    def project_name(self) -> str:
        """Langflow's default."""
        return "Langflow"

    def get_tracer(self, _name: str) -> None:
        """No third-party tracer exists."""
        return


class _Session:
    """lfx's do-nothing session, without being an instance of it."""

    def __init__(self) -> None:
        self._noop = NoopSession()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._noop, name)


class CellDatabase(NoopDatabaseService):
    """No database, but one whose sessions make lfx ask the variable service."""

    name = "database_service"
    ready = True

    @asynccontextmanager
    async def _with_session(self) -> AsyncIterator[_Session]:
        yield _Session()

    async def teardown(self) -> None:
        """Nothing to close."""


_variables = CellVariables()


def install() -> None:
    """Register the services; once, before any component is built."""
    manager = get_service_manager()
    # Discovery reads configuration files and entry points; there is nothing to find here.
    manager._plugins_discovered = True  # noqa: SLF001
    manager.register_service_class(ServiceType.TRACING_SERVICE, CellTracing)
    manager.services[ServiceType.VARIABLE_SERVICE] = _variables
    manager.services[ServiceType.DATABASE_SERVICE] = CellDatabase()
    cell_files.install(manager)
    flows.install()
    if application is not None:
        application.install()


def bind(link: Link, variables: dict[str, str], files: Files, history: History, user_id: str) -> None:
    """Connect the services to the worker, for the one cell of this process."""
    if application is not None:
        application.bind(link, user_id)
    _variables.bind(variables, link)
    cell_files.bind(files)
    children.bind(link)
    store = MessageStore(link, files, history)
    for name in ("astore_message", "aupdate_messages", "aget_messages", "adelete_messages", "delete_message"):
        setattr(stubs, name, getattr(store, name))
    stubs.aadd_messages = store.aadd_messages
    stubs.aadd_messagetables = store.aadd_messages


# ---------------------------------------------------------------- messages

#: Columns of a stored message, in the order Langflow's API shows them.
_COLUMNS = (
    "timestamp",
    "sender",
    "sender_name",
    "session_id",
    "context_id",
    "text",
    "files",
    "error",
    "edit",
    "properties",
    "category",
    "content_blocks",
    "session_metadata",
    "id",
    "flow_id",
    "run_id",
)
_TIMESTAMP = "%Y-%m-%d %H:%M:%S.%f %Z"


class _OtherFlowError(ValueError):
    """The message is there, and another flow's."""


class MessageStore:
    """Langflow's message functions, over calls. The worker scopes everything to the run's flow and owner."""

    def __init__(self, link: Link, files: Files, history: History) -> None:
        self._link = link
        self._files = files
        self._history = history

    async def astore_message(
        self,
        message: Message,
        flow_id: str | UUID | None = None,
        run_id: str | UUID | None = None,
        user_id: str | UUID | None = None,
    ) -> list[Message]:
        """Insert a new message; a message with an id updates its row."""
        if not message:
            return []
        if not flow_context.should_persist_messages():
            return [message]
        if not message.session_id or not message.sender or not message.sender_name:
            msg = (
                f"All of session_id, sender, and sender_name must be provided. Session ID: {message.session_id},"
                f" Sender: {message.sender}, Sender Name: {message.sender_name}"
            )
            raise ValueError(msg)
        if getattr(message, "id", None):
            try:
                return await self.aupdate_messages(message)
            except _OtherFlowError:
                pass  # a flow that this one ran has said it; here it is said anew
        return await self.aadd_messages(message, flow_id=flow_id, run_id=run_id, user_id=user_id)

    async def aadd_messages(
        self,
        messages: Message | list[Message],
        flow_id: str | UUID | None = None,
        run_id: str | UUID | None = None,
        user_id: str | UUID | None = None,  # noqa: ARG002 - the worker knows the owner
    ) -> list[Message]:
        """Insert messages."""
        stored = []
        for message in messages if isinstance(messages, list) else [messages]:
            with self._history.saying() as said:
                stored.append(await self._ask("message.store", _row_of(message, flow_id, run_id)))
                said(str(stored[-1].id))
        return stored

    async def aupdate_messages(self, messages: Message | list[Message]) -> list[Message]:
        """Change stored messages; only what was set is sent."""
        return [
            await self._ask("message.update", _changes_of(message))
            for message in (messages if isinstance(messages, list) else [messages])
        ]

    async def aget_messages(  # noqa: PLR0913, PLR0917 - lfx's signature
        self,
        sender: str | None = None,
        sender_name: str | None = None,
        session_id: str | UUID | None = None,
        context_id: str | UUID | None = None,
        order_by: str | None = "timestamp",  # noqa: ARG002 - the store keeps time order
        order: str | None = "DESC",
        flow_id: str | UUID | None = None,
        limit: int | None = None,
        user_id: str | UUID | None = None,  # noqa: ARG002 - the worker knows the owner
    ) -> list[Message]:
        """Return messages of this flow."""
        current = flow_context.coerce_flow_id(flow_context.get_current_flow_id())
        if flow_id is not None and current is not None and flow_context.coerce_flow_id(flow_id) != current:
            return []  # another flow's history is nobody's business, as in Langflow
        wanted = {
            "sender": sender,
            "sender_name": sender_name,
            "session_id": str(session_id) if session_id else None,
            "context_id": str(context_id) if context_id else None,
            "flow_id": str(current) if current else None,
            "order": "DESC" if order == "DESC" else "ASC",
        }
        rows = await self._heard({name: value for name, value in wanted.items() if value}, limit)
        # A message looks at its files as soon as it is made.
        await self._files.place([row.get("files") for row in rows])
        return [await _from_row(row) for row in rows]

    async def _heard(self, wanted: dict[str, Any], limit: int | None) -> list[dict[str, Any]]:
        left_out = len(self._history.unheard())
        while True:
            # So many more as may have to be left out.
            asked = wanted | ({"limit": limit + left_out} if limit else {})
            rows = (await self._link.call("messages.get", asked))["messages"]
            await self._history.settle()
            unheard = self._history.unheard()
            heard = [row for row in rows if str(row["id"]) not in unheard]
            if not limit or len(rows) - len(heard) <= left_out:
                return heard[:limit]
            left_out = len(unheard)

    async def delete_message(self, id_: str) -> None:
        """Delete one message."""
        if flow_context.should_persist_messages():
            await self._link.call("messages.delete", {"id": str(id_)})

    async def adelete_messages(self, session_id: str | None = None, context_id: str | None = None, **_: Any) -> None:
        """Delete a session's messages."""
        if not session_id and not context_id:
            msg = "Either session_id or context_id must be provided to delete messages."
            raise ValueError(msg)
        wanted = {"session_id": session_id, "context_id": context_id}
        await self._link.call("messages.delete", {name: str(value) for name, value in wanted.items() if value})

    async def _ask(self, op: str, row: dict[str, Any]) -> Message:
        try:
            answer = await self._link.call(op, {"message": row})
        except CallError as error:
            if error.kind in {"not_found", "other_flow"}:
                msg = f"Message with id {row.get('id')} not found"
                raise (ValueError if error.kind == "not_found" else _OtherFlowError)(msg) from None
            raise
        return await _from_row({**row, **answer}, legacy_blocks=True)


def _row_of(message: Message, flow_id: str | UUID | None, run_id: str | UUID | None) -> dict[str, Any]:
    """Return a new row: the columns Langflow writes, with its defaults for those it does not take over."""
    if message.data.get("text") is None and message.text_stream is None and not message.content_blocks:
        msg = "The message does not have the required fields (text, sender, sender_name)."
        raise ValueError(msg)
    return {
        "timestamp": _timestamp(message.timestamp),
        "sender": message.sender,
        "sender_name": message.sender_name,
        "session_id": str(message.session_id),
        "context_id": str(message.context_id) if message.context_id is not None else None,
        "text": message.text if isinstance(message.text, str) else "",
        "files": [_file_path(item) for item in message.files or []],
        "error": False,
        "edit": False,
        "properties": message.properties.model_dump(mode="json"),
        "category": message.category or "",
        "content_blocks": _blocks_of(message),
        "session_metadata": jsonable_encoder(message.session_metadata),
        "flow_id": _text(flow_id or message.flow_id),
        "run_id": _text(run_id or message.run_id),
    }


def _changes_of(message: Message) -> dict[str, Any]:
    changes = message.model_dump(exclude_unset=True, exclude_none=True)
    row = {name: changes[name] for name in _COLUMNS if name in changes and name not in {"flow_id", "run_id"}}
    # Whole: without its empty fields it would read differently in the next event.
    if "properties" in row:
        row["properties"] = message.properties.model_dump(mode="json")
    # As Langflow stores them: loose blocks lose their empty fields, and those in groups keep them.
    if "content_blocks" in row:
        row["content_blocks"] = without_paths(jsonable_encoder(row["content_blocks"]))
    if not isinstance(row.get("text", ""), str):
        row["text"] = ""
    if "timestamp" in row:
        row["timestamp"] = _timestamp(row["timestamp"])
    if "files" in row:
        row["files"] = [_file_path(item) for item in message.files or []]
    row["id"] = str(message.get_id())
    encoded: dict[str, Any] = jsonable_encoder(row)
    return encoded


def _blocks_of(message: Message) -> Any:
    return without_paths(jsonable_encoder([block.model_dump() for block in message.content_blocks]))


async def _from_row(row: dict[str, Any], *, legacy_blocks: bool = False) -> Message:
    """Return the row as a component sees it: every column, in Langflow's order."""
    fields = {name: row.get(name) for name in _COLUMNS}
    fields["timestamp"] = _timestamp(fields["timestamp"])
    fields["id"] = _uuid(fields["id"])
    fields["files"] = fields["files"] or []
    fields["content_blocks"] = fields["content_blocks"] or []
    fields["properties"] = Properties.model_validate(fields["properties"] or {}).model_dump()
    fields["error"] = bool(fields["error"])
    fields["edit"] = bool(fields["edit"])
    if legacy_blocks:
        fields["content_blocks"] = render_v1_content_blocks(fields["content_blocks"])
    return await Message.create(**fields)


def _timestamp(value: Any) -> str:
    stamp = str_to_timestamp(value) if isinstance(value, str) else value
    if not isinstance(stamp, datetime):
        stamp = datetime.now(UTC)
    return stamp.astimezone(UTC).strftime(_TIMESTAMP)


def _file_path(item: Any) -> Any:
    path = getattr(item, "path", None)
    return path or (item if isinstance(item, str) else jsonable_encoder(item))


def _text(value: str | UUID | None) -> str | None:
    return str(value) if value else None


def _uuid(value: Any) -> Any:
    try:
        return UUID(str(value))
    except ValueError:
        return value
