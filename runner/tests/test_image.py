"""The built image runs the echo chain locked down as a worker runs it."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

import flows
from components import component
from flows import node, task
from worker import Runner, Store

IMAGE = os.environ.get("FLOWCELL_RUNNER_IMAGE", "flowcell/runner:lfx-1.13")
LOCKED_DOWN = [
    "--network=none", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--user=65532",
    "--tmpfs=/tmp:rw,noexec,nosuid,nodev,size=64m", "--memory=512m", "--memory-swap=512m", "--pids-limit=64",
]  # fmt: skip


def _image_exists():
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not _image_exists(), reason=f"no docker or no image {IMAGE}")


def in_container(a_task, answer=None):
    with tempfile.TemporaryDirectory(prefix="fc-image-") as directory:
        Path(directory).chmod(0o755)
        mount = f"--volume={directory}:/run/flowcell:ro"
        command = ["docker", "run", "--rm", "--interactive", *LOCKED_DOWN, mount, IMAGE]
        outcome = Runner(command, Path(directory)).run(a_task, answer, timeout=240)
    assert not outcome.failure, outcome.failure
    assert outcome.exit_code == 0
    return outcome


def test_the_echo_chain():
    flow, store = flows.echo(), Store()
    inputs = {}
    for member in ("ChatInput-aaaaa", "Prompt-bbbbb", "ChatOutput-ccccc"):
        parameters = {member: {"input_value": "Bob"}} if member.startswith("ChatInput") else {}
        outcome = in_container(task(flow, member, inputs=inputs, parameters=parameters), store)
        inputs = {member: outcome.result["nodes"][member]["outputs"]}
    message = outcome.result["nodes"]["ChatOutput-ccccc"]["result"]["results"]["message"]
    assert message["text"] == "Hello Bob!"
    assert outcome.ready["python"].startswith("3.11.")


def test_what_a_component_finds_in_the_container():
    body = """
import importlib.util, json, os, shutil, sys, sysconfig
found = [name for name in ("pip", "uv", "gcc", "cc", "apt-get", "dpkg", "perl") if shutil.which(name)]
setuid, stale = [], []
for top, folders, names in os.walk("/"):
    if top in ("/proc", "/sys", "/dev"):
        folders.clear()
        continue
    for name in names:
        path = os.path.join(top, name)
        try:
            if os.stat(path, follow_symlinks=False).st_mode & 0o6000:
                setuid.append(path)
        except OSError:
            pass
for top, _, names in os.walk(sysconfig.get_path("purelib")):
    for name in names:
        path = os.path.join(top, name)
        if name.endswith(".py") and not os.path.exists(importlib.util.cache_from_source(path)):
            stale.append(path)
def writable(path):
    try:
        open(os.path.join(path, "probe"), "w").close()
        return True
    except OSError:
        return False
facts = {
    "tools": found, "setuid": setuid, "without_bytecode": stale,
    "modules": [name for name in ("pip", "langflow") if importlib.util.find_spec(name)],
    "uid": os.getuid(),
    "writable": [path for path in ("/", "/tmp", "/run/flowcell", "/opt/flowcell") if writable(path)],
    "environment": sorted(os.environ), "network": os.listdir("/sys/class/net"),
}
return Message(text=json.dumps(facts))
"""
    flow = {"nodes": [node("Look-aaaaa", component("Look", body))], "edges": []}
    outcome = in_container(task(flow, "Look-aaaaa"))
    facts = json.loads(outcome.result["nodes"]["Look-aaaaa"]["outputs"]["output"]["text"])
    environment = facts.pop("environment")
    assert facts == {
        "tools": [],
        "setuid": [],
        "without_bytecode": [],
        "modules": [],
        "uid": 65532,
        "writable": ["/tmp"],
        "network": ["lo"],
    }
    assert not [name for name in environment if "FLOWCELL" in name or name == "HOSTNAME"]
