"""`python -m flowcell_conformance`."""

import sys

from .cli import main


def run() -> None:
    """Exit with the command's code."""
    sys.exit(main())


if __name__ == "__main__":
    run()
