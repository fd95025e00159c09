"""Where a number stands among all rows: for windows such as "the middle half by perplexity".

    BitsPerByte(model="models/reference"),
    Percentile(column="lm_bits_per_byte"),
    keep(col("percentile").is_between(0.25, 0.75), because="perplexity out of the window"),

Ankner et al. keep a share r of the documents by the perplexity of a small reference model: the
lowest, the highest, or those around the middle, 0.5 - r/2 to 0.5 + r/2. Which is best hangs on the
corpus: the highest for the Pile and the middle for Dolma, at r = 0.5.

Trade-off: 24 bytes a row are held at once, since a percentile needs the order of all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from curation.arrow import is_valid, to_column, values_of
from curation.columns import columns
from curation.errors import RecipeError
from curation.stage import Reducer, Rows

U64 = npt.NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True)
class Percentile(Reducer):
    """Rank a number among all rows: 0 for the lowest, towards 1 for the highest.

    Of N rows that have a number, the n-th from below gets (n + 1/2) / N. Rows with equal numbers
    are told apart by a hash of their ids, so that a window keeps the share that it asks for.

    column  any numeric column

    reads    id          large_string  distinct
             column      float32       the column of the setting, of any numeric type; null allowed
    writes   percentile  float32       0..1; null where the number is null or NaN
    source   Ankner et al. 2024, arXiv:2405.20541 (Perplexed by Perplexity)
    """

    version: ClassVar[int] = 1
    writes: ClassVar[pa.Schema] = columns("percentile")

    column: str = "lm_bits_per_byte"

    @property
    def reads(self) -> tuple[str, ...]:  # type: ignore[override]
        """The id and the column of the setting."""
        return ("id", self.column)

    def check(self) -> None:
        if not self.column or self.column == "id":
            raise RecipeError(
                "Percentile ranks a numeric column.",
                found=f"column={self.column!r}",
                remedy='column="lm_bits_per_byte"',
            )

    def reduce(self, rows: Rows) -> Iterator[pa.RecordBatch]:
        from curation.engine.best import ascending_key, id_hash

        sizes, valid, keys, hashes = [], [], [], []
        for batch in rows.batches("id", self.column):
            value = _numbers(batch[self.column], self.column)
            able = is_valid(value) & ~values_of(pc.is_null(value, nan_is_null=True))
            some = batch.filter(to_column(able))
            sizes.append(len(batch))
            valid.append(able)
            keys.append(ascending_key(value.filter(to_column(able))))
            hashes.append(id_hash(some["id"]))
        if not sizes:
            return
        able_N = np.concatenate(valid)
        order = np.lexsort((np.concatenate(hashes), np.concatenate(keys)))
        share_N = np.zeros(len(able_N), dtype=np.float32)
        share_R = np.empty(len(order))
        share_R[order] = (np.arange(len(order)) + 0.5) / max(len(order), 1)
        share_N[able_N] = share_R
        ends = np.cumsum(sizes).tolist()
        for start, stop in zip([0, *ends], ends, strict=False):
            column = to_column(share_N[start:stop], able_N[start:stop])
            yield pa.RecordBatch.from_arrays([column], schema=self.writes)


def _numbers(value: pa.Array, name: str) -> pa.Array:
    if not (pa.types.is_floating(value.type) or pa.types.is_integer(value.type)):
        raise RecipeError(
            f"Percentile cannot rank the column {name!r}.",
            found=str(value.type),
            remedy="name a numeric column",
        )
    return value


def percentile_window(
    keep: float, criterion: Literal["low", "medium", "high"] = "medium"
) -> pl.Expr:
    """Return the rule that keeps a share of the rows: the lowest, the middle or the highest.

    keep(percentile_window(0.5, "medium"), because="perplexity out of the window")
    """
    low = {"low": 0.0, "medium": 0.5 - keep / 2, "high": 1 - keep}
    if criterion not in low or not 0 < keep <= 1:
        raise RecipeError(
            "a window keeps a share of 0 to 1: low, medium or high.",
            found=f"keep={keep}, criterion={criterion!r}",
        )
    return pl.col("percentile").is_between(low[criterion], low[criterion] + keep, closed="left")
