"""Sampling by quality instead of cutting by it: QuRating's selection."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.arrow import is_valid, to_column, values_of
from curation.columns import COLUMNS
from curation.errors import RecipeError
from curation.score.random import gumbel
from curation.stage import Reducer, Rows

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class QualitySampling(Reducer):
    """Turn a score into a rank that draws documents, the better ones oftener.

    The score is standardised over all rows, divided by the temperature, and a Gumbel draw from a
    hash of the id is added. The highest of the sum are a sample without replacement in which a
    document's chance is proportional to exp(z / temperature):

        QualitySampling(column="judge_grade"),
        keep_best("sampling_score", tokens=1_000_000_000, because="not drawn"),

    Near 0 it takes the best alone, which the paper found to be worse than drawing at random; a high
    temperature draws evenly.

    column       the score; higher is better
    temperature  tau; the paper's best is 2.0
    seed         another seed is another draw
    name         of the column written

    reads    id              large_string  distinct
    writes   sampling_score  float32       null where the score is null or not finite
    source   Wettig et al. 2024, arXiv:2402.09739 (QuRating)
    """

    version: ClassVar[int] = 1

    column: str
    temperature: float = 2.0
    seed: int = 0
    name: str = "sampling_score"

    @property
    def reads(self) -> tuple[str, ...]:  # type: ignore[override]
        """The id, and the score."""
        return ("id", self.column)

    @property
    def writes(self) -> pa.Schema:
        """The one column, under its name."""
        return pa.schema([pa.field(self.name, pa.float32())])

    def check(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise RecipeError(
                "QualitySampling takes a temperature above 0.",
                found=f"temperature={self.temperature}",
                remedy="2.0, or keep_best on the score itself for the best alone",
            )
        known = COLUMNS.get(self.name, (pa.float32(), ""))[0]
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name) or known != pa.float32():
            raise RecipeError(
                "QualitySampling cannot give its column that name.",
                found=f"name={self.name!r}",
                remedy="such as sampling_score",
            )
        kind = COLUMNS.get(self.column, (pa.float32(), ""))[0]
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
            raise RecipeError(
                "QualitySampling takes a column of numbers.", found=f"{self.column} is {kind}"
            )

    def reduce(self, rows: Rows) -> Iterator[pa.RecordBatch]:
        mean, spread = self._moments(rows)
        for batch in rows.batches("id", self.column):
            score_N, is_score_N = _numbers(batch[self.column])
            with np.errstate(over="ignore", invalid="ignore"):
                z_N = (score_N - mean) / spread if spread > 0 else np.zeros(len(batch))
                drawn_N = (z_N / self.temperature + gumbel(batch["id"], self.seed)).astype("f4")
            made = to_column(drawn_N, is_score_N & np.isfinite(drawn_N))
            yield pa.RecordBatch.from_arrays([made], schema=self.writes)

    def _moments(self, rows: Rows) -> tuple[float, float]:
        """Return mean and standard deviation; fsum rounds once, in whatever order rows come."""

        def numbers() -> Iterator[float]:
            for batch in rows.batches(self.column):
                score_N, is_score_N = _numbers(batch[self.column])
                yield from score_N[is_score_N].tolist()

        count = sum(1 for _ in numbers())
        if not count:
            return 0.0, 0.0
        try:
            mean = math.fsum(numbers()) / count
            return mean, math.sqrt(math.fsum((x - mean) ** 2 for x in numbers()) / count)
        except OverflowError:
            raise RecipeError(
                f"the scores in {self.column!r} are too large to be standardised.",
                remedy="bring them to a smaller scale first",
            ) from None


def _numbers(column: pa.Array) -> tuple[F64, npt.NDArray[np.bool_]]:
    """Return (float64[N], bool[N] which are finite numbers)."""
    is_score_N = is_valid(column)
    value_N = np.where(is_score_N, values_of(column), 0).astype(np.float64)
    is_score_N = is_score_N & np.isfinite(value_N)
    return np.where(is_score_N, value_N, 0.0), is_score_N
