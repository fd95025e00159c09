"""Vectors of texts without a model: hashed runs of words, projected by random signs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.arrow import bytes_and_offsets
from curation.columns import columns
from curation.errors import RecipeError
from curation.stage import Annotator

F32 = npt.NDArray[np.float32]
Bool_N = npt.NDArray[np.bool_]

#: Features are told apart by 32 bits: as good as never do two words share a bucket.
_BUCKETS = 1 << 32


@dataclass(frozen=True, kw_only=True)
class HashedEmbedding(Annotator):
    """Make a vector of the words of a text; no model is needed.

    Runs of words are counted, damped where ``log`` says so, and added under random signs to a few
    of the vector's places each, so that the cosine of two vectors is about that of the damped
    counts: off by about 1 / sqrt(dims). Texts that share words are near each other; that two words
    mean the same is not known.

    dims    length of the vector
    ngrams  words of the longest run that is counted
    log     take log(1 + count), so that the frequent words do not decide alone
    words   how words are cut; see ``kernels.hashed_ngrams``: as nltk's WordPunctTokenizer did up
            to 3.9, as it does since, or between white space
    places  how many places a run adds to
    seed    another seed, another projection

    reads    text       large_string  any length; null allowed
    writes   embedding  large_list<item: float32>  of length 1; null where the text has no word
    source   Weinberger et al. 2009, arXiv:0902.2206; Kane and Nelson 2014, arXiv:1012.1577
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("text",)
    writes: ClassVar[pa.Schema] = columns("embedding")

    dims: int = 256
    ngrams: int = 1
    log: bool = True
    words: Literal["wordpunct", "wordpunct-regex", "space"] = "wordpunct"
    places: int = 4
    seed: int = 0

    def check(self) -> None:
        # the bounds of what the kernels take
        bounds = {"dims": (1, 1 << 16), "ngrams": (1, 16), "places": (1, 64), "seed": (0, 1 << 63)}
        for name, (least, most) in bounds.items():
            if not least <= getattr(self, name) <= most:
                raise RecipeError(
                    f"HashedEmbedding takes {name} of {least:,} to {most:,}.",
                    found=f"{name}={getattr(self, name)}",
                )

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from curation.kernels.feature_signs import unit_vectors
        from curation.kernels.hashed_ngrams import RULES, bucket_counts, hashed_ngrams

        rule = RULES.index(self.words)
        runs = hashed_ngrams(
            *bytes_and_offsets(batch["text"]), self.ngrams, _BUCKETS, rule, self.seed
        )
        start, bucket_F, count_F = bucket_counts(*runs)
        weight_F = np.log1p(count_F) if self.log else count_F
        seed = np.uint64(self.seed)
        vector_ND = unit_vectors(start, bucket_F, weight_F, self.dims, self.places, seed)
        # signs that cancel to nothing leave no direction either
        made = _as_lists(vector_ND, np.any(vector_ND != 0, axis=1))
        return pa.RecordBatch.from_arrays([made], schema=self.writes)


def _as_lists(vector_ND: F32, valid: Bool_N) -> pa.Array:
    """Return vectors as a column of lists, null where ``valid`` is False."""
    length = np.where(valid, vector_ND.shape[1], 0)
    offset = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
    values = pa.array(np.ascontiguousarray(vector_ND[valid]).ravel())
    return pa.LargeListArray.from_arrays(pa.array(offset), values, mask=pa.array(~valid))
