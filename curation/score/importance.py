"""Importance weights (DSIR): how much likelier a document's words are in a target than in the pool.

Words and runs of words are hashed into buckets; the weight of a document is the sum over its runs
of the logarithm of the target's share of their bucket over the pool's. A sample of the pool drawn
with these weights has about the words of the target.

The pool is read twice, piece by piece: to count its buckets, and to weigh its documents. What is
kept is the counts, so memory does not grow with the pool, and they are whole numbers, so neither
order nor shards matter.

Not here: DSIR's choice for several targets, each with its own share of the sample. Files that one
pattern matches are one target; for several, weigh for each in a recipe of its own.

M buckets, N documents
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.arrow import is_valid, to_column
from curation.columns import columns
from curation.errors import RecipeError
from curation.score.distribution import FLOOR, Features, Hash, Words, shares
from curation.score.random import gumbel
from curation.score.target import Target, read_target, target_files
from curation.stage import Reducer, Rows
from curation.threads import in_order

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class DsirWeights(Reducer):
    """Weigh each document by how much likelier its words are in the target than in the pool.

    The weight is a sum over the words, so the weights of long documents are far apart, and the
    noise of a score then decides little: sampling is nearly taking the best. ``per_ngram`` divides
    by the runs; such weights are near each other, so take the best by weight and not by score.

        DsirWeights(target="seeds/cybersecurity.jsonl"),
        keep_best("dsir_score", tokens=50_000_000, because="not like the target"),

    target          file or pattern of target examples; see ``score.target.read_target``
    text            field of their text
    buckets         buckets of hashed runs
    ngrams          words of the longest run
    hash            "sha256" for the buckets that the authors publish; "fast" weighs as well and
                    takes a fraction of the time
    words           how words are cut; see ``kernels.hashed_ngrams``: as nltk's WordPunctTokenizer
                    did up to 3.9, as it does since, or between white space
    target_laplace  pseudo-count added to each bucket of the target; some for a small target, whose
                    empty buckets would else count as if their words could not occur
    min_words       documents with fewer words get no weight
    per_ngram       divide the weight by the runs of the document
    seed            another seed, another noise, and other buckets of the fast hash

    reads    id               large_string  distinct
             text             large_string  null allowed
    writes   dsir_log_weight  float64       null with fewer than min_words words
             dsir_score       float64       null with fewer than min_words words
    source   Xie et al. 2023, arXiv:2302.03169; its package data-selection 1.0.3
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("id", "text")
    writes: ClassVar[pa.Schema] = columns("dsir_log_weight", "dsir_score")

    target: str
    text: str = "text"
    buckets: int = 10_000
    ngrams: int = 2
    hash: Hash = "fast"
    words: Words = "wordpunct"
    target_laplace: float = 0.0
    #: The package's min_example_length.
    min_words: int = 100
    per_ngram: bool = False
    seed: int = 0

    def check(self) -> None:
        self.features()
        for name in ("target_laplace", "min_words"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise RecipeError(
                    f"DsirWeights takes {name} of 0 or more.",
                    found=f"{name}={getattr(self, name)}",
                )
        read_target(self.target, text=self.text)  # what is wrong with it is told at once

    def model_files(self) -> tuple[str, ...]:
        return target_files(self.target)

    def features(self) -> Features:
        """Return what is counted."""
        return Features(
            buckets=self.buckets,
            ngrams=self.ngrams,
            hash=self.hash,
            words=self.words,
            seed=self.seed,
        )

    def reduce(self, rows: Rows) -> Iterator[pa.RecordBatch]:
        target = read_target(self.target, text=self.text)
        target_M = self.features().counts(_pieces(target.text))
        if not target_M.any():
            raise RecipeError(
                f"the target '{self.target}' holds no words.",
                remedy="give examples of the texts that are looked for",
            )
        raw_M = self._pool_counts(rows, target)
        weight_M = log_ratio(target_M, raw_M, self.target_laplace)

        def weighed(batch: pa.RecordBatch) -> pa.RecordBatch:
            return self._weigh(batch, weight_M)

        yield from in_order(weighed, rows.batches("id", "text"))

    def _pool_counts(self, rows: Rows, target: Target) -> I64:
        """Count the pool's buckets, and warn where target examples are part of it."""
        found_T = np.zeros(len(target), dtype=np.bool_)

        def texts() -> Iterator[pa.Array]:
            nonlocal found_T
            for batch in rows.batches("text"):
                found_T |= target.found_in(batch["text"])
                yield batch["text"]

        raw_M = self.features().counts(texts())
        target.warn_if_inside(found_T, "DsirWeights")
        return raw_M

    def _weigh(self, batch: pa.RecordBatch, weight_M: F64) -> pa.RecordBatch:
        from curation.kernels.importance import sum_weights

        start, bucket_S = self.features().of(batch["text"])
        weight_N: F64 = sum_weights(start, bucket_S, weight_M)
        runs_N = np.diff(start)
        if self.per_ngram:
            weight_N = weight_N / np.maximum(runs_N, 1)
        valid = (words_of(runs_N, self.ngrams) >= self.min_words) & is_valid(batch["text"])
        score_N = weight_N + gumbel(batch["id"], self.seed)
        made = [to_column(values, valid) for values in (weight_N, score_N)]
        return pa.RecordBatch.from_arrays(made, schema=self.writes)


def log_ratio(target_M: I64, raw_M: I64, target_laplace: float = 0.0) -> F64:
    """Return float64[M]: log of the target's share over the pool's, as the package has it."""
    raw_share_M = shares(raw_M) if raw_M.any() else np.zeros(len(raw_M))
    ratio_M: F64 = np.log(shares(target_M, target_laplace) + FLOOR) - np.log(raw_share_M + FLOOR)
    return ratio_M


def words_of(runs_N: I64, ngrams: int) -> I64:
    """Return the words of documents from how many runs of 1..ngrams words they have.

    With at least ngrams - 1 words, they make ngrams * words - ngrams * (ngrams - 1) / 2 runs; with
    fewer, this is an estimate that is no less than 1, as in the package. 0 where there is no run.
    """
    words_N: I64 = (runs_N + ngrams * (ngrams - 1) // 2) // ngrams
    return np.where(runs_N > 0, words_N, 0)


def _pieces(text: pa.Array, rows: int = 1024) -> Iterator[pa.Array]:
    """Cut a column so that several threads share it."""
    for start in range(0, len(text), rows):
        yield text.slice(start, rows)
