"""Ctrl-C, and kill where it is handled alike: the step under way comes to its end first."""

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
    """Let the step under way come to its end when a signal comes that would raise otherwise.

    A signal that is ignored stays ignored, and one that ends the process ends it.
    """
    interrupts = Interrupts()
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    if threading.current_thread() is not threading.main_thread():
        before = {}
    mine = {one: handler for one, handler in before.items() if callable(handler)}
    for one in mine:
        signal.signal(one, interrupts.note)
    try:
        yield interrupts
    finally:
        for one, handler in mine.items():
            signal.signal(one, handler)
