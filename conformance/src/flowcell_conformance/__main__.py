"""`python -m flowcell_conformance`."""

import signal
import sys
from types import FrameType

from .cli import main


def _leave(number: int, _frame: FrameType | None) -> None:
    # An exception, so that the servers that were started are stopped on the way out.
    sys.exit(128 + number)


def run() -> None:
    """Exit with the command's code."""
    signal.signal(signal.SIGTERM, _leave)
    sys.exit(main())


if __name__ == "__main__":
    run()
