"""How many requests a process has open, and how many it sends in a minute.

The number grows and shrinks as the window of a TCP connection does: twice as many with each round
of answers at first, one more a round after the first sign of too many, half as many at each such
sign. What is right differs by a hundred between servers and from hour to hour, and no server tells.

Trade-off: everything here belongs to one thread with an event loop, and nothing is locked.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

#: Requests at a time before any has been answered.
START = 4
#: A bucket holds what so many seconds bring; the rate is lowered so that no minute has more.
_BURST_S = 1.0


class Gate:
    """Lets in at most ``limit`` at a time, which adapts between 1 and ``most``.

    source  Allman et al. 2009, RFC 5681 (slow start, congestion avoidance)
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = float(min(START, most))
        self.inside = 0
        self._threshold = float(most)  # below it the limit doubles with each round
        self._cut_at = float("-inf")
        self._is_closed = False  # somebody is in there alone
        self._line: list[tuple[int, int, bool, asyncio.Future[None]]] = []
        self._arrived = 0

    @asynccontextmanager
    async def entered(self, rank: int = 0, *, alone: bool = False) -> AsyncIterator[None]:
        """Wait for a place, and hold it while the block runs.

        rank   who has the lowest goes first, and among equals who came first
        alone  nobody else is inside meanwhile
        """
        await self._enter(rank, alone)
        try:
            yield
        finally:
            self._leave(alone)

    def answered(self) -> None:
        """Note an answer: there is room for more."""
        step = 1.0 if self.limit < self._threshold else 1.0 / self.limit
        self.limit = min(self.limit + step, float(self.most))
        self._let_in()

    def overloaded(self, began: float) -> None:
        """Note that a request was too many; once for all that were open at the time.

        began  when it was sent, by ``time.monotonic``
        """
        if began > self._cut_at:
            self.limit = self._threshold = max(1.0, self.limit / 2)
            self._cut_at = time.monotonic()

    def died(self, began: float) -> None:
        """Begin again with one: the server went away under a request that was sent then."""
        if began > self._cut_at:
            self.limit, self._threshold = 1.0, max(1.0, self.limit / 2)
            self._cut_at = time.monotonic()

    async def _enter(self, rank: int, alone: bool) -> None:
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._arrived += 1
        heapq.heappush(self._line, (rank, self._arrived, alone, place))
        self._let_in()
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():  # let in and cancelled in one moment
                self._leave(alone)
            else:
                self._let_in()  # it may have barred the way
            raise

    def _leave(self, alone: bool) -> None:
        self.inside -= 1
        self._is_closed = self._is_closed and not alone
        self._let_in()

    def _let_in(self) -> None:
        while self._line and not self._is_closed:
            _, _, alone, place = self._line[0]
            if not place.done() and self.inside >= (1 if alone else int(self.limit)):
                return
            heapq.heappop(self._line)
            if not place.done():
                self.inside += 1
                self._is_closed = alone
                place.set_result(None)


class Bucket:
    """Spreads what may be used in a minute: no minute has more, except for one single taking."""

    def __init__(self, per_minute: float) -> None:
        self._rate = per_minute / (60.0 + _BURST_S)  # a second
        self._free_at = float("-inf")  # when the bucket is full again, by its debts so far

    def take(self, amount: float, now: float) -> float:
        """Take an amount and return after how many seconds it may be used."""
        if self._rate <= 0:
            return 0.0
        self._free_at = max(self._free_at, now) + amount / self._rate
        return max(0.0, self._free_at - amount / self._rate - now - _BURST_S)

    def give_back(self, amount: float) -> None:
        """Return what was taken and not used; below 0, take what was used beyond."""
        if self._rate > 0:
            self._free_at -= amount / self._rate
