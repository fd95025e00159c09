"""What a model has lost and won between two evaluations of the same items.

A mean that stays where it was can hide as many items lost as won, so for measures of right and
wrong the items that changed sides are counted too, with the probability that chance alone moved so
many more one way than the other (McNemar 1947, exact by the binomial distribution).
"""

from __future__ import annotations

import polars as pl

from curation.errors import RecipeError
from curation.evaluate.measures import Evaluation

#: Quantities (the part of a measure's name after the last "/") that say of an item whether it was
#: right: 1 is right, and less, as where several choices are equally likely, is wrong.
RIGHT_OR_WRONG = ("accuracy", "greedy_match")

_SCHEMA = {
    "measure": pl.String,
    "unit": pl.String,
    "better": pl.String,
    "before": pl.Float64,
    "after": pl.Float64,
    "change": pl.Float64,
    "worse": pl.Float64,
    "items": pl.Int64,
    "only_before": pl.Int64,
    "only_after": pl.Int64,
    "right_to_wrong": pl.Int64,
    "wrong_to_right": pl.Int64,
    "mcnemar_p": pl.Float64,
}


def forgetting(before: Evaluation, after: Evaluation) -> pl.DataFrame:
    """Return a row for each measure of either evaluation, those of the first one first.

    Items are matched by their names, and both values are of the items in both evaluations.

    returns  measure, unit, better
             before, after           values over the items in common; null where there are none
             change                  after less before
             worse                   by how much the value got worse; below 0 where it got better
             items                   in both
             only_before, only_after items of one evaluation alone, such as ones too long
             right_to_wrong, wrong_to_right
                                     items that changed sides; null for measures that know none
             mcnemar_p               probability of so uneven a change by chance, two-sided; null so
    raises   RecipeError where a measure or an item is not the same in both
    """
    names = list(dict.fromkeys([*before.measures, *after.measures]))
    _check_same(before, after)
    matched = _matched(before, after)
    parts = {key[0]: part for key, part in matched.group_by("measure", maintain_order=True)}
    rows = []
    for name in names:
        measure = before.measures.get(name) or after.measures[name]
        part = parts.get(name, matched.clear())
        both = part.filter(pl.col("value").is_not_null() & pl.col("value_after").is_not_null())
        values = _value(both, ""), _value(both, "_after")
        change = None if None in values else values[1] - values[0]  # type: ignore[operator]
        rows.append(
            {
                "measure": name,
                "unit": measure.unit,
                "better": measure.better,
                "before": values[0],
                "after": values[1],
                "change": change,
                "worse": None if change is None else -measure.sign * change,
                "items": len(both),
                "only_before": int(part["value_after"].is_null().sum()),
                "only_after": int(part["value"].is_null().sum()),
                **_sides(name, both),
            }
        )
    return pl.DataFrame(rows, schema=_SCHEMA)


def flips(before: Evaluation, after: Evaluation) -> pl.DataFrame:
    """Return the items that changed sides: measure, item, source, flip.

    flip  "right to wrong" or "wrong to right"
    """
    _check_same(before, after)
    both = _matched(before, after).drop_nulls(["value", "value_after"])
    both = both.filter(pl.col("measure").map_elements(is_right_or_wrong, return_dtype=pl.Boolean))
    was, now = _right("value"), _right("value_after")
    said = pl.when(was).then(pl.lit("right to wrong")).otherwise(pl.lit("wrong to right"))
    return both.filter(was != now).select("measure", "item", "source", said.alias("flip"))


def is_right_or_wrong(measure: str) -> bool:
    """Return whether a measure says of each item whether it was right."""
    return measure.rsplit("/", 1)[-1].startswith(RIGHT_OR_WRONG)


def mcnemar(lost: int, won: int) -> float:
    """Return the two-sided exact probability of so uneven a split of changes, each as likely.

    lost, won  items that changed from right to wrong, and from wrong to right
    """
    changed = lost + won
    ways = tail = 1
    for number in range(min(lost, won)):
        ways = ways * (changed - number) // (number + 1)  # of choosing one more
        tail += ways
    return min(1.0, float(2 * tail / (1 << changed)))


def _check_same(before: Evaluation, after: Evaluation) -> None:
    for name in before.measures.keys() & after.measures.keys():
        one, other = before.measures[name], after.measures[name]
        if (one.better, one.unit) != (other.better, other.unit):
            raise RecipeError(
                f"the measure {name} is not the same in both evaluations.",
                found=f"{one.unit}, better {one.better}; {other.unit}, better {other.better}",
                remedy="evaluate both models with one panel",
            )


def _matched(before: Evaluation, after: Evaluation) -> pl.DataFrame:
    """Return measure, item, source, value, weight, value_after, weight_after; null where absent."""
    keys = ["measure", "item"]
    matched = before.items.join(
        after.items,
        on=keys,
        how="full",
        coalesce=True,
        suffix="_after",
        maintain_order="left_right",
    )
    # two weights of one item: other texts that were given the same names
    other = matched.filter(pl.col("weight") != pl.col("weight_after"))
    if len(other):
        row = other.row(0, named=True)
        raise RecipeError(
            f"the item {row['item']} of {row['measure']} is not the same in both evaluations.",
            found=f"weights {row['weight']:g} and {row['weight_after']:g}, {len(other):,} items",
            remedy="evaluate both models with one panel",
        )
    return matched.with_columns(pl.coalesce("source", "source_after")).drop("source_after")


def _value(both: pl.DataFrame, suffix: str) -> float | None:
    weight = float(both[f"weight{suffix}"].sum())
    return float(both[f"value{suffix}"].sum()) / weight if weight else None


def _right(column: str) -> pl.Expr:
    return pl.col(column) >= 1


def _sides(name: str, both: pl.DataFrame) -> dict[str, float | None]:
    if not is_right_or_wrong(name) or both.is_empty():
        return {"right_to_wrong": None, "wrong_to_right": None, "mcnemar_p": None}
    was, now = _right("value"), _right("value_after")
    lost = both.filter(was & ~now).height
    won = both.filter(~was & now).height
    return {"right_to_wrong": lost, "wrong_to_right": won, "mcnemar_p": mcnemar(lost, won)}
