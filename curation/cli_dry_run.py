"""``curation run --dry-run``: what the recipe's language models would be asked, for a person."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from curation.console import say

if TYPE_CHECKING:
    from curation.recipe import Recipe


def tell(
    loaded: Recipe,
    meant: tuple[Path, int | None],
    known: tuple[int | None, float | None, tuple[float, float] | None],
) -> None:
    """Print what the recipe's models would be asked.

    meant  store and limit of the run that is meant
    known  rows to try, tokens a second, prices
    """
    from rich.console import Console

    from curation.dry_run import SAMPLE_ROWS, dry_run, estimate_table

    sample, speed, prices = known
    found = dry_run(
        loaded,
        store=meant[0],
        limit=meant[1],
        sample=sample or SAMPLE_ROWS,
        tokens_per_second=speed,
        prices=prices,
    )
    if found.estimates:
        console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
        console.print(estimate_table(found))
    say(
        f"from {found.tried_rows:,} of {found.read_rows:,} rows, {found.read_frac:.2%} of the "
        "input; nothing was sent"
    )
    for note in found.notes:
        say(f"  {note}")
