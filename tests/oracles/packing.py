"""Drawn documents and windows of tokens, as one long list of Python numbers."""

from __future__ import annotations

from collections.abc import Sequence


def scattered(value: int, salt: int) -> int:
    """Return the finalizer of SplitMix64 on value + salt, by unbounded integers."""
    full = (1 << 64) - 1
    value = (value + salt) & full
    value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) & full
    value = ((value ^ value >> 27) * 0x94D049BB133111EB) & full
    return value ^ value >> 31


def windows(
    documents: Sequence[Sequence[int]], order: Sequence[int], begins: Sequence[int], size: int
) -> list[list[int]]:
    """Return windows of the documents laid end to end in an order."""
    stream = [token for document in order for token in documents[document]]
    return [stream[begin : begin + size] for begin in begins]
