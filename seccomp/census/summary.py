"""Turn a folder of strace files, one per part, into the text of census.txt.

A call has a line of its own with the parts that made it. Calls that the filter judges by an
argument are followed by what that argument was, indented.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from pathlib import Path

HEAD = """\
# System calls that cells make, and which parts of the census made them.
# Written by seccomp/census/run; do not edit. Indented: the arguments by which the filter judges.
"""

_CALL = re.compile(r"^\d+ +([a-z_0-9]+)\((.*)")

# Call → the pieces of its text that say what was asked for.
JUDGED = {
    "clone": re.compile(r"flags=([A-Z_|0-9a-z]+)"),
    "socket": re.compile(r"^([A-Z_0-9a-z]+, [A-Z_|0-9a-z]+, [A-Z_0-9a-z]+)"),
    "socketpair": re.compile(r"^([A-Z_0-9a-z]+, [A-Z_|0-9a-z]+, [A-Z_0-9a-z]+)"),
    "prctl": re.compile(r"^([A-Z_0-9a-z]+)"),
    "ioctl": re.compile(r"^\d+, ([A-Z_0-9a-z]+)"),
    "personality": re.compile(r"^([A-Z_0-9a-z]+)"),
    "madvise": re.compile(r"([A-Z_0-9a-z]+)\)? "),
    "mknod": re.compile(r", (S_IF[A-Z]+)"),
    "mknodat": re.compile(r", (S_IF[A-Z]+)"),
    "fcntl": re.compile(r"^\d+, ([A-Z_0-9a-z]+)"),
    "prlimit64": re.compile(r"^\d+, ([A-Z_0-9a-z]+)"),
    "seccomp": re.compile(r"^([A-Z_0-9a-z]+)"),
}


def summary(folder: Path) -> str:
    """Read every trace of the folder."""
    calls: dict[str, set[str]] = defaultdict(set)
    details: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    parts = sorted(path.name for path in folder.iterdir())
    for part in parts:
        with (folder / part).open(errors="replace") as lines:
            for line in lines:
                if not (found := _CALL.match(line)):
                    continue
                name, arguments = found.groups()
                calls[name].add(part)
                if (judged := JUDGED.get(name)) and (detail := judged.search(arguments)):
                    details[name][detail.group(1)].add(part)
    out = [HEAD]
    for name in sorted(calls):
        out.append(f"{name}: {_listed(calls[name], parts)}\n")
        out += [f"    {detail}: {_listed(used, parts)}\n" for detail, used in sorted(details[name].items())]
    return "".join(out)


def _listed(used: set[str], parts: list[str]) -> str:
    return "all" if len(used) == len(parts) > 1 else " ".join(sorted(used))


if __name__ == "__main__":
    sys.stdout.write(summary(Path(sys.argv[1])))
