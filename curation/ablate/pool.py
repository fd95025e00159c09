"""Runs jobs on worker processes that stay alive: one for each device, or so many on the CPU.

A worker loads torch once and does one job after another. One that dies is replaced and its job
tried again; a job that has lost its process twice ends the whole, since an experiment with a
missing arm is none. What a job has finished is on disk, so a worker says no more than how far it
is.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NoReturn, Protocol

from curation.errors import CurationError, ResourceError

#: A job that has lost its process so often is given up.
MOST_DEATHS = 2
#: Seconds that a worker has to save its state when everything is stopped.
GRACE_S = 60.0


class Job(Protocol):
    """Something that a worker does; it is pickled on its way."""

    @property
    def name(self) -> str:
        """What it is called in messages."""
        ...

    def run(self, tell: Callable[[float], None]) -> None:
        """Do it; ``tell`` takes the share that is done, 0 to 1, now and then."""
        ...


def run_jobs(jobs: Sequence[Job], devices: Sequence[str], advance: Callable[[float], None]) -> None:
    """Do all jobs, in order as workers become free.

    devices  one entry for each worker: the number of a CUDA device, or "" for the CPU
    advance  takes the number of jobs done, parts of jobs included
    raises   the error of the first job that fails. The other workers are stopped then, as they are
             by Ctrl-C; jobs keep what they have saved.
    """
    pool = _Pool(jobs, devices)
    try:
        while pool.finished < len(jobs):
            pool.hand_out()
            pool.listen()
            advance(pool.finished + sum(worker.share for worker in pool.workers))
    finally:
        pool.stop()


class _Worker:
    """A process, our end of its pipe, and the job that it has."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.job: int | None = None
        self.share = 0.0
        context = multiprocessing.get_context("spawn")  # a fork of a process with threads can hang
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=_work, args=(theirs, device, os.getpid()), daemon=True
        )
        self.process.start()
        theirs.close()


class _Pool:
    def __init__(self, jobs: Sequence[Job], devices: Sequence[str]) -> None:
        self.jobs = jobs
        self.waiting = list(range(len(jobs)))
        self.deaths = [0] * len(jobs)
        self.free = list(devices)
        self.workers: list[_Worker] = []
        self.finished = 0

    def hand_out(self) -> None:
        """Give every waiting job to a worker, while there are workers without one."""
        idle = [worker for worker in self.workers if worker.job is None]
        while self.waiting and (idle or self.free):
            worker = idle.pop() if idle else _Worker(self.free.pop(0))
            if worker not in self.workers:
                self.workers.append(worker)
            worker.job = self.waiting.pop(0)
            with suppress(OSError):  # it has died: listen() finds out
                worker.pipe.send(self.jobs[worker.job])

    def listen(self) -> None:
        """Wait up to a second for what workers have to say."""
        busy = {worker.pipe: worker for worker in self.workers if worker.job is not None}
        for pipe in wait(list(busy), timeout=1):
            assert isinstance(pipe, Connection)
            worker = busy[pipe]
            try:
                kind, what = pipe.recv()
            except (EOFError, OSError):
                self._bury(worker)
                continue
            if kind == "error":
                raise what
            worker.share = what
            if kind == "done":
                worker.job, worker.share = None, 0.0
                self.finished += 1

    def _bury(self, worker: _Worker) -> None:
        """Put a dead worker's job first in the line again."""
        worker.process.join()
        self.workers.remove(worker)
        self.free.append(worker.device)
        assert worker.job is not None
        self.deaths[worker.job] += 1
        if self.deaths[worker.job] >= MOST_DEATHS:
            raise ResourceError(
                f"{self.jobs[worker.job].name} has lost its process {MOST_DEATHS} times.",
                found=f"exit status {worker.process.exitcode} (-9: killed, often for memory)",
                remedy="take fewer workers or smaller batches; the same command goes on from here",
            )
        self.waiting.insert(0, worker.job)

    def stop(self) -> None:
        """End all workers; those with a job have time to save it."""
        for worker in self.workers:
            if worker.job is None:
                worker.pipe.close()
            else:
                worker.process.terminate()
        until = time.monotonic() + GRACE_S
        for worker in self.workers:
            worker.process.join(max(0.1, until - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()


# ---------------------------------------------------------------- in the worker


def _work(pipe: Connection, device: str, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches us too: the parent decides
    signal.signal(signal.SIGTERM, _interrupt)
    os.environ["CUDA_VISIBLE_DEVICES"] = device
    told = time.monotonic()

    def tell(share: float) -> None:
        nonlocal told
        if os.getppid() != parent:
            raise KeyboardInterrupt  # nobody is left to tell
        if time.monotonic() - told >= 0.5:
            told = time.monotonic()
            pipe.send(("share", share))

    with suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            job = pipe.recv()
            pipe.send(_attempt(job, tell))


def _attempt(job: Job, tell: Callable[[float], None]) -> tuple[str, Any]:
    try:
        job.run(tell)
    except CurationError as error:
        return "error", error
    return "done", 1.0


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
