"""How many tokens a text has, in the vocabulary of the model that is to be trained."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa

from curation.annotate.lists import Stamp, stamp
from curation.columns import columns
from curation.mix.tokenizer import Tokenizer
from curation.stage import Annotator


@dataclass(frozen=True, kw_only=True)
class TokenCount(Annotator):
    """Count the tokens of a text, which is what budgets of tokens are summed over.

    tokenizer  a tokenizer.json of the ``tokenizers`` library, or a checkpoint's folder with one

    reads    text         large_string  any length; null allowed
    writes   token_count  uint32        tokens, no special ones and no end mark; null for a null
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("text",)
    writes: ClassVar[pa.Schema] = columns("token_count")

    tokenizer: str

    def check(self) -> None:
        Tokenizer.open(self.tokenizer, end=0)

    def model_files(self) -> tuple[str, ...]:
        path = Path(self.tokenizer)
        return (str(path / "tokenizer.json" if path.is_dir() else path),)

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        valid = batch["text"].is_valid()
        words = _opened(self.tokenizer, stamp(*self.model_files()))
        encoded = words.encode(batch["text"].filter(valid).to_pylist())
        count_N = np.zeros(len(batch), dtype=np.uint32)
        known_N = valid.to_numpy(zero_copy_only=False)
        count_N[known_N] = [len(ids) for ids in encoded]
        made = pa.array(count_N, mask=~known_N)
        return pa.RecordBatch.from_arrays([made], schema=self.writes)


@lru_cache(maxsize=4)
def _opened(path: str, _: Stamp) -> Tokenizer:
    return Tokenizer.open(path, end=0)  # no document is ended here
