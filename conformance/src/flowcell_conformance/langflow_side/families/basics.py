"""The first flows: one per basic construct, and those that misbehave."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ask_model import AskModel
from boom import Boom
from chatty import Chatty
from describe_table import DescribeTable
from fake_llm import FakeLLM
from fake_model import FakeModel
from fork_bomb import ForkBomb
from greet import Greet
from hog import Hog
from join_texts import JoinTexts
from keep_lock import KeepLock
from leak import Leak
from legacy import Legacy
from lfx.components.flow_controls import ConditionalRouterComponent, LoopComponent
from lfx.components.input_output import ChatInput, TextInputComponent, TextOutputComponent
from lfx.components.models_and_agents import AgentComponent, PromptComponent
from lfx.custom.custom_component.component import Component
from lfx.graph import Graph
from list_rows import ListRows
from make_data import MakeData
from make_table import MakeTable
from nap import Nap
from old_loop import OldLoop
from pass_through import PassThrough
from recall import Recall
from row_text import RowText
from shout import Shout
from spin import Spin
from stamp import Stamp
from two_texts import TwoTexts
from upper import Upper
from use_tool import UseTool
from vanish import Vanish

from .kit import as_tool, chat_input, chat_output, dumped, mark_tool_mode, name_a_variable, one_step

COMPONENTS = Path(__file__).resolve().parents[1] / "components"


def echo() -> Graph:
    start = chat_input()
    prompt = PromptComponent(_id="Prompt-bbbbb")
    prompt.set(template="Hello {name}!", name=start.message_response)
    return Graph(start, chat_output(prompt.build_prompt))


def tok() -> Graph:
    start = chat_input()
    model = FakeLLM(_id="FakeLLM-bbbbb")
    model.set(input_value=start.message_response, stream=True)
    return Graph(start, chat_output(model.text_response))


def router() -> Graph:
    start = chat_input()
    branch = ConditionalRouterComponent(_id="ConditionalRouter-bbbbb")
    branch.set(
        input_text=start.message_response,
        match_text="yes",
        operator="equals",
        true_case_message="it was yes",
        false_case_message="it was not",
    )
    graph = Graph(start, chat_output(branch.true_response, "ChatOutput-ttttt"))
    graph.add_component(chat_output(branch.false_response, "ChatOutput-fffff"))
    return graph


def diamond() -> Graph:
    start = chat_input()
    left = PromptComponent(_id="Prompt-lllll")
    left.set(template="left({x})", x=start.message_response)
    right = PromptComponent(_id="Prompt-rrrrr")
    right.set(template="right({x})", x=start.message_response)
    join = PromptComponent(_id="Prompt-jjjjj")
    join.set(template="{a} & {b}", a=left.build_prompt, b=right.build_prompt)
    return Graph(start, chat_output(join.build_prompt))


def text() -> Graph:
    start = TextInputComponent(_id="TextInput-aaaaa")
    end = TextOutputComponent(_id="TextOutput-zzzzz")
    end.set(input_value=start.text_response)
    return Graph(start, end)


def variable() -> dict[str, Any]:
    start = chat_input()
    greet = Greet(_id="Greet-bbbbb")
    greet.set(who=start.message_response, greeting="CONFORMANCE_GREETING", token="CONFORMANCE_TOKEN")
    exported = dumped(Graph(start, chat_output(greet.greet)))
    name_a_variable(exported, "Greet-bbbbb", "greeting")
    name_a_variable(exported, "Greet-bbbbb", "token")
    return exported


def leak() -> dict[str, Any]:
    start = chat_input()
    leaky = Leak(_id="Leak-bbbbb")
    leaky.set(text=start.message_response, token="CONFORMANCE_TOKEN")
    exported = dumped(Graph(start, chat_output(leaky.leak)))
    name_a_variable(exported, "Leak-bbbbb", "token")
    return exported


def live_model() -> Graph:
    start = chat_input()
    model = FakeModel(_id="FakeModel-mmmmm")
    ask = AskModel(_id="AskModel-bbbbb")
    ask.set(model=model.build_model, question=start.message_response)
    return Graph(start, chat_output(ask.ask))


def live_tool() -> dict[str, Any]:
    start = chat_input()
    upper = as_tool(Upper(_id="Upper-uuuuu"))
    use = UseTool(_id="UseTool-bbbbb")
    use.set(tools=[upper.to_toolkit], text=start.message_response)
    return mark_tool_mode(dumped(Graph(start, chat_output(use.use))), "Upper-uuuuu")


def table() -> Graph:
    start = chat_input()
    data = MakeData(_id="MakeData-bbbbb")
    data.set(text=start.message_response)
    rows = MakeTable(_id="MakeTable-ccccc")
    rows.set(data=data.build_data)
    words = DescribeTable(_id="DescribeTable-ddddd")
    words.set(table=rows.build_table)
    return Graph(start, chat_output(words.describe))


def data_out() -> Graph:
    start = chat_input()
    data = MakeData(_id="MakeData-bbbbb")
    data.set(text=start.message_response)
    return Graph(start, chat_output(data.build_data))


def recall() -> Graph:
    start = chat_input()
    memory = Recall(_id="Recall-bbbbb")
    memory.set(text=start.message_response)
    return Graph(start, chat_output(memory.recall))


def loop() -> Graph:
    start = chat_input()
    data = MakeData(_id="MakeData-bbbbb")
    data.set(text=start.message_response)
    rows = MakeTable(_id="MakeTable-ccccc")
    rows.set(data=data.build_data)
    each = LoopComponent(_id="LoopComponent-lllll")
    body = Stamp(_id="Stamp-sssss")
    body.set(row=each.item_output)
    each.set(data=rows.build_table, item=body.stamp)
    listed = ListRows(_id="ListRows-ddddd")
    listed.set(table=each.done_output)
    return Graph(start, chat_output(listed.write))


def split_words(start: ChatInput) -> MakeTable:
    """One row for each word of the input."""
    data = MakeData(_id="MakeData-bbbbb")
    data.set(text=start.message_response)
    rows = MakeTable(_id="MakeTable-ccccc")
    rows.set(data=data.build_data)
    return rows


def looped(
    each: Component, rows: MakeTable, first: RowText | TwoTexts, last: JoinTexts, start: ChatInput
) -> Graph:
    """A flow around a loop whose body begins at `first` and leads back from `last`."""
    first.set(row=each.item_output)
    each.set(data=rows.build_table, item=last.as_row)
    listed = ListRows(_id="ListRows-ddddd")
    listed.set(table=each.done_output)
    return Graph(start, chat_output(listed.write))


def routed_body(first: RowText) -> JoinTexts:
    """A router behind the first node of a body, and where its branches meet again."""
    branch = ConditionalRouterComponent(_id="ConditionalRouter-rrrrr")
    branch.set(input_text=first.write, match_text="a", operator="contains")
    left = PromptComponent(_id="Prompt-lllll")
    left.set(template="with {x}", x=branch.true_response)
    right = PromptComponent(_id="Prompt-rrrrr")
    right.set(template="without {x}", x=branch.false_response)
    join = JoinTexts(_id="JoinTexts-jjjjj")
    join.set(texts=[left.build_prompt, right.build_prompt])
    return join


def straight_body(first: RowText | TwoTexts | ListRows) -> JoinTexts:
    join = JoinTexts(_id="JoinTexts-jjjjj")
    join.set(texts=[first.write])
    return join


def loop_router() -> Graph:
    start, first = chat_input(), RowText(_id="RowText-ttttt")
    each = LoopComponent(_id="LoopComponent-lllll")
    return looped(each, split_words(start), first, routed_body(first), start)


def loop_outside() -> Graph:
    """The body takes something that stands outside the loop, and was run before."""
    start, first = chat_input(), RowText(_id="RowText-ttttt")
    front = PromptComponent(_id="Prompt-fffff")
    front.set(template="[{x}] ", x=start.message_response)
    first.set(front=front.build_prompt)
    each = LoopComponent(_id="LoopComponent-lllll")
    return looped(each, split_words(start), first, straight_body(first), start)


def loop_side() -> Graph:
    """The body also shows what it does."""
    start, first = chat_input(), RowText(_id="RowText-ttttt")
    each = LoopComponent(_id="LoopComponent-lllll")
    graph = looped(each, split_words(start), first, straight_body(first), start)
    graph.add_component(chat_output(first.write, "ChatOutput-sssss"))
    return graph


def loop_nested() -> Graph:
    start = chat_input()
    outer = LoopComponent(_id="LoopComponent-ooooo")
    first = RowText(_id="RowText-fffff")
    first.set(row=outer.item_output)
    again = MakeData(_id="MakeData-nnnnn")
    again.set(text=first.write)
    rows = MakeTable(_id="MakeTable-nnnnn")
    rows.set(data=again.build_data)
    inner = LoopComponent(_id="LoopComponent-iiiii")
    body = Stamp(_id="Stamp-sssss")
    body.set(row=inner.item_output)
    inner.set(data=rows.build_table, item=body.stamp)
    listed = ListRows(_id="ListRows-nnnnn")
    listed.set(table=inner.done_output)
    return looped(outer, split_words(start), first, straight_body(listed), start)


def old_loop() -> Graph:
    start, first = chat_input(), RowText(_id="RowText-ttttt")
    return looped(OldLoop(_id="OldLoop-lllll"), split_words(start), first, straight_body(first), start)


def old_loop_router() -> Graph:
    start, first = chat_input(), RowText(_id="RowText-ttttt")
    return looped(OldLoop(_id="OldLoop-lllll"), split_words(start), first, routed_body(first), start)


def old_loop_side() -> Graph:
    start, first = chat_input(), RowText(_id="RowText-ttttt")
    each = OldLoop(_id="OldLoop-lllll")
    graph = looped(each, split_words(start), first, straight_body(first), start)
    graph.add_component(chat_output(first.write, "ChatOutput-sssss"))
    return graph


def old_loop_exit() -> Graph:
    """The body has an exit of its own, with something behind it."""
    start, first = chat_input(), TwoTexts(_id="TwoTexts-ttttt")
    each = OldLoop(_id="OldLoop-lllll")
    graph = looped(each, split_words(start), first, straight_body(first), start)
    behind = PromptComponent(_id="Prompt-bbbbb")
    behind.set(template="aside {x}", x=first.say_aside)
    graph.add_component(chat_output(behind.build_prompt, "ChatOutput-sssss"))
    return graph


def circle() -> Graph:
    """An If-Else that leads back until it has turned often enough."""
    start = chat_input()
    grow = JoinTexts(_id="JoinTexts-jjjjj")
    branch = ConditionalRouterComponent(_id="ConditionalRouter-rrrrr")
    branch.set(
        input_text=grow.as_text,
        match_text="never",
        operator="equals",
        max_iterations=3,
        default_route="true_result",
    )
    grow.set(texts=[start.message_response, branch.false_response])
    return Graph(start, chat_output(branch.true_response))


def merge() -> Graph:
    """The branches of a router meet again."""
    start, first = chat_input(), RowText(_id="RowText-ttttt")
    first.set(front=start.message_response)
    return Graph(start, chat_output(routed_body(first).as_text))


def live_context() -> Graph:
    start = chat_input()
    keeper = KeepLock(_id="KeepLock-bbbbb")
    keeper.set(text=start.message_response)
    return Graph(start, chat_output(keeper.run_it))


def chatty() -> Graph:
    start = chat_input()
    talker = Chatty(_id="Chatty-bbbbb")
    talker.set(text=start.message_response)
    join = PromptComponent(_id="Prompt-jjjjj")
    join.set(template="{a} + {b}", a=talker.first, b=talker.second)
    return Graph(start, chat_output(join.build_prompt))


def agent() -> dict[str, Any]:
    start = chat_input()
    upper = as_tool(Upper(_id="Upper-uuuuu"))
    thinker = AgentComponent(_id="Agent-bbbbb")
    thinker.set(input_value=start.message_response, tools=[upper.to_toolkit])
    return mark_tool_mode(dumped(Graph(start, chat_output(thinker.message_response))), "Upper-uuuuu")


def boom() -> Graph:
    start = chat_input()
    broken = Boom(_id="Boom-bbbbb")
    broken.set(input_value=start.message_response)
    return Graph(start, chat_output(broken.build_output))


def bad_import() -> Graph:
    # The class cannot be imported here either, so its twin lends the shape and it the code.
    kind = type("BadImport", (PassThrough,), {"name": "BadImport", "display_name": "BadImport"})
    code = (COMPONENTS / "bad_import.py").read_text()
    start = chat_input()
    step = kind(_id="BadImport-bbbbb")
    step._code = code
    step.set(text=start.message_response)
    return Graph(start, chat_output(step.run_it))


FLOWS: dict[str, Callable[[], Graph | dict[str, Any]]] = {
    "echo": echo,
    "tok": tok,
    "boom": boom,
    "loop": loop,
    "loop_router": loop_router,
    "loop_outside": loop_outside,
    "loop_side": loop_side,
    "loop_nested": loop_nested,
    "old_loop": old_loop,
    "old_loop_router": old_loop_router,
    "old_loop_side": old_loop_side,
    "old_loop_exit": old_loop_exit,
    "circle": circle,
    "merge": merge,
    "live_context": live_context,
    "chatty": chatty,
    "agent": agent,
    "legacy": one_step(Legacy),
    "router": router,
    "diamond": diamond,
    "text": text,
    "variable": variable,
    "leak": leak,
    "live_model": live_model,
    "live_tool": live_tool,
    "table": table,
    "data_out": data_out,
    "recall": recall,
    "pass_through": one_step(PassThrough),
    "bad_import": bad_import,
    "spin": one_step(Spin),
    "hog": one_step(Hog),
    "shout": one_step(Shout),
    "fork_bomb": one_step(ForkBomb),
    "vanish": one_step(Vanish),
    "nap": one_step(Nap),
}
