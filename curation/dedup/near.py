"""Documents that say nearly the same, each found copy verified against the row that stays.

The rows that share a band of their sketches are compared by the true Jaccard similarity of their
shingles, and a row goes only if it is similar enough to a row that stays: no chain of small
differences, and no template that many pages share, drags different documents into one group.

The work is done in steps that each go over what the step before left on disk: bands to pairs, pairs
to verified pairs, verified pairs to groups. Memory is bounded by a setting. What there is for each
row lies in arrays that become mapped files when they are large (see ``spill.py``).

Trade-off: the text is read a second time, for the rows that have a candidate pair, since keeping
the shingles of all rows would take more room than the text itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import pyarrow as pa

from curation.columns import columns
from curation.dedup.minhash import MinHashSketch
from curation.errors import RecipeError
from curation.stage import Reducer, Rows

if TYPE_CHECKING:
    from curation.build import Build

#: The least memory that the work can be done in: a batch of text and what is made of it.
LEAST_MEMORY = 1 << 20

#: Rule → the column that it looks at.
RULES = {"longest": "", "best": "", "earliest": "date", "source": "source"}


@dataclass(frozen=True, kw_only=True)
class NearDuplicates(Reducer):
    """Name the row that stays of each group of nearly equal rows, and how alike the two are.

    Rows that share a band are compared by the Jaccard similarity of their sets of shingles, those
    that ``MinHashSketch`` counted. Rows are taken from the most preferred to the least: each stays
    unless its similarity to one that stayed is at least ``similarity``; then it repeats the one
    that it is most like. So a row that goes is always that similar to the row that stays, and no
    two rows that stay are a pair that was found. A row without a sketch stands alone.

    A bucket of more than 129 rows (a template of a million pages) is compared with its 129 most
    preferred rows only, so rows of one template that are alike at just about the threshold can
    both stay. Rows with equal sketches always meet.

    ``against`` names indexes of earlier builds (``curation index``): a row that repeats one of
    theirs goes, whatever its rank here, and ``duplicate_in`` says in which index that row is.

    ``verify=False`` is what other toolkits do: all that is chained together by shared bands is one
    group, and ``similarity`` is the share of equal sketch values.

    reads    id               large_string  distinct
             sketch           large_binary  null allowed; made by MinHashSketch
             shingle_count    uint32        null allowed
             text             large_string  null allowed; not read where verify is False
    may_read duplicate_of     large_string  a row that has it takes no part and keeps what it has
             similarity       float32       kept for such a row
             group_id         large_string  kept for such a row
             group_size       uint64        copies that a row stands for; they are counted in
             duplicate_in     large_string  kept for such a row
    writes   duplicate_of     large_string  id of the row that stays; null for a row that stays
             similarity       float32       0..1, of the row and the one that it repeats
             group_id         large_string  id of the row that stays, for it too; null where alone
             group_size       uint64        rows of the group in this build; null without sketch
             duplicate_in     large_string  the index that duplicate_of is in; null for this build
    source   Broder 1997; Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", chapter 3
    """

    version: ClassVar[int] = 1
    recorded: ClassVar[bool] = True
    writes: ClassVar[pa.Schema] = columns(
        "duplicate_of", "similarity", "group_id", "group_size", "duplicate_in"
    )
    incidental: ClassVar[tuple[str, ...]] = ("memory_bytes", "keep_index")
    may_read: ClassVar[tuple[str, ...]] = tuple(writes.names)

    #: The least Jaccard similarity at which a row repeats another.
    similarity: float = 0.8
    #: Compare texts; without it sketches alone decide.
    verify: bool = True
    #: Which row of a group stays: the longest (most shingles), the best (highest
    #: ``score``), the earliest (``date``), or the first of the preferred ``sources``. Equals are
    #: told apart by length, then by a hash of the id.
    prefer: Literal["longest", "best", "earliest", "source"] = "longest"
    #: Column of numbers for prefer="best".
    score: str = ""
    #: Values of ``source`` for prefer="source", the most preferred first; others come after them.
    sources: tuple[str, ...] = ()
    #: Columns: only rows with equal values there are compared, such as ("source",).
    within: tuple[str, ...] = ()
    #: Folders of indexes of earlier builds, or of stores whose latest build has one.
    against: tuple[str, ...] = ()
    #: Write an index of what stays, once the build is finished, into the build's folder.
    keep_index: bool = False
    #: Memory to work in; what does not fit lies in files meanwhile.
    memory_bytes: int = 1 << 30

    @property
    def reads(self) -> tuple[str, ...]:  # type: ignore[override]
        """The columns that these settings look at."""
        text = ("text",) if self.verify else ()
        return (*dict.fromkeys(("id", "sketch", "shingle_count", *text, *self.looked_at)),)

    @property
    def looked_at(self) -> tuple[str, ...]:
        """The columns of the rule and of the scope."""
        rule = self.score if self.prefer == "best" else RULES[self.prefer]
        return tuple(filter(None, (rule, *self.within)))

    def check(self) -> None:
        faults = {
            "similarity is above 0 and at most 1": 0 < self.similarity <= 1,
            "prefer='best' names its column in score, and only it does": (
                (self.prefer == "best") == bool(self.score)
            ),
            "prefer='source' lists its sources, and only it does": (
                (self.prefer == "source") == bool(self.sources)
            ),
            "within and against exclude each other": not (self.within and self.against),
            "against compares texts, so it takes verify=True": self.verify or not self.against,
            f"memory_bytes is at least {LEAST_MEMORY}": self.memory_bytes >= LEAST_MEMORY,
        }
        for law, kept in faults.items():
            if not kept:
                raise RecipeError(f"NearDuplicates: {law}.", found=str(self))
        for path in self.against:
            self._digest(path)

    def _digest(self, path: str) -> str:
        from curation.dedup.index import open_index

        return open_index(path).digest

    def identity(self) -> dict[str, object]:
        """Know an index by its content: it may lie elsewhere, and another one in its place."""
        facts = super().identity()
        settings = facts["settings"]
        assert isinstance(settings, dict)
        return {
            **facts,
            "settings": {**settings, "against": [self._digest(path) for path in self.against]},
        }

    def examples(self) -> pa.RecordBatch:
        """Texts with their own sketches: no others make sense together."""
        from curation.example_values import adversarial_values

        texts = adversarial_values(pa.large_string())
        text = pa.array([*texts, *texts[::-1]], pa.large_string())
        made = MinHashSketch().annotate(pa.RecordBatch.from_arrays([text], names=["text"]))
        return made.append_column("text", text)

    def reduce(self, rows: Rows) -> Iterator[pa.RecordBatch]:
        from curation.dedup.grouping import Grouping

        sketcher = rows.maker("sketch")
        if sketcher is None:
            sketcher = MinHashSketch()
        if not isinstance(sketcher, MinHashSketch):
            raise RecipeError(
                "NearDuplicates reads sketches whose settings it has to know.",
                found=f"the column 'sketch' is made by {sketcher}",
                remedy="let MinHashSketch(...), or a subclass of it, write them in this recipe",
            )
        yield from Grouping(self, sketcher, rows).batches()

    def finish(self, build: Build) -> None:
        """Write the index, where one is wanted."""
        if self.keep_index:
            from curation.indexing import write_index

            write_index(build)
