"""A task: one phase on one shard, or a whole phase that looks at all rows."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field

from curation import stage as contract
from curation.engine.barrier import Facts, run_best, run_reduce
from curation.engine.fused import FusedPass, MustComputeError
from curation.engine.guard import STEP, Quarantine, Watch
from curation.engine.plan import Plan
from curation.engine.rewriting import Rewriting
from curation.errors import CurationError
from curation.stage import Counters, attempt
from curation.store import Store


@dataclass
class Task:
    """What a worker is asked to do.

    phase       index of the phase in the plan
    shard       index of the shard, -1 for all of them
    quarantine  what earlier attempts have shown
    attempts    how often it was begun
    compute     False to raise MustComputeError rather than call a stage
    deaths      where it took workers down: (step, batch, row) → how often
    """

    phase: int
    shard: int
    quarantine: Quarantine = field(default_factory=Quarantine)
    attempts: int = 0
    compute: bool = True
    deaths: dict[tuple[int, int, int], int] = field(default_factory=dict)


@dataclass(frozen=True)
class Done:
    """What a task returns: the parts that it wrote, and its counts for a pass."""

    facts: Facts
    tally: dict[str, object]


def run_task(store: Store, plan: Plan, task: Task, slots: Counters) -> Done:
    """Do a task in this process; CurationError for everything that is no row's fault."""
    phase = plan.phases[task.phase]
    slots[STEP] = 0
    contract.REPLIES = str(store.path / contract.REPLIES_FOLDER)
    done, error = attempt(_run, store, plan, task, Watch(slots, task.quarantine))
    contract.REPLIES = ""
    if isinstance(error, OSError | CurationError | MustComputeError):
        with store.explaining():
            raise error
    if error is not None:
        at = next((s.title for s in phase.steps if s.number == slots[STEP]), str(plan.source))
        raise _explain_fault(error, at) from error
    assert isinstance(done, Done)
    return done


def _run(store: Store, plan: Plan, task: Task, watch: Watch) -> Done:
    phase = plan.phases[task.phase]
    if phase.kind == "reduce":
        return Done(run_reduce(store, plan, phase, watch), {})
    if phase.kind == "best":
        return Done(run_best(store, plan, phase, watch), {})
    shard = plan.shards[task.shard]
    work = (
        FusedPass(store, plan, phase, shard, compute=task.compute)
        if phase.kind == "pass"
        else Rewriting(store, plan, phase, shard)
    )
    facts = work.run(watch)
    return Done({group: {shard.key: fact} for group, fact in facts.items()}, work.tally.facts())


def _explain_fault(error: BaseException, at: str) -> CurationError:
    """A fault outside any row, in a reducer or in the engine itself, told with its place."""
    return CurationError(
        f"a task failed at {at}.",
        found=f"{type(error).__name__}: {error}",
        where="".join(traceback.format_tb(error.__traceback__)[-2:]).strip(),
        remedy="finished shards are kept: mend the stage and run again",
    )
