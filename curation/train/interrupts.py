"""Ctrl-C: the step under way comes to its end first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Interrupts:
    """Whether somebody has pressed Ctrl-C."""

    asked = False

    def note(self, *_: object) -> None:
        """Remember the first time; the second time end the program at once."""
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def interruptible() -> Iterator[Interrupts]:
    """Let the step under way come to its end when Ctrl-C is pressed."""
    interrupts = Interrupts()
    before = signal.getsignal(signal.SIGINT)
    mine = threading.current_thread() is threading.main_thread() and before != signal.SIG_IGN
    if mine:
        signal.signal(signal.SIGINT, interrupts.note)
    try:
        yield interrupts
    finally:
        if mine:
            signal.signal(signal.SIGINT, before)
