"""Small token sets for the tests of what is trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pyarrow as pa

from curation.mix.tokenizer import LEAST_VOCABULARY, Tokenizer
from curation.mix.tokens import TokenSet, write_tokens

Row = tuple[str, str | None, str | None]

TEXTS = ["a storm was seen over the sea at night", "the port was closed and the ships were safe"]


@cache
def tokenizer(vocab_size: int = 300) -> Tokenizer:
    return Tokenizer.train(TEXTS * 3, vocab_size=vocab_size)


@cache
def byte_tokenizer() -> Tokenizer:
    """A token for each byte, so that the length of a text is its count."""
    return Tokenizer.train([], vocab_size=LEAST_VOCABULARY)


def batches(rows: Sequence[Row], size: int = 7) -> list[pa.RecordBatch]:
    """Return rows of (id, text, source) in batches of a size."""
    kind = pa.large_string()
    schema = pa.schema([("id", kind), ("text", kind), ("source", kind)])
    return [
        pa.RecordBatch.from_arrays(
            [pa.array(column, kind) for column in zip(*rows[at : at + size], strict=True)],
            schema=schema,
        )
        for at in range(0, len(rows), size)
    ]


def numbered(count: int, length: int = 0) -> Iterator[Row]:
    """Yield rows of different texts; of ``length`` bytes each, or of growing ones."""
    for n in range(count):
        text = f"{n:04d}" + "the storm " * (n % 5)
        yield f"row {n}", text[:length].ljust(length, ".") if length else text, None


def make_set(folder: Path, rows: Sequence[Row], *, shard_tokens: int = 1 << 27) -> TokenSet:
    """Write rows, a token for each byte."""
    return write_tokens(
        batches(rows), byte_tokenizer(), folder, fingerprint="rows", shard_tokens=shard_tokens
    )


def snapshot(folder: Path) -> dict[str, str]:
    """Return name → digest of every file."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}
