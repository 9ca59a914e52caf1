"""What edges carry: odd numbers, types that JSON lacks, streams, big texts, rich messages."""

from big_text import BigText
from count_on import CountOn
from data_list import DataList
from describe_data import DescribeData
from describe_message import DescribeMessage
from digest import Digest
from disguised import Disguised
from gather_texts import GatherTexts
from lfx.graph import Graph
from lister import Lister
from make_data import MakeData
from many_types import ManyTypes
from mutator import Mutator
from nothing import Nothing
from odd_numbers import OddNumbers
from rich_message import RichMessage
from stepwise import Stepwise

from .kit import chat_input, chat_output, one_step, prompt


def _then(kind: type, reader: type, field: str, method: str):
    """A node that makes a value from the input, and one that says what reached it."""

    def build() -> Graph:
        start = chat_input()
        maker = kind(_id=f"{kind.__name__}-bbbbb")
        maker.set(text=start.message_response)
        said = reader(_id=f"{reader.__name__}-ccccc")
        said.set(**{field: maker.run_it})
        return Graph(start, chat_output(getattr(said, method)))

    return build


def disguised() -> Graph:
    """Types that travel, values that do not: found out when they are made."""
    start = chat_input()
    first = prompt("fffff", "<{x}>", x=start.message_response)
    counter = Disguised(_id="Disguised-bbbbb")
    counter.set(text=first.build_prompt)
    reader = CountOn(_id="CountOn-ccccc")
    reader.set(counter=counter.make, note=counter.say)
    return Graph(start, chat_output(prompt("lllll", "[{x}]", x=reader.count).build_prompt))


def disguised_twice() -> Graph:
    """Two readers of one such object: it counts on."""
    start = chat_input()
    counter = Disguised(_id="Disguised-bbbbb")
    counter.set(text=start.message_response)
    first, second = CountOn(_id="CountOn-ccccc"), CountOn(_id="CountOn-ddddd")
    first.set(counter=counter.make, note=start.message_response)
    second.set(counter=counter.make, note=first.count)
    return Graph(start, chat_output(second.count))


def mutation() -> Graph:
    """Two readers of one value that change it in place."""
    start = chat_input()
    data = MakeData(_id="MakeData-bbbbb")
    data.set(text=start.message_response)
    join = GatherTexts(_id="GatherTexts-jjjjj")
    readers = []
    for mark in ("a", "b"):
        reader = Mutator(_id=f"Mutator-{mark}{mark}{mark}{mark}{mark}")
        reader.set(data=data.build_data, mark=mark)
        readers.append(reader.change)
    join.set(texts=readers)
    return Graph(start, chat_output(join.join))


def mutation_alone() -> Graph:
    """One reader that changes its input in place."""
    start = chat_input()
    data = MakeData(_id="MakeData-bbbbb")
    data.set(text=start.message_response)
    reader = Mutator(_id="Mutator-aaaaa")
    reader.set(data=data.build_data, mark="a")
    return Graph(start, chat_output(reader.change))


def stepwise_read_twice() -> Graph:
    """A text that is an iterator, with two readers."""
    start = chat_input()
    steps = Stepwise(_id="Stepwise-bbbbb")
    steps.set(text=start.message_response)
    both = prompt("ccccc", "{a}/{b}", a=steps.run_it, b=steps.run_it)
    return Graph(start, chat_output(both.build_prompt))


def list_of_messages() -> Graph:
    """A list of Messages into a list field."""
    start = chat_input()
    lister = Lister(_id="Lister-bbbbb")
    lister.set(text=start.message_response)
    join = GatherTexts(_id="GatherTexts-jjjjj")
    join.set(texts=lister.run_it)
    return Graph(start, chat_output(join.join))


FLOWS = {
    "disguised": disguised,
    "disguised_twice": disguised_twice,
    "mutation": mutation,
    "mutation_alone": mutation_alone,
    "stepwise": one_step(Stepwise),
    "stepwise_read_twice": stepwise_read_twice,
    "list_of_messages": list_of_messages,
    "odd_numbers": _then(OddNumbers, DescribeData, "data", "describe"),
    "odd_numbers_out": one_step(OddNumbers),
    "many_types": _then(ManyTypes, DescribeData, "data", "describe"),
    "data_list": _then(DataList, DescribeData, "data", "describe"),
    "data_list_out": one_step(DataList),
    "big_text": _then(BigText, Digest, "text", "run_it"),
    "rich_message": _then(RichMessage, DescribeMessage, "text", "run_it"),
    "rich_message_out": one_step(RichMessage),
    "nothing": one_step(Nothing),
    "nothing_read": _then(Nothing, DescribeMessage, "text", "run_it"),
}
