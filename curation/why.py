"""One row's whole path: where it came from, what was found of it, why it went, its relatives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.build import Build
from curation.columns import PLACE
from curation.engine.plan import PAYLOAD, Outcome
from curation.engine.view import BatchColumns, ShardView
from curation.errors import CurationError, ResourceError
from curation.stage import ERROR, Shard

#: How much of a text is shown.
PREVIEW_CHARS = 400
#: How many of a row's rewrites are named.
SHOWN_CHILDREN = 5


@dataclass(frozen=True)
class StepOutcome:
    """What one step did to the row: its values, or the values that a rule looked at."""

    step: int
    title: str
    values: dict[str, Any]
    outcome: str


@dataclass(frozen=True)
class Why:
    """The path of one row; prints as a page.

    kept      whether it is in the corpus (or was rewritten into rows, where ``children`` are)
    because   why it went; "" if it stayed
    place     source, url, license, date, file, offset, length
    path      the steps that it went through
    text      the beginning of its text, as far as it can be read
    relatives name (duplicate of, rewritten from, rewritten into) → id and beginning of text
    """

    id: str
    kept: bool
    because: str
    place: dict[str, Any]
    path: list[StepOutcome]
    text: str
    relatives: list[tuple[str, str, str]]

    def __str__(self) -> str:
        verdict = "kept" if self.kept else f"dropped: {self.because}"
        lines = [f"{self.id}", f"  {verdict}", ""]
        lines += [f"  {name:<9} {value}" for name, value in self.place.items() if value is not None]
        lines.append("")
        for step in self.path:
            values = ", ".join(f"{name} {_shown(value)}" for name, value in step.values.items())
            tail = " · ".join(filter(None, [values, step.outcome]))
            lines.append(f"  step {step.step:>2}  {step.title}" + (f"  →  {tail}" if tail else ""))
        for relation, row_id, text in self.relatives:
            lines += ["", f"  {relation} {row_id}", *_quoted(text)]
        if self.text:
            lines += ["", "  text", *_quoted(self.text)]
        return "\n".join(lines)

    __repr__ = __str__


def explain(build: Build, row_id: str) -> Why:
    """Return the path of a row; ResourceError if the build never saw it."""
    for level, outcome in enumerate(build.outcomes):
        place = _find(build, outcome, row_id)
        if place is not None:
            return Explanation(build, level, *place).why()
    raise ResourceError(
        f"no row of this build is called '{row_id}'.",
        example=_an_id(build),
        remedy="ids are FILE#PLACE, as the column 'id' of the documents and the dropped rows has",
    )


def _find(build: Build, outcome: Outcome, row_id: str) -> tuple[Shard, int, int] | None:
    """Return shard, batch and row; the shards that read the file named in the id come first."""
    name = row_id.partition("#")[0]
    likely = [s for s in build.shards if any(span.name == name for span in s.spans)]
    for shard in dict.fromkeys([*likely, *build.shards]):
        for index, ids in _ids(build, outcome, shard):
            found = pc.index(ids, pa.scalar(row_id, ids.type)).as_py()
            if found >= 0:
                return shard, index, found
    return None


def _ids(build: Build, outcome: Outcome, shard: Shard) -> Iterator[tuple[int, pa.Array]]:
    view = ShardView(build.store, build.source, shard, outcome.space)
    for index in range(len(view.sizes)):
        yield index, view.column(outcome.space.root, index, "id")
    view.close()


def _an_id(build: Build) -> str:
    for shard in build.shards:
        for _, ids in _ids(build, build.outcomes[0], shard):
            if len(ids):
                return str(ids[0].as_py())
    return ""


class Explanation:
    """Gathers what the column groups say of one row.

    level  which row space of the build the row is of
    """

    def __init__(self, build: Build, level: int, shard: Shard, index: int, row: int) -> None:
        self.build, self.level, self.row = build, level, row
        self.outcome = build.outcomes[level]
        self.view = ShardView(build.store, build.source, shard, self.outcome.space)
        self.index = index
        columns = BatchColumns(self.view, index, self.view.sizes[index])
        columns.payload_rows = np.array([row])
        self.columns = columns
        self.id = str(self.stored(self.outcome.space.root, "id"))

    def stored(self, group: str, name: str) -> Any:
        """Return the row's value in a column group."""
        return self.columns.get(group, name, np.array([self.row]))[0].as_py()

    def why(self) -> Why:
        """Return everything."""
        selection = self.outcome.selection
        kept = bool(self.stored(selection, "kept"))
        went_at = None if kept else self.stored(selection, "step")
        because = "" if kept else str(self.stored(selection, "because"))
        root = self.outcome.space.root
        shown = [name for name in PLACE if name != "id" and name in self._names(root)]
        return Why(
            id=self.id,
            kept=kept,
            because=self._with_error(because, went_at),
            place={name: self.stored(root, name) for name in shown},
            path=list(self._path(went_at)),
            text=self._text(),
            relatives=list(self._relatives()),
        )

    def _names(self, group: str) -> list[str]:
        names: list[str] = self.view.reader(group).names
        return names

    def _with_error(self, because: str, went_at: int | None) -> str:
        groups = {0: self.outcome.space.root} | {
            step["step"]: step["group"] for step in self.build.facts["steps"] if step["group"]
        }
        group = groups.get(went_at) if went_at is not None else None
        if self._is_rewriter(group):
            group = self.outcome.selection
        if not group or ERROR not in self._names(group):
            return because
        error = self.stored(group, ERROR)
        return f"{because}: {error}" if error else because

    def _is_rewriter(self, group: str | None) -> bool:
        return any(outcome.space.root == group for outcome in self.build.outcomes[1:])

    def _path(self, went_at: int | None) -> Iterator[StepOutcome]:
        for step in self._own_steps():
            number, gone = step["step"], went_at == step["step"]
            if went_at is not None and number > went_at:
                return
            if step["group"] and not self._is_rewriter(step["group"]):
                values = {n: self.stored(step["group"], n) for n in step["writes"] if n != "text"}
            else:
                values = {
                    name: self.stored(group, name)
                    for name, group in step["reads"].items()
                    if not group.startswith(PAYLOAD) and name not in ("id", "text")
                }
            yield StepOutcome(number, step["title"], values, "dropped here" if gone else "")

    def _own_steps(self) -> list[dict[str, Any]]:
        """The steps of the row's own space: up to and with the rewriter that took it."""
        roots = [outcome.space.root for outcome in self.build.outcomes]
        level, own = 0, []
        for step in self.build.facts["steps"]:
            if level == self.level:
                own.append(step)
            level += step["group"] in roots[1:]
        return own

    def _text(self) -> str:
        group = self.outcome.columns.get("text")
        if group is None or (group == PAYLOAD and self.build.source is None):
            return ""
        return str(self.stored(group, "text") or "")[:PREVIEW_CHARS]

    def _relatives(self) -> Iterator[tuple[str, str, str]]:
        yield from self._twin()
        if self.level:
            parent = self.stored(self.outcome.space.root, "parent_id")
            yield "rewritten from", parent, _preview(self.build, self.level - 1, parent)
        yield from self._children()

    def _twin(self) -> Iterator[tuple[str, str, str]]:
        """Yield the row that this one repeats, by the first step that found one."""
        for step in self._own_steps():
            names = step["writes"]
            if "duplicate_of" not in names:
                continue
            found = {name: self.stored(step["group"], name) for name in names}
            twin, similarity = found["duplicate_of"], found.get("similarity")
            if twin is None:
                continue
            relation = "duplicate of"
            if similarity is not None:
                relation = f"duplicate ({similarity:.3f} alike) of"
            if found.get("duplicate_in"):
                head = _head_in_index(step, found["duplicate_in"], twin)
                yield relation, f"{twin} in build {found['duplicate_in']}", head
            else:
                yield relation, twin, _preview(self.build, self.level, twin)
            return

    def _children(self) -> Iterator[tuple[str, str, str]]:
        if self.level + 1 >= len(self.build.outcomes):
            return
        below = self.build.outcomes[self.level + 1]
        view = ShardView(self.build.store, self.build.source, self.view.shard, below.space)
        found: list[str] = []
        for index in range(len(view.sizes)):
            mask = pc.equal(view.column(below.space.root, index, "parent_id"), self.id)
            found += view.column(below.space.root, index, "id").filter(mask).to_pylist()
        view.close()
        for child in found[:SHOWN_CHILDREN]:
            yield "rewritten into", child, _preview(self.build, self.level + 1, child)
        if len(found) > SHOWN_CHILDREN:
            yield "rewritten into", f"and {len(found) - SHOWN_CHILDREN} more", ""


def _head_in_index(step: dict[str, Any], name: str, twin: str) -> str:
    """Return the beginning of a text of an index; "" where the index is not there any more."""
    from curation.dedup.index import open_index

    for path in step["settings"]["settings"]["against"]:
        try:
            index = open_index(path)
        except CurationError:
            continue
        if index.name == name:
            return index.head_of(twin) or ""
    return ""


def _preview(build: Build, level: int, row_id: str) -> str:
    place = _find(build, build.outcomes[level], row_id)
    return "" if place is None else Explanation(build, level, *place)._text()


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = value.hex() if isinstance(value, bytes) else str(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _quoted(text: str) -> list[str]:
    return [f"    | {line}" for line in text.splitlines()[:12]]
