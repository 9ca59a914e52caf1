"""Forms of graphs: fans, long and wide ones, loose ends, several outputs and several answers."""

from typing import Any

from chatty import Chatty
from gather_texts import GatherTexts
from lfx.components.input_output import ChatInput, TextInputComponent
from lfx.graph import Graph

from .kit import chat_input, chat_output, prompt

CHAIN_NODES = 140
WIDE_NODES = 16


def two_answers() -> Graph:
    """Two Chat Outputs of one text, both alive."""
    start = chat_input()
    first = prompt("aaaa1", "first {x}", x=start.message_response)
    second = prompt("aaaa2", "second {x}", x=start.message_response)
    graph = Graph(start, chat_output(first.build_prompt, "ChatOutput-11111"))
    graph.add_component(chat_output(second.build_prompt, "ChatOutput-22222"))
    return graph


def answer_goes_on() -> Graph:
    """A Chat Output whose own output feeds another."""
    start = chat_input()
    first = chat_output(start.message_response, "ChatOutput-11111")
    again = prompt("aaaaa", "again {x}", x=first.message_response)
    return Graph(start, chat_output(again.build_prompt))


def fan_in() -> Graph:
    """Several edges into one list field, from nodes of different depth."""
    start = chat_input()
    deep = prompt("aaaa1", "1({x})", x=start.message_response)
    deeper = prompt("aaaa2", "2({x})", x=deep.build_prompt)
    join = GatherTexts(_id="GatherTexts-jjjjj")
    join.set(texts=[deeper.build_prompt, start.message_response, deep.build_prompt])
    return Graph(start, chat_output(join.join))


def same_edge_twice() -> Graph:
    """One output into two fields of one node."""
    start = chat_input()
    both = prompt("bbbbb", "{a} and {b}", a=start.message_response, b=start.message_response)
    return Graph(start, chat_output(both.build_prompt))


def two_outputs_two_readers() -> Graph:
    """Two outputs of one node, each with a reader of its own, and one that has both."""
    start = chat_input()
    talker = Chatty(_id="Chatty-bbbbb")
    talker.set(text=start.message_response)
    first = prompt("aaaa1", "1({x})", x=talker.first)
    second = prompt("aaaa2", "2({x})", x=talker.second)
    both = prompt("aaaa3", "{a}+{b}", a=talker.first, b=talker.second)
    join = GatherTexts(_id="GatherTexts-jjjjj")
    join.set(texts=[first.build_prompt, second.build_prompt, both.build_prompt])
    return Graph(start, chat_output(join.join))


def one_output_unread() -> Graph:
    """A node with two outputs of which one leads nowhere."""
    start = chat_input()
    talker = Chatty(_id="Chatty-bbbbb")
    talker.set(text=start.message_response)
    return Graph(start, chat_output(talker.second))


def long_chain() -> Graph:
    """A node behind a node, 140 in all."""
    start = chat_input()
    step = start.message_response
    for number in range(CHAIN_NODES - 2):
        step = prompt(f"n{number:04}", "{x}." if number % 10 else "{x}-", x=step).build_prompt
    return Graph(start, chat_output(step))


def wide() -> Graph:
    """Many nodes side by side."""
    start = chat_input()
    join = GatherTexts(_id="GatherTexts-jjjjj")
    join.set(
        texts=[
            prompt(f"w{number:04}", f"{number}({{x}})", x=start.message_response).build_prompt
            for number in range(WIDE_NODES)
        ]
    )
    return Graph(start, chat_output(join.join))


def islands() -> Graph:
    """Two flows in one, and a node that nothing touches."""
    start = chat_input()
    other = TextInputComponent(_id="TextInput-bbbbb")
    other.set(input_value="stored")
    graph = Graph(start, chat_output(prompt("aaaa1", "one {x}", x=start.message_response).build_prompt))
    graph.add_component(
        chat_output(prompt("aaaa2", "two {x}", x=other.text_response).build_prompt, "ChatOutput-yyyyy")
    )
    graph.add_component(prompt("aaaa3", "alone"))
    return graph


def two_chat_inputs() -> dict[str, Any]:
    """More than Langflow allows; lfx's `prepare` would refuse to make it."""
    start = chat_input()
    other = ChatInput(_id="ChatInput-bbbbb")
    both = prompt("aaaaa", "{a}/{b}", a=start.message_response, b=other.message_response)
    return Graph(start, chat_output(both.build_prompt)).dump()


def no_answer() -> Graph:
    """No output vertex at all."""
    start = chat_input()
    return Graph(start, prompt("aaaaa", "quiet {x}", x=start.message_response))


def no_question() -> Graph:
    """No input vertex: the text stands in the flow."""
    first = prompt("aaaa1", "from nowhere")
    return Graph(first, chat_output(prompt("aaaa2", "{x}!", x=first.build_prompt).build_prompt))


def double_diamond() -> Graph:
    """Two diamonds in a row that share their middle."""
    start = chat_input()
    left = prompt("aaaa1", "l({x})", x=start.message_response)
    right = prompt("aaaa2", "r({x})", x=start.message_response)
    middle = prompt("aaaa3", "{a}{b}", a=left.build_prompt, b=right.build_prompt)
    low = prompt("aaaa4", "{m}/{l}", m=middle.build_prompt, l=left.build_prompt)
    high = prompt("aaaa5", "{m}\\{r}", m=middle.build_prompt, r=right.build_prompt)
    end = prompt("aaaa6", "{a}:{b}:{c}", a=low.build_prompt, b=high.build_prompt, c=start.message_response)
    return Graph(start, chat_output(end.build_prompt))


def unicode_names() -> Graph:
    """Fields, ids and texts in several scripts."""
    start = chat_input()
    first = prompt("ünï", "«{größe}» 🦀 {名前}", größe=start.message_response, 名前="日本語")
    return Graph(start, chat_output(first.build_prompt))


FLOWS = {
    "two_answers": two_answers,
    "answer_goes_on": answer_goes_on,
    "fan_in": fan_in,
    "same_edge_twice": same_edge_twice,
    "two_outputs_two_readers": two_outputs_two_readers,
    "one_output_unread": one_output_unread,
    "long_chain": long_chain,
    "wide": wide,
    "islands": islands,
    "two_chat_inputs": two_chat_inputs,
    "no_answer": no_answer,
    "no_question": no_question,
    "double_diamond": double_diamond,
    "unicode_names": unicode_names,
}
