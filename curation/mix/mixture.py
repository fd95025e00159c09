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
from curation.stage import Reducer, Rows

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]
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


@dataclass(frozen=True, kw_only=True)
class Mixture(Reducer):
    """Decide how often each document is trained on, so that groups get their shares of a budget.

    Groups are the values of a column. Their shares are those of ``shares``; what these leave is
    for the groups not named, by their size: tokens ** (1 / temperature), so that 1 keeps the
    proportions that they have, a higher temperature evens them out, and infinity makes them equal.
    With ``general`` the groups of general text share ``replay`` of the tokens, all others the rest.

    A group that is too small is gone through several times, ``max_epochs`` at most. Documents are
    whole: a group gets at most the tokens of its share, and less by less than the next document
    that would have come. Rows without a token count, or with none, are not trained on.

    tokens      the budget, over all groups
    by          column of the groups: source, a domain, a cluster, a language. Null is a group too
    shares      group → share of the tokens; groups not named share what is left
    general     groups of general text
    replay      the share of all of them together
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
    by: str = "source"
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
        return tuple(dict.fromkeys(("id", "token_count", self.by, *filter(None, [self.best]))))

    def check(self) -> None:
        laws = {
            "tokens are 1 or more": self.tokens >= 1,
            "by names a column": bool(self.by),
            "shares are 0 or more and sum to 1 at most": min(self.shares.values(), default=0) >= 0
            and sum(self.shares.values()) <= 1 + TOLERANCE,
            "temperature is above 0": self.temperature > 0,
            "replay is a share": 0 <= self.replay <= 1,
            "max_epochs is above 0": self.max_epochs > 0,
            "groups are given shares, or are named as general text, not both": not (
                self.shares and self.general
            ),
            "seed is 0 or more": self.seed >= 0,
        }
        for law, kept in laws.items():
            if not kept:
                raise RecipeError(f"a mixture's {law}.", found=str(self))

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
                    f"the mixture names the group '{name}', and no row has it in '{self.by}'.",
                    present=", ".join(pool.names[:20]) or "no row at all",
                    remedy=nearest(name, pool.names),
                )
        size_G = _tempered(pool.tokens_G, self.temperature)
        if self.general:
            general_G = np.isin(pool.names, self.general)
            return self.replay * _share(size_G, general_G) + (1 - self.replay) * _share(
                size_G, ~general_G
            )
        named_G = np.array([self.shares.get(name, -1.0) for name in pool.names], dtype=np.float64)
        rest = max(0.0, 1 - sum(self.shares.values()))
        return np.where(named_G >= 0, named_G, rest * _share(size_G, named_G < 0))

    def _too_small(self, pool: _Pool, wanted_G: F64, short_G: Bool) -> RecipeError:
        missing = [
            f"{name or 'no ' + self.by}: {wanted:,.0f} wanted, {self.max_epochs * has:,.0f} there"
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

    names      the groups, in the order of their names
    group_N    int64[N]    group of each row
    count_N    int64[N]    tokens; 0 for a row that takes no part
    rank_N2    uint64[N, 2]  rows of a group are taken in ascending order of these
    """

    names: list[str]
    group_N: I64
    count_N: I64
    rank_N2: npt.NDArray[np.uint64]

    @property
    def tokens_G(self) -> F64:  # noqa: N802
        """float64[G]: tokens of each group."""
        sums = np.bincount(self.group_N, weights=self.count_N, minlength=len(self.names))
        return sums.astype(np.float64)

    @classmethod
    def read(cls, rows: Rows, mixture: Mixture) -> _Pool:
        found: dict[str, int] = {}
        parts: list[tuple[I64, I64, npt.NDArray[np.uint64]]] = [
            (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 2), np.uint64))
        ]
        for batch in rows.batches(*mixture.reads):
            coded = pc.fill_null(batch[mixture.by].cast(pa.large_string()), NO_GROUP)
            coded = coded.dictionary_encode()
            number = [found.setdefault(name, len(found)) for name in coded.dictionary.to_pylist()]
            group_N = np.array(number, dtype=np.int64)[values_of(coded.indices)]
            count_N = values_of(pc.fill_null(batch["token_count"].cast(pa.int64()), 0))
            parts.append((group_N, count_N, _rank(batch, mixture)))
        group_N, count_N, rank_N2 = (np.concatenate(part) for part in zip(*parts, strict=True))
        names = sorted(found)
        place = np.zeros(len(found), dtype=np.int64)
        place[[found[name] for name in names]] = np.arange(len(names))
        return cls(names, place[group_N], count_N, rank_N2)


def _rank(batch: pa.RecordBatch, mixture: Mixture) -> npt.NDArray[np.uint64]:
    """Return uint64[N, 2]: the ranking column's key, best first, and a hash of the id."""
    from curation.engine.best import ascending_key, id_hash

    rank_N2 = np.zeros((len(batch), 2), dtype=np.uint64)
    rank_N2[:, 1] = id_hash(batch["id"], mixture.seed)
    if mixture.best:
        known = ~values_of(pc.is_null(batch[mixture.best], nan_is_null=True))
        rank_N2[:, 0] = np.uint64(2**64 - 1)
        rank_N2[known, 0] = ~ascending_key(batch[mixture.best].filter(to_column(known)))
    return rank_N2


def _counts(pool: _Pool, wanted_G: F64) -> U32:
    """Return uint32[N]: times that each row is trained on."""
    order = np.lexsort((pool.rank_N2[:, 1], pool.rank_N2[:, 0], pool.group_N))
    start_G1 = np.searchsorted(pool.group_N[order], np.arange(len(pool.names) + 1))
    count_N = np.zeros(len(order), dtype=np.uint32)
    for group, (start, stop) in enumerate(pairwise(start_G1.tolist())):
        members = order[start:stop]
        members = members[pool.count_N[members] > 0]
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
