"""Which documents are measured on and never trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc

from curation.arrow import is_valid, to_column
from curation.columns import columns
from curation.errors import RecipeError
from curation.mix.budget import salted_hash_of_ids
from curation.stage import Annotator


@dataclass(frozen=True, kw_only=True)
class HeldOut(Annotator):
    """Mark a share of the rows as kept out of training, by a hash of their id.

    A row's side depends on its id, the share and the seed alone, so that it stays where it is when
    rows come or go; a larger share holds out all that a smaller one does. With ``by="group_id"``
    all copies of a document go to one side, so that no text is measured on whose twin was trained
    on; then about ``frac`` of the groups are held out. It has to come after the deduplication.

    reads    id        large_string  distinct
             group_id  large_string  null allowed: the row is a group of its own; only by group_id
    writes   held_out  bool          null where there is neither
    """

    version: ClassVar[int] = 1
    writes: ClassVar[pa.Schema] = columns("held_out")

    #: Share of the rows, or of the groups.
    frac: float = 0.01
    #: Another seed holds out other rows.
    seed: int = 0
    #: What a row goes by: itself, or its group of copies.
    by: Literal["id", "group_id"] = "id"

    @property
    def reads(self) -> tuple[str, ...]:  # type: ignore[override]
        """The columns that these settings look at."""
        return ("id",) if self.by == "id" else ("id", "group_id")

    def check(self) -> None:
        if not 0 < self.frac < 1:
            raise RecipeError("HeldOut takes a share between 0 and 1.", found=f"frac={self.frac}")

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        name = batch["id"]
        if self.by == "group_id":
            name = pc.coalesce(batch["group_id"], name)
        value_N = salted_hash_of_ids(name, "held out", self.seed)
        held_N = value_N < int(self.frac * 2.0**64)
        return pa.RecordBatch.from_arrays([to_column(held_N, is_valid(name))], schema=self.writes)
