"""Dialogues that go beside documents through one recipe, and are not rewritten as these are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from curation.arrow import is_valid
from curation.columns import columns
from curation.stage import ERROR, PARENT, Rewriter

_TEXT, _KIND = "text", "is_dialogue"


@dataclass(frozen=True, kw_only=True)
class BesideDialogues(Rewriter):
    """Rewrite the documents by another rewriter; let a dialogue become a text as it is.

    A dialogue is a row of ``Instructions(..., into="dialogue")``: what judges documents before
    found no text in it. Each makes one row; the columns in which the rewriter tells how it made a
    row are null there.

        Recipe(
            source=[Jsonl("medicine.jsonl"), Instructions("lima.jsonl", into="dialogue")],
            steps=[
                TextSize(),
                keep((col("word_count") >= 50) | col("dialogue").is_not_null(), because="short"),
                BesideDialogues(rewriter=ReadingComprehension()),
                TextSize(),
                DialogueShare(ratio=1.0),
                keep(col("is_blended"), because="dialogues beyond their share"),
            ],
        )

    rewriter  what documents are rewritten by

    reads     what the rewriter reads
    may_read  dialogue  large_string  and what the rewriter may read
    writes    what the rewriter writes, and is_dialogue (bool)
    """

    version: ClassVar[int] = 1

    rewriter: Rewriter

    @property
    def reads(self) -> tuple[str, ...]:  # type: ignore[override]
        """What the rewriter reads."""
        return self.rewriter.reads

    @property
    def may_read(self) -> tuple[str, ...]:  # type: ignore[override]
        """What the rewriter may read, and the dialogue."""
        return (*self.rewriter.may_read, "dialogue")

    @property
    def writes(self) -> pa.Schema:
        """What the rewriter writes, and whether the row is a dialogue."""
        return pa.schema([*self.rewriter.writes, *columns(_KIND)])

    def model_files(self) -> tuple[str, ...]:
        return self.rewriter.model_files()

    def rewrite(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        is_dialogue_N = is_valid(batch["dialogue"])
        document_D, dialogue_D = np.flatnonzero(~is_dialogue_N), np.flatnonzero(is_dialogue_N)
        names = [n for n in batch.schema.names if n in (*self.reads, *self.rewriter.may_read)]
        made = self.rewriter.rewrite(batch.select(names).take(pa.array(document_D)))
        parent = np.concatenate([document_D[made[PARENT].to_numpy()], dialogue_D])
        texts = batch["dialogue"].take(pa.array(dialogue_D))
        rows = {PARENT: pa.array(parent).cast(pa.int32())}
        for field in made.schema:
            if field.name != PARENT:
                others = texts if field.name == _TEXT else pa.nulls(len(texts), field.type)
                rows[field.name] = pa.concat_arrays([made[field.name], others])
        rows[_KIND] = pa.array([False] * len(made) + [True] * len(texts), pa.bool_())
        error = [pa.field(ERROR, pa.large_string())] if ERROR in rows else []
        schema = pa.schema([pa.field(PARENT, pa.int32()), *self.writes, *error])
        whole = pa.RecordBatch.from_arrays([rows[name] for name in schema.names], schema=schema)
        return whole.take(pa.array(np.argsort(parent, kind="stable")))
