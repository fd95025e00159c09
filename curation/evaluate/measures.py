"""What an evaluation yields: a value for each item of each measure.

Everything that compares two models (a verdict, a forgetting panel, a table) works on this one
table, so that whatever can be measured can be compared. It imports no torch.

A measure's value over items is the sum of their values over the sum of their weights: bits over
bytes for text, the mean for tasks.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from curation.errors import RecipeError

#: One row for each measure and item.
#:
#: measure  name of the measure, SET/QUANTITY: cybersecurity/bits_per_byte, seceval/correct_prob
#: item     name of the item, unique within its measure; the same for every model
#: source   where the item comes from, for tables by source; "" where there is none
#: value    what is summed: bits of a document, the metric of a task's item
#: weight   what it is divided by: UTF-8 bytes of a document, 1 for a task's item
ITEMS = pa.schema(
    [
        ("measure", pa.large_string()),
        ("item", pa.large_string()),
        ("source", pa.large_string()),
        ("value", pa.float64()),
        ("weight", pa.float64()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What is measured, and which way is better.

    name    SET/QUANTITY, as in the column ``measure``
    unit    of its value, for people: bits per byte, probability, nats
    better  lower or higher
    chance  value of a model that guesses; None where there is no such value
    """

    name: str
    unit: str
    better: str = "higher"
    chance: float | None = None

    def __post_init__(self) -> None:
        if self.better not in ("lower", "higher"):
            raise RecipeError("a measure is better lower or higher.", found=repr(self.better))

    @property
    def sign(self) -> int:
        """1 where more is better, -1 where less is."""
        return 1 if self.better == "higher" else -1


@dataclass(frozen=True)
class Evaluation:
    """Everything that was measured of one model.

    measures  name → measure
    items     a frame of the schema ITEMS
    skipped   measure → items left out and why, such as {"seceval": {"longer than the context": 3}}
    facts     what belongs to no item: repetition, seconds, tokens scored
    """

    measures: dict[str, Measure]
    items: pl.DataFrame
    skipped: dict[str, dict[str, int]]
    facts: dict[str, float]

    def values(self, *, by_source: bool = False) -> pl.DataFrame:
        """Return value and number of items of each measure, or of each of its sources."""
        keys = ["measure", "source"] if by_source else ["measure"]
        return self.items.group_by(keys, maintain_order=True).agg(
            (pl.col("value").sum() / pl.col("weight").sum()).alias("value"),
            pl.len().alias("items"),
        )
