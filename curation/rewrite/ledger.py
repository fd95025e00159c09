"""What language models were asked in a store, and what it has cost: the account of its replies.

Every reply that was paid for is a row of STORE/replies (journal.py), whichever build or recipe it
was for, and whether its shard was ever finished; ``judge_costs`` tells of one build's columns.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from curation.annotate.costs import money_for
from curation.rewrite.journal import FILE_NAME, reading
from curation.stage import REPLIES_FOLDER

if TYPE_CHECKING:
    import polars as pl

_SUMS = """
select model, purpose, count(*), sum(prompt_tokens), sum(completion_tokens), sum(seconds),
       min(asked_at), max(asked_at)
from replies group by model, purpose order by model, purpose
"""


def reply_costs(
    store: str | os.PathLike[str], prices: tuple[float, float] | None = None
) -> pl.DataFrame:
    """Return what each model was asked for each purpose, and what it cost.

    store    folder of a store, or of a journal
    prices   money for a million tokens of prompts and of replies
    returns  model, purpose, requests, prompt_tokens, completion_tokens, seconds (of all requests,
             which ran beside each other), tokens_per_second (of replies, within a request), first
             and last (UTC), money (null where no prices are given)

        reply_costs("store", prices=(0.15, 0.60))
    """
    import polars as pl

    folder = Path(store)
    if not (folder / FILE_NAME).exists():
        folder = folder / REPLIES_FOLDER
    with reading(str(folder)) as file:
        rows = file.execute(_SUMS).fetchall()
    schema = {
        **dict.fromkeys(("model", "purpose"), pl.String),
        **dict.fromkeys(("requests", "prompt_tokens", "completion_tokens"), pl.UInt64),
        "seconds": pl.Float64,
        **dict.fromkeys(("first", "last"), pl.String),
    }
    found = pl.DataFrame(rows, schema=schema, orient="row")
    tokens, seconds = pl.col("completion_tokens"), pl.col("seconds")
    money = pl.lit(None, pl.Float64)
    if prices is not None:
        money = money_for(pl.col("prompt_tokens"), tokens, prices)
    return found.with_columns(
        pl.col("first", "last").str.to_datetime("%Y-%m-%d %H:%M:%S", time_zone="UTC", strict=False),
        tokens_per_second=pl.when(seconds > 0).then(tokens / seconds),
        money=money,
    ).select(
        *("model", "purpose", "requests", "prompt_tokens", "completion_tokens", "seconds"),
        *("tokens_per_second", "first", "last", "money"),
    )
