"""Numbers by chance: what every way to choose documents has to beat, and the noise of a draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.columns import columns
from curation.errors import RecipeError
from curation.stage import Annotator

U64 = npt.NDArray[np.uint64]
F64 = npt.NDArray[np.float64]

#: Set these numbers and the noise apart from samples of the same seed: the first 64 bits of SHA-256
#: of "random" and of "gumbel".
_RANDOM, _GUMBEL = np.uint64(0xA441B15FE9A3CF56), np.uint64(0x0FA5F2CDD1C8F32F)


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
        number_N = (_hashes(batch["id"], self.seed, _RANDOM) >> np.uint64(11)) * 2.0**-53
        return pa.RecordBatch.from_arrays([pa.array(number_N)], schema=self.writes)


def gumbel(ids: pa.Array, seed: int) -> F64:
    """Return float64[N]: standard Gumbel noise, from a hash of the id and the seed alone.

    The k largest sums of log weight and noise are a sample of k without replacement by weight
    (Kool et al. 2019, arXiv:1903.06059).
    """
    # 52 bits and a half: neither 0 nor 1 is among them
    even_N = ((_hashes(ids, seed, _GUMBEL) >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    noise_N: F64 = -np.log(-np.log(even_N))
    return noise_N


def _hashes(ids: pa.Array, seed: int, salt: np.uint64) -> U64:
    from curation.engine.best import id_hash, mix

    return mix(id_hash(ids, seed) ^ salt, 0)
