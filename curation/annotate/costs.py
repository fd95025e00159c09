"""What asking language models has cost: requests and tokens of a build's stages, and the money."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from curation.build import Build

#: A stage that asks a model writes these three columns under one name.
_REQUESTS, _PROMPT, _COMPLETION = "_request_count", "_prompt_tokens", "_completion_tokens"
#: What is summed up of them.
_SUMS = ("rows", "requests", "prompt_tokens", "completion_tokens")
#: Key of a reducer's note of what its scorer has spent: name → these sums.
SPENT = "model_costs"


def judge_costs(
    build: Build, prices: Mapping[str, tuple[float, float]] | None = None
) -> pl.DataFrame:
    """Return what each stage of a build that asks a model has spent so far.

    Counted is every row that the store holds a reply for: those that later went are there, and
    those that are in error. Attempts whose shard was never finished are not. A scorer that asks on
    behalf of another stage (ClusterBandit) stands under that stage.

    prices   name of the stage (what its columns begin with) → money for a million tokens of
             prompts and of replies
    returns  step, stage, name, rows, requests, prompt_tokens, completion_tokens, money; a row a
             stage; money is null where no price is given

        judge_costs(Build.open("store"), {"judge": (0.15, 0.60)})
    """
    import polars as pl

    given = prices or {}
    rows = [
        _row(step, name, spent, given.get(name))
        for step in build.facts["steps"]
        for name, spent in _spent(build, step)
    ]
    schema = {
        "step": pl.UInt16,
        "stage": pl.String,
        "name": pl.String,
        **dict.fromkeys(_SUMS, pl.UInt64),
        "money": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def asking_names(columns: Iterable[str]) -> list[str]:
    """Return the names under which all three counts are among the columns."""
    known = dict.fromkeys(columns)
    names = [c.removesuffix(_REQUESTS) for c in known if c.endswith(_REQUESTS)]
    return [name for name in names if {name + _PROMPT, name + _COMPLETION} <= known.keys()]


def sums_of(table: pa.Table | pa.RecordBatch, name: str) -> dict[str, int]:
    """Return the rows of a table that took a request, and the sums of the counts of one name."""
    import pyarrow.compute as pc

    counts = [table[name + end] for end in (_REQUESTS, _PROMPT, _COMPLETION)]
    rows = pc.fill_null(pc.greater(counts[0], 0), False)
    sums = [pc.sum(column).as_py() or 0 for column in (rows, *counts)]
    return dict(zip(_SUMS, sums, strict=True))


def added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """Return two accounts in one."""
    return {sum_name: one.get(sum_name, 0) + other.get(sum_name, 0) for sum_name in _SUMS}


def money_for(prompts: Any, replies: Any, prices: tuple[float, float]) -> Any:
    """Return what tokens of prompts and of replies cost, numbers or polars expressions.

    prices  money for a million tokens of each
    """
    return (prompts * prices[0] + replies * prices[1]) / 1e6


def show_cost(row: Mapping[str, Any]) -> str:
    """Return one row of ``judge_costs`` as a line for people."""
    money = f", {row['money']:,.2f} in money" if row["money"] else ""
    return (
        f"{row['stage']} ({row['name']}): {row['rows']:,} rows, {row['requests']:,} requests, "
        f"{row['prompt_tokens']:,} + {row['completion_tokens']:,} tokens{money}"
    )


def print_cost(build: Build, name: str, prices: tuple[float, float]) -> None:
    """Tell, at the end of a run, what the stage with this name has spent."""
    costs = judge_costs(build, {name: prices})
    for row in costs.iter_rows(named=True):
        if row["name"] == name:
            print(show_cost(row), file=sys.stderr, flush=True)


def _spent(build: Build, step: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, int]]]:
    """Yield what a step has spent under each name: by its columns, or by its own account."""
    import pyarrow.parquet as pq

    for name in asking_names(step["writes"]):
        total = added({}, {})
        for shard in build.shards:
            path = build.store.newest_part(step["group"], shard.key)
            if path is not None:
                columns = [name + end for end in (_REQUESTS, _PROMPT, _COMPLETION)]
                total = added(total, sums_of(pq.read_table(path, columns=columns), name))
        yield name, total
    yield from build.notes().get(step["name"], {}).get(SPENT, {}).items()


def _row(
    step: Mapping[str, Any],
    name: str,
    spent: Mapping[str, int],
    price: tuple[float, float] | None,
) -> dict[str, object]:
    tokens = (spent["prompt_tokens"], spent["completion_tokens"])
    money = None if price is None else money_for(*tokens, price)
    return {"step": step["step"], "stage": step["name"], "name": name, **spent, "money": money}
