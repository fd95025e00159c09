"""A log of JSON lines that a run which was killed goes on with, as if it had not been.

Each line is a row with its ``step``. A run that starts again from a saved step drops what lies
beyond it, and a line that was written halfway, before it writes those steps anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

#: Columns of ``log.jsonl``.
#:
#: step               steps done
#: tokens             tokens seen
#: loss               nats per token, the mean of the steps since the last line
#: learning_rate      of the last of these steps
#: grad_norm          before clipping, the mean of these steps
#: tokens_per_second  over all devices, without evaluations and checkpoints; a compilation is out
#: mfu                model FLOPs utilisation, 0..1; null where no peak of the device is known
#: data_frac          share of the time that was spent waiting for batches
COLUMNS = {
    "step": pl.Int64,
    "tokens": pl.Int64,
    "loss": pl.Float64,
    "learning_rate": pl.Float64,
    "grad_norm": pl.Float64,
    "tokens_per_second": pl.Float64,
    "mfu": pl.Float64,
    "data_frac": pl.Float64,
}
#: Columns that tell how fast it went; two runs of the same settings differ in these only.
SPEED = ("tokens_per_second", "mfu", "data_frac")


class Log:
    """A file of JSON lines in the order of their steps."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows; one that was not written to its end is left out."""
        if not self.path.exists():
            return []
        whole = self.path.read_bytes().rpartition(b"\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def go_back(self, step: int) -> None:
        """Drop what was written of later steps."""
        kept = "".join(_line(row) for row in self.rows() if row["step"] <= step)
        temporary = self.path.with_name(f"{self.path.name}.tmp")
        temporary.write_text(kept)
        os.replace(temporary, self.path)

    def add(self, row: Mapping[str, Any]) -> None:
        """Write a line."""
        with self.path.open("a") as file:
            file.write(_line(row))

    def frame(self, columns: Mapping[str, Any] | None = None) -> pl.DataFrame:
        """Return the rows as a frame."""
        return pl.DataFrame(self.rows(), schema=columns, infer_schema_length=None)


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row) + "\n"
