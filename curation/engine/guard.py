"""Runs one stage on one batch so that a bad row is a value and never an exception.

A stage that raises is run again on halves of the batch until the rows at fault stand alone. A
stage that takes its worker down cannot be caught here: the announcements tell the parent where it
was, and the next attempt is told which batches to take row by row and which rows to leave out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation import stage as contract
from curation.errors import RecipeError
from curation.stage import ERROR, Counters, guarded

#: Slots of an announcement: row ticks (also stage.PULSE), step number, batch, row (-1: the whole
#: batch), rows done, payload bytes done, whether kernels have been compiled.
TICK, STEP, BATCH, ROW, ROWS_DONE, BYTES_DONE, COMPILES = range(7)
SLOTS = 8


@dataclass(frozen=True)
class Quarantine:
    """What earlier attempts at a task have shown.

    batches  (step, batch) to be taken row by row
    rows     (step, batch, row) that took the worker down → what happened
    """

    batches: frozenset[tuple[int, int]] = frozenset()
    rows: dict[tuple[int, int, int], str] = field(default_factory=dict)


class Watch:
    """A task's announcements: where it is, for the parent to read if the worker dies or hangs."""

    def __init__(self, slots: Counters, quarantine: Quarantine) -> None:
        self.slots, self.quarantine = slots, quarantine
        contract.PULSE = slots

    def at(self, step: int, batch: int, row: int = -1) -> None:
        """Announce the step and batch (or row) that is about to be worked on."""
        self.slots[STEP], self.slots[BATCH], self.slots[ROW] = step, batch, row
        self.slots[TICK] += 1

    def done(self, rows: int, payload_bytes: int) -> None:
        """Count finished rows, for the progress display."""
        self.slots[ROWS_DONE] += rows
        self.slots[BYTES_DONE] += payload_bytes
        self.slots[TICK] += 1


@dataclass(frozen=True)
class Call:
    """One stage on one batch: what to call, where it stands, and the rows' places in the batch."""

    run: Callable[[pa.RecordBatch], pa.RecordBatch]
    schema: pa.Schema
    name: str
    step: int
    batch: int
    places: npt.NDArray[np.int64]


def run_guarded(call: Call, rows: pa.RecordBatch, watch: Watch) -> tuple[pa.RecordBatch, pa.Array]:
    """Return (columns as ``call.schema``, error texts), row for row; RecipeError if misshapen."""
    if (call.step, call.batch) in watch.quarantine.batches:
        pieces = [_one_row(call, rows, index, watch) for index in range(rows.num_rows)]
    else:
        watch.at(call.step, call.batch)
        pieces = _halving(call, rows)
    made = [_shaped(call, columns) for columns, _ in pieces]
    errors = [_errors(columns, error) for columns, error in pieces]
    if len(pieces) == 1:
        return made[0], errors[0]
    if not pieces:
        return _nulls(call.schema, 0), pa.nulls(0, pa.large_string())
    return pa.concat_batches(made), pa.concat_arrays(errors)


_Piece = tuple[pa.RecordBatch, str | None]


def _one_row(call: Call, rows: pa.RecordBatch, index: int, watch: Watch) -> _Piece:
    place = int(call.places[index])
    known = watch.quarantine.rows.get((call.step, call.batch, place))
    if known is not None:
        return _nulls(call.schema, 1), known
    watch.at(call.step, call.batch, place)
    return _halving(call, rows.slice(index, 1))[0]


def _halving(call: Call, rows: pa.RecordBatch) -> list[_Piece]:
    made, error = guarded(call.run, rows)
    if error is None:
        _check_shape(call, made, rows.num_rows)
        return [(made, None)]
    if rows.num_rows <= 1:
        return [(_nulls(call.schema, rows.num_rows), error)]
    middle = rows.num_rows // 2
    return [*_halving(call, rows.slice(0, middle)), *_halving(call, rows.slice(middle))]


def _check_shape(call: Call, made: pa.RecordBatch, rows: int) -> None:
    wanted = [(f.name, f.type) for f in call.schema]
    found = [(f.name, f.type) for f in made.schema if f.name != ERROR]
    if found != wanted or made.num_rows != rows:
        raise RecipeError(
            f"step {call.step} {call.name} did not return what it declares.",
            declared=f"{rows} rows of {', '.join(f'{n} {t}' for n, t in wanted)}",
            found=f"{made.num_rows} rows of {', '.join(f'{n} {t}' for n, t in found)}",
            remedy="one value for each row, in the declared type; see curation.testing.check_stage",
        )


def _shaped(call: Call, made: pa.RecordBatch) -> pa.RecordBatch:
    columns = [made[name] for name in call.schema.names]
    return pa.RecordBatch.from_arrays(columns, schema=call.schema)


def _errors(made: pa.RecordBatch, error: str | None) -> pa.Array:
    if error is not None:
        return pa.array([error] * made.num_rows, pa.large_string())
    if ERROR in made.schema.names:
        return made[ERROR].cast(pa.large_string())
    return pa.nulls(made.num_rows, pa.large_string())


def _nulls(schema: pa.Schema, rows: int) -> pa.RecordBatch:
    columns = [pa.nulls(rows, f.type) for f in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
