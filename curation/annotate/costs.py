"""What asking language models has cost: requests and tokens of a build's stages, and the money."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from curation.build import Build

#: A stage that asks a model writes these three columns under one name.
_REQUESTS, _PROMPT, _COMPLETION = "_request_count", "_prompt_tokens", "_completion_tokens"


def judge_costs(
    build: Build, prices: Mapping[str, tuple[float, float]] | None = None
) -> pl.DataFrame:
    """Return what each stage of a build that asks a model has spent so far.

    Counted is every row that the store holds a reply for: those that later went are there, and
    those that are in error. Attempts whose shard was never finished are not.

    prices   name of the stage (what its columns begin with) → money for a million tokens of
             prompts and of replies
    returns  step, stage, name, rows, requests, prompt_tokens, completion_tokens, money; a row a
             stage; money is null where no price is given

        judge_costs(Build.open("store"), {"judge": (0.15, 0.60)})
    """
    import polars as pl

    given = prices or {}
    rows = [
        _cost(build, step, name.removesuffix(_REQUESTS), given)
        for step in build.facts["steps"]
        for name in step["writes"]
        if name.endswith(_REQUESTS)
        and {name.replace(_REQUESTS, _PROMPT), name.replace(_REQUESTS, _COMPLETION)}
        <= {*step["writes"]}
    ]
    counts = ("rows", "requests", "prompt_tokens", "completion_tokens")
    schema = {
        "step": pl.UInt16,
        "stage": pl.String,
        "name": pl.String,
        **dict.fromkeys(counts, pl.UInt64),
        "money": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


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


def _cost(
    build: Build, step: Mapping[str, Any], name: str, prices: Mapping[str, tuple[float, float]]
) -> dict[str, object]:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    names = [f"{name}{end}" for end in (_REQUESTS, _PROMPT, _COMPLETION)]
    rows, sums = 0, [0, 0, 0]
    for shard in build.shards:
        path = build.store.newest_part(step["group"], shard.key)
        if path is None:
            continue
        table = pq.read_table(path, columns=names)
        rows += pc.sum(pc.fill_null(pc.greater(table[names[0]], 0), False)).as_py() or 0
        found = [pc.sum(table[column]).as_py() or 0 for column in names]
        sums = [total + more for total, more in zip(sums, found, strict=True)]
    price = prices.get(name)
    money = None if price is None else (sums[1] * price[0] + sums[2] * price[1]) / 1e6
    return {
        "step": step["step"],
        "stage": step["name"],
        "name": name,
        "rows": rows,
        "requests": sums[0],
        "prompt_tokens": sums[1],
        "completion_tokens": sums[2],
        "money": money,
    }
