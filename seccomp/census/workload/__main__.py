"""What components do with a Linux system, one part per subject.

    python -m workload PART...     run these parts; "ok PART" or a traceback for each
    python -m workload --list      names of all parts

The census (`run`, beside this package) traces every part inside the runner image; the same parts
must then pass under the filter. So a part asserts what it gets, uses loopback only, writes below
the temporary directory only, and needs nothing that the image does not have.
"""

from __future__ import annotations

import sys
import traceback

from workload import data, files, network, processes  # noqa: F401 - importing registers their parts
from workload.parts import PARTS


def main(names: list[str]) -> int:
    """Run the parts and say how each went."""
    if names == ["--list"]:
        print("\n".join(PARTS))
        return 0
    failed = 0
    for name in names or PARTS:
        try:
            PARTS[name]()
            print("ok", name, flush=True)
        except BaseException:  # noqa: BLE001 - the next part should run whatever this one did
            failed += 1
            print("FAILED", name, flush=True)
            traceback.print_exc()
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
