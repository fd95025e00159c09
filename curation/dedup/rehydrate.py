"""How often to train on a document, by how many copies of it there were (FineWeb2's rehydration).

Deduplication throws away that a text was copied often, and copies say something: FineWeb2 found
that groups of some sizes pass the later quality rules more often than others, and repeats the
documents of those groups. Its weights follow from the removal rate of each size; they are
published for 1,856 languages, and ``weights_of`` computes them for a corpus of one's own.

    build = recipe.run(store)
    UpsamplingWeight(weights=tuple(weights_of(build).items()))

Trade-off: a rate is taken from the rows that stayed in deduplication and is as noisy as their
number is small, for which the moving average is no cure: look at ``group_size_counts`` first.

S sizes in ascending order, W sizes in the window of the moving average
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from curation.arrow import is_valid, to_column, values_of
from curation.columns import columns
from curation.errors import RecipeError, ResourceError, nearest
from curation.stage import Annotator

if TYPE_CHECKING:
    from curation.build import Build

U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]

#: size from which on → times, as the head of FineWeb2's README has it for all languages.
FINEWEB2_FIXED = ((1, 1), (2, 2), (3, 3), (5, 5), (100, 8), (1000, 1))
#: Sizes that the published weights are averaged over, and the most times that they go up to.
WINDOW = 5
MAX_REPS = 10
#: In the published counts the largest sizes are one bin as soon as it holds 1 group in 1000.
TAIL_FRAC = 0.001


@dataclass(frozen=True, kw_only=True)
class UpsamplingWeight(Annotator):
    """Say how often a row is to be trained on, from the size of its group of copies.

    The weight is that of the largest size in the table that is not above the row's; below the
    smallest it is 1. It is meant for rows that stay: a copy that was not dropped has the size of
    its group too, and would be repeated as often.

    weights   (size, times) pairs, sizes ascending; FineWeb2's fixed scheme by default
    table     path of a JSON file, language → {size: times}, as FineWeb2 publishes it
    language  which of the table's languages, such as "ita_Latn"

    reads    group_size         uint64  null allowed
    writes   upsampling_weight  uint32  1 or more; 1 where group_size is null
    source   Penedo et al. 2025, arXiv:2506.20920 (FineWeb2); github.com/huggingface/fineweb-2
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("group_size",)
    writes: ClassVar[pa.Schema] = columns("upsampling_weight")

    weights: tuple[tuple[int, int], ...] = FINEWEB2_FIXED
    table: str = ""
    language: str = ""

    def check(self) -> None:
        if bool(self.table) != bool(self.language):
            raise RecipeError(
                "UpsamplingWeight takes a table and a language together, or neither.",
                found=f"table={self.table!r}, language={self.language!r}",
                remedy='table="weights.json", language="ita_Latn"',
            )
        if self.table and self.weights != FINEWEB2_FIXED:
            raise RecipeError(
                "UpsamplingWeight takes weights or a table of them, not both.",
                found=f"table={self.table!r}, weights={self.weights!r}",
            )
        _check_weights(self.weights, "its setting weights")
        if self.table:
            _ = self.in_use

    def model_files(self) -> tuple[str, ...]:
        return (self.table,) if self.table else ()

    @cached_property
    def in_use(self) -> tuple[tuple[int, int], ...]:
        """The (size, times) pairs that apply, read from the table where there is one."""
        return _language_weights(self.table, self.language) if self.table else self.weights

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        size = batch["group_size"]
        start_S = np.array([start for start, _ in self.in_use], dtype=np.uint64)
        times_S = np.array([1, *(times for _, times in self.in_use)], dtype=np.uint32)
        weight_N: U32 = times_S[np.searchsorted(start_S, values_of(size), side="right")]
        weight_N[~is_valid(size)] = 1
        return pa.RecordBatch.from_arrays([to_column(weight_N)], schema=self.writes)


# ---------------------------------------------------------------- weights of a corpus


def rehydration_weights(
    sizes: Sequence[int],
    removal: Sequence[float],
    overall: float,
    *,
    max_reps: int = MAX_REPS,
    window: int = WINDOW,
) -> dict[int, int]:
    """Return size from which on → times, by FineWeb2's formula.

    A size whose rows are removed as often as all rows, or more often, counts 1; the one removed
    least ``max_reps``; those between them in proportion. The values are smoothed by a moving
    average, the first and the last half window left as they are, and rounded (a half to even).

    sizes    ascending; the last stands for all from there on
    removal  share (or percentage) of each size's rows that the rules after deduplication removed
    overall  the same share (or percentage) of all rows
    """
    if not len(sizes):
        return {}
    rate_S = np.asarray(removal, dtype=np.float64)
    gap = rate_S.min() - overall
    raised_S = rate_S < overall
    reps_S = np.ones(len(rate_S))
    reps_S[raised_S] = 1 + (max_reps - 1) * (rate_S[raised_S] - overall) / gap
    times = np.round(_smoothed(reps_S, window)).astype(int).tolist()
    # Fewer sizes than the window make more values than sizes; FineWeb2 takes the first of them.
    starts = [n for n in range(len(sizes)) if n == 0 or times[n] != times[n - 1]]
    return {int(sizes[n]): times[n] for n in starts}


def _smoothed(reps_S: npt.NDArray[np.float64], window: int) -> npt.NDArray[np.float64]:
    """Return the moving average as numpy's mode "same" has it: as long as the longer of the two."""
    half = window // 2
    smooth = np.convolve(reps_S, np.ones(window) / window, mode="same")
    if half:
        smooth[:half], smooth[-half:] = reps_S[:half], reps_S[-half:]
    return smooth


def group_size_counts(
    of: Build | pl.DataFrame | pl.LazyFrame, *, tail_frac: float = TAIL_FRAC
) -> pl.DataFrame:
    """Count groups by their size, over the rows that stayed in deduplication.

    of         a build, or a frame with ``group_size``; with ``duplicate_of`` only its rows
               without one count, and ``kept`` (bool) says which passed the later rules
    tail_frac  the largest sizes are one row as soon as they hold so large a share of the groups

    returns    group_size, group_count, row_count (copies included); of a build or where ``kept``
               is there also kept_count and removed_frac. Ascending by size; rows without a
               group_size are left out. A row that a rule before the deduplication dropped counts
               as removed where an earlier deduplication had given it a size
    """
    rows = _staying(of)
    group_count = pl.len().cast(pl.UInt64)
    bins = (
        rows.group_by("group_size")
        .agg(group_count=group_count, kept_count=pl.col("kept").sum().cast(pl.UInt64))
        .sort("group_size", descending=True)
        .with_columns(from_here=pl.col("group_count").cum_sum())
    )
    # The tail begins at the largest size from which on there are enough groups.
    enough = pl.col("from_here") >= tail_frac * pl.col("group_count").sum()
    tail = pl.col("group_size").filter(enough).max()
    counts = (
        bins.with_columns(
            row_count=pl.col("group_size") * pl.col("group_count"),
            group_size=pl.min_horizontal("group_size", tail),
        )
        .drop("from_here")
        .group_by("group_size")
        .sum()
        .sort("group_size")
        .collect()
    )
    removed = 1 - pl.col("kept_count") / pl.col("group_count")
    shown = ["group_size", "group_count", "row_count"]
    if _knows_kept(of):
        shown += ["kept_count", "removed_frac"]
    return counts.with_columns(removed_frac=removed).select(shown)


def weights_of(
    of: Build | pl.DataFrame | pl.LazyFrame,
    max_reps: int = MAX_REPS,
    *,
    window: int = WINDOW,
    tail_frac: float = TAIL_FRAC,
) -> dict[int, int]:
    """Return FineWeb2's weights for a corpus: size from which on → times.

    of  a build, or a frame as ``group_size_counts`` takes it, with the column ``kept``
    """
    if not _knows_kept(of):
        raise ResourceError(
            "weights need to know which rows the later rules kept.",
            remedy="a build, or a frame with a column kept (bool) beside group_size",
        )
    counts = group_size_counts(of, tail_frac=tail_frac)
    if not len(counts):
        return {}
    overall = 1 - sum(counts["kept_count"].to_list()) / sum(counts["group_count"].to_list())
    return rehydration_weights(
        counts["group_size"].to_list(),
        counts["removed_frac"].to_list(),
        overall,
        max_reps=max_reps,
        window=window,
    )


def _staying(of: Build | pl.DataFrame | pl.LazyFrame) -> pl.LazyFrame:
    """Return group_size and kept of the rows that no step marked as a copy."""
    if isinstance(of, pl.DataFrame | pl.LazyFrame):
        rows = of.lazy()
    else:
        kept = _sized(of.documents(columns=["group_size"])).with_columns(kept=True)
        rows = pl.concat([kept, _sized(of.dropped()).with_columns(kept=False)])
    names = rows.collect_schema().names()
    if "kept" not in names:
        rows = rows.with_columns(kept=True)
    if "duplicate_of" in names:
        rows = rows.filter(pl.col("duplicate_of").is_null())
    return rows.filter(pl.col("group_size").is_not_null())


def _sized(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return group_size and duplicate_of, nulls where a frame has no such column."""
    names = rows.collect_schema().names()
    kinds = {"group_size": pl.UInt64, "duplicate_of": pl.String}
    absent = {n: pl.lit(None, dtype=kind) for n, kind in kinds.items() if n not in names}
    return rows.with_columns(**absent).select(*kinds)


def _knows_kept(of: Build | pl.DataFrame | pl.LazyFrame) -> bool:
    if isinstance(of, pl.DataFrame | pl.LazyFrame):
        return "kept" in of.lazy().collect_schema().names()
    return True


# ---------------------------------------------------------------- tables


def _language_weights(path: str, language: str) -> tuple[tuple[int, int], ...]:
    try:
        with open(path, encoding="utf-8") as file:
            table = json.load(file)
    except OSError as error:
        raise ResourceError(
            f"the table of upsampling weights cannot be read: {error.strerror}.",
            path=path,
            remedy="check the path in the recipe",
        ) from error
    except ValueError as error:
        raise _not_a_table(path, f"no JSON: {error}") from error
    if not isinstance(table, Mapping):
        raise _not_a_table(path, f"a {type(table).__name__} and no object")
    if language not in table:
        raise RecipeError(
            f"the table of upsampling weights has no language {language!r}.",
            path=path,
            present=f"{len(table)} languages",
            remedy=nearest(language, table),
        )
    try:
        weights = tuple(sorted((int(size), int(times)) for size, times in table[language].items()))
    except (AttributeError, TypeError, ValueError) as error:
        raise _not_a_table(path, f"{language}: {error}") from error
    _check_weights(weights, f"{path}, {language}")
    return weights


def _not_a_table(path: str, found: str) -> ResourceError:
    return ResourceError(
        "a table of upsampling weights is not in FineWeb2's form.",
        path=path,
        found=found,
        wanted='{"ita_Latn": {"1": 1, "2": 2}, ...}',
    )


def _check_weights(weights: tuple[tuple[int, int], ...], where: str) -> None:
    sizes = [pair[0] for pair in weights if len(pair) == 2]
    fine = len(sizes) == len(weights) and sizes == sorted({*sizes}) and bool(weights)
    if not fine or any(s < 0 or s >= 2**64 or not 1 <= times < 2**32 for s, times in weights):
        raise RecipeError(
            f"UpsamplingWeight cannot use the weights of {where}.",
            found=f"{weights!r}",
            wanted="(size, times) pairs: sizes ascend, times are 1 or more",
        )
