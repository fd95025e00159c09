"""Work in several threads: the order of what comes back, and how much is under way."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from curation import stage, threads


def test_results_come_in_the_order_of_the_pieces() -> None:
    """Shingles of one text would be taken for another's."""

    def slow_at_first(piece: int) -> int:
        time.sleep(0.03 if piece % 5 == 0 else 0.0)
        return 10 * piece

    assert list(threads.in_order(slow_at_first, range(40))) == [10 * n for n in range(40)]
    assert list(threads.in_order(slow_at_first, [])) == []


def test_only_a_few_pieces_are_held_at_a_time() -> None:
    """Each is a batch of text: all at once would be the whole corpus in memory."""
    made: list[int] = []

    def pieces() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    for done, _ in enumerate(threads.in_order(lambda piece: piece, pieces())):
        assert len(made) <= done + threads.MOST_THREADS + 1


def test_the_engine_is_told_of_each_piece() -> None:
    """A reducer that tells nothing for minutes would be ended as hung, with a day's work."""
    before = stage.PULSE[0]
    for done, _ in enumerate(threads.in_order(lambda piece: piece, range(20)), start=1):
        assert stage.PULSE[0] - before >= done
    assert stage.PULSE[0] - before >= 20 + 1


def test_an_error_of_a_piece_ends_the_work() -> None:
    """What could not be compared must not be taken for compared."""
    seen, main = [], threading.get_ident()

    def failing(piece: int) -> int:
        assert threading.get_ident() != main
        if piece == 3:
            raise ValueError("piece 3")
        return piece

    with pytest.raises(ValueError, match="piece 3"):
        seen.extend(threads.in_order(failing, range(1000)))
    assert seen == [0, 1, 2]
