"""What a person sees while a run works: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import NamedTuple, TextIO


class Words(NamedTuple):
    """What a shard is called, and what rows are."""

    noun: str = "shard"
    unit: str = "rows"


USUAL = Words()


class Progress:
    """Shows nothing; the base of those that do."""

    def begin(
        self, title: str, shards: int, finished: int, total_bytes: int, words: Words = USUAL
    ) -> None:
        """Begin a phase: its title, shards, how many are finished already, bytes of input left.

        words  what shards and rows are called, where the work is another
        """

    def advance(self, rows: int, payload_bytes: int, shards: int, input_bytes: int) -> None:
        """Tell how far the phase is: rows, payload and shards done, input bytes of those."""

    def say(self, line: str) -> None:
        """Show one line that stays."""

    def close(self) -> None:
        """End the display."""


class PlainProgress(Progress):
    """One line at the beginning of a phase, one every few seconds, one at its end."""

    def __init__(self, stream: TextIO | None = None, every_s: float = 10.0) -> None:
        self._stream, self._every_s = stream or sys.stderr, every_s
        self._total = 0
        self._began = self._told = 0.0
        self._last, self._unit = "", "rows"

    def begin(
        self, title: str, shards: int, finished: int, total_bytes: int, words: Words = USUAL
    ) -> None:
        self._end_phase()
        self._total, self._unit = total_bytes, words.unit
        self._began = self._told = time.monotonic()
        kept = f", {finished} of them finished before" if finished else ""
        self.say(f"{title}: {shards:,} {words.noun}{'s' * (shards != 1)}{kept}")

    def advance(self, rows: int, payload_bytes: int, shards: int, input_bytes: int) -> None:
        spent = time.monotonic() - self._began
        self._last = describe_rate(rows, payload_bytes, spent, self._unit)
        if time.monotonic() - self._told >= self._every_s:
            self._told = time.monotonic()
            self.say(f"  {self._last}{time_left(input_bytes, self._total, spent)}")

    def _end_phase(self) -> None:
        if self._last and not self._last.startswith("0 "):
            self.say(f"  {self._last}")
        self._last = ""

    def say(self, line: str) -> None:
        print(line, file=self._stream, flush=True)

    def close(self) -> None:
        self._end_phase()


class LiveProgress(Progress):
    """A bar with throughput and time left, by rich."""

    def __init__(self) -> None:
        from rich import progress
        from rich.console import Console

        self._bar = progress.Progress(
            progress.SpinnerColumn(),
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.TaskProgressColumn(),
            progress.TextColumn("{task.fields[rate]}"),
            console=Console(stderr=True),
        )
        self._task: progress.TaskID | None = None
        self._began, self._total, self._unit = 0.0, 0, "rows"

    def begin(
        self, title: str, shards: int, finished: int, total_bytes: int, words: Words = USUAL
    ) -> None:
        self._bar.start()
        self._end_phase()
        self._began, self._total, self._unit = time.monotonic(), total_bytes, words.unit
        self._task = self._bar.add_task(title, total=max(1, total_bytes), rate="")

    def advance(self, rows: int, payload_bytes: int, shards: int, input_bytes: int) -> None:
        assert self._task is not None
        spent = time.monotonic() - self._began
        rate = describe_rate(rows, payload_bytes, spent, self._unit)
        left = time_left(input_bytes, self._total, spent)
        self._bar.update(self._task, completed=input_bytes, rate=rate + left)

    def _end_phase(self) -> None:
        if self._task is not None:
            self._bar.update(self._task, completed=max(1, self._total))

    def say(self, line: str) -> None:
        self._bar.console.print(line, highlight=False)

    def close(self) -> None:
        self._end_phase()
        self._bar.stop()


def describe_rate(rows: int, payload_bytes: int, spent_s: float, unit: str = "rows") -> str:
    """Return ``12,345 rows, 2,469 rows/s, 8.1 MB/s``; slow things are told by their number."""
    spent = max(spent_s, 1e-3)
    rate = f", {rows / spent:,.0f} {unit}/s" if rows >= spent else ""
    size = f", {payload_bytes / spent / 1e6:,.1f} MB/s" if payload_bytes or unit == "rows" else ""
    return f"{rows:,} {unit}{rate}{size}"


def time_left(done: int, total: int, spent_s: float) -> str:
    """Return ``, 90 % done, 3 s left``, or nothing while it cannot be told."""
    if not 0 < done <= total:
        return ""
    left = spent_s * (total - done) / done
    shown = f"{left:.0f} s" if left < 120 else f"{left / 60:.0f} min"
    return f", {100 * done / total:.0f} % done, {shown} left"
