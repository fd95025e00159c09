"""Fold a string in Python and hash it with the xxhash package."""

from __future__ import annotations

import string

import xxhash

from tests.oracles.spaces import RUN

_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def fold(text: str) -> str:
    """Make white space runs one space, trim, lower ASCII letters."""
    return RUN.sub(" ", text).strip(" ").translate(_LOWER)


def hash_folded(text: str) -> tuple[int, int]:
    """Return XXH64 of the folded text under the two seeds."""
    data = fold(text).encode("utf-8", "surrogatepass")
    return (
        xxhash.xxh64_intdigest(data, seed=0x243F6A8885A308D3),
        xxhash.xxh64_intdigest(data, seed=0xB7E151628AED2A6A),
    )
