"""Runs an ablation: builds its sets, trains its arms on worker processes, measures, judges.

Every step is kept under a name of its own in the store, so an ablation that was stopped, that gains
an arm or a task, or that shares arms with another does only what is new.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from curation.ablate.arms import Ablation, Arm
from curation.ablate.base import (
    VERSION,
    BaseModel,
    Workshop,
    batches_of,
    digest_of,
    prepare_base,
    with_states,
)
from curation.ablate.job import TrainAndMeasure
from curation.ablate.pool import run_jobs
from curation.ablate.results import Outcome, write_outcome
from curation.ablate.verdict import BASE
from curation.engine.progress import Progress, Words
from curation.engine.run import usable_cores
from curation.errors import RecipeError, RunStopped
from curation.evaluate.panel import Panel, Texts
from curation.evaluate.tasks import Task, read_task
from curation.mix.budget import salted_hash_of_ids
from curation.mix.tokens import Tokenizer, TokenSet
from curation.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

    from curation.build import Build

#: Progress is counted in whole numbers: so many for each run.
PARTS = 1000
#: Columns of a held-out document that are looked at.
TEXT_COLUMNS = ("id", "text", "source")
PROBE_COLUMNS = (*TEXT_COLUMNS, "title")


def run_ablation(
    ablation: Ablation,
    *,
    store: str | os.PathLike[str],
    workers: int | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Run an ablation and return its outcome. What the store holds already is not done again.

    store    folder for column groups, token sets, models and results; made if absent
    workers  processes; None for one a GPU, or as many as the cores allow for
    raises   RecipeError, ResourceError, DataError, TrainingError, RunStopped
    """
    shown = progress or Progress()
    shop = Workshop(Store(store), workers, shown)
    try:
        with shop.alone():
            return Experiment(ablation, shop).run()
    except KeyboardInterrupt:
        raise RunStopped(
            "stopped before the end.",
            kept="every set, base and arm that was finished, and the last checkpoint of the others",
            resume="run the same command again: it goes on from here",
        ) from None
    finally:
        shown.close()


@dataclass
class Experiment:
    """An ablation over a store, step by step."""

    ablation: Ablation
    shop: Workshop
    builds: dict[str, Build] = field(default_factory=dict)
    sets: dict[str, TokenSet] = field(default_factory=dict)

    def run(self) -> Outcome:
        """Do everything that is not done yet; what can be wrong with the data is found first."""
        most = self.ablation.most_items
        tasks = [some_items(read_task(path), most) for path in self.ablation.tasks]
        used = dict.fromkeys(name for arm in self.ablation.arms for name in arm.schedule.names)
        self.builds = {name: self.shop.build(self.ablation.data[name]) for name in used}
        panel = self.panel(tasks)
        base = prepare_base(self.ablation.base, self.shop)
        self.write_tokens(base)
        jobs = self.jobs(base, panel)
        self.train(base, jobs)
        return write_outcome(self.ablation, base, panel, jobs, self.builds, self.shop.store)

    def write_tokens(self, base: BaseModel) -> None:
        """Write the sets that arms use as tokens of the base's tokenizer."""
        tokenizer = Tokenizer.open(base.tokenizer)
        for name, build in self.builds.items():
            ids = self.ablation.document_ids.get(name, "none")
            self.sets[name] = self.shop.token_set(build, tokenizer, ids)

    def panel(self, tasks: Sequence[Task]) -> Panel:
        """Build the held-out texts; they, the tasks and a probe are what is measured."""
        texts = [
            Texts(name, some_documents(self.shop.build(recipe), self.ablation.most_items))
            for name, recipe in self.ablation.held_out.items()
        ]
        for one in texts:
            if not len(one.table):
                raise RecipeError(
                    f"the held-out set '{one.name}' has no document to measure.",
                    remedy="hold out a larger share: HeldOut(frac=…)",
                )
        return Panel(texts=tuple(texts), tasks=(*tasks, *self._probe(texts)))

    def _probe(self, texts: Sequence[Texts]) -> list[Task]:
        """Make questions of held-out documents, none of a passage that an arm trains on."""
        from curation.evaluate.probe import ProbeSettings, make_probe

        if self.ablation.probe is None:
            return []
        general = [
            text
            for one in texts
            if one.name not in self.ablation.domain_sets
            for text in one.table["text"].to_pylist()
        ]
        documents = some_documents(self.shop.build(self.ablation.probe), None, PROBE_COLUMNS)
        tasks = []
        for kind in ProbeSettings().tasks:
            try:
                probe = make_probe(
                    documents,
                    name="probe",
                    items=self.ablation.probe_items,
                    settings=ProbeSettings(tasks=(kind,)),
                    general=general or None,
                    training=list(self.builds.values()),
                )
            except RecipeError as error:
                self.shop.progress.say(f"the probe has no items of the kind {kind}: {error}")
                continue
            tasks += probe.tasks
        return tasks

    def jobs(self, base: BaseModel, panel: Panel) -> dict[tuple[str, int], TrainAndMeasure]:
        """Return one job for the base, and one for each repetition of each arm."""
        jobs = {(BASE, 0): self._job(base, panel, None, 0)}
        for repetition in range(self.ablation.repetitions):
            for arm in self.ablation.arms:
                jobs[arm.name, repetition] = self._job(base, panel, arm, repetition)
        return jobs

    def _job(
        self, base: BaseModel, panel: Panel, arm: Arm | None, repetition: int
    ) -> TrainAndMeasure:
        first = self.ablation.training
        training = with_states(dataclasses.replace(first, seed=first.seed + repetition))
        names = arm.schedule.names if arm else ()
        # the arm's name is in the key: two arms on one set draw different documents of it
        key = f"{training.seed}/{arm.name}" if arm else BASE
        facts: list[object] = [VERSION, base.fingerprint, self.ablation.base.context]
        if arm:
            facts += [key, arm.schedule.identity(), training.identity()]
            facts += [self.ablation.max_epochs, self.ablation.beyond]
            facts += [training.evaluate_every, training.early_checkpoints]
            facts += [self.sets[name].fingerprint for name in names]
        return TrainAndMeasure(
            name=f"arm '{arm.name}', repetition {repetition + 1}" if arm else "the base",
            folder=self.shop.store.path / "trained" / digest_of(facts),
            checkpoint=base.folder,
            tokenizer=base.tokenizer,
            context=int(base.facts["context"]),
            panel=panel,
            token_sets={name: self.sets[name].folder for name in names},
            schedule=arm.schedule if arm else None,
            training=training,
            key=key,
            max_epochs=self.ablation.max_epochs,
            beyond=self.ablation.beyond,
            keep_model=self.ablation.keep_models,
        )

    def train(self, base: BaseModel, jobs: Mapping[tuple[str, int], TrainAndMeasure]) -> None:
        """Run the jobs that are left, after saying how long it will take."""
        left = [job for job in jobs.values() if not job.measured]
        self._check_budgets()
        if not left:
            return
        devices = worker_devices(self.shop.workers, self.ablation.training.threads)
        title = f"{len(left)} runs of {self.ablation.training.tokens:,} tokens"
        if len(left) < len(jobs):
            title += f" ({len(jobs) - len(left)} are there already)"
        self.shop.progress.say(
            f"{title} on {len(devices)} worker{'s' * (len(devices) != 1)}: "
            + self._expected(base, left, len(devices))
        )
        self.shop.progress.begin(
            "train and measure", len(left), 0, len(left) * PARTS, words=Words("run", "runs")
        )
        run_jobs(
            left,
            devices,
            lambda done: self.shop.progress.advance(int(done), 0, int(done), int(done * PARTS)),
        )

    def _check_budgets(self) -> None:
        """Raise RecipeError, before anything is trained, where a set is too small for an arm."""
        for arm in self.ablation.arms:
            batches_of(
                self.sets,
                arm.schedule,
                self.ablation.training,
                key=arm.name,
                max_epochs=self.ablation.max_epochs,
                beyond=self.ablation.beyond,
            )

    def _expected(self, base: BaseModel, left: Sequence[TrainAndMeasure], workers: int) -> str:
        """Say how long the runs will take, from a few steps that are timed now."""
        from curation.train.timing import step_seconds

        example = next((job for job in left if job.schedule is not None), None)
        if example is None:
            return "only the base is left to be measured"
        training = example.training
        seconds = step_seconds(base.folder, base.tokenizer, training)
        # what is measured is read forwards only, a third of the work
        tokens = training.tokens + example.panel.tokens_about / 3
        steps = tokens / training.batch_tokens
        total = seconds * steps * -(-len(left) // workers)
        return f"about {describe_seconds(total)}"


def some_documents(
    build: Build, most: int | None, columns: Sequence[str] = TEXT_COLUMNS
) -> pa.Table:
    """Return columns of a build's rows, at most so many rows, chosen by a hash of the id."""
    import pyarrow as pa

    names = [name for name in columns if name in build.column_names(build.outcomes[-1])]
    rows = build.documents(columns=names).collect().to_arrow()
    rows = rows.cast(pa.schema([(name, pa.large_string()) for name in rows.column_names]))
    if most is None or rows.num_rows <= most:
        return rows
    hashes = salted_hash_of_ids(rows["id"].combine_chunks(), "panel")
    return rows.take(pa.array(sorted(hashes.argsort(kind="stable")[:most])))


def some_items(task: Task, most: int | None) -> Task:
    """Return a task with at most so many of its items, chosen by a hash of their ids."""
    if most is None or len(task.items) <= most:
        return task
    ranked = sorted(task.items, key=lambda item: digest_of(item.id))[:most]
    chosen = {item.id for item in ranked}
    return dataclasses.replace(task, items=tuple(i for i in task.items if i.id in chosen))


def worker_devices(workers: int | None, threads: int) -> list[str]:
    """Return a device for each worker: the GPUs in turn, or "" for the CPU."""
    from curation.train.timing import cuda_devices

    gpus = cuda_devices()
    count = workers or gpus or max(1, usable_cores() // max(1, threads))
    return [str(index % gpus) if gpus else "" for index in range(count)]


def describe_seconds(seconds: float) -> str:
    """Return ``40 s``, ``12 min`` or ``3.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
