"""Small fastText models with weights drawn at random, written as fastText writes its own.

Training would make the same kinds of file; the package's trainer fails now and then on small
texts ("Encountered NaN"), and weights drawn at random leave no feature without an effect.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

HIERARCHICAL, NEGATIVE, SOFTMAX, ONE_VERSUS_ALL = 1, 2, 3, 4


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What kind of model a file holds.

    kept  n-gram buckets that a pruned model has kept; -1 for all of them
    part  dimensions of a part of a quantised row; 0 for dense rows
    flat  the output matrix is zero, so that all labels are equally likely
    """

    loss: int
    labels: int = 9
    dim: int = 16
    word_ngrams: int = 1
    min_chars: int = 0
    max_chars: int = 0
    buckets: int = 500
    kept: int = -1
    part: int = 0
    norms: bool = False
    quantized_output: bool = False
    flat: bool = False
    ends_lines: bool = True
    version: int = 12
    model: int = 3


def write_model(path: Path, kind: Kind, words: list[str]) -> None:
    """Write a model whose dictionary holds the words."""
    draw = np.random.default_rng(5)
    known = (["</s>"] if kind.ends_lines else []) + words
    ngrams = kind.max_chars > 0 or kind.word_ngrams > 1
    rows = len(known) + (max(kind.kept, 0) if kind.kept >= 0 else kind.buckets * ngrams)
    settings = (kind.dim, 5, 5, 1, 5, kind.word_ngrams, kind.loss, kind.model)
    head = struct.pack("<2i", 793712314, kind.version)
    head += struct.pack("<12i", *settings, kind.buckets, kind.min_chars, kind.max_chars, 100)
    parts = [head, struct.pack("<d", 1e-4), _dictionary(draw, kind, known)]
    parts += [bytes([kind.part > 0]), _matrix(draw, kind, rows, kind.part, 1.0)]
    part = 2 if kind.quantized_output else 0
    parts += [bytes([part > 0]), _matrix(draw, kind, kind.labels, part, 0.0 if kind.flat else 2.0)]
    path.write_bytes(b"".join(parts))


def _dictionary(draw: np.random.Generator, kind: Kind, words: list[str]) -> bytes:
    size = len(words) + kind.labels
    parts = [struct.pack("<3i2q", size, len(words), kind.labels, 12345, kind.kept)]
    parts += [word.encode() + struct.pack("<xqb", 7, 0) for word in words]
    counts = sorted(draw.integers(1, 1000, kind.labels).tolist(), reverse=True)
    names = [f"__label__l{n}" for n in range(kind.labels)]
    parts += [
        name.encode() + struct.pack("<xqb", count, 1)
        for name, count in zip(names, counts, strict=True)
    ]
    if kind.kept > 0:
        kept = draw.choice(kind.buckets, kind.kept, replace=False)
        pairs = np.stack([kept, draw.permutation(kind.kept)], axis=1)
        parts.append(pairs.astype("<i4").tobytes())
    return b"".join(parts)


def _matrix(draw: np.random.Generator, kind: Kind, rows: int, part: int, scale: float) -> bytes:
    if not part:
        values = draw.normal(0, scale, (rows, kind.dim)).astype("<f4")
        return struct.pack("<2q", rows, kind.dim) + values.tobytes()
    codes = draw.integers(0, 256, (rows, -(-kind.dim // part)), dtype=np.uint8)
    made = [struct.pack("<?2qi", kind.norms, rows, kind.dim, codes.size), codes.tobytes()]
    made.append(_parts(draw.normal(0, scale, kind.dim * 256), kind.dim, part))
    if kind.norms:
        made.append(draw.integers(0, 256, rows, dtype=np.uint8).tobytes())
        made.append(_parts(draw.uniform(0.5, 2, 256), 1, 1))
    return b"".join(made)


def _parts(values: npt.NDArray[np.float64], dim: int, part: int) -> bytes:
    count = -(-dim // part)
    return (
        struct.pack("<4i", dim, count, part, dim - (count - 1) * part)
        + values.astype("<f4").tobytes()
    )
