"""`python -m flowcell_builder`: does what the order beside the socket says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from flowcell_runner import lifeline
from flowcell_runner.egress import open_egress

from .packages import Order, PackageError, install, resolve

_ORDER = Path("/run/flowcell/build.json")
_SOCKET = Path("/run/flowcell/egress.sock")


def main() -> int:
    """Return the exit code."""
    lifeline.hold()
    order = Order(**json.loads(_ORDER.read_text()))
    if _SOCKET.exists():
        open_egress({"socket": str(_SOCKET)})
    try:
        if order.lock is None:
            sys.stdout.write(resolve(order))
        else:
            install(order, sys.stdout.buffer)
    except PackageError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
