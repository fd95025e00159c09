"""Mining: how well each selector finds one domain's documents inside other text.

Issue 6. Cybersecurity documents are hidden among news, medicine and pieces of books at 1:20, and
200 other documents of cybersecurity are given as the target. No document of the target stands in
the pool, and none in it twice. Every selector of pipelines/mine_domain.py scores the same pool.
Average precision and the recall among as many documents as there are relevant ones are measured
over three draws of the pool and the target; the mean and the range are shown. Chance gives 1/21.

What asks a language model for grades is not here: there is none on the machines that this runs on.
Coverage methods do not look for a domain, and stand here for comparison.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import zstandard

from benchmarks.measure import arguments, records

#: Relevant documents in a pool, and how many others there are for each.
RELEVANT, OTHERS = 250, 20
TARGETS = 200
#: Pieces of books are of the size of the other documents.
PIECE_CHARS = 1500
LEAST_CHARS = 200


def by_hash(texts: list[str], seed: int) -> list[str]:
    """Return different texts in an order that a seed decides."""
    salted = {t: hashlib.blake2b(f"{seed} {t}".encode(), digest_size=8).digest() for t in texts}
    return sorted(salted, key=salted.__getitem__)


def long_enough(name: str) -> list[str]:
    return [r["text"] for r in records(name) if len(r["text"]) >= LEAST_CHARS]


def pieces(name: str) -> Iterator[str]:
    for record in records(name):
        text = record["text"]
        yield from (text[i : i + PIECE_CHARS] for i in range(0, len(text), PIECE_CHARS * 15))


class Texts:
    """The texts that pools are drawn from, read once."""

    def __init__(self) -> None:
        self.security = long_enough("domains/cybersecurity.jsonl.zst")
        self.others = {
            "news": long_enough("text/wikinews.jsonl.zst"),
            "medicine": long_enough("domains/medicine.jsonl.zst"),
            "books": list(pieces("text/books.jsonl.zst")),
        }

    def write(self, folder: Path, seed: int, relevant: int) -> None:
        """Write pool, target and a sample of general text; the sample is not in the pool."""
        security = by_hash(self.security, seed)
        rows = [("security", text) for text in security[:relevant]]
        share = relevant * OTHERS // len(self.others)
        base = []
        for name, texts in self.others.items():
            ordered = by_hash(texts, seed)
            share_here = min(share, len(ordered) * 3 // 4)
            rows += [(name, text) for text in ordered[:share_here]]
            base += [(name, text) for text in ordered[share_here : share_here + 300]]
        missing = relevant * (1 + OTHERS) - len(rows)
        news = by_hash(self.others["news"], seed)
        rows += [("news", text) for text in news[share : share + missing]]
        base = [row for row in base if row not in set(rows)]
        write_jsonl(folder / "pool.jsonl.zst", rows)
        write_jsonl(folder / "target.jsonl", [("security", t) for t in security[-TARGETS:]])
        write_jsonl(folder / "base.jsonl", base)


def write_jsonl(path: Path, rows: list[tuple[str, str]]) -> None:
    lines = "".join(json.dumps({"source": s, "text": t}) + "\n" for s, t in rows).encode()
    path.write_bytes(zstandard.compress(lines) if path.suffix == ".zst" else lines)


def average_precision(relevant: Any, score: Any) -> tuple[float, float]:
    """Return average precision, and recall among as many as are relevant; ties at their mean."""
    from sklearn.metrics import average_precision_score

    found = average_precision_score(relevant, score)
    count = int(relevant.sum())
    edge = np.sort(score)[::-1][count - 1]
    above, tied = score > edge, score == edge
    share = (count - above.sum()) / tied.sum()
    return float(found), float((relevant & above).sum() + share * (relevant & tied).sum()) / count


def measured(folder: Path, quick: bool) -> dict[str, tuple[float, float]]:
    """Return average precision and recall of every selector on one pool."""
    mining = mine_domain(
        pool=(str(folder / "pool.jsonl.zst"),),
        target=str(folder / "target.jsonl"),
        base=str(folder / "base.jsonl"),
        language_model="" if quick else str(folder / "model"),
        megabytes=0.1,
        min_words=1,
    )
    table = mining.scores(store=folder / "store", progress=Progress())
