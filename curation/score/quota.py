"""A rank by which every group of rows gets its share of any budget.

The rows of each group stand in one order. A row's score is minus the weight of its group that
comes before it, divided by the group's share. The rows above any one score are then, in each
group, those that fill its share to one common level: water filling. A group that ends below the
level is taken whole, and the rest of the budget goes to the others by the same rule.

G groups, R all rows, M rows that take part
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.arrow import Bool_N, to_column, values_of
from curation.columns import columns
from curation.errors import RecipeError
from curation.score.groups import Grouped, descending, numbers
from curation.stage import Reducer, Rows

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True)
class ClusterQuota(Reducer):
    """Rank rows so that the best of them, up to any budget, hold each group's share.

        Clusters(clusters=100),
        ClusterQuota(by="cluster_id", weight="text_bytes"),
        keep_best("quota_score", text_bytes=10_000_000, because="beyond its cluster's share"),

    Groups get equal shares; with ``alpha`` shares in proportion to size**alpha (1: as the pool
    has them; 0.5: between the two); or those that ``proportions`` gives, where a group that is
    not named gets nothing. A group that is too small is taken whole and the others share what it
    leaves. The budget's unit must be the weight: with another, shares hold only roughly. Shares
    are kept to about the last row of each group.

    by           column of the groups: cluster_id, source, language, any plain type
    weight       column of whole numbers that is shared out; "" for rows
    order        column of numbers: rows with the highest come first in their group; "" for an
                 order by hash
    alpha        power of a group's size; 0 for equal shares
    proportions  (group, share) pairs, such as (("news", 2.0), ("books", 1.0))
    seed         of the order by hash

    reads    id           large_string  distinct
             cluster_id   uint32        or what ``by`` names; a row where it is null has no score
             text_bytes   uint64        or what ``weight`` names; likewise
    writes   quota_score  float64       0 for the first row of each group, less for each further;
                                        null where a column that decides is null
    """

    version: ClassVar[int] = 1
    writes: ClassVar[pa.Schema] = columns("quota_score")

    by: str = "cluster_id"
    weight: str = "text_bytes"
    order: str = ""
    alpha: float = 0.0
    proportions: tuple[tuple[str, float], ...] = ()
    seed: int = 0

    @property
    def reads(self) -> tuple[str, ...]:  # type: ignore[override]
        """The id and the columns that the settings name."""
        named = (name for name in (self.by, self.weight, self.order) if name)
        return (*dict.fromkeys(("id", *named)),)

    def check(self) -> None:
        if not self.by or self.seed < 0 or not 0 <= self.alpha < float("inf"):
            raise RecipeError(
                "ClusterQuota takes a column for by=, and an alpha and a seed of 0 or more.",
                found=f"by={self.by!r}, alpha={self.alpha}, seed={self.seed}",
            )
        names = [name for name, _ in self.proportions]
        shares = [share for _, share in self.proportions]
        if len({*names}) != len(names) or not all(0 < s < float("inf") for s in shares):
            raise RecipeError(
                "ClusterQuota takes each group once, with a share above 0.",
                found=f"proportions={self.proportions!r}",
                remedy="leave a group out that is to get nothing",
            )
        if self.proportions and self.alpha:
            raise RecipeError(
                "ClusterQuota takes alpha or proportions, not both.",
                found=f"alpha={self.alpha}, proportions={self.proportions!r}",
            )

    def reduce(self, rows: Rows) -> Iterator[pa.RecordBatch]:
        grouped = Grouped.of(rows, self.by, self.seed)
        self._check_names(grouped)
        weight_R, able_R = self._weights(rows)
        first_R = None
        if self.order:
            first_R, ranked_R = descending(rows, self.order)
            able_R &= ranked_R
        row_M = grouped.in_order(able_R, first_R)
        before_M, size_G = _before(weight_R[row_M], grouped.starts(row_M))
        share_G = self._shares(grouped, size_G)
        score_R = np.full(rows.count, np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            score_R[row_M] = 0.0 - before_M / share_G[grouped.group_R[row_M]]
        at = 0
        for batch in rows.batches("id"):
            part = score_R[at : at + len(batch)]
            at += len(batch)
            yield pa.RecordBatch.from_arrays([to_column(part, ~np.isnan(part))], schema=self.writes)

    def _check_names(self, grouped: Grouped) -> None:
        wrong = [name for name, _ in self.proportions if name not in grouped.name_G]
        if wrong and len(grouped):
            raise RecipeError(
                f"ClusterQuota gives a share to {wrong[0]!r}, and no row has this value.",
                column=self.by,
                found=", ".join(grouped.name_G[:8]),
                remedy="spell the group as the column has it, or leave it out",
            )

    def _weights(self, rows: Rows) -> tuple[U64, Bool_N]:
        """Return each row's weight, and whether it has one."""
        weight_R = np.ones(rows.count, dtype=np.uint64)
        able_R = np.ones(rows.count, dtype=np.bool_)
        if not self.weight:
            return weight_R, able_R
        for part, values, valid in numbers(rows, self.weight):
            if not pa.types.is_integer(values.type):
                raise RecipeError(
                    f"ClusterQuota shares out whole numbers, and '{self.weight}' holds none.",
                    found=f"'{self.weight}' is {values.type}",
                    remedy='weight="text_bytes", "word_count" or "token_count"',
                )
            valid = valid & (values_of(values) >= 0)
            weight_R[part] = np.where(valid, values_of(values), 0).astype(np.uint64)
            able_R[part] = valid
        return weight_R, able_R

    def _shares(self, grouped: Grouped, size_G: F64) -> F64:
        """Return float64[G], the largest 1; NaN for a group that gets nothing."""
        if self.proportions:
            most = max(share for _, share in self.proportions)
            given = {name: share / most for name, share in self.proportions}
            return np.array([given.get(name, np.nan) for name in grouped.name_G])
        share_G: F64 = (size_G / max(size_G.max(initial=0.0), 1.0)) ** self.alpha
        return share_G


def _before(weight_M: U64, start_G: I64) -> tuple[F64, F64]:
    """Return what of its group comes before each row, and what each group comes to.

    weight_M  weights, group after group
    start_G   int64[G+1]  where each group begins
    """
    total = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(weight_M, dtype=np.uint64)])
    size_G = total[start_G[1:]] - total[start_G[:-1]]
    base_M = np.repeat(total[start_G[:-1]], np.diff(start_G))
    return (total[:-1] - base_M).astype(np.float64), size_G.astype(np.float64)
