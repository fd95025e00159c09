"""The pieces of a SentencePiece model, read from its file without the package."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def pieces(path: Path) -> list[str]:
    """Return the pieces of a model in order: field 1 of each field 1 of the protocol buffer."""
    data = path.read_bytes()
    return [
        value.decode()
        for number, message in _fields(data)
        if number == 1
        for inner, value in _fields(message)
        if inner == 1
    ]


def domain_words(domain: Path, general: Path) -> list[str]:
    """Return AdaptLLM's words of a domain: long first pieces that the general model lacks."""
    known = set(pieces(general))
    return [
        piece[1:]
        for piece in pieces(domain)
        if piece not in known and piece.startswith("\u2581") and len(piece) > 10
    ]


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and bytes of the fields that have a length; pass over the others."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == 2:
            size, at = _varint(data, at)
            yield number, data[at : at + size]
            at += size
        elif kind == 0:
            _, at = _varint(data, at)
        else:
            at += 8 if kind == 1 else 4


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
