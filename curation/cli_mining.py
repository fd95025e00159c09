"""The command that chooses sets of documents by several methods: select."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from curation.cli_harness import FileName
from curation.console import DEFAULT_STORE, PASS_ON, StorePath, interrupt, progress, say

#: What the function in the file of a command returns.
MAKES = {"select": "Mining"}


def select(
    context: typer.Context,
    file: FileName,
    store: StorePath = DEFAULT_STORE,
    workers: Annotated[
        int | None, typer.Option(help="Worker processes; default: one a core.", min=0)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write each set into a folder of its name in this one.")
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show pool, budget and selectors, run nothing.")
    ] = False,
) -> None:
    """Choose sets of documents from one pool by several methods, with one budget, side by side.

    FILE has a function that returns a Mining; its keywords are flags. Each set is a build: show,
    why and diff tell of it. What the store holds is not done again; Ctrl-C stops, and the same
    command goes on from there.

    Example: curation select pipelines/mine_domain.py --pool 'crawl/*.jsonl' --target seeds.jsonl
    """
    from curation.mining import Mining
    from curation.recipe_file import load

    mining = load(file, context.args, Mining)
    if plan:
        say(mining.describe())
        return
    signal.signal(signal.SIGTERM, interrupt)
    shown = progress()
    try:
        mined = mining.run(store=store, workers=workers, progress=shown)
        if out is not None:
            mined.write(out, progress=shown)
    finally:
        shown.close()
    say(str(mined))
    if out is not None:
        say(f"sets in {out}, one folder each; the tables are sets.csv and overlap.csv")


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(context_settings=PASS_ON)(select)
