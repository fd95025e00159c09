"""Kills in the middle of a rewrite: the store is as if none had been, and nothing is paid twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rewrite.killing import (
    CONCURRENCY,
    WORKERS,
    Killing,
    parts_of,
    replies_of,
    write_texts,
)
from tests.rewrite.server import standing


@pytest.mark.slow
def test_a_rewrite_survives_kills_and_pays_only_for_what_was_in_flight(tmp_path: Path) -> None:
    """Whoever rewrites on machines that may be taken away would pay again, or lose documents."""
    paths, rows = write_texts(tmp_path / "in", files=8, rows=30), 240
    with standing() as stand:
        stand.slow_s = 0.0
        drill = Killing(tmp_path, paths, stand, seed=1)
        calm = drill.undisturbed("calm")
        assert len(stand.requests) == rows
        stand.slow_s = 0.1
        stormy = drill.killed("stormy", kills=4, longest_s=0.8)
        again = len(stand.requests) - 2 * rows
    assert sum(drill.struck.values()) >= 3
    assert parts_of(stormy) == parts_of(calm)
    assert replies_of(stormy) == replies_of(calm)
    assert 0 <= again <= sum(drill.struck.values()) * WORKERS * CONCURRENCY
    for told in drill.said:
        assert "run the same command again" in told
        assert "Traceback" not in told
