"""The errors of the package: what and where, then what was found, then the remedy.

CurationError
├── RecipeError      the recipe is wrong; raised before any data is read
├── ResourceError    a file, model, package, disk or lock that is missing, full or taken
├── IntegrityError   a stored shard or an input file is not what the manifest says
├── DataError        too many bad rows
├── TrainingError    a loss that is no number, a saved state that does not fit
└── RunStopped       the run was interrupted; what is done is kept
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class CurationError(Exception):
    """An error that prints as a headline and aligned facts.

    headline  one sentence: what went wrong and where
    facts     name → value, in print order; ``remedy`` goes last; an empty value is left out
    """

    def __init__(self, headline: str, **facts: object) -> None:
        super().__init__(headline)
        self.headline = headline
        self.facts = {name: str(value) for name, value in facts.items() if str(value)}

    def __str__(self) -> str:
        width = max((len(name) for name in self.facts), default=0)
        lines = [f"  {name:<{width}} {value}" for name, value in self.facts.items()]
        return "\n".join([self.headline, *lines])

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.headline, self.facts)


class RecipeError(CurationError):
    """The recipe cannot run as written."""


class ResourceError(CurationError):
    """Something outside the data is missing, full, forbidden or in use."""


class IntegrityError(CurationError):
    """A file is not what its manifest says."""


class DataError(CurationError):
    """Too many rows are in error."""


class TrainingError(CurationError):
    """A training run cannot go on: its loss is no number, or its state is not what was saved."""


class RunStopped(CurationError):
    """The run was interrupted; finished shards are kept."""


def _rebuild(kind: type[CurationError], headline: str, facts: dict[str, str]) -> CurationError:
    return kind(headline, **facts)


def needed(module: str, extra: str) -> Any:
    """Import a module that comes with one of the package's extras.

    Raises ResourceError that says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ResourceError(
            f"the package {module.partition('.')[0]} is not installed.",
            found=str(error),
            remedy=f'pip install "curation[{extra}]"',
        ) from error


def present(module: str, extra: str, otherwise: str = "") -> None:
    """Raise the ResourceError of ``needed`` where a module is not installed; nothing is imported.

    otherwise  what remains without it
    """
    try:
        is_there = importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # of a module without a spec, such as one put in its place
        is_there = module in sys.modules
    if not is_there:
        remedy = f'pip install "curation[{extra}]"'
        raise ResourceError(
            f"the package {module} is not installed.",
            remedy=f"{remedy}; {otherwise}" if otherwise else remedy,
        )


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for the known word nearest to a mistyped one, or ``""``."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"did you mean '{found[0]}'?" if found else ""


def python_path() -> str:
    """Return the PYTHONPATH under which a process of ours finds this very package."""
    package = str(Path(__file__).resolve().parents[1])
    return os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])


def death(code: int) -> str:
    """Return how a process ended, in words, from its return code as ``subprocess`` gives it."""
    if code >= 0:
        return f"exit status {code}"
    name = signal.Signals(-code).name
    return f"{name} (out of memory, or killed from outside)" if name == "SIGKILL" else name
