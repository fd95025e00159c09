"""What the commands share: options, how progress is shown, what Ctrl-C and kill become."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from curation.engine.progress import Progress

#: Flags of what a file makes are passed through to its function.
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
DEFAULT_STORE = Path("store")
StorePath = Annotated[
    Path, typer.Option("--store", help="Folder of the column groups.", show_default=True)
]


def progress() -> Progress:
    """Return a display for the terminal, or plain lines for a file or pipe."""
    from curation.engine.progress import LiveProgress, PlainProgress

    return LiveProgress() if sys.stderr.isatty() else PlainProgress()


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def interrupt(*_: object) -> NoReturn:
    """Handle a signal as Ctrl-C is handled."""
    raise KeyboardInterrupt
