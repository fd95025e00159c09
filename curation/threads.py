"""Work on pieces in several threads, the results in the order of the pieces.

Kernels let go of Python's lock, so that a reducer, which is one task, can use the cores that wait
for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from curation.stage import pulse

Piece = TypeVar("Piece")
Made = TypeVar("Made")

#: Threads at most: each holds a piece in memory.
MOST_THREADS = 4


def in_order(
    function: Callable[[Piece], Made], pieces: Iterable[Piece], *, threads: int = 0
) -> Iterator[Made]:
    """Yield ``function(piece)`` for each piece; one more is under way than there are threads.

    Pieces are made in the caller's thread, and the engine is told of each: a worker that tells
    nothing for long is taken for hung.

    threads  0 for as many as the machine has cores, up to MOST_THREADS
    """
    from curation.engine.run import usable_cores

    threads = threads or min(MOST_THREADS, usable_cores())
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Made]] = deque()
        try:
            for piece in pieces:
                waiting.append(pool.submit(function, piece))
                pulse()
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                pulse()
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
