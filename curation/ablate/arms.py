"""What an ablation is: a base, sets of data, arms, what is measured.

An arm is a mixture over time of named sets, and a set is a recipe. Arms differ in their recipes
(a rule left out, another threshold, another source) or in their mixtures (replay, annealing,
several epochs); all train from the same base on the same number of tokens.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from curation.ablate.base import Base
from curation.ablate.verdict import BASE
from curation.errors import RecipeError, nearest
from curation.mix.budget import MAX_EPOCHS, Beyond
from curation.mix.schedule import Schedule
from curation.mix.tokens import DocumentIds
from curation.recipe import Keep, KeepBest, Recipe, Sample, Selection
from curation.train.settings import Training

if TYPE_CHECKING:
    from curation.recipe import Step

#: Rules over these columns keep what is measured out of what is trained on: none is ever left out.
PROTECTED = ("held_out", "contaminated_by")


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to train on: a name, and a mixture over time of the ablation's sets."""

    name: str
    schedule: Schedule

    def __post_init__(self) -> None:
        if not self.name.strip() or self.name == BASE:
            raise RecipeError(
                "an arm needs a name of its own.",
                found=repr(self.name),
                remedy=f"any name but '{BASE}', which stands for the model before the arms",
            )


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """An experiment: which of these arms helps, what it costs, and how sure that is.

    base         where every arm starts
    data         name → recipe of a set that arms are made of
    arms         what is compared; each trains on ``training.tokens`` tokens
    training     the same for all arms
    repetitions  draws of documents and seeds for each arm. With 1 nothing is decided; with 2 a
                 difference is found where there is none in up to 9 of 100 cases, not 5
    held_out     name → recipe of texts to measure bits per byte on, which no arm trains on
    tasks        files of multiple-choice, cloze or short-answer items, JSON lines
    probe        recipe of held-out documents that questions are made of, for a domain without a
                 benchmark; None for no such probe
    probe_items  items of each of its tasks
    domain       the names in ``held_out`` and of tasks that stand for the domain; the others stand
                 for general ability. The first name where this is empty
    general_data names in ``data`` of general text, for the laws of mixtures: the share of all other
                 sets is the domain's
    reference    the arm that the others are compared with; the first where this is ""
    max_epochs   how often a set may be read to fill the budget
    beyond       what happens when it is not enough: error, cap (fewer tokens) or repeat
    most_items   held-out documents and task items measured at most, each; None for all
    keep_models  whether the trained models stay on disk, so that they can be measured again
    document_ids sets whose documents are followed by their "source" or "id" (source-aware training)
    """

    base: Base
    data: Mapping[str, Recipe]
    arms: Sequence[Arm]
    training: Training
    held_out: Mapping[str, Recipe]
    tasks: Sequence[str] = ()
    repetitions: int = 3
    probe: Recipe | None = None
    probe_items: int = 200
    domain: Sequence[str] = ()
    general_data: Sequence[str] = ("general",)
    reference: str = ""
    max_epochs: float = MAX_EPOCHS
    beyond: Beyond = "error"
    most_items: int | None = 1500
    keep_models: bool = True
    document_ids: Mapping[str, DocumentIds] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "arms", tuple(self.arms))
        names = [arm.name for arm in self.arms]
        if not names or len(set(names)) < len(names):
            raise RecipeError(
                "an ablation needs arms, each with a name of its own.", found=", ".join(names)
            )
        for arm in self.arms:
            arm.schedule.validate(self.data, who=f"arm '{arm.name}'")
        if self.reference and self.reference not in names:
            raise RecipeError(
                f"there is no arm '{self.reference}' to compare with.",
                present=", ".join(names),
                remedy=nearest(self.reference, names),
            )
        if self.repetitions < 1:
            raise RecipeError(
                "an ablation has one repetition or more.", found=f"repetitions={self.repetitions}"
            )
        if not (self.held_out or self.tasks or self.probe):
            raise RecipeError(
                "an ablation has to measure something.",
                remedy="held_out={'domain': recipe}, tasks=('items.jsonl',)",
            )
        unknown = [name for name in self.domain if name not in self.sets_measured]
        if unknown:
            raise RecipeError(
                f"the domain is said to be {', '.join(unknown)}, which is not measured.",
                present=", ".join(self.sets_measured),
                remedy=nearest(unknown[0], self.sets_measured),
            )

    @property
    def sets_measured(self) -> tuple[str, ...]:
        """Names of the held-out texts, then of the tasks (the names of their files)."""
        return (*self.held_out, *(task_name(path) for path in self.tasks))

    @property
    def domain_sets(self) -> tuple[str, ...]:
        """Names of what is measured that stand for the domain."""
        return tuple(self.domain) or self.sets_measured[:1]

    @property
    def compared_with(self) -> str:
        """Name of the arm that the others are compared with."""
        return self.reference or self.arms[0].name

    def describe(self) -> str:
        """Return arms, mixtures and rules as text; nothing is run."""
        lines = [
            f"{len(self.arms)} arms of {self.training.tokens:,} tokens, {self.repetitions} "
            f"repetitions each; measured: {', '.join(self.sets_measured)}"
        ]
        for arm in self.arms:
            lines.append(f"  {arm.name}")
            for row in arm.schedule.table(self.training.tokens).iter_rows(named=True):
                lines.append(
                    f"    from {row['from_tokens']:,} to {row['to_tokens']:,}: "
                    f"{row['share']:.0%} {row['component']}"
                )
        for name in dict.fromkeys(name for arm in self.arms for name in arm.schedule.names):
            steps = " → ".join(str(step) for step in self.data[name].steps)
            lines.append(f"  set {name}: {steps}")
        return "\n".join(lines)

    def arm(self, name: str) -> Arm:
        """Return an arm by its name."""
        return next(arm for arm in self.arms if arm.name == name)


def task_name(path: str) -> str:
    """Return the name of a task: that of its file without its endings."""
    return Path(path).name.partition(".")[0]


# ---------------------------------------------------------------- arms out of rules


def rules_of(recipe: Recipe) -> Iterator[tuple[int, Selection]]:
    """Yield position and rule of each selection that may be left out."""
    for index, step in enumerate(recipe.steps):
        if isinstance(step, Keep | KeepBest | Sample) and not set(step.reads) & set(PROTECTED):
            yield index, step


def without_step(recipe: Recipe, index: int) -> Recipe:
    """Return a recipe without one of its steps."""
    steps: list[Step] = [step for at, step in enumerate(recipe.steps) if at != index]
    return dataclasses.replace(recipe, steps=steps)


def leave_one_rule_out(ablation: Ablation) -> Ablation:
    """Return an ablation of the reference arm and, for each rule of its sets, of it without that.

    Rules that keep held-out and contaminated rows out of training stay. Sets that several arms
    share by name are changed for the new arm alone.
    """
    reference = ablation.arm(ablation.compared_with)
    data, arms = dict(ablation.data), {reference.name: reference}
    for name in reference.schedule.names:
        for index, rule in rules_of(ablation.data[name]):
            label = f"without '{rule.because}'"
            if label in arms:  # the same reason twice, or the same rule in another set
                label = f"{name}, step {index + 1}, {label}"
            data[label] = without_step(ablation.data[name], index)
            arms[label] = Arm(name=label, schedule=reference.schedule.renamed({name: label}))
    if len(arms) == 1:
        raise RecipeError(
            f"the sets of arm '{reference.name}' have no rule to leave out.",
            present=", ".join(reference.schedule.names),
            remedy="name another arm: Ablation(reference=…)",
        )
    return dataclasses.replace(
        ablation, data=data, arms=tuple(arms.values()), reference=reference.name
    )
