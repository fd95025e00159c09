"""How many dialogues go beside the documents of a corpus."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.arrow import to_column, values_of
from curation.columns import columns
from curation.errors import RecipeError
from curation.mix.budget import salted_hash_of_ids
from curation.stage import Reducer, Rows


@dataclass(frozen=True, kw_only=True)
class DialogueShare(Reducer):
    """Choose dialogues, by a hash of their ids, until they are so much beside the documents.

    AdaptLLM mixes reading comprehension with general instructions 1:1 (medicine, law) or 1:2
    (finance), and does not say in which unit. What a model learns from is tokens, and a dialogue
    may be a tenth of a document or ten times it, so the default unit is bytes of text, which are
    nearly in proportion to tokens and need no tokenizer; ``documents`` counts dialogues and
    documents.

    All documents stay. Dialogues are taken in the order of their hashes up to the first that would
    go beyond: a higher ratio takes all that a lower one does. Where there are too few, all are
    taken, and a warning says so. What came out stands in the build's record.

    ratio  dialogues for one of the documents, in the unit
    unit   text_bytes or documents
    seed   another seed, other dialogues

    reads    id           large_string  distinct
             is_dialogue  bool          as BesideDialogues writes it; null is a document
             text_bytes   uint64        as TextSize writes it
    writes   is_blended   bool          whether the row is part of the blend
    source   Cheng et al. 2024, arXiv:2309.09530, section 3 (ratios)
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("id", "is_dialogue", "text_bytes")
    writes: ClassVar[pa.Schema] = columns("is_blended")

    ratio: float = 1.0
    unit: Literal["text_bytes", "documents"] = "text_bytes"
    seed: int = 0

    def check(self) -> None:
        if not 0 <= self.ratio < float("inf") or self.seed < 0:
            raise RecipeError(
                "DialogueShare takes a ratio and a seed of 0 or more.",
                found=f"ratio={self.ratio}, seed={self.seed}",
            )

    def reduce(self, rows: Rows) -> Iterator[pa.RecordBatch]:
        kind, size, key = [], [], []
        for batch in rows.batches("id", "is_dialogue", "text_bytes"):
            is_dialogue = pc.fill_null(batch["is_dialogue"], False)
            kind.append(values_of(is_dialogue).astype(np.bool_))
            size.append(values_of(pc.fill_null(batch["text_bytes"], 0)).astype(np.int64))
            key.append(salted_hash_of_ids(batch["id"], "dialogue", self.seed))
        is_dialogue_N = np.concatenate([np.empty(0, np.bool_), *kind])
        bytes_N = np.concatenate([np.empty(0, np.int64), *size])
        key_N = np.concatenate([np.empty(0, np.uint64), *key])
        size_N = bytes_N if self.unit == "text_bytes" else np.ones_like(bytes_N)
        budget = self.ratio * float(size_N[~is_dialogue_N].sum())
        dialogue_D = np.flatnonzero(is_dialogue_N)
        order_D = dialogue_D[np.argsort(key_N[dialogue_D], kind="stable")]
        taken_D = order_D[np.cumsum(size_N[order_D]) <= budget]
        blended_N = ~is_dialogue_N
        blended_N[taken_D] = True
        there = int(size_N[dialogue_D].sum())
        if there < budget:
            warnings.warn(
                f"DialogueShare: {there:,} {self.unit} of dialogues for {budget:,.0f} wanted: all "
                "are taken. Give more files, or lower the ratio.",
                stacklevel=2,
            )
        rows.note(
            documents=int((~is_dialogue_N).sum()),
            document_bytes=int(bytes_N[~is_dialogue_N].sum()),
            dialogues_there=len(dialogue_D),
            dialogues=len(taken_D),
            dialogue_bytes=int(bytes_N[taken_D].sum()),
            wanted_ratio=self.ratio,
            unit=self.unit,
            ratio=_ratio(int(size_N[taken_D].sum()), int(size_N[~is_dialogue_N].sum())),
        )
        yield pa.RecordBatch.from_arrays([to_column(blended_N)], schema=self.writes)


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
