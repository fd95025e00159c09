r"""The log importance weights of DSIR's own package (data-selection), and its CPU seconds.

    python benchmarks/dsirpeer.py POOL.jsonl TARGET.jsonl OUT.npz [re]

One process, documents in memory, all of the pool counted, the package's defaults otherwise. It
writes ``weight`` and ``words`` (the package's length of each document) and prints one line of JSON.
This file imports no part of the package that it is compared with, so that it runs in an environment
of its own.

The package's words are those of nltk's WordPunctTokenizer. Up to 3.9, nltk compiled its pattern by
Python's ``re``, as when the package came out; later versions compile it by ``regex``, for which
marks are part of a word and numbers such as U+00B2 are not. With ``re``, the pattern is compiled by
it, whatever nltk is installed. Documents that the two cut otherwise are counted.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np


def main(pool: str, target: str, out: str, engine: str = "") -> None:
    """Fit on pool and target, weigh the pool, save."""
    from data_selection import HashedNgramDSIR, hashed_ngram_dsir

    tokenizer = hashed_ngram_dsir.wpt
    pattern = re.compile(tokenizer._pattern, tokenizer._flags)
    documents = {path: read(path) for path in (pool, target)}
    texts = [one["text"].lower() for rows in documents.values() for one in rows]
    otherwise = sum(tokenizer.tokenize(text) != pattern.findall(text) for text in texts)
    if engine == "re":
        tokenizer._regexp = pattern
    with tempfile.TemporaryDirectory() as folder:
        given = {"raw_load_dataset_fn": documents.get, "target_load_dataset_fn": documents.get}
        dsir = HashedNgramDSIR([pool], [target], cache_dir=folder, num_proc=1, **given)
        began = time.process_time()
        dsir.fit_importance_estimator(num_tokens_to_fit="all")
        dsir.compute_importance_weights()
        seconds = time.process_time() - began
        weight = np.load(Path(folder) / "log_importance_weights" / "0.npy")
        words = np.load(Path(folder) / "perexample_metadata" / "0.npy")
    np.savez(out, weight=weight, words=words)
    facts = {"cpu_seconds": seconds, "otherwise": otherwise, "documents": len(texts)}
    versions = {name: version(name) for name in ("data-selection", "nltk")}
    print(json.dumps(facts | {"versions": versions}))


def read(path: str) -> list[dict[str, Any]]:
    """Return the records of a file of JSON lines."""
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


if __name__ == "__main__":
    main(*sys.argv[1:])
