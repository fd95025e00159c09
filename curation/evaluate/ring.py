"""Draws that depend on names and a seed, and not on the order in which things are met."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator
from hashlib import blake2b


def rank(seed: int, *names: str) -> int:
    """Return 64 bits that stand for names, evenly spread and different for each seed."""
    told = "\0".join((str(seed), *(f"{len(name)}:{name}" for name in names)))
    return int.from_bytes(blake2b(told.encode(errors="surrogatepass"), digest_size=8).digest())


class Ring:
    """Names in an order of their own, which is entered anywhere and gone round once.

    A draw that takes the first names that will do meets the same ones whatever other names there
    are behind them, and costs no look at all of them.
    """

    def __init__(self, names: Iterable[str], seed: int) -> None:
        ranked = sorted((rank(seed, name), name) for name in set(names))
        self._ranks = [place for place, _ in ranked]
        self._names = [name for _, name in ranked]

    def __len__(self) -> int:
        return len(self._names)

    def after(self, place: int) -> Iterator[str]:
        """Yield every name once, the first at or after a rank first."""
        start = bisect.bisect_left(self._ranks, place)
        yield from self._names[start:]
        yield from self._names[:start]
