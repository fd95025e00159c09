"""A worker process: takes tasks from its parent until there are no more.

It is started as ``python -m curation.engine.worker FD`` and not by fork or by importing the
parent's main module, so that a notebook or an unguarded script can run a recipe. It leaves when
its parent does, and leaves Ctrl-C to its parent.
"""

from __future__ import annotations

import mmap
import os
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection


def main() -> None:
    """Serve tasks over the connection whose descriptor is the first argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = Connection(int(sys.argv[1]))
    threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()
    try:
        _serve(connection)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _serve(connection: Connection) -> None:
    sys.path[:] = connection.recv()
    import cloudpickle

    from curation.engine.compiling import CompileNotice
    from curation.engine.guard import COMPILES, SLOTS
    from curation.engine.task import run_task
    from curation.errors import CurationError

    plan, store, watch_path = cloudpickle.loads(connection.recv_bytes())
    slot = connection.recv()
    with open(watch_path, "r+b") as file:
        shared = memoryview(mmap.mmap(file.fileno(), 0)).cast("q")
    slots = shared[slot * SLOTS : (slot + 1) * SLOTS]
    connection.send("ready")
    with CompileNotice(lambda: slots.__setitem__(COMPILES, 1)):
        while True:
            task = cloudpickle.loads(connection.recv_bytes())
            try:
                reply: object = run_task(store, plan, task, slots)
            except CurationError as error:
                reply = error
            connection.send_bytes(cloudpickle.dumps(reply))


def _leave_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    main()
