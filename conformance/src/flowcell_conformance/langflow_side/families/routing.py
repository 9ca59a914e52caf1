"""Branches: every router, alone, in a row, and with a node where its branches meet again."""

from typing import Any

from gather_texts import GatherTexts
from lfx.components.flow_controls import ConditionalRouterComponent
from lfx.components.flow_controls.data_conditional_router import DataConditionalRouterComponent
from lfx.components.flow_controls.pass_message import PassMessageComponent
from lfx.components.llm_operations.llm_conditional_router import SmartRouterComponent
from lfx.components.processing.parser import ParserComponent
from lfx.graph import Graph
from lfx.template.field.base import Output
from make_data import MakeData
from splitter import Splitter

from .kit import chat_input, chat_output, graph_of, prompt


def if_else(source: Any, node: str = "ConditionalRouter-bbbbb", **fields: Any) -> ConditionalRouterComponent:
    router = ConditionalRouterComponent(_id=node)
    router.set(**({"input_text": source, "match_text": "yes", "operator": "equals"} | fields))
    return router


def merge_if_else() -> Graph:
    """Both branches into one list field."""
    start = chat_input()
    router = if_else(start.message_response)
    left = prompt("lllll", "L({x})", x=router.true_response)
    right = prompt("rrrrr", "R({x})", x=router.false_response)
    join = GatherTexts(_id="GatherTexts-jjjjj")
    join.set(texts=[left.build_prompt, right.build_prompt])
    return Graph(start, chat_output(join.join))


def merge_if_else_fields() -> Graph:
    """Both branches into two fields of one prompt."""
    start = chat_input()
    router = if_else(start.message_response)
    left = prompt("lllll", "L({x})", x=router.true_response)
    right = prompt("rrrrr", "R({x})", x=router.false_response)
    join = prompt("jjjjj", "<{a}> <{b}>", a=left.build_prompt, b=right.build_prompt)
    return Graph(start, chat_output(join.build_prompt))


def merge_at_once() -> Graph:
    """Both outputs of the router straight into one node."""
    start = chat_input()
    router = if_else(start.message_response)
    join = GatherTexts(_id="GatherTexts-jjjjj")
    join.set(texts=[router.true_response, router.false_response])
    return Graph(start, chat_output(join.join))


def merge_with_live_side() -> Graph:
    """A dead branch meets a branch that no router touches."""
    start = chat_input()
    router = if_else(start.message_response)
    dead = prompt("ddddd", "D({x})", x=router.true_response)
    live = prompt("lllll", "L({x})", x=start.message_response)
    join = GatherTexts(_id="GatherTexts-jjjjj")
    join.set(texts=[dead.build_prompt, live.build_prompt])
    return Graph(start, chat_output(join.join))


def dead_chain() -> Graph:
    """Three nodes behind the branch that is not taken, then the meeting point."""
    start = chat_input()
    router = if_else(start.message_response)
    step = router.true_response
    for number in range(3):
        step = prompt(f"ddd{number}", f"{number}({{x}})", x=step).build_prompt
    join = GatherTexts(_id="GatherTexts-jjjjj")
    join.set(texts=[step, router.false_response])
    return Graph(start, chat_output(join.join))


def three_ways() -> Graph:
    """A router behind a router, an output of its own for each way."""
    start = chat_input()
    first = if_else(start.message_response, match_text="one")
    second = if_else(first.false_response, "ConditionalRouter-ccccc", match_text="two")
    graph = Graph(start, chat_output(first.true_response, "ChatOutput-ooooo"))
    graph.add_component(chat_output(second.true_response, "ChatOutput-ttttt"))
    graph.add_component(chat_output(second.false_response, "ChatOutput-eeeee"))
    return graph


def three_ways_merged() -> Graph:
    """The same, with all three ways meeting."""
    start = chat_input()
    first = if_else(start.message_response, match_text="one")
    second = if_else(first.false_response, "ConditionalRouter-ccccc", match_text="two")
    join = GatherTexts(_id="GatherTexts-jjjjj")
    join.set(texts=[first.true_response, second.true_response, second.false_response])
    return Graph(start, chat_output(join.join))


def two_routers_one_merge() -> Graph:
    """Two routers side by side whose branches all meet in one node."""
    start = chat_input()
    first = if_else(start.message_response)
    second = if_else(
        start.message_response, "ConditionalRouter-ccccc", match_text="y", operator="starts with"
    )
    join = GatherTexts(_id="GatherTexts-jjjjj")
    join.set(
        texts=[
            prompt("aaaa1", "1t({x})", x=first.true_response).build_prompt,
            prompt("aaaa2", "1f({x})", x=first.false_response).build_prompt,
            prompt("aaaa3", "2t({x})", x=second.true_response).build_prompt,
            prompt("aaaa4", "2f({x})", x=second.false_response).build_prompt,
        ]
    )
    return Graph(start, chat_output(join.join))


def retry_until() -> Graph:
    """The false branch leads back to the router, at most three times."""
    start = chat_input()
    again = PassMessageComponent(_id="Pass-ppppp")
    router = if_else(again.pass_message, max_iterations=3, default_route="true_result")
    again.set(input_message=start.message_response, ignored_message=router.false_response)
    return Graph(start, chat_output(router.true_response))


def _condition() -> tuple[Any, MakeData, DataConditionalRouterComponent]:
    start = chat_input()
    data = MakeData(_id="MakeData-bbbbb")
    data.set(text=start.message_response)
    router = DataConditionalRouterComponent(_id="DataConditionalRouter-ccccc")
    router.set(data_input=data.build_data, key_name="text", operator="contains", compare_value="yes")
    return start, data, router


def data_router() -> Graph:
    """Condition: two outputs of one method."""
    start, data, router = _condition()
    return graph_of(
        start,
        data,
        router,
        chat_output(node="ChatOutput-ttttt"),
        chat_output(node="ChatOutput-fffff"),
        edges=(
            "DataConditionalRouter-ccccc.true_output > ChatOutput-ttttt.input_value",
            "DataConditionalRouter-ccccc.false_output > ChatOutput-fffff.input_value",
        ),
    )


def merge_data_router() -> Graph:
    """Condition, a parser on each branch, and the meeting point."""
    start, data, router = _condition()
    left = ParserComponent(_id="Parser-lllll")
    left.set(pattern="L {text}")
    right = ParserComponent(_id="Parser-rrrrr")
    right.set(pattern="R {text}")
    join = GatherTexts(_id="GatherTexts-jjjjj")
    join.set(texts=[left.parse_combined_text, right.parse_combined_text])
    return graph_of(
        start,
        data,
        router,
        join,
        chat_output(join.join),
        edges=(
            "DataConditionalRouter-ccccc.true_output > Parser-lllll.input_data",
            "DataConditionalRouter-ccccc.false_output > Parser-rrrrr.input_data",
        ),
    )


def _smart(*, otherwise: bool) -> tuple[Any, SmartRouterComponent]:
    start = chat_input()
    router = SmartRouterComponent(_id="SmartRouter-bbbbb")
    names = [("category_1_result", "Positive"), ("category_2_result", "Negative")]
    router.outputs = [
        Output(name=name, display_name=title, method="process_case", group_outputs=True, types=["Message"])
        for name, title in names
    ]
    if otherwise:
        router.outputs.append(
            Output(
                name="default_result",
                display_name="Else",
                method="default_response",
                group_outputs=True,
                types=["Message"],
            )
        )
    router.map_outputs()
    router.set(input_text=start.message_response, enable_else_output=otherwise)
    return start, router


def smart_router() -> Graph:
    """A model chooses; an output of its own for each route and for the rest."""
    start, router = _smart(otherwise=True)
    return graph_of(
        start,
        router,
        *(chat_output(node=f"ChatOutput-{node}") for node in ("ppppp", "nnnnn", "eeeee")),
        edges=(
            "SmartRouter-bbbbb.category_1_result > ChatOutput-ppppp.input_value",
            "SmartRouter-bbbbb.category_2_result > ChatOutput-nnnnn.input_value",
            "SmartRouter-bbbbb.default_result > ChatOutput-eeeee.input_value",
        ),
    )


def merge_smart_router() -> Graph:
    """A model chooses, and the routes meet again."""
    start, router = _smart(otherwise=False)
    join = GatherTexts(_id="GatherTexts-jjjjj")
    left, right = prompt("lllll", "P({x})"), prompt("rrrrr", "N({x})")
    join.set(texts=[left.build_prompt, right.build_prompt])
    return graph_of(
        start,
        router,
        join,
        chat_output(join.join),
        edges=(
            "SmartRouter-bbbbb.category_1_result > Prompt-lllll.x",
            "SmartRouter-bbbbb.category_2_result > Prompt-rrrrr.x",
        ),
    )


def splitter() -> Graph:
    """A component of a user's that stops one, both or none of its branches."""
    start = chat_input()
    step = Splitter(_id="Splitter-bbbbb")
    step.set(text=start.message_response)
    graph = Graph(start, chat_output(step.to_left, "ChatOutput-lllll"))
    graph.add_component(chat_output(step.to_right, "ChatOutput-rrrrr"))
    return graph


def merge_splitter() -> Graph:
    """The same, with the branches meeting behind one node each."""
    start = chat_input()
    step = Splitter(_id="Splitter-bbbbb")
    step.set(text=start.message_response)
    left, right = prompt("lllll", "({x})", x=step.to_left), prompt("rrrrr", "[{x}]", x=step.to_right)
    join = GatherTexts(_id="GatherTexts-jjjjj")
    join.set(texts=[left.build_prompt, right.build_prompt])
    return Graph(start, chat_output(join.join))


FLOWS = {
    "merge_if_else": merge_if_else,
    "merge_if_else_fields": merge_if_else_fields,
    "merge_at_once": merge_at_once,
    "merge_with_live_side": merge_with_live_side,
    "dead_chain": dead_chain,
    "three_ways": three_ways,
    "three_ways_merged": three_ways_merged,
    "two_routers_one_merge": two_routers_one_merge,
    "retry_until": retry_until,
    "data_router": data_router,
    "merge_data_router": merge_data_router,
    "smart_router": smart_router,
    "merge_smart_router": merge_smart_router,
    "splitter": splitter,
    "merge_splitter": merge_splitter,
}
