"""A verdict in words: what was run, each comparison, what helps and what does not, what to doubt.

Wins and losses are worded alike, and a tie says how large a difference would have been found.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from curation.ablate.verdict import Verdict

#: What the sentences call a verdict.
_VERBS = {
    "win": "helps",
    "loss": "hurts",
    "tie": "does not measurably help or hurt",
    "undecided": "is undecided in",
}

_HEADINGS = (
    *("arm", "measure", "difference", "interval"),
    *("p (Holm)", "verdict", "detectable", "same sign"),
)


def worded(verdict: Verdict) -> str:
    """Return the whole verdict as text."""
    from curation.ablate.verdict import COMPARISONS

    blocks = ["\n".join(_facts(verdict))]
    for kind, heading in COMPARISONS.items():
        rows = verdict.rows.filter(pl.col("comparison") == kind)
        if len(rows):
            against = f" {rows['against'][0]}" * (kind == "reference")
            lines = [f"{heading}{against}", *_table(verdict, rows), "", *_sentences(verdict, rows)]
            blocks.append("\n".join(lines))
    blocks.append("\n".join(_doubts(verdict)))
    return "\n\n".join(blocks)


def _facts(verdict: Verdict) -> Iterator[str]:
    facts, judging = verdict.facts, verdict.judging
    done = min(verdict.rows["repetitions"].to_list())
    asked = "" if done == facts.repetitions else f" (of {facts.repetitions} asked for)"
    yield f"Verdict: {facts.domain}"
    yield f"  model        {facts.model}, {facts.parameters:,} parameters"
    yield f"  tokens       {facts.tokens:,} for each arm"
    yield f"  repetitions  {done}{asked}, each with its own draw of documents and its own seed"
    yield f"  base         {facts.base}"
    for measure in verdict.measures.values():
        items = verdict.rows.filter(pl.col("measure") == measure.name)["items"][0]
        chance = "" if measure.chance is None else f", chance {measure.chance:.3g}"
        what = f"{measure.unit}, {measure.better} is better{chance}; {items:,} items"
        yield f"  measure      {measure.name}: {what}"
    yield (
        f"  intervals    {1 - judging.alpha:.0%}, one by one, for other draws, seeds and items of "
        "these kinds"
    )
    yield (
        f"  verdicts     Holm-corrected within a table, at {judging.alpha:.0%}; detectable is what "
        f"is found {judging.power:.0%} of the time"
    )


def _table(verdict: Verdict, rows: pl.DataFrame) -> Iterator[str]:
    pairwise = rows["comparison"][0] == "pairs"
    body = [_cells(verdict, row, pairwise) for row in rows.iter_rows(named=True)]
    width = [max(map(len, column)) for column in zip(_HEADINGS, *body, strict=True)]
    for cells in [_HEADINGS, *body]:
        padded = (f"{cell:<{size}}" for cell, size in zip(cells, width, strict=True))
        yield ("  " + "  ".join(padded)).rstrip()


def _cells(verdict: Verdict, row: dict[str, Any], pairwise: bool) -> Sequence[str]:
    arm = f"{row['arm']} - {row['against']}" if pairwise else row["arm"]
    places = _places(verdict, row["measure"])
    same = f"{row['agreeing_repetitions']} of {row['repetitions']}"
    start = (arm, row["measure"], f"{row['difference']:+.{places}f}")
    if row["p"] is None:
        return (*start, "-", "-", row["verdict"], "-", same)
    interval = f"{row['low']:+.{places}f} to {row['high']:+.{places}f}"
    p = f"{row['p_holm']:.3f}" if row["p_holm"] >= 0.001 else "<0.001"
    return (*start, interval, p, row["verdict"], f"{row['detectable']:.{places}f}", same)


def _places(verdict: Verdict, name: str) -> int:
    """Return the decimals that show two digits of the measure's smallest standard error."""
    rows = verdict.rows.filter((pl.col("measure") == name) & (pl.col("standard_error") > 0))
    least = rows["standard_error"].min()
    if not isinstance(least, float):
        return 4
    return min(max(1 - math.floor(math.log10(least)), 2), 8)


def _sentences(verdict: Verdict, rows: pl.DataFrame) -> Iterator[str]:
    """Yield a line for each comparison of two models: what it helps, hurts, and does neither to."""
    for (arm, against), part in rows.group_by("arm", "against", maintain_order=True):
        clauses = []
        for kind, verb in _VERBS.items():
            found = part.filter(pl.col("verdict") == kind)["measure"].to_list()
            if found:
                clauses.append(f"{verb} {', '.join(found)}")
        other = "" if against == "base" else f", against {against},"
        yield f"  {arm}{other} {'; '.join(clauses)}."


def _doubts(verdict: Verdict) -> Iterator[str]:
    yield "Signs that this should not be trusted"
    for sign in verdict.signs:
        yield f"  {sign.kind}: {sign.text}"
    for note in verdict.notes:
        yield f"  left out: {note}."
    if not verdict.signs and not verdict.notes:
        yield "  none was found."
