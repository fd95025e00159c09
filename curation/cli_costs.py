"""The command that tells what language models were asked in a store: costs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from curation.console import DEFAULT_STORE
from curation.errors import RecipeError


def costs(
    store: Annotated[
        Path, typer.Argument(metavar="[STORE]", help="Folder of the store, or of a journal.")
    ] = DEFAULT_STORE,
    prices: Annotated[
        tuple[float, float] | None,
        typer.Option(help="Money for a million tokens: of prompts, of replies."),
    ] = None,
) -> None:
    """Tell what language models were asked in a store: requests, tokens, time and money.

    Counted is every reply that was paid for, whichever build it was for. It may be asked while a
    run is under way.

    Example: curation costs store --prices 0.15 0.60
    """
    from rich.console import Console
    from rich.table import Table

    from curation.rewrite.ledger import reply_costs

    if prices is not None and not (min(prices) >= 0 and max(prices) < float("inf")):
        raise RecipeError("prices are two numbers of 0 or more.", found=f"--prices {prices}")
    found = reply_costs(store, prices)
    names = ("model", "purpose", "requests", "prompt tokens", "reply tokens", "seconds")
    table = Table(*names, "tokens/s", "first", "last", *["money"] * bool(prices), box=None)
    for column in table.columns[2:7] + table.columns[9:]:
        column.justify = "right"
    for row in found.iter_rows(named=True):
        counts = [row[name] for name in ("requests", "prompt_tokens", "completion_tokens")]
        speed = row["tokens_per_second"]
        table.add_row(
            row["model"],
            row["purpose"] or "(none)",
            *(f"{count:,}" for count in counts),
            f"{row['seconds']:,.1f}",
            "" if speed is None else f"{speed:,.1f}",
            *("" if row[at] is None else f"{row[at]:%Y-%m-%d %H:%M}" for at in ("first", "last")),
            *([f"{row['money']:,.2f}"] if prices else []),
        )
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    console.print(table)
    money = f", {found['money'].sum():,.2f} in money" if prices else ""
    console.print(
        f"{found['requests'].sum():,} requests, {found['prompt_tokens'].sum():,} + "
        f"{found['completion_tokens'].sum():,} tokens{money}"
    )


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(costs)
