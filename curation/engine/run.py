"""Runs a plan: phase after phase, only the shards that are not finished, and then the record."""

from __future__ import annotations

import os
import sys
import time
from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING

from curation.engine.batch import StepCount
from curation.engine.fused import MustComputeError
from curation.engine.guard import SLOTS
from curation.engine.local import LocalExecutor
from curation.engine.plan import Phase, Plan, step_facts
from curation.engine.progress import Progress
from curation.engine.record import rows_in_error, total, write_record
from curation.engine.task import Done, Task, run_task
from curation.errors import DataError, RecipeError, RunStopped
from curation.recipe import Recipe, step_name
from curation.stage import Reducer, Stage
from curation.store import PartReader, Store

if TYPE_CHECKING:
    from curation.build import Build

#: The share of rows in error is judged from so many rows on.
MIN_ROWS = 100
#: Up to so many rows, a pass that has only selections to make is done without worker processes.
SELECT_HERE_ROWS = 4_000_000


def run_recipe(
    recipe: Recipe,
    *,
    store: str | os.PathLike[str],
    workers: int | None,
    limit: int | None,
    stall_s: float,
    progress: Progress | None,
) -> Build:
    """Run a recipe; see ``Recipe.run``."""
    from curation.build import Build

    plan = recipe.plan(limit=limit)
    folder, shown = Store(store), progress or Progress()
    count = usable_cores() if workers is None else workers
    if count < 0 or stall_s <= 0:
        raise RecipeError(
            "a run takes 0 workers or more, and a stall limit above 0.",
            found=f"workers={workers}, stall_s={stall_s}",
        )
    if (most := most_workers(recipe)) is not None and count > most:
        if workers is not None:
            _tell_fewer(recipe, workers, most)
        count = most
    began = time.time()
    with folder.explaining(), folder.lock():
        run = Run(folder, plan, shown)
        try:
            if not run.is_finished():
                run.ready()
                with LocalExecutor(folder, plan, count, stall_s) as executor:
                    run.phases(executor)
                write_record(folder, plan)
        except KeyboardInterrupt:
            raise run.stopped() from None
        finally:
            shown.close()
        build = Build(folder, plan.fingerprint)
        for step in recipe.steps:
            if isinstance(step, Stage):
                step.finish(build)
        folder.log(
            build=plan.fingerprint,
            recipe=recipe.origin,
            began=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
            seconds=round(time.time() - began, 3),
            workers=count,
        )
    return build


def most_workers(recipe: Recipe) -> int | None:
    """Return how many workers make sense to all stages of a recipe; None for any number."""
    limits = [step.most_workers for step in recipe.steps if isinstance(step, Stage)]
    return min((limit for limit in limits if limit is not None), default=None)


def _tell_fewer(recipe: Recipe, workers: int, most: int) -> None:
    names = [
        step_name(step)
        for step in recipe.steps
        if isinstance(step, Stage) and step.most_workers == most
    ]
    line = f"  {most} of {workers} workers: each loads the model of {', '.join(names)}"
    print(line, file=sys.stderr, flush=True)


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Run:
    """One run of a plan over a store."""

    def __init__(self, store: Store, plan: Plan, progress: Progress) -> None:
        self.store, self.plan, self.progress = store, plan, progress
        self.finished_shards = 0
        self.shards = 0

    def is_finished(self) -> bool:
        """Tell whether the very build is there, with all the parts that it stands on."""
        record = self.store.build_folder(self.plan.fingerprint) / "build.json"
        return record.exists() and all(
            self.store.holds(group, self.plan.keys)
            for phase in self.plan.phases
            for group in phase.groups
        )

    def ready(self) -> None:
        """Raise what a stage that has work to do knows beforehand to stand in its way."""
        for phase in self.plan.phases:
            for planned in phase.steps:
                step, has_work = planned.step, not self.store.holds(planned.group, self.plan.keys)
                if isinstance(step, Stage) and has_work:
                    step.ready()

    def stopped(self) -> RunStopped:
        """The error that Ctrl-C becomes."""
        return RunStopped(
            "stopped before the end.",
            kept=f"{self.finished_shards} of {self.shards} shards of the phase under way",
            resume="run the same command again: it goes on from here",
        )

    def phases(self, executor: LocalExecutor) -> None:
        """Run what is not finished of each phase, in order."""
        for index, phase in enumerate(self.plan.phases):
            PhaseRun(self, index, phase, executor).run()


class PhaseRun:
    """One phase: which shards are left, what they returned, and the manifests at the end."""

    def __init__(self, run: Run, index: int, phase: Phase, executor: LocalExecutor) -> None:
        self.owner, self.index, self.phase, self.executor = run, index, phase, executor
        self.store, self.plan, self.progress = run.store, run.plan, run.progress
        self.facts: dict[str, dict[str, dict[str, object]]] = {}
        self.count = StepCount()
        self.rows = self.payload = self.input = 0

    def run(self) -> None:
        """Run the shards that are left and commit the phase."""
        if all(self.store.holds(group, self.plan.keys) for group in self.phase.groups):
            return
        left = self._left()
        self.owner.shards = len(self.plan.shards)
        self.owner.finished_shards = len(self.plan.shards) - len(left)
        self.progress.begin(
            self._title(),
            len(self.plan.shards),
            self.owner.finished_shards if self.phase.per_shard else 0,
            sum(self.plan.shards[shard].bytes for shard in left),
        )
        self._count_finished(set(range(len(self.plan.shards))) - set(left))
        if self.phase.per_shard:
            self._run_shards(left)
        else:
            self.executor.run([Task(self.index, -1)], self._finished, self._moving)
        if 0 < self.count.rows == self.count.errors and self.plan.recipe.max_error_frac < 1:
            raise self._too_many()
        self._commit()

    def _title(self) -> str:
        names = [str(fact["name"]) for fact in map(step_facts, self.phase.steps)]
        source = ["read"] if self.phase.reads_source else []
        return " → ".join([*source, *names]) or "pass"

    def _left(self) -> list[int]:
        """Shards that lack a part of the phase: not done yet, or deleted since."""
        groups = self.phase.groups
        return [
            index
            for index, key in enumerate(self.plan.keys)
            if not all(self.store.part(group, key).exists() for group in groups)
        ]

    def _run_shards(self, left: list[int]) -> None:
        tasks = [Task(self.index, shard) for shard in self._select_here(left)]
        tasks.sort(key=lambda task: -self.plan.shards[task.shard].bytes)
        self.executor.run(tasks, self._finished, self._moving)

    def _select_here(self, left: list[int]) -> list[int]:
        """Do here what needs no stage's work; return the shards that do."""
        if self.phase.kind != "pass" or not self._is_small(left):
            return left
        need_work = []
        for shard in left:
            task = Task(self.index, shard, compute=False)
            try:
                slots = array("q", [0] * SLOTS)
                self._finished(task, run_task(self.store, self.plan, task, slots))
            except MustComputeError:
                need_work.append(shard)
        return need_work

    def _is_small(self, left: Iterable[int]) -> bool:
        manifest = self.store.manifest(self.phase.space.root)
        parts = (manifest or {"parts": {}})["parts"]
        keys = [self.plan.shards[shard].key for shard in left]
        known = [parts[key]["rows"] for key in keys if key in parts]
        return len(known) == len(keys) and sum(known) <= SELECT_HERE_ROWS

    def _finished(self, task: Task, done: Done) -> None:
        for group, facts in done.facts.items():
            self.facts.setdefault(group, {}).update(facts)
        if task.shard >= 0:
            self.owner.finished_shards += 1
            self.input += self.plan.shards[task.shard].bytes
            self._judge(done.tally)

    def _moving(self, rows: int, payload: int) -> None:
        done = self.owner.finished_shards
        self.progress.advance(self.rows + rows, self.payload + payload, done, self.input)

    def _count_finished(self, shards: set[int]) -> None:
        """Take the counts of shards that an earlier run has finished, without showing them."""
        if not self.phase.per_shard:
            return
        for shard in sorted(shards):
            path = self.store.part(self.phase.groups[-1], self.plan.shards[shard].key)
            reader = PartReader(path)
            self._judge(reader.notes)
            reader.close()
        self.rows = self.payload = 0

    def _judge(self, tally: dict[str, object]) -> None:
        """End the run when too many rows are in error."""
        before, steps = total([tally])
        self.rows += before.rows + before.errors
        self.payload += before.bytes
        self.count.rows += before.rows + before.errors
        self.count.errors += before.errors + sum(step.errors for step in steps.values())
        allowed = self.plan.recipe.max_error_frac
        if self.count.rows >= MIN_ROWS and self.count.errors > allowed * self.count.rows:
            raise self._too_many()

    def _too_many(self) -> DataError:
        examples = rows_in_error(self.store, self.plan, self.phase, self.facts, at_most=3)
        return DataError(
            f"{self.count.errors:,} of {self.count.rows:,} rows are in error.",
            allowed=f"{self.plan.recipe.max_error_frac:.0%} (max_error_frac)",
            examples="; ".join(examples),
            remedy="mend the stage or the input, or allow more: Recipe(…, max_error_frac=0.5)",
        )

    def _commit(self) -> None:
        """Write the manifests of the phase's groups, the selection's last."""
        steps = {step.group: step for step in self.phase.steps if step.group}
        for group in self.phase.groups:
            step = steps.get(group)
            if step and self.store.manifest(group) is None:
                self.store.distrust(group, trusted=self.phase.selection)
            about: dict[str, object] = {
                "fingerprint": group,
                "made_by": step.title if step else self._made_by(group),
                "columns": {f.name: str(f.type) for f in self.plan.schemas[group]},
            }
            if step and isinstance(step.step, Reducer):
                about["notes"] = self._noted(group)
            if group == self.phase.selection:
                about["stands_on"] = sorted(steps)
            known = self.facts.get(group, {})
            self.store.commit(group, about, {key: known.get(key) for key in self.plan.keys})

    def _noted(self, group: str) -> dict[str, object]:
        """Return what a reducer noted: each of its parts has it, whichever run wrote them."""
        part = self.store.newest_part(group, self.plan.keys[0]) if self.plan.keys else None
        if part is None:
            return {}
        reader = PartReader(part)
        notes = reader.notes
        reader.close()
        return notes

    def _made_by(self, group: str) -> str:
        if group == self.phase.space.root:
            return str(self.plan.source)
        return f"selection after step {max((s.number for s in self.phase.steps), default=0)}"
