"""What outlives a node: the run's shared context, notifications, stored messages."""

from lfx.components.flow_controls.listen import ListenComponent
from lfx.components.flow_controls.notify import NotifyComponent
from lfx.components.models_and_agents.memory import MemoryComponent
from lfx.components.processing.parser import ParserComponent
from lfx.graph import Graph
from look_around import LookAround
from remember import Remember
from say import Say
from tell import Tell

from .kit import chat_input, chat_output, one_step, prompt


def shared_context() -> Graph:
    """Two nodes write into the context, a third reads it."""
    start = chat_input()
    first = Remember(_id="Remember-11111")
    first.set(text=start.message_response)
    second = Remember(_id="Remember-22222")
    second.set(text=first.run_it)
    tell = Tell(_id="Tell-ttttt")
    tell.set(text=second.run_it)
    return Graph(start, chat_output(tell.run_it))


def notify_listen() -> Graph:
    """A notification wakes the node that listens for it."""
    start = chat_input()
    notify = NotifyComponent(_id="Notify-bbbbb")
    notify.set(context_key="news", input_value=start.message_response)
    listen = ListenComponent(_id="Listen-lllll")
    listen.set(context_key="news")
    parser = ParserComponent(_id="Parser-ppppp")
    parser.set(input_data=listen.listen_for_data, mode="Stringify")
    graph = Graph(start, chat_output(parser.parse_combined_text))
    graph.add_component(notify)
    return graph


def history() -> Graph:
    """Message History in a prompt, as in the older chatbots."""
    start = chat_input()
    memory = MemoryComponent(_id="Memory-mmmmm")
    memory.set(n_messages=3, order="Descending")
    told = prompt(
        "ppppp", "{history}\n--\n{x}", history=memory.retrieve_messages_as_text, x=start.message_response
    )
    return Graph(start, chat_output(told.build_prompt))


def history_table() -> Graph:
    """The same as a table."""
    start = chat_input()
    memory = MemoryComponent(_id="Memory-mmmmm")
    memory.set(sender_type="User")
    parser = ParserComponent(_id="Parser-ppppp")
    parser.set(input_data=memory.retrieve_messages_dataframe, pattern="{sender}/{text}")
    told = prompt("ppppp", "{rows}\n--\n{x}", rows=parser.parse_combined_text, x=start.message_response)
    return Graph(start, chat_output(told.build_prompt))


FLOWS = {
    "shared_context": shared_context,
    "notify_listen": notify_listen,
    "history": history,
    "history_table": history_table,
    "say": one_step(Say),
    "look_around": one_step(LookAround),
}
