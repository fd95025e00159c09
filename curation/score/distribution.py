"""How often texts use which words: counts of hashed runs, and how far two of them are apart.

Trade-off: where a set has no run of a bucket, its share there is taken to be ``FLOOR``, as DSIR's
weights have it. A small set has many such buckets, so a set is compared with random ones of its own
size.

M buckets
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.arrow import bytes_and_offsets
from curation.errors import RecipeError
from curation.score.target import read_target
from curation.threads import in_order

U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

Hash = Literal["fast", "sha256"]
Words = Literal["wordpunct", "wordpunct-regex", "space"]

#: What is added to each share before its logarithm is taken (Xie et al. 2023, the package).
FLOOR = 1e-8
#: Random sets that a selected one is compared with.
DRAWS = 5
#: Characters whose small letter depends on what stands around them, or is two.
_WITH_CONTEXT = "[\u03a3\u0130]"


@dataclass(frozen=True, kw_only=True)
class Features:
    """Which runs of words are counted, and how they are put into buckets.

    buckets  how many
    ngrams   words of the longest run
    hash     "fast", or "sha256" for the buckets that DSIR's authors publish
    words    how words are cut; see ``kernels.hashed_ngrams``: as nltk's WordPunctTokenizer did up
             to 3.9, as it does since, or between white space
    seed     another seed, other buckets under the fast hash
    """

    buckets: int = 10_000
    ngrams: int = 2
    hash: Hash = "fast"
    words: Words = "wordpunct"
    seed: int = 0

    def __post_init__(self) -> None:
        # counts are kept for every bucket, and a thread has its own
        bounds = {"buckets": (2, 1 << 24), "ngrams": (1, 16), "seed": (0, 1 << 63)}
        for name, (least, most) in bounds.items():
            if not least <= getattr(self, name) <= most:
                raise RecipeError(
                    f"importance weights take {name} of {least:,} to {most:,}.",
                    found=f"{name}={getattr(self, name)}",
                )

    def of(self, text: pa.Array) -> tuple[I64, U32]:
        """Return the buckets of each text's runs; see ``kernels.hashed_ngrams``."""
        from curation.kernels.hashed_ngrams import RULES, hashed_ngrams

        rule = RULES.index(self.words)
        if self.hash == "fast":
            return hashed_ngrams(
                *bytes_and_offsets(text), self.ngrams, self.buckets, rule, self.seed
            )
        from curation.kernels.sha256 import published_ngrams

        return published_ngrams(*bytes_and_offsets(_lowered(text)), self.ngrams, self.buckets, rule)

    def counts(self, texts: Iterable[pa.Array], *, threads: int = 0) -> I64:
        """Return int64[M]: how often each bucket occurs in all texts of some batches.

        threads  0 for as many as the machine has cores, four at most
        """
        from curation.kernels.importance import count_buckets

        def counted(text: pa.Array) -> I64:
            found: I64 = count_buckets(self.of(text)[1], self.buckets)
            return found

        total_M = np.zeros(self.buckets, dtype=np.int64)
        for count_M in in_order(counted, texts, threads=threads):
            total_M += count_M
        return total_M


def _lowered(text: pa.Array) -> pa.Array:
    """Lower-case the rows that Python's ``str.lower`` treats by more than their single characters.

    All other characters are lowered by the kernels' own table.
    """
    special = pc.fill_null(pc.match_substring_regex(text, _WITH_CONTEXT), False)
    if not pc.any(special).as_py():
        return text
    import polars as pl

    rows = pl.Series(text.filter(special)).str.to_lowercase().to_arrow()
    return pc.replace_with_mask(text, special, rows.cast(text.type))


def shares(count_M: I64 | F64, laplace: float = 0.0) -> F64:
    """Return float64[M]: each bucket's share, with a pseudo-count added to each first."""
    smooth_M = count_M + laplace
    found: F64 = smooth_M / smooth_M.sum()
    return found


def divergence(target_M: I64 | F64, other_M: I64 | F64) -> float:
    """Return KL(target || other) in nats per run, of counts or shares of buckets."""
    p_M, q_M = shares(target_M), shares(other_M)
    used = p_M > 0
    return float(np.sum(p_M[used] * (np.log(p_M[used] + FLOOR) - np.log(q_M[used] + FLOOR))))


def kl_reduction(target_M: I64 | F64, random_M: I64 | F64, selected_M: I64 | F64) -> float:
    """Return how much nearer to the target a selected set is than a random one, in nats per run.

    target_M, random_M, selected_M  counts or shares of buckets; see ``Features.counts``. The random
             set has to be of the selected one's size: a smaller set has more empty buckets, and is
             farther from everything
    returns  KL(target || random) - KL(target || selected): the larger, the better; 0 for a set that
             is like a random one. It goes with the accuracy of what is trained on the set at
             r = 0.82 (Xie et al. 2023)
    """
    return divergence(target_M, random_M) - divergence(target_M, selected_M)


def kl_reductions(
    target: str,
    pool: Callable[[], Iterable[pa.Array]],
    selected: Mapping[str, Iterable[pa.Array]],
    *,
    text: str = "text",
    features: Features | None = None,
) -> dict[str, float]:
    """Return the KL reduction of every selected set of a pool.

    Each set is compared with DRAWS random sets of the pool that have as many runs of words; of a
    few documents the figure is noisy. 24 bytes are held for each document of the pool.

    target    path of target examples; see ``read_target``
    pool      called twice, returns the texts of the pool, batch by batch
    selected  the texts of each set, by its name
    text      field of the target's texts
    raises    RecipeError where the pool or a set holds no words

        kl_reductions("seeds.jsonl", lambda: pool, {"dsir": chosen, "random": others})
    """
    features = features or Features()
    target_M = features.counts([read_target(target, text=text).text])
    sets = {name: _counted(features, batches, name) for name, batches in selected.items()}
    size_S = np.array([count_M.sum() for count_M in sets.values()])
    random_DSM = _random_counts(features, pool, size_S)
    found = {}
    for place, (name, count_M) in enumerate(sets.items()):
        reductions = [kl_reduction(target_M, one_SM[place], count_M) for one_SM in random_DSM]
        found[name] = float(np.mean(reductions))
    return found


def _random_counts(features: Features, pool: Callable[[], Iterable[pa.Array]], size_S: I64) -> I64:
    """Return int64[D, S, M]: buckets of D random sets of the pool for each of S sizes in runs."""
    from curation.engine.best import mix
    from curation.kernels.importance import count_buckets

    hash_N, runs_N = _sizes(features, pool())
    last_DS = np.array(
        [_thresholds(mix(hash_N, draw), runs_N, size_S) for draw in range(DRAWS)], dtype=np.uint64
    )
    count_DSM = np.zeros((DRAWS, len(size_S), features.buckets), dtype=np.int64)
    for text in pool():
        number_B = _hashes(text)
        for draw, last_S in enumerate(last_DS):
            drawn_B = mix(number_B, draw)
            some_B = drawn_B <= last_S.max()
            start, bucket_R = features.of(text.filter(pa.array(some_B)))
            for place, last in enumerate(last_S):
                inside_R = np.repeat(drawn_B[some_B] <= last, np.diff(start))
                count_DSM[draw, place] += count_buckets(bucket_R[inside_R], features.buckets)
    return count_DSM


def _sizes(features: Features, texts: Iterable[pa.Array]) -> tuple[U64, I64]:
    """Return a hash of each document, and its runs."""

    def sized(text: pa.Array) -> tuple[U64, I64]:
        return _hashes(text), np.diff(features.of(text)[0])

    empty = (np.zeros(0, np.uint64), np.zeros(0, np.int64))
    hashes, runs = zip(empty, *in_order(sized, texts), strict=True)
    runs_N = np.concatenate(runs)
    if not runs_N.any():
        raise _no_words("the pool")
    return np.concatenate(hashes), runs_N


def _thresholds(drawn_N: U64, runs_N: I64, size_S: I64) -> U64:
    """Return uint64[S]: documents up to this number hold about so many runs; one holds some."""
    order = np.argsort(drawn_N, kind="stable")
    order = order[runs_N[order] > 0]
    upto_N = np.cumsum(runs_N[order])
    count_S = np.searchsorted(upto_N, size_S, side="right")
    last_S: U64 = drawn_N[order][np.maximum(count_S, 1) - 1]
    return last_S


def _hashes(text: pa.Array) -> U64:
    from curation.kernels.hashing import hash_bytes

    found: U64 = hash_bytes(*bytes_and_offsets(text))
    return found


def _counted(features: Features, texts: Iterable[pa.Array], name: str) -> I64:
    count_M = features.counts(texts)
    if not count_M.any():
        raise _no_words(name)
    return count_M


def _no_words(name: str) -> RecipeError:
    return RecipeError(
        f"no KL divergence from {name}: it holds no words.",
        remedy="leave out a set that nothing was selected for",
    )
