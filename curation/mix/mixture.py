"""How many tokens of each source or domain a corpus holds, and which documents those are.

A mixture decides how often each row is trained on: not at all, once, or several times. The shares
come from the user, from the sizes of the groups with a temperature, or from a share of general text
that is replayed; a group is repeated only so often. Which of a group's documents stay is decided by
a hash of the id, or by a column's rank.

Trade-off: a mixture is settled over all rows at once, with some 40 bytes of memory for each, so
that its counts are exact and do not depend on how rows lie in files.

N rows, G groups
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from curation.arrow import to_column, values_of
from curation.columns import columns
from curation.errors import RecipeError, nearest
from curation.mix.budget import MAX_EPOCHS
from curation.mix.schedule import REPLAY_SHARE, TOLERANCE
from curation.score.groups import Grouped, descending, numbers
from curation.stage import Reducer, Rows

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
Bool = npt.NDArray[np.bool_]

#: Columns of ``mixture_table``.
_TABLE = {
    "group": pl.String,
    **dict.fromkeys(("pool_documents", "pool_tokens", "wanted_tokens"), pl.Int64),
    **dict.fromkeys(("documents", "unique_tokens", "tokens"), pl.Int64),
    **dict.fromkeys(("share", "epochs"), pl.Float64),
}
#: Name of the group of rows that have no group.
NO_GROUP = ""
#: What stands between the parts of a group's name.
_BETWEEN = pa.scalar(" / ", pa.large_string())


@dataclass(frozen=True, kw_only=True)
class Mixture(Reducer):
    """Decide how often each document is trained on, so that groups get their shares of a budget.

    Groups are the values of a column, or of several. Their shares are those of ``shares``; the
    groups of general text that have none there share ``replay`` of the tokens; what is left is for
    all others. Groups that share do so by their size: tokens ** (1 / temperature), so that 1 keeps
    the proportions that they have, a higher temperature evens them out, and infinity makes them
    equal.

    A group that is too small is gone through several times, ``max_epochs`` at most. Documents are
    whole: a group gets at most the tokens of its share, and less by less than the next document
    that would have come. Rows without a token count, or with none, are not trained on.

    tokens      the budget, over all groups
    by          column of the groups: source, a domain, a cluster, a language. Null is a group too,
                called "". Several columns make a group of each combination: "law / en"
    shares      group → share of the tokens
    general     groups of general text
    replay      the share of all of those together that ``shares`` does not name
    max_epochs  how often a group may be gone through
    beyond      where that is not enough: ``error`` ends the run and says what is missing, ``cap``
                takes fewer tokens in all, ``spread`` gives them to the other groups in proportion
    best        column whose highest values are taken first; "" for documents drawn by hash
    seed        other seeds draw other documents

    reads    id           large_string  distinct
             token_count  uint32        as TokenCount writes it
    writes   mix_count    uint32        times that the row is trained on; 0 where it is not
    source   Conneau et al. 2020, arXiv:1911.02116, section 3.1 (their alpha is 1/temperature);
             Muennighoff et al. 2023, arXiv:2305.16264 (repetition)
    """

    version: ClassVar[int] = 1
    writes: ClassVar[pa.Schema] = columns("mix_count")

    tokens: int
    by: str | tuple[str, ...] = "source"
    shares: Mapping[str, float] = field(default_factory=dict)
    temperature: float = 1.0
    general: tuple[str, ...] = ()
    replay: float = REPLAY_SHARE
    max_epochs: float = MAX_EPOCHS
    beyond: Literal["error", "cap", "spread"] = "error"
    best: str = ""
    seed: int = 0

    @property
    def reads(self) -> tuple[str, ...]:  # type: ignore[override]
        """The group's column and the ranking one are named by the settings."""
        named = (*self.group_columns, *filter(None, [self.best]))
        return tuple(dict.fromkeys(("id", "token_count", *named)))

    @property
    def group_columns(self) -> tuple[str, ...]:
        """The columns of the groups."""
        return (self.by,) if isinstance(self.by, str) else self.by

    def check(self) -> None:
        laws = {
            "tokens are 1 or more": self.tokens >= 1,
            "by names a column": bool(self.by) and all(self.group_columns),
            "shares are 0 or more": min(self.shares.values(), default=0) >= 0,
            "shares, and replay where there is general text, sum to 1 at most": self._named
            <= 1 + TOLERANCE,
            "temperature is above 0": self.temperature > 0,
            "replay is a share": 0 <= self.replay <= 1,
            "max_epochs is above 0": self.max_epochs > 0,
            "seed is 0 or more": self.seed >= 0,
        }
        for law, kept in laws.items():
            if not kept:
                raise RecipeError(f"a mixture's {law}.", found=str(self))

    @property
    def _named(self) -> float:
        """The shares that are given, replay among them where it has groups to go to."""
        replayed = bool(set(self.general) - set(self.shares))
        return sum(self.shares.values()) + self.replay * replayed

    def reduce(self, rows: Rows) -> Iterator[pa.RecordBatch]:
        pool = _Pool.read(rows, self)
        wanted_G = self._wanted(pool)
        count_N = _counts(pool, wanted_G)
        rows.note(table=_table(pool, wanted_G, count_N))
        yield pa.RecordBatch.from_arrays([to_column(count_N)], schema=self.writes)

    def _wanted(self, pool: _Pool) -> F64:
        """Return float64[G]: tokens that each group is to give."""
        share_G = self._shares(pool)
        most_G = self.max_epochs * pool.tokens_G
        wanted_G = share_G * self.tokens
        short_G = wanted_G > most_G * (1 + TOLERANCE)
        if not short_G.any():
            return wanted_G
        if self.beyond == "error":
            raise self._too_small(pool, wanted_G, short_G)
        return (
            _spread(share_G, most_G, self.tokens)
            if self.beyond == "spread"
            else np.minimum(wanted_G, most_G)
        )

    def _shares(self, pool: _Pool) -> F64:
        """Return float64[G]: shares that sum to 1 at most."""
        for name in (*self.shares, *self.general):
            if name not in pool.names:
                raise RecipeError(
                    f"the mixture names the group '{name}', and no row has it in"
                    f" {', '.join(self.group_columns)}.",
                    present=", ".join(pool.names[:20]) or "no row at all",
                    remedy=nearest(name, pool.names),
                )
        size_G = _tempered(pool.tokens_G, self.temperature)
        named_G = np.array([self.shares.get(name, 0.0) for name in pool.names], dtype=np.float64)
        is_named_G, is_general_G = (
            np.array([name in groups for name in pool.names], dtype=np.bool_)
            for groups in (self.shares, self.general)
        )
        replayed_G = self.replay * _share(size_G, is_general_G & ~is_named_G)
        rest_G = max(0.0, 1 - self._named) * _share(size_G, ~is_general_G & ~is_named_G)
        return named_G + replayed_G + rest_G

    def _too_small(self, pool: _Pool, wanted_G: F64, short_G: Bool) -> RecipeError:
        nameless = f"no {' / '.join(self.group_columns)}"
        missing = [
            f"{name or nameless}: {wanted:,.0f} wanted, {self.max_epochs * has:,.0f} there"
            for name, wanted, has, short in zip(
                pool.names, wanted_G, pool.tokens_G, short_G, strict=True
            )
            if short
        ]
        return RecipeError(
            f"the budget of {self.tokens:,} tokens is larger than the data.",
            missing="; ".join(missing[:5]) + ("; …" if len(missing) > 5 else ""),
            there=f"{int(pool.tokens_G.sum()):,} tokens in {len(pool.group_N):,} rows, gone"
            f" through {self.max_epochs:g} times at most",
            remedy="lower tokens, raise max_epochs, or beyond='spread' (others give more) or"
            " 'cap' (fewer tokens)",
        )


def mixture_table(notes: Mapping[str, Any]) -> pl.DataFrame:
    """Return what a mixture is made of, from ``build.notes()["Mixture"]``.

    group; pool_documents and pool_tokens: what there was; wanted_tokens: its share of the budget;
    documents and unique_tokens: what is trained on, repetitions aside; tokens: with them; share: of
    all those tokens; epochs: how often the group is gone through.
    """
    return pl.DataFrame(notes["table"], schema=_TABLE)


# ---------------------------------------------------------------- shares


def _tempered(tokens_G: F64, temperature: float) -> F64:
    if math.isinf(temperature):
        return (tokens_G > 0).astype(np.float64)
    # divided first: large counts to a great power would be infinite
    size_G: F64 = (tokens_G / max(1.0, tokens_G.max(initial=0))) ** (1 / temperature)
    return size_G


def _share(size_G: F64, among_G: Bool) -> F64:
    """Return each group's share among some of the groups, 0 for the others."""
    size_G = np.where(among_G, size_G, 0)
    total = size_G.sum()
    return size_G / total if total else size_G


def _spread(share_G: F64, most_G: F64, tokens: int) -> F64:
    """Return tokens by share where a group's limit goes to the others in proportion."""
    full_G, left = np.zeros(len(share_G), dtype=np.bool_), float(tokens)
    while True:
        rest_G = left * _share(share_G, ~full_G)
        over_G = ~full_G & (rest_G > most_G)
        if not over_G.any():
            return np.where(full_G, most_G, rest_G)
        full_G |= over_G
        left = max(0.0, tokens - float(most_G[full_G].sum()))


# ---------------------------------------------------------------- documents


@dataclass(frozen=True, eq=False)
class _Pool:
    """All rows, as far as a mixture looks at them.

    grouped  their groups, and the order by hash inside of each
    count_N  int64[N]   tokens; 0 for a row that takes no part
    first_N  uint64[N]  what decides the order before the hash does; None for nothing
    """

    grouped: Grouped
    count_N: I64
    first_N: U64 | None

    @property
    def names(self) -> tuple[str, ...]:
        """The groups, in the order of their names."""
        return self.grouped.name_G

    @property
    def group_N(self) -> npt.NDArray[np.int32]:  # noqa: N802
        """int32[N]: group of each row."""
        return self.grouped.group_R

    @property
    def tokens_G(self) -> F64:  # noqa: N802
        """float64[G]: tokens of each group."""
        sums = np.bincount(self.group_N, weights=self.count_N, minlength=len(self.names))
        return sums.astype(np.float64)

    @classmethod
    def read(cls, rows: Rows, mixture: Mixture) -> _Pool:
        def named(batch: pa.RecordBatch) -> pa.Array:
            values = (batch[name].cast(pa.large_string()) for name in mixture.group_columns)
            filled = (pc.fill_null(value, NO_GROUP) for value in values)
            return pc.binary_join_element_wise(*filled, _BETWEEN)

        grouped = Grouped.made_of(rows, mixture.group_columns, mixture.seed, named)
        count_N = np.zeros(rows.count, dtype=np.int64)
        for part, values, valid in numbers(rows, "token_count"):
            count_N[part] = np.where(valid, values_of(values), 0)
        if not mixture.best:
            return cls(grouped, count_N, None)
        first_N, ranked_N = descending(rows, mixture.best)
        first_N[~ranked_N] = np.uint64(2**64 - 1)
        return cls(grouped, count_N, first_N)


def _counts(pool: _Pool, wanted_G: F64) -> U32:
    """Return uint32[N]: times that each row is trained on."""
    order = pool.grouped.in_order(pool.count_N > 0, pool.first_N)
    count_N = np.zeros(len(pool.count_N), dtype=np.uint32)
    for group, (start, stop) in enumerate(pairwise(pool.grouped.starts(order).tolist())):
        members = order[start:stop]
        total = int(pool.count_N[members].sum())
        if not total:
            continue
        # a share such as 0.25 of 400 may come out a hair below 100
        times, left = divmod(math.floor(wanted_G[group] * (1 + 1e-12)), total)
        upto = np.cumsum(pool.count_N[members])
        count_N[members] = times
        count_N[members[: int(np.searchsorted(upto, left, side="right"))]] += 1
    return count_N


def _table(pool: _Pool, wanted_G: F64, count_N: U32) -> list[dict[str, Any]]:
    """Return a row for each group: what there was, and what is trained on."""
    groups = len(pool.names)
    able_N, used_N = pool.count_N > 0, count_N > 0
    trained_G = np.bincount(pool.group_N, weights=pool.count_N * count_N, minlength=groups)
    facts = {
        "pool_documents": np.bincount(pool.group_N[able_N], minlength=groups),
        "pool_tokens": pool.tokens_G,
        "wanted_tokens": np.floor(wanted_G),
        "documents": np.bincount(pool.group_N[used_N], minlength=groups),
        "unique_tokens": np.bincount(
            pool.group_N[used_N], weights=pool.count_N[used_N], minlength=groups
        ),
        "tokens": trained_G,
    }
    total = trained_G.sum()
    return [
        {
            "group": pool.names[g],
            **{name: int(values[g]) for name, values in facts.items()},
            "share": float(trained_G[g] / total) if total else 0.0,
            "epochs": float(trained_G[g] / pool.tokens_G[g]) if pool.tokens_G[g] else 0.0,
        }
        for g in range(groups)
    ]
