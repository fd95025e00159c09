"""MinHash sketches: a few hundred bytes a document that tell how alike two documents are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.arrow import bytes_and_offsets, from_bytes_and_offsets, is_valid, to_column
from curation.columns import columns
from curation.errors import RecipeError
from curation.stage import Annotator

if TYPE_CHECKING:
    from curation.kernels.minhash import Permutations

#: Steps in which the area under the banding curve is summed up.
_STEP = 0.001


@dataclass(frozen=True, kw_only=True)
class MinHashSketch(Annotator):
    """Sketch a text by the smallest hashes of its shingles (runs of words or of characters).

    Two texts agree in a value with a probability that is the Jaccard similarity s of their sets of
    shingles, and in all values of at least one band with probability 1 - (1 - s^rows)^bands. The
    defaults are FineWeb's: runs of 5 words, 14 bands of 8. Words are runs of letters, marks,
    numbers and connectors, lower-cased; in scripts without spaces, characters. A text of fewer
    words than a shingle is one shingle.

    A seed gives the same bytes on every machine. ``unit="token"``, ``family="mersenne"`` and
    ``bits=64`` give datatrove's very sketch of a text whose words stand between spaces.

        MinHashSketch.for_similarity(0.7, error=0.04)   # bands and rows by what is wanted

    reads    text             large_string  any length; null allowed
    writes   sketch           large_binary  bands × rows values of bits / 8 bytes, little-endian;
                                            null where the text has no shingle
             shingle_count    uint32        shingles, repeats too; null where text is null
    source   Broder 1997, "On the resemblance and containment of documents"; Penedo et al. 2024,
             arXiv:2406.17557 (FineWeb), the defaults
    """

    version: ClassVar[int] = 1
    recorded: ClassVar[bool] = True
    reads: ClassVar[tuple[str, ...]] = ("text",)
    writes: ClassVar[pa.Schema] = columns("sketch", "shingle_count")

    #: Two rows are compared if they agree in all values of a band.
    bands: int = 14
    rows: int = 8
    #: Units of a shingle; 5 words or about 20 characters.
    ngram: int = 5
    #: What a shingle is a run of: words, characters, or what stands between white space as it is.
    unit: Literal["word", "char", "token"] = "word"
    #: Bits of a value, 32 or 64: with 32, one in four billion unlike values agree by chance.
    bits: int = 32
    seed: int = 1
    #: linear: odd multiples modulo 2^bits; mersenne: datatrove's permutations.
    family: Literal["linear", "mersenne"] = "linear"

    def check(self) -> None:
        limits = {"bands": 1024, "rows": 1024, "ngram": 1024}
        for name, most in limits.items():
            if not 1 <= getattr(self, name) <= most:
                raise RecipeError(
                    f"MinHashSketch takes {name} from 1 to {most}.",
                    found=f"{name}={getattr(self, name)}",
                )
        if self.bits not in (32, 64):
            raise RecipeError("a value has 32 or 64 bits.", found=f"bits={self.bits}")
        if self.family == "mersenne" and self.bits != 64:
            raise RecipeError("mersenne's values have 64 bits.", found=f"bits={self.bits}")
        if not 0 <= self.seed < 1 << 32:
            raise RecipeError("a seed is a whole number from 0 to 2^32 - 1.", found=f"{self.seed=}")

    @classmethod
    def for_similarity(
        cls, similarity: float, *, error: float = 0.05, false_positive_weight: float = 0.5
    ) -> MinHashSketch:
        """Return the sketch whose bands tell pairs above a similarity best from those below.

        error                  standard error of the estimated similarity, at ``similarity``; it
                               decides the number of values: s(1 - s) / error²
        false_positive_weight  what a pair compared in vain counts against a pair that is missed
        """
        if not (0 < similarity < 1 and 0 < error < 1):
            raise RecipeError(
                "a similarity and its error lie between 0 and 1.", found=f"{similarity=}, {error=}"
            )
        values = math.ceil(similarity * (1 - similarity) / error**2)
        bands, rows = banding(similarity, values, false_positive_weight)
        return cls(bands=bands, rows=rows)

    @property
    def values(self) -> int:
        """How many values a sketch has."""
        return self.bands * self.rows

    def found_prob(self, similarity: float) -> float:
        """Return the probability that a pair of a similarity shares a band."""
        return float(1 - (1 - similarity**self.rows) ** self.bands)

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from curation.kernels import minhash

        text = batch["text"]
        start, shingle_S = self.shingles(text)
        hash_NH = minhash.signatures(start, shingle_S, self._drawn(), self.bits)
        count_N = np.diff(start).astype(np.uint32)
        width = self.values * self.bits // 8
        ends = np.where(count_N > 0, width, 0).cumsum()
        data = hash_NH[count_N > 0].astype(f"<u{self.bits // 8}", copy=False).view(np.uint8).ravel()
        sketches = from_bytes_and_offsets(
            data, np.concatenate([[0], ends]), pa.large_binary(), count_N > 0
        )
        counts = to_column(count_N, is_valid(text))
        return pa.RecordBatch.from_arrays([sketches, counts], schema=self.writes)

    def shingles(self, text: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
        """Return the shingles of a column of text; see ``kernels.shingles.all_shingles``."""
        from curation.kernels.shingles import UNITS, all_shingles, fold_table

        data, offset = bytes_and_offsets(text)
        return all_shingles(data, offset, UNITS.index(self.unit), self.ngram, fold_table())

    def first_values(
        self, start: npt.NDArray[np.int64], shingle_S: npt.NDArray[np.uint64]
    ) -> npt.NDArray[Any]:
        """Return the first value of the sketch of each document, from its shingles."""
        from curation.kernels.minhash import Permutations, signatures

        drawn = self._drawn()
        one = Permutations(drawn.odd_H[:1], drawn.add_H[:1], drawn.mersenne)
        return signatures(start, shingle_S, one, self.bits)[:, 0]

    def _drawn(self) -> Permutations:
        from curation.kernels import minhash

        if self.family == "mersenne":
            return minhash.mersenne_permutations(self.values, self.seed)
        return minhash.permutations(self.values, self.seed, self.bits)

    def hashes(self, sketch: pa.Array) -> npt.NDArray[Any]:
        """Return a column of sketches, none of them null, as unsigned[N, bands × rows]."""
        data, offset = bytes_and_offsets(sketch)
        kind = np.dtype(f"<u{self.bits // 8}")
        width = self.values * kind.itemsize
        if (np.diff(offset) != width).any():
            found = sorted(set(np.diff(offset).tolist()))
            raise RecipeError(
                "the column 'sketch' does not hold sketches of these settings.",
                wanted=f"{width} bytes each, by {self}",
                found=f"{', '.join(map(str, found[:5]))} bytes",
            )
        return data[offset[0] : offset[-1]].view(kind).reshape(len(sketch), self.values)


def banding(similarity: float, values: int, false_positive_weight: float = 0.5) -> tuple[int, int]:
    """Return the bands and rows, of at most so many values, with the least weighted error.

    The error is the area below the threshold under the banding curve (pairs compared in vain) and
    the area above the threshold over it (pairs missed), as datasketch's MinHashLSH weighs them.
    """
    if not (0 < similarity < 1 and values >= 2 and 0 <= false_positive_weight <= 1):
        raise RecipeError(
            "banding takes a similarity and a weight between 0 and 1 and 2 values or more.",
            found=f"{similarity=}, {values=}, {false_positive_weight=}",
        )
    below = np.arange(_STEP / 2, similarity, _STEP)
    above = np.arange(similarity + _STEP / 2, 1, _STEP)
    best, found = math.inf, (1, values)
    for bands in range(1, values + 1):
        for rows in range(1, values // bands + 1):
            in_vain = _STEP * float((1 - (1 - below**rows) ** bands).sum())
            missed = _STEP * float(((1 - above**rows) ** bands).sum())
            error = false_positive_weight * in_vain + (1 - false_positive_weight) * missed
            if error < best:
                best, found = error, (bands, rows)
    return found
