"""A number for each row by chance: what every way to choose documents has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from curation.columns import columns
from curation.errors import RecipeError
from curation.stage import Annotator

#: Sets the numbers apart from samples of the same seed: the first 64 bits of SHA-256 of "random".
_SALT = np.uint64(0xA441B15FE9A3CF56)


@dataclass(frozen=True, kw_only=True)
class RandomScore(Annotator):
    """Give each row an even number from a hash of its id, for ``keep_best`` to draw by a budget.

    seed  other seeds draw other rows

    reads    id            large_string  distinct
    writes   random_score  float64       0..1, 1 excluded
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("id",)
    writes: ClassVar[pa.Schema] = columns("random_score")

    seed: int = 0

    def check(self) -> None:
        if self.seed < 0:
            raise RecipeError("RandomScore takes no seed below 0.", found=f"seed={self.seed}")

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from curation.engine.best import id_hash, mix

        hash_N = mix(id_hash(batch["id"], self.seed) ^ _SALT, 0)
        number_N = (hash_N >> np.uint64(11)) * 2.0**-53  # as many bits as a float64 holds
        return pa.RecordBatch.from_arrays([pa.array(number_N)], schema=self.writes)
