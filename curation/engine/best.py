"""Selections over the whole corpus by rank, in memory that does not grow with it.

The budget is found by radix selection: a pass over the ranking column sums the budget's unit into
65,536 buckets of the rank's leading 16 bits, picks the bucket in which the budget runs out, and
goes on inside it with the next 16 bits. Ties are broken by a hash of the id in the same way. Sums
are integers, so that the outcome depends neither on order nor on how rows are split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.arrow import Bool_N, bytes_and_offsets, is_valid, to_column, values_of
from curation.recipe import UNITS, KeepBest, Sample

U64 = npt.NDArray[np.uint64]

_DIGIT_BITS = 16
_ODD = np.uint64(0x9E3779B97F4A7C15)  # splitmix64, Steele et al. 2014, doi:10.1145/2660193.2660195

#: (rank, weight) of each row in a batch: uint64[N, 2] of key digits, most significant first, and
#: uint64[N]; rows that never pass are left out.
Ranked = tuple[U64, U64]


def mix(value: U64, seed: int) -> U64:
    """Return splitmix64 of values and a seed: uint64[N] → uint64[N], evenly spread."""
    with np.errstate(over="ignore"):
        mixed: U64 = value + _ODD * np.uint64(seed + 1)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))


def id_hash(ids: pa.Array, seed: int = 0) -> U64:
    """Return uint64[N]: an evenly spread hash of ids and a seed."""
    from curation.kernels.hashing import hash_bytes

    return mix(hash_bytes(*bytes_and_offsets(ids)), seed)


def sampled(ids: pa.Array, sample: Sample) -> Bool_N:
    """Return bool[N]: which rows a sample by share keeps."""
    assert sample.frac is not None
    if sample.frac >= 1:
        return np.ones(len(ids), dtype=np.bool_)
    return id_hash(ids, sample.seed) < np.uint64(int(sample.frac * 2.0**64))


def ascending_key(values: pa.Array) -> U64:
    """Return uint64[N] that sorts as the numbers do; there is no null and no NaN among them."""
    if pa.types.is_floating(values.type):
        number = values_of(values.cast(pa.float64()))
        bits = (number + 0.0).view(np.uint64)  # + 0.0 makes -0.0 and 0.0 the same
        negative = bits >> np.uint64(63) == 1
        key: U64 = np.where(negative, ~bits, bits | np.uint64(1 << 63))
    elif pa.types.is_unsigned_integer(values.type):
        key = values_of(values.cast(pa.uint64()))
    else:
        key = values_of(values.cast(pa.int64())).view(np.uint64) ^ np.uint64(1 << 63)
    return key


def ranked(batch: pa.RecordBatch, rule: KeepBest | Sample) -> tuple[Bool_N, Ranked]:
    """Return which rows of a batch can pass at all, and the rank and weight of those.

    A higher rank comes first: the value's bits, then those of a hash of the id.
    """
    if isinstance(rule, Sample):
        able = np.ones(batch.num_rows, dtype=np.bool_)
        first, weight = id_hash(batch["id"], rule.seed), np.ones(batch.num_rows, np.uint64)
        return able, (np.stack([first, first], axis=1), weight)
    able = ~values_of(pc.is_null(batch[rule.column], nan_is_null=True))
    if rule.unit in UNITS:
        able = able & is_valid(batch[UNITS[rule.unit]])
    rows = batch.filter(to_column(able))
    key = ascending_key(rows[rule.column])
    key = ~key if rule.lowest else key
    weight = (
        values_of(rows[UNITS[rule.unit]].cast(pa.uint64()))
        if rule.unit in UNITS
        else np.ones(len(key), dtype=np.uint64)
    )
    return able, (np.stack([key, id_hash(rows["id"])], axis=1), weight)


def find_threshold(batches: Callable[[], Iterator[Ranked]], budget: int) -> tuple[int, int] | None:
    """Return the lowest rank (two 64-bit keys) that fits the budget; None if nothing fits.

    batches  yields (rank uint64[N, 2], weight uint64[N]); called once for each 16 bits of rank
    """
    prefix: list[int] = []
    left = budget
    for level in range(2 * 64 // _DIGIT_BITS):
        weights = np.zeros(1 << _DIGIT_BITS, dtype=np.uint64)
        for rank, weight in batches():
            digit, inside = _digit(rank, prefix)
            np.add.at(weights, digit[inside], weight[inside])
        total = np.cumsum(weights[::-1])  # from the highest digit down
        fits = int(np.searchsorted(total, np.uint64(left), side="right"))
        if fits == len(total):  # everything from here on fits
            return _threshold([*prefix, *[0] * (8 - level)])
        left -= int(total[fits - 1]) if fits else 0
        prefix.append(len(total) - 1 - fits)
    return _above(prefix)


def _digit(rank: U64, prefix: list[int]) -> tuple[npt.NDArray[np.int64], Bool_N]:
    """Return each row's next 16 bits, and whether its earlier bits are the prefix."""
    digits = rank.astype(">u8").view(">u2").reshape(len(rank), 2 * 64 // _DIGIT_BITS)
    inside = np.ones(len(rank), dtype=np.bool_)
    for place, wanted in enumerate(prefix):
        inside &= digits[:, place] == wanted
    return digits[:, len(prefix)].astype(np.int64), inside


def _threshold(digits: list[int]) -> tuple[int, int]:
    joined = 0
    for digit in digits:
        joined = joined << _DIGIT_BITS | digit
    return joined >> 64, joined & (1 << 64) - 1


def _above(prefix: list[int]) -> tuple[int, int] | None:
    first, second = _threshold(prefix)
    joined = (first << 64 | second) + 1
    return None if joined >> 128 else (joined >> 64, joined & (1 << 64) - 1)


def at_least(rank: U64, threshold: tuple[int, int] | None) -> Bool_N:
    """Return bool[N]: whether a rank is the threshold or higher."""
    if threshold is None:
        return np.zeros(len(rank), dtype=np.bool_)
    first, second = np.uint64(threshold[0]), np.uint64(threshold[1])
    higher: Bool_N = (rank[:, 0] > first) | ((rank[:, 0] == first) & (rank[:, 1] >= second))
    return higher
