"""Several ways to choose documents, over one pool and with one budget, side by side.

A way to choose is a ``Selector``: the stages that score a document, and the column by whose rank
documents are kept. Everything else is the same for all: what a pool holds, how much is kept, which
row wins a tie. So a classifier, importance weights, coverage and a grading model are compared by
what they choose and, as arms of an ablation, by what a model learns from it.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from curation.engine.progress import Progress
from curation.errors import RecipeError
from curation.recipe import UNITS, Recipe, Step, keep_best, sample
from curation.score.target import read_target

if TYPE_CHECKING:
    import os

    import pyarrow as pa

    from curation.build import Build

#: Why a document of the pool is not in a set.
BECAUSE = "below the budget"
#: Name of the pool among the builds.
POOL = "pool"


@dataclass(frozen=True, kw_only=True)
class Pool:
    """What a selector may look at before it scores.

    recipe    of the pool
    build     its outcome
    folder    where models made of this pool are kept; made if absent
    workers   processes, as a recipe's run takes them
    progress  what a person sees
    """

    recipe: Recipe
    build: Build
    folder: Path
    workers: int | None = None
    progress: Progress = field(default_factory=Progress)

    def sample(self, documents: int, *steps: Step, seed: int = 0) -> Build:
        """Draw documents by a hash of their ids, and run further steps on these alone."""
        drawn = sample(documents=documents, seed=seed, because="not sampled")
        return self.run(dataclasses.replace(self.recipe, steps=[*self.recipe.steps, drawn, *steps]))

    def run(self, recipe: Recipe) -> Build:
        """Run a recipe over the same store."""
        return recipe.run(store=self.build.store.path, workers=self.workers, progress=self.progress)


@dataclass(frozen=True, kw_only=True)
class Selector:
    """One way to choose documents.

    column   the number that ranks them
    steps    what writes it; none where the pool has it already
    lowest   whether low numbers are the good ones, as with bits per byte
    prepare  makes more steps of the pool, before ``steps``: a classifier that is trained against a
             sample of it, say. Equal pools have to give equal steps; what takes long is kept in
             ``Pool.folder``
    """

    column: str
    steps: tuple[Step, ...] = ()
    lowest: bool = False
    prepare: Callable[[Pool], Sequence[Step]] | None = None

    def scored(self, pool: Recipe, prepared: Sequence[Step] = ()) -> Recipe:
        """Return the recipe that writes the column for every document of the pool."""
        return dataclasses.replace(pool, steps=[*pool.steps, *prepared, *self.steps])

    def recipe(
        self, pool: Recipe, budget: Mapping[str, int], prepared: Sequence[Step] = ()
    ) -> Recipe:
        """Return the recipe of the set: the pool's steps, this selector's, and the budget."""
        best = keep_best(self.column, because=BECAUSE, lowest=self.lowest, **budget)
        scored = self.scored(pool, prepared)
        return dataclasses.replace(scored, steps=[*scored.steps, best])


@dataclass(frozen=True, kw_only=True)
class Mining:
    """Sets that several selectors choose from one pool.

    pool       what they choose from; its steps write what the budget is counted in
    selectors  name → selector; the names are those of the sets' folders
    budget     one unit of ``keep_best`` and how much of it, such as {"tokens": 10_000_000}
    target     examples of what is looked for, to say how much nearer to them a set is than the
               pool; "" for none
    """

    pool: Recipe
    selectors: Mapping[str, Selector]
    budget: Mapping[str, int]
    target: str = ""

    def __post_init__(self) -> None:
        folders = [folder_name(name) for name in self.selectors]
        if not folders or "" in folders or POOL in folders or len(set(folders)) < len(folders):
            raise RecipeError(
                "the selectors of a mining run need names, which are folders too.",
                found=", ".join(map(repr, self.selectors)) or "no selector",
                remedy=f"letters and digits, no two alike, none called '{POOL}'",
            )
        # what a recipe or the target lacks is told before anything is read
        for selector in self.selectors.values():
            if selector.prepare is None:
                selector.recipe(self.pool, self.budget)
        if self.target:
            read_target(self.target)

    def describe(self) -> str:
        """Return pool, budget and selectors as text; nothing is run."""
        [(unit, amount)] = self.budget.items()
        lines = [f"budget: {amount:,} {unit}", "pool: " + _steps(self.pool.steps)]
        lines += [
            f"{name}: {'made of the pool, ' * (s.prepare is not None)}{_steps(s.steps)} → "
            f"{'lowest' if s.lowest else 'highest'} {s.column}"
            for name, s in self.selectors.items()
        ]
        return "\n".join(lines)

    def run(
        self,
        *,
        store: str | os.PathLike[str],
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> Mined:
        """Build every set. What the store holds already is not done again.

        Raises RecipeError where the pool has less than the budget, and what a recipe's run raises.
        """
        pool = self._look_at(store, workers, progress)
        self._check_budget(pool.build)
        self._check_target(pool.build)
        builds = {
            name: pool.run(selector.recipe(self.pool, self.budget, prepared))
            for name, selector, prepared in self._in_turn(pool)
        }
        return Mined(self, pool.build, builds)

    def scores(
        self,
        *,
        store: str | os.PathLike[str],
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> pl.DataFrame:
        """Return the id of every document of the pool, and its rank by every selector.

        A column for each selector, by its name: the number by which it ranks, turned round where
        low numbers are good, so that higher is better everywhere; null where it has none.
        """
        pool = self._look_at(store, workers, progress)
        table = pool.build.documents(columns=["id"]).collect()
        for name, selector, prepared in self._in_turn(pool):
            scored = pool.run(selector.scored(self.pool, prepared))
            found = scored.documents(columns=["id", selector.column]).collect()
            number = pl.col(selector.column).cast(pl.Float64) * (-1 if selector.lowest else 1)
            table = table.join(found.select("id", number.alias(name)), on="id", how="left")
        return table

    def _look_at(
        self, store: str | os.PathLike[str], workers: int | None, progress: Progress | None
    ) -> Pool:
        shown = progress or Progress()
        build = self.pool.run(store=store, workers=workers, progress=shown)
        folder = build.store.path / "selectors" / build.fingerprint
        return Pool(recipe=self.pool, build=build, folder=folder, workers=workers, progress=shown)

    def _in_turn(self, pool: Pool) -> Iterator[tuple[str, Selector, Sequence[Step]]]:
        """Yield each selector with the steps that it has made of the pool."""
        for number, (name, selector) in enumerate(self.selectors.items(), start=1):
            pool.progress.say(f"set {number} of {len(self.selectors)}: {name}")
            yield name, selector, selector.prepare(pool) if selector.prepare else ()

    def _check_budget(self, pool: Build) -> None:
        [(unit, amount)] = self.budget.items()
        there = int(_size_of(pool, unit).sum() or 0)
        if there < amount:
            raise RecipeError(
                "the budget is larger than the pool: every selector would take all of it.",
                budget=f"{amount:,} {unit}",
                pool=f"{there:,} {unit} in {pool.ledger().rows_out:,} documents",
                missing=f"{amount - there:,} {unit}",
                remedy="a smaller budget, or a larger pool",
            )

    def _check_target(self, pool: Build) -> None:
        """Warn where examples of the target stand in the pool."""
        if not self.target:
            return
        target = read_target(self.target)
        found_T = np.zeros(len(target), dtype=np.bool_)
        for text in _texts(pool):
            found_T |= target.found_in(text)
        target.warn_if_inside(found_T, "the pool")


@dataclass(frozen=True)
class Mined:
    """The sets of a mining run: name → build, and the pool they were chosen from."""

    mining: Mining
    pool: Build
    builds: Mapping[str, Build]

    def table(self) -> pl.DataFrame:
        """Return a row for each set, the pool first.

        set; documents; the budget's unit; mean_bytes of a document's text; kl_reduction in nats:
        how much nearer to the target the set's words are than those of random sets of its size
        (null without a target); build: its fingerprint.
        """
        rows = [self._row(name) for name in (POOL, *self.builds)]
        return pl.DataFrame(rows, schema_overrides={"kl_reduction": pl.Float64})

    def overlap(self) -> pl.DataFrame:
        """Return a row for each pair of sets: first, second, documents in both, jaccard."""
        kept = {name: build.documents(columns=["id"]) for name, build in self.builds.items()}
        ids = {name: set(rows.collect()["id"]) for name, rows in kept.items()}
        rows = []
        for first, second in itertools.combinations(ids, 2):
            both = len(ids[first] & ids[second])
            either = len(ids[first] | ids[second])
            rows.append((first, second, both, both / either if either else 0.0))
        names = {"first": pl.String, "second": pl.String, "both": pl.Int64, "jaccard": pl.Float64}
        return pl.DataFrame(rows, schema=names, orient="row")

    def write(self, folder: str | os.PathLike[str], *, progress: Progress | None = None) -> None:
        """Write the sets side by side, FOLDER/NAME, and the two tables beside them as CSV."""
        from curation.writers import JsonlFiles

        root = Path(folder)
        for name, build in self.builds.items():
            build.write(JsonlFiles(root / folder_name(name)), progress=progress)
        self.table().write_csv(root / "sets.csv")
        self.overlap().write_csv(root / "overlap.csv")

    def __str__(self) -> str:
        with pl.Config(
            tbl_rows=-1,
            tbl_cols=-1,
            tbl_hide_column_data_types=True,
            tbl_hide_dataframe_shape=True,
            tbl_width_chars=120,
            float_precision=3,
            thousands_separator=",",
        ):
            shown = f"{self.table()}\n"
            if len(self.builds) > 1:
                shown += f"share of documents that two sets have in common:\n{self._matrix()}\n"
            return shown + self._how_to_compare()

    def _matrix(self) -> pl.DataFrame:
        pairs = self.overlap()
        names = [pairs["first"][0], *pairs["second"].head(len(self.builds) - 1)]
        known = {(a, b): share for a, b, _, share in pairs.iter_rows()}
        columns = {b: [known.get((a, b)) for a in names[:-1]] for b in names[1:]}
        return pl.DataFrame({"": names[:-1], **columns})

    def _how_to_compare(self) -> str:
        first, *others = (build.fingerprint for build in self.builds.values())
        if not others:
            return ""
        return f"compare two: curation diff {first} {others[0]} --store {self.pool.store.path}"

    @cached_property
    def _kl_reduction(self) -> dict[str, float]:
        """Return how much nearer to the target each set is than chance; {} without a target."""
        from curation.score.distribution import kl_reductions

        chosen = {name: _texts(b) for name, b in self.builds.items() if b.ledger().rows_out}
        if not self.mining.target or not chosen:
            return {}
        return kl_reductions(self.mining.target, lambda: _texts(self.pool), chosen)

    def _row(self, name: str) -> dict[str, object]:
        build = self.pool if name == POOL else self.builds[name]
        [unit] = self.mining.budget
        size = _size_of(build, unit)
        documents = build.ledger().rows_out
        text_bytes = build.funnel()["bytes"][-1]
        return {
            "set": name,
            "documents": documents,
            unit: int(size.sum() or 0),
            "mean_bytes": text_bytes / documents if documents else None,
            "kl_reduction": self._kl_reduction.get(name),
            "build": build.fingerprint,
        }


def folder_name(name: str) -> str:
    """Return the folder of a set: its name with everything but letters, digits and dots as '-'."""
    return re.sub(r"[^\w.]+", "-", name).strip("-.")


def _steps(steps: Sequence[Step]) -> str:
    return " → ".join(map(str, steps)) or "as it is"


def _texts(build: Build) -> Iterator[pa.Array]:
    for _, _, batch in build.reader(build.outcomes[-1]).batches(["text"]):
        yield batch["text"]


def _size_of(build: Build, unit: str) -> pl.Series:
    """Return what each document of a build counts for in a unit of ``keep_best``."""
    if unit == "documents":
        return pl.Series([build.ledger().rows_out])
    return build.documents(columns=[UNITS[unit]]).collect()[UNITS[unit]]
