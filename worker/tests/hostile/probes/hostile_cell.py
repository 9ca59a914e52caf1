"""The end of a probe that is inside of a cell: runs what the harness planned and answers in JSON."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import time
from typing import Any

from hostile_kit import PROBES, Scene, attempt, judge, mounts, name_of, pids, status

#: What the harness looks for in the cell's output.
LEFT = "HOSTILE-LEFT "


def run(plan: dict[str, Any]) -> str:
    """Carry out a plan: its `modules` are loaded, its `mode` says what is done with its `ids`."""
    for name in plan["modules"]:
        importlib.import_module(name)
    scene = Scene(**plan["scene"])
    if plan["mode"] == "facts":
        return json.dumps({"facts": facts()})
    if plan["mode"] == "alone":
        return PROBES[plan["ids"][0]].run(scene) or ""
    if plan["mode"] == "leave":
        return leave(plan["ids"], scene)
    if plan["mode"] == "look":
        outcomes = [look(name, scene, plan["left"].get(name)) for name in plan["ids"]]
    else:
        outcomes = [attempt(PROBES[name], scene) for name in plan["ids"]]
    return json.dumps({"hostile": outcomes})


def facts() -> dict[str, Any]:
    """What the kernel says of this cell, for the assertions with numbers of the CIS benchmark."""
    names = ("Uid", "Gid", "Groups", "CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")
    with open("/proc/self/limits", encoding="ascii") as lines:
        limits = {line[:26].strip(): line[26:].split()[:2] for line in list(lines)[1:]}
    with open("/proc/net/dev", encoding="ascii") as lines:
        interfaces = [line.split(":")[0].strip() for line in lines if ":" in line]
    return {
        "processes": {pid: {"name": name_of(pid), **{name: status(name, pid) for name in names}} for pid in pids()},
        "mounts": mounts(),
        "limits": limits,
        "interfaces": interfaces,
        "namespaces": {name: os.stat(f"/proc/self/ns/{name}").st_ino for name in os.listdir("/proc/self/ns")},
        "devices": sorted(name for name in os.listdir("/dev") if not os.path.isdir(f"/dev/{name}")),
        "listening": [line.split()[1] for line in open("/proc/net/tcp", encoding="ascii") if " 0A " in line],
    }


def leave(names: list[str], scene: Scene) -> str:
    """Leave every trace, say so, and stay until somebody ends this."""
    print(LEFT + json.dumps(leave_all(names, scene)), flush=True)  # noqa: T201 - the harness reads it
    time.sleep(3600)
    return ""


def leave_all(names: list[str], scene: Scene) -> dict[str, str | None]:
    """Leave every trace; what comes back is for the other side."""
    left = {}
    for name in names:
        outcome = judge(PROBES[name], scene)
        if outcome["error"]:
            raise RuntimeError(f"{name}: {outcome['error']}")
        # What could not be left is not looked for in vain: its looking half must still find nothing.
        left[name] = outcome["finding"]
    return left


def look(name: str, scene: Scene, left: str | None) -> dict[str, Any]:
    """Look for one trace."""
    entry = PROBES[name]
    return attempt(entry, dataclasses.replace(scene, left=left or ""), entry.look)
