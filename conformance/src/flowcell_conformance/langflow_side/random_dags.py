"""Random graphs and what lfx makes of them, in this process; run by Langflow's Python.

    python random_dags.py SEED COUNT OUTPUT_FILE

Writes a list of `{"seed", "flow", "text"}`. The same seed gives the same graphs.
"""

import asyncio
import json
import random
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "components")]

from dag_node import DagNode
from families.kit import chat_output
from gather_texts import GatherTexts
from lfx.graph import Graph

NODES_MIN, NODES_MAX = 2, 12
INPUTS_MAX = 4


def random_graph(seed: int) -> Graph:
    """Nodes that read any earlier ones, text or data; what nobody reads is joined in the answer."""
    dice = random.Random(seed)
    made: list[DagNode] = []
    unread: dict[int, DagNode] = {}
    for number in range(dice.randint(NODES_MIN, NODES_MAX)):
        node = DagNode(_id=f"DagNode-n{number:04}")
        chosen = dice.sample(range(number), dice.randint(0, min(number, INPUTS_MAX)))
        outputs = [made[index].as_text if dice.random() < 0.5 else made[index].as_data for index in chosen]
        node.set(salt=dice.randrange(1_000), **({"items": outputs} if outputs else {}))
        for index in chosen:
            unread.pop(index, None)
        made.append(node)
        unread[number] = node
    join = GatherTexts(_id="GatherTexts-jjjjj")
    join.set(texts=[node.as_text for node in unread.values()])
    end = chat_output(join.join)
    # Storing would need Langflow's database.
    end.set(should_store_message=False)
    return Graph(made[0], end)


async def answer(flow: dict) -> str:
    """The text that lfx answers with, from the export rather than from the objects it was made of."""
    graph = Graph.from_payload(flow["data"], flow_id="random")
    graph.session_id = "random"
    graph.prepare()
    async for _ in graph.async_start():
        pass
    return graph.get_vertex("ChatOutput-zzzzz").results["message"].text


async def main() -> None:
    seed, count, output = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    written = []
    for number in range(seed, seed + count):
        graph = random_graph(number)
        graph.prepare()
        flow = graph.dump(name=f"conformance random {number}", endpoint_name=f"conformance-random-{number}")
        flow = json.loads(json.dumps(flow, default=str))
        written.append({"seed": number, "flow": flow, "text": await answer(flow)})
    output.write_text(json.dumps(written))


asyncio.run(main())
