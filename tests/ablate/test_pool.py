"""Jobs on worker processes: each done once, whatever dies."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from curation.ablate.pool import run_jobs
from curation.errors import DataError, ResourceError


@dataclass(frozen=True)
class Noting:
    """Write a file; before that, die, fail or wait, as often as is said."""

    folder: Path
    name: str
    dies: int = 0
    fails: bool = False
    waits_s: float = 0.0

    def run(self, tell: Callable[[float], None]) -> None:
        with open(self.folder / "began", "a") as file:
            file.write(f"{self.name} {os.environ['CUDA_VISIBLE_DEVICES']} {os.getpid()}\n")
        tell(0.5)
        if self.fails:
            raise DataError(f"{self.name} is wrong.")
        before = (self.folder / "began").read_text().split().count(self.name)
        if before <= self.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            time.sleep(self.waits_s)
        except KeyboardInterrupt:
            (self.folder / f"{self.name}.saved").touch()
            raise
        (self.folder / self.name).touch()


def test_every_job_is_done_on_its_devices_and_its_share_is_told(tmp_path):
    """An arm would be missing from the table, or two would share one GPU."""
    shares: list[float] = []
    jobs = [Noting(tmp_path, f"job{n}") for n in range(5)]
    run_jobs(jobs, ["0", "1"], shares.append)
    assert all((tmp_path / job.name).exists() for job in jobs)
    began = [line.split() for line in (tmp_path / "began").read_text().splitlines()]
    assert {device for _, device, _ in began} <= {"0", "1"}
    assert len({pid for *_, pid in began}) <= 2
    assert shares[-1] == 5
    assert all(0 <= share <= 5 for share in shares)


def test_a_job_whose_process_was_killed_is_done_by_another(tmp_path):
    """A run of hours would be lost to one process out of memory."""
    run_jobs([Noting(tmp_path, "a", dies=1), Noting(tmp_path, "b")], [""], lambda _: None)
    assert (tmp_path / "a").exists()
    assert (tmp_path / "b").exists()


def test_a_job_that_kills_every_process_is_an_error_that_names_it(tmp_path):
    """A person would watch workers die and start for ever."""
    with pytest.raises(ResourceError, match="a has lost its process 2 times") as caught:
        run_jobs([Noting(tmp_path, "a", dies=9)], [""], lambda _: None)
    assert "-9" in str(caught.value)


def test_the_error_of_a_job_reaches_the_caller_and_the_others_save_what_they_have(tmp_path):
    """A wrong arm would be waited for to the end, or half an hour of another be thrown away."""
    jobs = [Noting(tmp_path, "slow", waits_s=60), Noting(tmp_path, "wrong", fails=True)]
    with pytest.raises(DataError, match=r"wrong is wrong\."):
        run_jobs(jobs, ["", ""], lambda _: None)
    assert not (tmp_path / "slow").exists()
    begun = (tmp_path / "began").read_text()
    assert (tmp_path / "slow.saved").exists() or "slow" not in begun


def test_ctrl_c_stops_the_workers_and_gives_them_time_to_save(tmp_path):
    """The state of every arm under way would be lost."""

    def interrupt(_: float) -> None:
        if (tmp_path / "began").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs([Noting(tmp_path, "slow", waits_s=60)], [""], interrupt)
    assert (tmp_path / "slow.saved").exists()
