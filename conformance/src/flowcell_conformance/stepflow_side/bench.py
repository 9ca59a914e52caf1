"""Runs in Stepflow's own environment: starts its server and its Langflow worker as its packages do,
and answers orders from standard input, a line of JSON each. The first one is only to be able to begin.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import yaml
from stepflow_langflow_integration.converter.translator import LangflowConverter
from stepflow_orchestrator import OrchestratorConfig, StepflowOrchestrator
from stepflow_py import StepflowClient
from stepflow_py.client import _from_proto_value

RUN_SECONDS = 120
START_SECONDS = 300


def settings(home: str) -> OrchestratorConfig:
    """As its documentation has it for a server that keeps runs: SQLite, and one worker process."""
    worker = str(Path(sys.executable).parent / "stepflow-langflow-server")
    return OrchestratorConfig(
        config={
            "plugins": {
                "builtin": {"type": "builtin"},
                "langflow": {"type": "grpc", "command": worker, "args": [], "queueName": "langflow"},
            },
            "routes": {
                "/langflow": [{"plugin": "langflow"}],
                "/builtin": [{"plugin": "builtin"}],
            },
            "storageConfig": {"type": "sqlite", "databaseUrl": f"sqlite:{home}/stepflow.db?mode=rwc"},
        },
        log_level="error",
        # Its worker writes much, and a pipe that nobody reads would stop it.
        pipe_output=True,
    )


async def asked(client: StepflowClient, flow: str, inputs: dict, answer: str) -> float | None:
    """How long a run took in seconds, or nothing where its answer is wrong."""
    began = time.perf_counter()
    try:
        reply = await client.run(flow, inputs, timeout=RUN_SECONDS, wait_timeout=RUN_SECONDS)
        said = json.dumps([_from_proto_value(result.output) for result in reply.results])
    except Exception as error:
        print(f"stepflow: {error}", file=sys.stderr)
        return None
    if answer not in said:
        print(f"stepflow: {said[:300]} {reply.results}", file=sys.stderr)
        return None
    return time.perf_counter() - began


async def begun(client: StepflowClient, flow: str, order: dict) -> None:
    """Wait until its worker has registered and has imported what the flow needs."""
    until = time.monotonic() + START_SECONDS
    while await asked(client, flow, order["inputs"], order["answer"]) is None:
        if time.monotonic() > until:
            sys.exit("stepflow: no run succeeded")


async def measured(client: StepflowClient, flow: str, order: dict) -> dict:
    """So many callers, each asking again as soon as it has its answer."""
    until = time.monotonic() + order["seconds"]
    took: list[float] = []
    failed = 0

    async def caller() -> None:
        nonlocal failed
        while time.monotonic() < until:
            one = await asked(client, flow, order["inputs"], order["answer"])
            if one is None:
                failed += 1
            else:
                took.append(one)

    began = time.monotonic()
    await asyncio.gather(*(caller() for _ in range(order["callers"])))
    return {"seconds": time.monotonic() - began, "took": took, "failed": failed}


async def main() -> None:
    """Serve orders until standard input ends."""
    loop = asyncio.get_running_loop()
    flow = yaml.safe_load(LangflowConverter().convert_file(Path(sys.argv[1])))
    async with AsyncExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory())
        server = await stack.enter_async_context(StepflowOrchestrator.start(settings(home)))
        client = await stack.enter_async_context(StepflowClient.connect(server.url))
        stored = (await client.store_flow(flow)).flow_id
        await begun(client, stored, json.loads(sys.stdin.readline()))
        print(json.dumps({"ready": True}), flush=True)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            print(json.dumps(await measured(client, stored, json.loads(line))), flush=True)


asyncio.run(main())
