"""Speed: what is measured, and what is left out of it."""

from __future__ import annotations

import pytest
import torch

from curation.train import speed
from curation.train.speed import Clock, known_peak_flops, measure_peak_flops


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_peak_of_a_device_is_that_of_a_product(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A utilisation would be one of nothing."""
    monkeypatch.setitem(speed._MEASURED_SIZE, "cpu", 64)
    times = iter([0.0, 9.0, 10.0, 10.5, *(float(20 + 2 * n) for n in range(20))])
    monkeypatch.setattr(speed.time, "perf_counter", lambda: next(times))
    assert measure_peak_flops("cpu", precision) == 2 * 64**3 / 0.5


def test_a_gpus_peak_is_known_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cards of one family differ, and float32 is another matter."""
    gpu = torch.device("cuda")
    for name, peak in {"NVIDIA H100 PCIe": 756e12, "NVIDIA H100 80GB HBM3": 989e12}.items():
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device, name=name: name)
        assert known_peak_flops(gpu, "bfloat16") == peak
    assert known_peak_flops(gpu, "float32") is None
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "an unknown one")
    assert known_peak_flops(gpu, "bfloat16") is None
    assert known_peak_flops(torch.device("cpu"), "bfloat16") is None


def test_a_clock_leaves_out_what_it_is_paused_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is evaluated more often would seem slower."""
    now = [0.0]
    monkeypatch.setattr(speed.time, "perf_counter", lambda: now[0])
    clock = Clock()
    clock.reset()
    with clock.waiting():
        now[0] += 1
    now[0] += 3
    clock.pause()
    now[0] += 100
    clock.start()
    now[0] += 4
    clock.steps = 2
    assert clock.rates(16) == (2 * 16 / 8, 1 / 8)
    clock.reset()
    now[0] += 2
    clock.steps = 1
    assert clock.rates(16) == (8, 0)
