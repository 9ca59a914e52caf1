"""The deliberately weak container: every probe must report a finding here.

Run inside of it by the harness, which sends the scene on standard input and reads one JSON line
per probe. `--list` prints the register instead.
"""

from __future__ import annotations

import importlib
import json
import os
import pty
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

import weak_alone
import weak_world
from hostile_cell import leave_all, look
from hostile_kit import PROBES, Probe, Scene, attempt

#: Neither a cell's user nor root, for limits that root does not have.
_SOMEBODY = 65_531
_HERE = Path(__file__).parent
_OURS = {"driver", "hostile_kit", "hostile_cell", "weak_alone", "weak_world"}
MODULES = sorted(path.stem for path in _HERE.glob("*.py") if path.stem not in _OURS)


def main() -> None:
    """Print the register, or run the control."""
    for name in MODULES:
        importlib.import_module(name)
    if sys.argv[1] == "--list":
        print(json.dumps([entry.entry() for entry in PROBES.values()]))  # noqa: T201
        return
    _share_random_state()
    asked = json.loads(sys.stdin.readline())
    scene = Scene(**asked["scene"])
    entries = [PROBES[name] for name in asked["ids"]]
    if sys.argv[1] == "--host":
        for entry in entries:
            _say(attempt(entry, scene))
        return
    world = weak_world.World(scene)
    try:
        world.make()
        _control(world, entries)
    finally:
        world.end()


def _control(world: weak_world.World, entries: list[Probe]) -> None:
    scene = world.scene
    for entry in entries:
        if entry.mode in ("together", "egress"):
            _say(_special(entry, world) or attempt(entry, scene))
    for group in sorted({entry.group for entry in entries if entry.mode == "pair"}):
        names = [entry.id for entry in entries if entry.group == group and entry.mode == "pair"]
        for outcome in _pairs(names, scene, _SOMEBODY if group == "per_user" else 0):
            _say(outcome)
    for outcome in weak_alone.run([entry for entry in entries if entry.mode == "alone"], scene):
        _say(outcome)
    _say(weak_alone.harmless(scene))


def _share_random_state() -> None:
    """Two forks of this process would draw the same, as those of a careless zygote."""
    import numpy as np

    np.random.seed(1)


def _say(outcome: dict[str, Any]) -> None:
    print(json.dumps(outcome), flush=True)  # noqa: T201


def _special(entry: Probe, world: weak_world.World) -> dict[str, Any] | None:
    """What has to be so for the process itself."""
    if entry.id == "devices.types_into_a_terminal":
        return _in_terminal(entry, world.scene)
    if entry.id == "files.dots_beyond_the_root":
        # A working directory that is mounted nowhere.
        os.chdir(f"/proc/{world.lost}/cwd")
        try:
            return attempt(entry, world.scene)
        finally:
            os.chdir("/")
    return None


def _in_terminal(entry: Probe, scene: Scene) -> dict[str, Any]:
    read_end, write_end = os.pipe()
    child, terminal = pty.fork()
    if child == 0:
        os.write(write_end, json.dumps(attempt(entry, scene)).encode())
        os._exit(0)
    outcome = json.loads(os.read(read_end, 65536))
    os.waitpid(child, 0)
    os.close(terminal)
    return outcome


def _pairs(names: list[str], scene: Scene, user: int) -> list[dict[str, Any]]:
    """Both halves in this one container: whatever is left is found."""
    read_end, write_end = os.pipe()
    leaver = os.fork()
    if leaver == 0:
        _become(user)
        os.write(write_end, json.dumps(leave_all(names, scene)).encode())
        time.sleep(60)
        os._exit(0)
    left = json.loads(os.read(read_end, 1 << 20))
    looker = os.fork()
    if looker == 0:
        _become(user)
        os.write(write_end, json.dumps([look(name, scene, left[name]) for name in names]).encode())
        os._exit(0)
    outcomes = b""
    while not outcomes.endswith(b"}]"):
        outcomes += os.read(read_end, 1 << 20)
    os.waitpid(looker, 0)
    os.kill(leaver, signal.SIGKILL)
    os.waitpid(leaver, 0)
    return json.loads(outcomes)


def _become(user: int) -> None:
    if user:
        resource.setrlimit(resource.RLIMIT_NPROC, (30, 30))
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)


if __name__ == "__main__":
    main()

