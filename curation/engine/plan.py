"""From a recipe to phases of independent shard tasks, with a fingerprint for all that they make.

A fingerprint is the hash of what a thing is made by and from: of a column group, its stage and
the groups of the columns read; of a selection, its rules and what they read. Which shards there
are is part of neither, except behind a step that looks at all rows: so a file that is added to
the input adds parts and changes none.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import importlib
import os
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from curation.columns import CARRIED, COLUMNS, PLACE
from curation.errors import RecipeError, ResourceError
from curation.recipe import Keep, KeepBest, Recipe, Sample, Step, step_name
from curation.stage import ERROR, Annotator, Reducer, Rewriter, Shard, Source, Stage
from curation.store import canonical_json

#: Group name of columns that the source hands on and does not store.
PAYLOAD = "payload"
#: Why a row went of which a rewriter made nothing.
EMPTY_REASON = "{} made nothing of it"
#: Raised when the layout of the store changes, which makes every fingerprint new.
_LAYOUT = 1


@dataclass(frozen=True)
class Space:
    """The rows of a source, or those that a rewriter made of them.

    root    group that holds the rows' ids and decides how they fall into batches
    source  whether payload columns can be read again
    """

    root: str
    source: bool


@dataclass(frozen=True)
class PlannedStep:
    """One step, the group that it writes ("" for a selection) and where its columns come from.

    reads    column name → group, for each column that is there
    numbers  how the step stands in the recipe, from 1; the source is 0
    """

    number: int
    step: Step
    group: str
    reads: Mapping[str, str]

    @property
    def title(self) -> str:
        return f"{self.number} {self.step}"


@dataclass(frozen=True)
class Phase:
    """What runs between two barriers.

    kind       pass (annotators and keeps, fused), reduce, best (keep_best, sample) or rewrite
    before     selection that holds which rows are still there; "" for all rows of the space
    selection  selection that the phase writes; "" for a reducer, which drops nothing
    space      the rows that are read; a rewrite makes those of the next space
    weights    group whose ``bytes`` says what each row weighs before the phase
    per_shard  whether each shard is a task of its own
    """

    kind: str
    steps: tuple[PlannedStep, ...]
    space: Space
    before: str
    selection: str
    weights: str
    reads_source: bool = False

    @property
    def per_shard(self) -> bool:
        return self.kind in ("pass", "rewrite")

    @property
    def groups(self) -> list[str]:
        """The groups that the phase writes, its selection last."""
        written = [step.group for step in self.steps if step.group]
        root = [self.space.root] if self.reads_source else []
        return [*root, *written, *([self.selection] if self.selection else [])]


@dataclass(frozen=True)
class Outcome:
    """What is left at the end of one row space: its columns and its last selection."""

    space: Space
    columns: Mapping[str, str]
    selection: str


@dataclass(frozen=True)
class Plan:
    """Everything that a run does, known before it does it."""

    recipe: Recipe
    source: Source
    shards: tuple[Shard, ...]
    phases: tuple[Phase, ...]
    outcomes: tuple[Outcome, ...]
    fingerprint: str
    schemas: Mapping[str, pa.Schema] = field(default_factory=dict)

    @property
    def keys(self) -> list[str]:
        return [shard.key for shard in self.shards]

    @property
    def outcome(self) -> Outcome:
        return self.outcomes[-1]


def compile_plan(recipe: Recipe, *, limit: int | None = None) -> Plan:
    """List the input files and return the plan; RecipeError where a pattern matches nothing."""
    source = recipe.rows_source
    shards = source.plan()
    if not shards:
        raise RecipeError(
            f"the source {step_name(source)} found nothing to read.",
            recipe=recipe.origin,
            remedy="its plan() returns no shard: check its settings",
        )
    return Planner(recipe, _limited(shards, limit)).plan()


def _limited(shards: Sequence[Shard], limit: int | None) -> tuple[Shard, ...]:
    """Cut the input to its first rows: one shard for each member of a combined source."""
    if limit is None:
        return tuple(shards)
    if limit < 1:
        raise RecipeError("a limit is a number of rows, 1 or more.", found=str(limit))
    parts: dict[int, list[Shard]] = {}
    for shard in shards:
        parts.setdefault(shard.part, []).append(shard)
    return tuple(
        Shard(
            spans=tuple(span for shard in members for span in shard.spans),
            bytes=sum(shard.bytes for shard in members),
            limit=limit,
            part=part,
        )
        for part, members in parts.items()
    )


class Planner:
    """Walks the steps once, gathering annotators and keeps into passes."""

    def __init__(self, recipe: Recipe, shards: tuple[Shard, ...]) -> None:
        self.recipe, self.shards, self.source = recipe, shards, recipe.rows_source
        root = fingerprint("source", self.source.identity())
        stored = [f.name for f in self.source.schema if f.name != ERROR]
        payload = set(self.source.payload.names)
        self.columns = {name: PAYLOAD if name in payload else root for name in stored}
        self.space = Space(root=root, source=True)
        self.schemas = {root: _root_schema(self.source)}
        self.selection = ""
        self.phases: list[Phase] = []
        self.outcomes: list[Outcome] = []
        self.pending: list[PlannedStep] = []
        self.weights = root

    def plan(self) -> Plan:
        """Return the plan of the whole recipe."""
        for number, step in enumerate(self.recipe.steps, start=1):
            self._add(number, step)
        self._close_pass()
        self._close_space()
        made = [group for phase in self.phases for group in phase.groups]
        return Plan(
            recipe=self.recipe,
            source=self.source,
            shards=self.shards,
            phases=tuple(self.phases),
            outcomes=tuple(self.outcomes),
            fingerprint=fingerprint("build", made, self._tokens(), self.recipe.max_error_frac),
            schemas=self.schemas,
        )

    def _add(self, number: int, step: Step) -> None:
        if isinstance(step, Annotator):
            group = fingerprint("annotator", step.identity(), self._inputs(step))
            self.pending.append(self._planned(number, step, group))
            self._written(step, group)
        elif isinstance(step, Keep) or (isinstance(step, Sample) and step.documents is None):
            self.pending.append(self._planned(number, step, ""))
        elif isinstance(step, Reducer):
            self._close_pass()
            rows = [self.selection, *self._tokens()]
            group = fingerprint("reducer", step.identity(), self._inputs(step), rows)
            self._phase("reduce", self._planned(number, step, group), selection="")
            self._written(step, group)
        elif isinstance(step, Rewriter):
            self._close_pass()
            self._rewrite(number, step)
        else:
            assert isinstance(step, KeepBest | Sample)
            self._close_pass()
            planned = self._planned(number, step, "")
            made = fingerprint(
                "best", self.selection, self._tokens(), number, step.identity(), planned.reads
            )
            self._phase("best", planned, selection=made)
            self.selection = made

    def _planned(self, number: int, step: Step, group: str) -> PlannedStep:
        return PlannedStep(number, step, group, self._inputs(step))

    def _inputs(self, step: Step) -> dict[str, str]:
        names = [*step.reads, *(step.may_read if isinstance(step, Stage) else ())]
        root = self.space.root
        found = {name: self.columns[name] for name in names if name in self.columns}
        # a payload has no group of its own: it is what the source's root group points at
        return {n: f"{PAYLOAD}:{root}" if g == PAYLOAD else g for n, g in found.items()}

    def _written(self, stage: Stage, group: str) -> None:
        self.columns.update(dict.fromkeys(stage.writes.names, group))
        self.schemas[group] = _group_schema(stage)

    def _tokens(self) -> list[str]:
        return [shard.key for shard in self.shards]

    def _close_pass(self) -> None:
        """Make a phase of the gathered annotators and keeps; the first one reads the source too."""
        opens_space = not any(phase.space == self.space for phase in self.phases)
        if not (self.pending or opens_space):
            return
        made = fingerprint(
            "pass",
            self.space.root,
            self.selection,
            self.recipe.on_error,
            [[s.number, s.group or [_selection_identity(s.step), s.reads]] for s in self.pending],
        )
        self.phases.append(
            Phase(
                kind="pass",
                steps=tuple(self.pending),
                space=self.space,
                before=self.selection,
                selection=made,
                weights=self.weights,
                reads_source=opens_space and self.space.source,
            )
        )
        self.schemas[made] = SELECTION
        self.selection, self.pending = made, []
        self.weights = self._weights()

    def _phase(self, kind: str, planned: PlannedStep, selection: str) -> None:
        self.phases.append(
            Phase(kind, (planned,), self.space, self.selection, selection, self._weights())
        )
        if selection:
            self.schemas[selection] = SELECTION

    def _rewrite(self, number: int, step: Rewriter) -> None:
        group = fingerprint("rewriter", step.identity(), self._inputs(step), self.selection)
        made = fingerprint("rewritten", group, number)
        self._phase("rewrite", self._planned(number, step, group), selection=made)
        self.schemas[made] = PARENT_SELECTION
        self.selection = made
        self._close_space()
        self.space = Space(root=group, source=False)
        self.schemas[group] = _rewritten_schema(step)
        names = [
            name for name in self.schemas[group].names if name not in (*BOOKKEEPING, "root_id")
        ]
        self.columns = dict.fromkeys(names, group)
        self.weights = group
        self.selection = ""

    def _weights(self) -> str:
        group = self.columns.get("text", PAYLOAD)
        return self.space.root if group == PAYLOAD else group

    def _close_space(self) -> None:
        self.outcomes.append(Outcome(self.space, dict(self.columns), self.selection))


#: Columns that the engine adds to the groups of stages.
BOOKKEEPING = ("scored", ERROR, "bytes")

#: A selection part: whether a row stays and, if not, at which step it went and why.
SELECTION = pa.schema(
    [
        pa.field("kept", pa.bool_()),
        pa.field("step", pa.uint16()),
        pa.field("because", pa.large_string()),
    ]
)

#: The same of rows that a rewriter took: with the error of those it could not do.
PARENT_SELECTION = SELECTION.append(pa.field(ERROR, pa.large_string()))


def _root_schema(source: Source) -> pa.Schema:
    stored = [pa.field(name, COLUMNS[name][0]) for name in PLACE]
    kept = [pa.field("bytes", pa.uint64()), pa.field(ERROR, pa.large_string())]
    return pa.schema([*stored, *source.writes, *kept])


def _group_schema(stage: Stage) -> pa.Schema:
    """The stage's columns, then whether each row was scored, its error and, for text, its bytes."""
    size = [pa.field("bytes", pa.uint64())] if "text" in stage.writes.names else []
    kept = [pa.field("scored", pa.bool_()), pa.field(ERROR, pa.large_string())]
    return pa.schema([*stage.writes, *kept, *size])


def _rewritten_schema(stage: Rewriter) -> pa.Schema:
    lineage = ["id", "parent_id", *CARRIED]
    fields = [pa.field(name, COLUMNS[name][0]) for name in lineage]
    root = [pa.field("root_id", pa.large_string())]
    kept = [pa.field("bytes", pa.uint64()), pa.field(ERROR, pa.large_string())]
    return pa.schema([*fields, *root, *stage.writes, *kept])


def _selection_identity(step: Step) -> object:
    assert isinstance(step, Keep | KeepBest | Sample)
    return step.identity()


# ---------------------------------------------------------------- fingerprints


def fingerprint(*parts: object) -> str:
    """Return 24 hex digits of the SHA-256 of the parts' canonical JSON."""
    text = canonical_json([_LAYOUT, *(plain(part) for part in parts)])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def plain(value: object) -> Any:
    """Return a setting as JSON types; RecipeError for what has no lasting spelling."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in value), key=canonical_json)
    if isinstance(value, Stage):
        return plain(value.identity())
    if isinstance(value, pa.Schema):
        return [[f.name, str(f.type)] for f in value]
    if isinstance(value, pa.DataType | os.PathLike):
        return str(value)
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, types.FunctionType):
        return f"{value.__module__}.{value.__qualname__}"
    raise RecipeError(
        "a setting has a type that cannot be part of a fingerprint.",
        found=f"{value!r} ({type(value).__name__})",
        remedy="use numbers, strings, paths, tuples and mappings of these as settings",
    )


def describe(stage: Stage) -> dict[str, Any]:
    """Return a stage as JSON from which ``restore`` makes it again."""
    settings = {f.name: getattr(stage, f.name) for f in dataclasses.fields(stage)}
    return {
        "module": type(stage).__module__,
        "name": type(stage).__qualname__,
        "settings": {name: _describe_setting(value) for name, value in settings.items()},
    }


def _describe_setting(value: object) -> Any:
    if isinstance(value, Stage):
        return {"stage": describe(value)}
    if isinstance(value, tuple | list):
        return [_describe_setting(item) for item in value]
    return plain(value)


def restore(facts: Mapping[str, Any]) -> Stage:
    """Make a stage from ``describe``'s facts; ResourceError where its class cannot be imported."""
    try:
        kind = getattr(importlib.import_module(facts["module"]), facts["name"])
    except (ImportError, AttributeError):
        raise ResourceError(
            f"the stage {facts['name']} of {facts['module']} cannot be imported here.",
            remedy="run the recipe again from its file: finished work is not repeated",
        ) from None
    stage: Stage = kind(**{n: _restore_setting(v) for n, v in facts["settings"].items()})
    return stage


def _restore_setting(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"stage"}:
        return restore(value["stage"])
    return tuple(_restore_setting(item) for item in value) if isinstance(value, list) else value


def step_facts(planned: PlannedStep) -> dict[str, Any]:
    """Return what a build's record says of a step."""
    step = planned.step
    because = step.because if isinstance(step, Keep | KeepBest | Sample) else ""
    if isinstance(step, Rewriter):
        because = EMPTY_REASON.format(step_name(step))
    return {
        "step": planned.number,
        "name": step_name(step),
        "title": str(step),
        "because": because,
        "group": planned.group,
        "reads": dict(planned.reads),
        "writes": step.writes.names if isinstance(step, Stage) else [],
        "settings": describe(step) if isinstance(step, Stage) and step.recorded else None,
    }
