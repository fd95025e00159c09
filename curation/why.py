"""One row's whole path: where it came from, what was found of it, why it went, its relatives."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import StringIO
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
#: How much of a source and of its rewrite is set side by side.
SIDE_CHARS = 4000
#: A page is as wide as the terminal, or so wide; narrower than the other, texts stand one under
#: the other.
PAGE_CELLS, NARROW_CELLS = 120, 60
#: What a rewritten row says of how it was made and what was found of it, where it has the column.
_MADE_BY = ("rewriter", "prompt_id", "model_id", "rewrite_seed", "reply_is_cut")
_FOUND = ("failed_prompt_count", "failed_prompt_reason", "is_faithful", "faithful_reason")


#: Characters that would command the terminal that a page is printed on: C0, DEL and C1 but for
#: line ends and tabs.
_CONTROLS = dict.fromkeys({*range(32), *range(127, 160)} - {9, 10}, "\ufffd")


@dataclass(frozen=True)
class StepOutcome:
    """What one step did to the row: its values, or the values that a rule looked at."""

    step: int
    title: str
    values: dict[str, Any]
    outcome: str


@dataclass(frozen=True)
class Rewrite:
    """A row that a model or templates wrote, beside what it was written from.

    source_id  the row that it was made from
    source     the passage of that row, where the rewriter noted it; else its text
    facts      by what it was made, and what was found of it
    """

    id: str
    source_id: str
    source: str
    text: str
    facts: dict[str, Any]
    kept: bool
    because: str

    def lines(self, width: int) -> list[str]:
        """Return its facts, and source and text in two columns, in so many cells."""
        facts = ", ".join(f"{name} {_shown(value)}" for name, value in self.facts.items())
        verdict = "kept" if self.kept else f"dropped: {self.because}"
        left = f"{self.source[:SIDE_CHARS]}{'…' * (len(self.source) > SIDE_CHARS)}"
        right = f"{self.text[:SIDE_CHARS]}{'…' * (len(self.text) > SIDE_CHARS)}"
        if self.source and self.text.startswith(self.source):
            rest = self.text[len(self.source) :].lstrip("\n")[:SIDE_CHARS]
            right = f"[the source, then]\n\n{rest}" if rest else "[the source as it is]"
        left, right = left.translate(_CONTROLS), right.translate(_CONTROLS)
        titles = f"source {self.source_id}", f"rewrite {self.id}"
        told = [f"  {line}" for line in _wrapped(f"{facts} · {verdict}", width - 2)]
        return [*told, "", *_side_by_side(titles, (left, right), width)]


@dataclass(frozen=True)
class Why:
    """The path of one row; prints as a page, as wide as the terminal.

    kept      whether it is in the corpus (or was rewritten into rows, where ``children`` are)
    because   why it went; "" if it stayed
    place     source, url, license, date, file, offset, length
    path      the steps that it went through
    text      the beginning of its text, as far as it can be read
    relatives name (duplicate of, rewritten from, rewritten into) → id and beginning of text
    rewrites  the row itself beside its source, where a rewriter composed it; then its own rewrites
    """

    id: str
    kept: bool
    because: str
    place: dict[str, Any]
    path: list[StepOutcome]
    text: str
    relatives: list[tuple[str, str, str]]
    rewrites: list[Rewrite] = field(default_factory=list)

    def __str__(self) -> str:
        return self.page(shutil.get_terminal_size((PAGE_CELLS, 24)).columns)

    def page(self, width: int) -> str:
        """Return the page for a terminal of so many cells."""
        verdict = "kept" if self.kept else f"dropped: {self.because}"
        lines = [f"{self.id}", f"  {verdict}", ""]
        lines += [f"  {name:<9} {value}" for name, value in self.place.items() if value is not None]
        lines.append("")
        for step in self.path:
            values = ", ".join(f"{name} {_shown(value)}" for name, value in step.values.items())
            tail = " · ".join(filter(None, [values, step.outcome]))
            lines.append(f"  step {step.step:>2}  {step.title}" + (f"  →  {tail}" if tail else ""))
        beside = {one.source_id if one.id == self.id else one.id: one for one in self.rewrites}
        for relation, row_id, text in self.relatives:
            shown = beside[row_id].lines(width) if row_id in beside else _quoted(text)
            lines += ["", f"  {relation} {row_id}", *shown]
        if self.text and self.id not in [one.id for one in self.rewrites]:
            lines += ["", "  text", *_quoted(self.text)]
        return "\n".join(lines).translate(_CONTROLS)

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
            rewrites=list(self._rewrites()),
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
        return self._whole_text()[:PREVIEW_CHARS]

    def _whole_text(self) -> str:
        group = self.outcome.columns.get("text")
        if group is None or (group == PAYLOAD and self.build.source is None):
            return ""
        return str(self.stored(group, "text") or "")

    def _rewrites(self) -> Iterator[Rewrite]:
        """Yield the row beside its source, and its own rewrites beside it."""
        own = self.rewrite()
        if own is not None:
            yield own
        for child in self._child_ids()[:SHOWN_CHILDREN]:
            place = _find(self.build, self.build.outcomes[self.level + 1], child)
            if place is not None:
                made = Explanation(self.build, self.level + 1, *place).rewrite()
                if made is not None:
                    yield made

    def rewrite(self) -> Rewrite | None:
        """Return the row beside what it was written from; None where it was not composed."""
        columns, root = self.outcome.columns, self.outcome.space.root
        if not self.level or columns.get("rewriter") != root:
            return None
        names = [name for name in (*_MADE_BY, *_FOUND) if name in columns]
        facts = {name: self.stored(columns[name], name) for name in names}
        parent = str(self.stored(root, "parent_id"))
        source = self.stored(root, "source_text") if columns.get("source_text") == root else None
        selection = self.outcome.selection
        kept = bool(self.stored(selection, "kept"))
        return Rewrite(
            id=self.id,
            source_id=parent,
            source=_text_of(self.build, self.level - 1, parent) if source is None else str(source),
            text=self._whole_text(),
            facts={name: value for name, value in facts.items() if value is not None},
            kept=kept,
            because="" if kept else str(self.stored(selection, "because")),
        )

    def _relatives(self) -> Iterator[tuple[str, str, str]]:
        yield from self._twin()
        if self.level:
            parent = self.stored(self.outcome.space.root, "parent_id")
            text = _text_of(self.build, self.level - 1, parent)
            yield "rewritten from", parent, text[:PREVIEW_CHARS]
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
                yield relation, twin, _text_of(self.build, self.level, twin)[:PREVIEW_CHARS]
            return

    def _children(self) -> Iterator[tuple[str, str, str]]:
        found = self._child_ids()
        for child in found[:SHOWN_CHILDREN]:
            preview = _text_of(self.build, self.level + 1, child)[:PREVIEW_CHARS]
            yield "rewritten into", child, preview
        if len(found) > SHOWN_CHILDREN:
            yield "rewritten into", f"and {len(found) - SHOWN_CHILDREN} more", ""

    def _child_ids(self) -> list[str]:
        if self.level + 1 >= len(self.build.outcomes):
            return []
        below = self.build.outcomes[self.level + 1]
        view = ShardView(self.build.store, self.build.source, self.view.shard, below.space)
        found: list[str] = []
        for index in range(len(view.sizes)):
            mask = pc.equal(view.column(below.space.root, index, "parent_id"), self.id)
            found += view.column(below.space.root, index, "id").filter(mask).to_pylist()
        view.close()
        return found


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


def _text_of(build: Build, level: int, row_id: str) -> str:
    place = _find(build, build.outcomes[level], row_id)
    return "" if place is None else Explanation(build, level, *place)._whole_text()


def _side_by_side(titles: tuple[str, str], texts: tuple[str, str], width: int) -> list[str]:
    """Return two texts in two columns, wrapped; one under the other where there is no room."""
    from rich.table import Table
    from rich.text import Text

    if width < NARROW_CELLS:
        return [
            line
            for title, text in zip(titles, texts, strict=True)
            for line in ("", f"  {title}", *(f"    | {one}" for one in _wrapped(text, width - 6)))
        ][1:]
    table = Table(box=None, padding=(0, 2, 0, 2), pad_edge=True, show_edge=False)
    for title in titles:
        table.add_column(Text(title), ratio=1, overflow="fold")
    table.add_row(*(Text(text) for text in texts))
    return _rendered(table, width)


def _wrapped(text: str, width: int) -> list[str]:
    from rich.text import Text

    return _rendered(Text(text, overflow="fold"), max(width, 20))


def _rendered(what: Any, width: int) -> list[str]:
    """Return what rich makes of something, as plain lines.

    rich measures in cells: letters of Chinese are two wide.
    """
    from rich.console import Console

    page = StringIO()
    Console(file=page, width=width, color_system=None, highlight=False).print(what)
    return [line.rstrip() for line in page.getvalue().rstrip("\n").split("\n")]


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = value.hex() if isinstance(value, bytes) else str(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _quoted(text: str) -> list[str]:
    return [f"    | {line}" for line in text.splitlines()[:12]]
