"""Tells a person, once a run, that kernels are being compiled: the first use takes long.

The kernels log each compilation to a logger of their own, in whichever process it happens. A worker
has no business with the terminal: it marks a slot, and its parent says the line.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from types import TracebackType

COMPILING = "compiling kernels for this machine: this happens once and takes up to a minute"

_LOG = logging.getLogger("curation.kernels")


def say_compiling() -> None:
    """Tell the person at the terminal, beside a progress bar if there is one."""
    print(COMPILING, file=sys.stderr, flush=True)


class CompileNotice(logging.Handler):
    """While it is entered, calls a function at the first compilation, and never again.

    tell  what to call; by default the line goes to stderr
    """

    def __init__(self, tell: Callable[[], None] = say_compiling) -> None:
        super().__init__(logging.INFO)
        self._tell, self._told = tell, False
        self._level = _LOG.level

    def __enter__(self) -> CompileNotice:
        self._level = _LOG.level
        _LOG.setLevel(logging.INFO)
        _LOG.addHandler(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        _LOG.removeHandler(self)
        _LOG.setLevel(self._level)

    def emit(self, record: logging.LogRecord) -> None:
        """Take a compilation in this process."""
        self.tell()

    def tell(self) -> None:
        """Tell of a compilation, in this process or in another, if it is the first."""
        if not self._told:
            self._told = True
            self._tell()
