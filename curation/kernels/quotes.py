"""Quoted terms of a rewrite, looked for word by word in its source.

Case, white space and marks do not count; a word more, less or another does.

A atoms of one text, B bytes
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curation.kernels.atoms import RUN_MULTIPLIER, VERDICT, Atoms
from curation.kernels.leaf import leaf

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

#: A quote ends within so many bytes and on its line; an apostrophe's within fewer.
LONGEST_QUOTE, LONGEST_SINGLE = 300, 120
#: Quotes of one text that are looked for; each is a pass over the source.
MOST_QUOTES = 64

_DOUBLE, _SINGLE, _TICK = 0x22, 0x27, 0x60


class Pieces(NamedTuple):
    """data_B[start:gap] and data_B[resume:stop] are a rewrite without the passage between."""

    start: int
    gap: int
    resume: int
    stop: int


@leaf
def check_quotes(
    data_B: U8, pieces: Pieces, text: Atoms, words: int, source: Atoms, size: int, place_2: I64
) -> int:
    """Return how many quoted terms the source does not have; note the first in ``place_2``."""
    start, gap, resume, stop = pieces
    at, k, missing, seen = start, 0, 0, 0
    while at < stop:
        if at == gap and resume > gap:
            at = resume
            continue
        end_of_piece = gap if at < gap else stop
        begin, end, after = _quote_at(data_B, at, start, end_of_piece)
        if begin >= 0 and seen < MOST_QUOTES:
            while k < words and text.start_A[k] < begin:
                k += 1
            last = k
            while last < words and text.stop_A[last] <= end:
                last += 1
            if _counts(text, k, last):
                seen += 1
                if not _stands(text, k, last, source, size):
                    missing += 1
                    if place_2[0] < 0:
                        place_2[0], place_2[1] = begin, end
        at = after
    return missing


@leaf
def _quote_at(data_B: U8, at: int, start: int, stop: int) -> tuple[int, int, int]:
    """Return the term in the quotes that open at a place (-1 for none), and where to go on."""
    byte = data_B[at]
    if byte == 0xE2 and at + 2 < stop and data_B[at + 1] == 0x80 and data_B[at + 2] == 0x9C:
        end = _closing(data_B, at + 3, stop, 0x9D)
        return (at + 3, end, end + 3) if end >= 0 else (-1, -1, at + 3)
    if byte not in (_DOUBLE, _SINGLE, _TICK):
        return -1, -1, at + 1
    if byte == _TICK and at + 1 < stop and data_B[at + 1] == _TICK:
        while at < stop and data_B[at] == _TICK:  # a fence, or quotes of TeX
            at += 1
        return -1, -1, at
    if byte != _TICK and at > start and _is_wordy(data_B[at - 1]):
        return -1, -1, at + 1
    if at + 1 >= stop or data_B[at + 1] <= 0x20 or (byte == _SINGLE and
                                                    not _is_wordy(data_B[at + 1])):  # fmt: skip
        return -1, -1, at + 1
    most = min(stop, at + (LONGEST_SINGLE if byte == _SINGLE else LONGEST_QUOTE))
    for end in range(at + 1, most):
        if data_B[end] == 0x0A:
            break
        if data_B[end] == byte and (byte != _SINGLE or _closes(data_B, end, stop)):
            return at + 1, end, end + 1
    return -1, -1, at + 1


@leaf
def _closing(data_B: U8, at: int, stop: int, last: int) -> int:
    for end in range(at, min(stop - 2, at + LONGEST_QUOTE)):
        if data_B[end] == 0x0A:
            return -1
        if data_B[end] == 0xE2 and data_B[end + 1] == 0x80 and data_B[end + 2] == last:
            return end
    return -1


@leaf
def _closes(data_B: U8, at: int, stop: int) -> bool:
    """Say whether an apostrophe closes: no letter after it."""
    return at + 1 >= stop or not _is_wordy(data_B[at + 1])


@leaf
def _is_wordy(byte: int) -> bool:
    return 0x30 <= byte <= 0x39 or 0x41 <= byte <= 0x5A or 0x61 <= byte <= 0x7A or byte >= 0x80


@leaf
def _counts(text: Atoms, first: int, last: int) -> bool:
    """Say whether a quoted term is one: no letter of a choice, no "Yes", no nothing."""
    if last - first == 1:
        wide = text.stop_A[first] - text.start_A[first] > 1
        return wide and not text.meaning_A[first] & VERDICT
    return last > first


@leaf
def _stands(text: Atoms, first: int, last: int, source: Atoms, size: int) -> bool:
    """Say whether the source has the atoms first..last in their order."""
    words = last - first
    power = np.uint64(1)
    for _ in range(words):
        power *= RUN_MULTIPLIER
    wanted = text.prefix_A[last] - text.prefix_A[first] * power
    for k in range(size - words + 1):
        if source.prefix_A[k + words] - source.prefix_A[k] * power == wanted:
            return True
    return False
