"""A linear model over hashed runs of words, a run at a time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

from tests.oracles.hashed_ngrams import bucket, ngrams, words


def outputs(
    text: str, rows: Mapping[int, list[float]], bias: list[float], longest: int, buckets: int
) -> tuple[list[float], int]:
    """Return the outputs for a text, and how many different runs of it have a row.

    rows  bucket → idf, then a weight for each output
    """
    runs = ngrams(words(text, "wordpunct"), longest)
    met = Counter(b for run in runs if (b := bucket(run, buckets, 0)) in rows)
    values = {b: (1 + math.log(n)) * rows[b][0] for b, n in met.items()}
    length = math.sqrt(sum(value**2 for value in values.values()))
    sums = [
        sum(value / length * rows[b][at + 1] for b, value in values.items()) + add
        for at, add in enumerate(bias)
    ]
    return sums, len(met)
