"""Which of two rows stays, and which rows are compared at all, as numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.arrow import bytes_and_offsets, is_valid, values_of
from curation.errors import RecipeError

if TYPE_CHECKING:
    from curation.dedup.near import NearDuplicates

U64 = npt.NDArray[np.uint64]

#: A row that the rule says nothing of comes after all others.
LAST = np.uint64(0xFFFFFFFFFFFFFFFF)
_SIGN = np.uint64(1 << 63)
_SCOPE_BASE = np.uint64(0x9E3779B97F4A7C15)
#: Digits of a date: year, month, day, hours, minutes, seconds.
_DATE_DIGITS = 14
#: Types of bytes, which need not be text.
_BYTES = (
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_fixed_size_binary,
    pa.types.is_binary_view,
)


def preference_of(stage: NearDuplicates, batch: pa.RecordBatch) -> U64:
    """Return uint64[N]: the smaller, the more a row is preferred by the stage's rule."""
    if stage.prefer == "best":
        return _by_score(stage.score, batch[stage.score])
    if stage.prefer == "earliest":
        return _by_date(batch["date"])
    if stage.prefer == "source":
        found = pc.index_in(batch["source"], value_set=pa.array(stage.sources, pa.large_string()))
        return np.where(is_valid(found), values_of(found).astype(np.uint64), LAST)
    return np.zeros(len(batch), dtype=np.uint64)


def _by_score(name: str, scores: pa.Array) -> U64:
    """The highest comes first; null and NaN come last."""
    if not (pa.types.is_integer(scores.type) or pa.types.is_floating(scores.type)):
        raise RecipeError(
            "NearDuplicates prefers rows by a column of numbers.",
            found=f"'{name}' is {scores.type}",
        )
    value = values_of(scores).astype(np.float64) + 0.0  # minus zero becomes zero
    bits = value.view(np.uint64)
    ascending = np.where(bits & _SIGN, ~bits, bits | _SIGN)
    lost = ~is_valid(scores) | np.isnan(value)
    return np.where(lost, LAST, ~ascending)


def _by_date(dates: pa.Array) -> U64:
    """The earliest comes first; dates are compared by their digits, as ISO 8601 writes them."""
    digits = pc.replace_substring_regex(dates, "[^0-9]", "")
    digits = pc.utf8_rpad(pc.utf8_slice_codeunits(digits, 0, _DATE_DIGITS), _DATE_DIGITS, "0")
    known = pc.and_kleene(pc.is_valid(dates), pc.match_substring_regex(dates, "[0-9]{4}"))
    known = pc.fill_null(known, False)
    numbers = pc.if_else(known, digits, "0").cast(pa.uint64())
    return np.where(values_of(known), values_of(numbers), LAST)


def scope_of(names: tuple[str, ...], batch: pa.RecordBatch) -> U64:
    """Return uint64[N]: one hash of a row's values in some columns; null is a value of its own."""
    from curation.kernels.hashing import hash_bytes

    scope = np.zeros(len(batch), dtype=np.uint64)
    for name in names:
        values = _as_bytes(batch[name], name)
        value = np.where(is_valid(values), hash_bytes(*bytes_and_offsets(values)), LAST)
        scope = (scope ^ value) * _SCOPE_BASE
    return scope


def _as_bytes(values: pa.Array, name: str) -> pa.Array:
    """Return a column as strings or bytes, the same for the same value."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if any(is_kind(values.type) for is_kind in _BYTES):
        return values.cast(pa.large_binary())
    try:
        return values.cast(pa.large_string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        raise RecipeError(
            f"rows cannot be compared within {name!r}, whose values have no text form.",
            found=str(values.type),
            remedy="name a column of strings, numbers or times",
        ) from None
