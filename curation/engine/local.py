"""The local executor: worker processes on one machine, watched, replaced and told what to avoid.

A worker that dies is replaced and its task tried again. If a task loses its worker twice in the
same batch, that batch is taken row by row; a row that loses its worker twice when it is alone
becomes an error row. A batch or row on which a worker hung needs no second proof. A worker killed
from outside dies at another place each time and costs nothing but the attempt.
"""

from __future__ import annotations

import mmap
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from pathlib import Path

import cloudpickle

from curation.engine.compiling import CompileNotice
from curation.engine.guard import (
    BATCH,
    BYTES_DONE,
    COMPILES,
    ROW,
    ROWS_DONE,
    SLOTS,
    STEP,
    TICK,
    Quarantine,
)
from curation.engine.plan import Plan
from curation.engine.task import Done, Task, run_task
from curation.errors import CurationError, RecipeError, ResourceError, death, python_path
from curation.recipe import step_name
from curation.stage import attempt
from curation.store import Store

#: How often one task may lose its worker, and teach nothing by it, before the run gives up.
MAX_ATTEMPTS = 40
#: A step over all rows may be silent for so many times longer than one batch.
ALL_ROWS_STALL = 10
#: A row that is alone may take so long at most, however long a batch may take.
LONE_ROW_STALL_S = 30.0
_POLL_S = 0.1


class Worker:
    """A worker process, the connection to it and the task that it has."""

    def __init__(self, pool: LocalExecutor, slot: int) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "curation.engine.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={"POLARS_MAX_THREADS": "1", **os.environ, "PYTHONPATH": python_path()},
                process_group=0,
            )
        self.connection = Connection(ours.detach())
        self.slot, self.task, self.ready, self.stalled = slot, None, False, False
        self.slots = pool.watch[slot * SLOTS : (slot + 1) * SLOTS]
        self.tick, self.ticked_at = 0, time.monotonic()
        self.connection.send(sys.path)
        self.connection.send_bytes(pool.setup)
        self.connection.send(slot)

    task: Task | None

    def give(self, task: Task) -> None:
        """Hand over a task."""
        for index in range(SLOTS):
            self.slots[index] = 0
        self.task, self.stalled = task, False
        self.tick, self.ticked_at = 0, time.monotonic()
        task.attempts += 1
        self.connection.send_bytes(cloudpickle.dumps(task))

    def hangs(self, stall_s: float) -> bool:
        """Tell whether nothing has been announced for too long."""
        if self.slots[TICK] != self.tick:
            self.tick, self.ticked_at = self.slots[TICK], time.monotonic()
        alone = self.slots[ROW] >= 0
        limit = min(stall_s, LONE_ROW_STALL_S) if alone else stall_s
        return time.monotonic() - self.ticked_at > limit

    def kill(self) -> None:
        """End the process at once and wait for it."""
        self.process.kill()
        self.process.wait()
        self.connection.close()


class LocalExecutor:
    """Runs tasks on worker processes; use as a context manager."""

    def __init__(self, store: Store, plan: Plan, workers: int, stall_s: float) -> None:
        self.store, self.plan, self.workers, self.stall_s = store, plan, workers, stall_s
        self._pool: list[Worker] = []
        self._setup = b""
        self._failed_starts = 0
        self._compiling = CompileNotice()
        self._folder = tempfile.TemporaryDirectory(prefix="curation-")
        self.watch_path = str(Path(self._folder.name) / "watch")
        Path(self.watch_path).write_bytes(bytes(8 * SLOTS * max(1, workers)))
        with open(self.watch_path, "r+b") as file:
            self.watch = memoryview(mmap.mmap(file.fileno(), 0)).cast("q")

    @property
    def setup(self) -> bytes:
        """What each worker is sent first; RecipeError where the recipe cannot travel."""
        if not self._setup:
            made, error = attempt(cloudpickle.dumps, (self.plan, self.store, self.watch_path))
            if error is not None:
                raise RecipeError(
                    "the recipe cannot be sent to a worker process.",
                    found=f"{type(error).__name__}: {error}",
                    remedy="make locks, files and connections inside the function that uses them",
                ) from error
            self._setup = made
        return self._setup

    def __enter__(self) -> LocalExecutor:
        self._compiling.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._compiling.__exit__(None, None, None)
        for worker in self._pool:
            worker.kill()
        self._pool.clear()
        self._folder.cleanup()

    def run(
        self,
        tasks: Iterable[Task],
        finished: Callable[[Task, Done], None],
        moving: Callable[[int, int], None],
    ) -> None:
        """Run tasks to the end.

        finished  called with each task and what it returned
        moving    called often, with the rows and payload bytes that unfinished tasks have done
        raises    the first CurationError of a task, after its neighbours' results are taken
        """
        queue = deque(tasks)
        if self.workers == 0:
            for task in queue:
                finished(task, run_task(self.store, self.plan, task, self.watch[:SLOTS]))
            return
        while queue or self._busy():
            self._staff(len(queue))
            self._hand_out(queue)
            for worker in self._talking():
                self._hear(worker, queue, finished)
            if any(worker.slots[COMPILES] for worker in self._pool):
                self._compiling.tell()
            self._stop_hanging()
            busy = self._busy()
            moving(sum(w.slots[ROWS_DONE] for w in busy), sum(w.slots[BYTES_DONE] for w in busy))

    def _busy(self) -> list[Worker]:
        return [worker for worker in self._pool if worker.task is not None]

    def _staff(self, waiting: int) -> None:
        """Start as many workers as there is work for."""
        wanted = min(self.workers, waiting + len(self._busy()))
        taken = {worker.slot for worker in self._pool}
        for slot in range(self.workers):
            if len(self._pool) < wanted and slot not in taken:
                self._pool.append(Worker(self, slot))

    def _hand_out(self, queue: deque[Task]) -> None:
        for worker in self._pool:
            if worker.ready and worker.task is None and queue:
                worker.give(queue.popleft())

    def _talking(self) -> list[Worker]:
        ready = wait([worker.connection for worker in self._pool], timeout=_POLL_S)
        return [worker for worker in self._pool if worker.connection in ready]

    def _hear(
        self, worker: Worker, queue: deque[Task], finished: Callable[[Task, Done], None]
    ) -> None:
        try:
            if not worker.ready:
                worker.connection.recv()
                worker.ready, self._failed_starts = True, 0
                return
            reply = cloudpickle.loads(worker.connection.recv_bytes())
        except (EOFError, ConnectionResetError):
            self._lost(worker, queue)
            return
        task, worker.task = worker.task, None
        assert task is not None
        if isinstance(reply, CurationError):
            raise reply
        finished(task, reply)

    def _stop_hanging(self) -> None:
        for worker in self._busy():
            assert worker.task is not None
            per_shard = self.plan.phases[worker.task.phase].per_shard
            if worker.hangs(self.stall_s if per_shard else ALL_ROWS_STALL * self.stall_s):
                worker.stalled = True
                worker.process.kill()  # its connection ends, and _hear finds out

    def _lost(self, worker: Worker, queue: deque[Task]) -> None:
        """Replace a worker that died, and try its task again with what the death has shown."""
        self._pool.remove(worker)
        code = worker.process.wait()
        worker.connection.close()
        task = worker.task
        if task is None:
            self._failed_starts += 1
            if self._failed_starts > 3 * self.workers:
                raise ResourceError(
                    "worker processes end before they take any work.",
                    found=death(code),
                    remedy="run with --workers 0 to see what happens",
                )
            return
        reason = "made its worker hang" if worker.stalled else f"ended its worker: {death(code)}"
        where = (worker.slots[STEP], worker.slots[BATCH], worker.slots[ROW])
        queue.appendleft(self._retry(task, where, reason, worker.stalled))

    def _retry(self, task: Task, where: tuple[int, int, int], reason: str, stalled: bool) -> Task:
        task.deaths[where] = task.deaths.get(where, 0) + 1
        proven = stalled or task.deaths[where] >= 2
        step, batch, row = where
        known = task.quarantine
        by_rows = proven and step > 0 and self.plan.phases[task.phase].per_shard
        if by_rows and row >= 0 and where not in known.rows:
            learnt = Quarantine(known.batches, {**known.rows, where: reason})
        elif by_rows and (step, batch) not in known.batches:
            learnt = Quarantine(known.batches | {(step, batch)}, known.rows)
        elif stalled or task.deaths[where] > 3 or task.attempts >= MAX_ATTEMPTS:
            raise self._gives_up(task, where, reason)
        else:
            learnt = known
        return replace(task, quarantine=learnt)

    def _gives_up(self, task: Task, where: tuple[int, int, int], reason: str) -> ResourceError:
        step, batch, _ = where
        steps = {0: self.plan.source} | {
            s.number: s.step for s in self.plan.phases[task.phase].steps
        }
        shards = self.plan.shards if task.shard < 0 else [self.plan.shards[task.shard]]
        files = [span.path for shard in shards for span in shard.spans]
        return ResourceError(
            f"step {step} {step_name(steps[step])} keeps losing its worker.",
            found=f"{reason}; {task.attempts} attempts, the last in batch {batch}",
            files=", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else ""),
            remedy="give it more memory or fewer --workers, or take the file out of the pattern",
        )
