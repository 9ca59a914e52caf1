"""Which nodes a server builds when it is asked for a part of a flow."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, cast

from .target import ANSWER_SECONDS

if TYPE_CHECKING:
    from .case import Part
    from .normalise import Json
    from .target import FlowRef, Target


def built_part(target: Target, flow: FlowRef, part: Part) -> list[str]:
    """The ids of the nodes that were built, sorted."""
    asked = {"start_component_id": part.start, "stop_component_id": part.stop}
    given = {name: node for name, node in asked.items() if node is not None}
    build = _by_durable_run if target.name == "flowcell" else _by_editor
    return sorted(build(target, flow, given))


def _by_editor(target: Target, flow: FlowRef, given: dict[str, str]) -> list[str]:
    """Langflow builds parts of flows for its editor, and tells of each node that was built."""
    reply = target.send(
        "POST", f"/api/v1/build/{flow.id}/flow", params={"event_delivery": "direct", **given}, body={}
    )
    events = [json.loads(line) for line in reply.text.split("\n\n") if line.strip()]
    ends = [event["data"]["build_data"] for event in events if event["event"] == "end_vertex"]
    return [data["id"] for data in ends if data["valid"]]


def _by_durable_run(target: Target, flow: FlowRef, given: dict[str, str]) -> list[str]:
    body: Json = {"flow": flow.id, "output_type": "debug", **given}
    accepted = cast("dict[str, str]", target.call("POST", "/api/flowcell/v1/runs", body=body))
    until = time.monotonic() + ANSWER_SECONDS
    while True:
        run = cast("dict[str, Json]", target.call("GET", f"/api/flowcell/v1/runs/{accepted['id']}"))
        if run["state"] == "completed":
            break
        if run["state"] not in {"queued", "running"} or time.monotonic() > until:
            message = f"the run is {run['state']}: {run}"
            raise RuntimeError(message)
        time.sleep(0.2)
    result = cast("dict[str, list[dict[str, list[dict[str, str]]]]]", run["result"])
    return [output["component_id"] for output in result["outputs"][0]["outputs"]]
