"""Which rows of a batch are still there, why the others went, and what each one weighs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.arrow import Bool_N, is_valid, to_column, to_strings, values_of
from curation.engine.plan import SELECTION, Phase
from curation.engine.view import BatchColumns, Positions, as_mask


@dataclass
class StepCount:
    """What is left after a step, and how many rows went at it.

    documents  rows of the source that the rows left come from
    bytes      of their text, or of their payload where no text has been extracted yet
    dropped    rows that a rule dropped
    errors     rows, still there before the step, that it could not do
    """

    rows: int = 0
    documents: int = 0
    bytes: int = 0
    dropped: int = 0
    errors: int = 0


@dataclass
class Tally:
    """Counts of one shard: before the first step, and after each; kept in the selection part."""

    before: StepCount = field(default_factory=StepCount)
    steps: dict[int, StepCount] = field(default_factory=dict)

    def facts(self) -> dict[str, object]:
        """Return the counts as JSON types."""
        steps = {str(number): vars(count) for number, count in self.steps.items()}
        return {"before": vars(self.before), "steps": steps}


class BatchState:
    """The rows of one batch on their way through the steps.

    columns  the batch's columns
    before   the batch's rows of the selection so far, None where there is none
    weights  group whose ``bytes`` says what each row weighs
    root     group that holds ids and, for rewritten rows, which document each came from
    rows     positions of the rows still there, ascending
    sizes    uint64[N]: bytes of each row's text or payload
    """

    def __init__(
        self, columns: BatchColumns, before: pa.RecordBatch | None, root: str, weights: str
    ) -> None:
        self.columns, self.root, self._before = columns, root, before
        kept = np.ones(columns.rows, np.bool_) if before is None else as_mask(before["kept"])
        self.rows: Positions = np.flatnonzero(kept)
        self.sizes = np.zeros(columns.rows, dtype=np.uint64)
        self.weigh(columns.get(weights, "bytes", None))
        self._gone: list[tuple[Positions, int, str]] = []
        self._wanted: Bool_N | None = None

    @classmethod
    def before(cls, phase: Phase, columns: BatchColumns) -> BatchState:
        """Return the state in which a batch comes to a phase."""
        selected = None
        if phase.before:
            selected = columns.view.reader(phase.before).read(columns.index, SELECTION.names)
        return cls(columns, selected, phase.space.root, phase.weights)

    def weigh(self, sizes: pa.Array) -> None:
        """Take the rows' bytes from a column; where it is null they stay as they are."""
        known = is_valid(sizes)
        self.sizes[known] = values_of(sizes)[known]

    def want_payload(self, wanted: Bool_N) -> None:
        """Say for which rows payload may be asked for later on."""
        self._wanted = wanted

    def offer_payload(self) -> None:
        """Tell the columns which rows to bring, should payload be read now for the first time."""
        if self._wanted is not None:
            self.columns.payload_rows = self.rows[self._wanted[self.rows]]

    def chosen(self, rows: Positions) -> Positions | None:
        """Return positions, or None if they are all rows of the batch."""
        return None if len(rows) == self.columns.rows else rows

    def keep(self, passing: Bool_N, step: int, because: str) -> int:
        """Drop the rows for which ``passing`` (bool[N]) is false; return how many went."""
        stays = passing[self.rows]
        gone = len(stays) - int(stays.sum())
        if gone:
            self._gone.append((self.rows[~stays], step, because))
            self.rows = self.rows[stays]
        return gone

    def count(self, count: StepCount) -> None:
        """Add what is left now to a step's count."""
        count.rows += len(self.rows)
        count.bytes += int(self.sizes[self.rows].sum())
        count.documents += self._documents()

    def _documents(self) -> int:
        if self.columns.view.space.source or len(self.rows) == 0:
            return len(self.rows)
        roots = self.columns.get(self.root, "root_id", self.chosen(self.rows))
        return int(pc.count_distinct(roots).as_py())

    def selection(self) -> pa.RecordBatch:
        """Return the batch's rows of the selection part."""
        kept = np.zeros(self.columns.rows, dtype=np.bool_)
        kept[self.rows] = True
        steps, which, names = self._earlier()
        for rows, step, because in self._gone:
            steps[rows] = step
            which[rows] = len(names)
            names.append(because)
        stayed = which < 0
        reasons = to_strings(names).take(to_column(which, ~stayed))
        arrays = [to_column(kept), to_column(steps, ~stayed), reasons]
        return pa.RecordBatch.from_arrays(arrays, schema=SELECTION)

    def _earlier(self) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.int32], list[str]]:
        """Return step, index of the reason (-1: still there) and reasons of the phases before."""
        if self._before is None:
            count = self.columns.rows
            return np.zeros(count, dtype=np.uint16), np.full(count, -1, dtype=np.int32), []
        encoded = self._before["because"].dictionary_encode()
        gone = is_valid(encoded.indices)
        which = np.where(gone, values_of(encoded.indices), np.int32(-1))
        steps = np.where(gone, values_of(self._before["step"]), np.uint16(0))
        return steps, which, encoded.dictionary.to_pylist()
