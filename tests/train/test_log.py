"""The log: whatever was cut off, going back leaves the rows up to a step."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from curation.train.log import COLUMNS, Log


@given(st.integers(1, 30), st.integers(0, 400), st.integers(0, 40))
def test_what_a_kill_left_is_cut_back_to_whole_lines(rows: int, cut: int, step: int) -> None:
    """A line would stand twice, or half, in a log that others plot."""
    with TemporaryDirectory() as folder:
        log = Log(Path(folder) / "log.jsonl")
        for number in range(rows):
            log.add({"step": number, "loss": number / 3})
        written = log.path.read_bytes()
        kept = written[: max(0, len(written) - cut)]
        log.path.write_bytes(kept)
        log.go_back(step)
        expected = min(step + 1, kept.count(b"\n"))
        assert [row["step"] for row in log.rows()] == list(range(expected))
        log.add({"step": 99})
        assert log.rows()[-1] == {"step": 99}


def test_a_run_without_a_line_has_an_empty_log(tmp_path: Path) -> None:
    """A run that was killed in its first steps is read like any other."""
    frame = Log(tmp_path / "log.jsonl").frame(COLUMNS)
    assert (frame.height, frame.columns) == (0, list(COLUMNS))
