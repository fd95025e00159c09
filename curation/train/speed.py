"""How fast a device is, and how fast a run goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

#: Part of a GPU's name → dense bfloat16 operations a second, from the maker's data sheets.
_BFLOAT16_PEAK = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "B200": 2250e12,
}
#: Edge of the matrices of a measurement: large enough to be bound by arithmetic, small enough to
#: take a second at most.
_MEASURED_SIZE = {"cpu": 1024, "cuda": 8192}
_REPEATS = 8


def known_peak_flops(device: torch.device, precision: str) -> float | None:
    """Return the operations a second that a GPU's maker states, or None."""
    if device.type != "cuda" or precision != "bfloat16":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in _BFLOAT16_PEAK.items() if part in name), None)


def measure_peak_flops(device: str = "cpu", precision: str = "float32") -> float:
    """Return the operations a second of the fastest of several products of square matrices.

    device     cpu, cuda or cuda:N; a CPU is measured with the threads that torch has now
    precision  float32 or bfloat16
    """
    where = torch.device(device)
    size = _MEASURED_SIZE[where.type]
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    left = torch.full((size, size), 0.5, dtype=dtype, device=where)
    right, product = torch.full_like(left, 0.25), torch.empty_like(left)
    fastest = float("inf")
    for _ in range(_REPEATS):
        finish(where)
        start = time.perf_counter()
        torch.mm(left, right, out=product)
        finish(where)
        fastest = min(fastest, time.perf_counter() - start)
    return float(2 * size**3 / fastest)


def finish(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Clock:
    """Times the steps of a run, and within them the wait for data."""

    def __init__(self) -> None:
        self.seconds = self.waited_s = 0.0
        self.steps = 0
        self._since: float | None = None

    def start(self) -> None:
        """Count the time from here."""
        self._since = time.perf_counter()

    def pause(self) -> None:
        """Leave out the time from here until ``start``; the device has to be done."""
        if self._since is not None:
            self.seconds += time.perf_counter() - self._since
        self._since = None

    def reset(self) -> None:
        """Forget what was counted, and count from here."""
        self.seconds = self.waited_s = 0.0
        self.steps = 0
        self.start()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time within as spent waiting for data."""
        begin = time.perf_counter()
        yield
        self.waited_s += time.perf_counter() - begin

    def rates(self, tokens: int) -> tuple[float, float]:
        """Return tokens a second and the share of waiting, where a step has so many tokens."""
        self.pause()
        self.start()
        return self.steps * tokens / self.seconds, self.waited_s / self.seconds
