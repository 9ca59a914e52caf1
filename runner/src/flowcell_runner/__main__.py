"""From process start to the one answer.

Order matters: the environment before lfx, the lifeline before the slow imports,
the connection only when ready to take a task, and the result after everything
that belongs before it.
"""

from __future__ import annotations

import gc
import os
import time

_STARTED = time.monotonic()

from flowcell_runner import environment, lifeline  # noqa: E402 - the clock starts first

DEFAULT_SOCKET = "/run/flowcell/cell.sock"


def main() -> None:
    """Serve one task and end the process."""
    socket_path = os.environ.get("FLOWCELL_SOCKET", DEFAULT_SOCKET)
    warm_full = os.environ.get("FLOWCELL_WARM") == "full"
    # Nothing that imports make is garbage; looking for some costs a tenth of their time.
    gc.disable()
    lifeline.hold()
    environment.prepare()
    if warm_full:
        os.environ["FLOWCELL_WARM"] = "full"

    from flowcell_runner import warm

    warm.warm_up()
    os.environ.pop("FLOWCELL_WARM", None)

    from flowcell_runner.link import Link
    from flowcell_runner.serve import EXIT_WORKER_GONE, serve

    try:
        link = Link.connect(socket_path)
    except OSError:
        os._exit(EXIT_WORKER_GONE)
    code = serve(link, import_ms=int((time.monotonic() - _STARTED) * 1000))
    # Threads of the component may still run and must not delay the end.
    os._exit(code)


if __name__ == "__main__":
    main()
