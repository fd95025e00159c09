"""Repeats below the document: how they are found in bounded memory, and taken out of a text.

A ``Places`` gathers where every unit of text stands (see ``kernels/repeats.py``) and gives back,
row after row, the places that are not the first of their unit. What does not fit into memory is
spread over files by the units' hashes; a file whose different units do not fit is spread again by
the next bits. A unit that stands a million times takes one entry, so no file grows too large for
being full of copies. Repeats are then spread over files of consecutive rows and sorted there.

Trade-off: each place is 40 bytes, on disk where memory is short, which is less than a line of text
but far more than a word; in exchange the texts need not be read a second time.

Several finders may stand in one recipe: each keeps the marks that it is handed beside its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.arrow import (
    bytes_and_offsets,
    from_bytes_and_offsets,
    is_valid,
    to_column,
    values_of,
)
from curation.columns import SPAN, columns
from curation.dedup.spans import NO_SPANS, Spans, span_lists, spans_of
from curation.errors import RecipeError
from curation.stage import Annotator, Reducer, Rows

U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Array = npt.NDArray[Any]  # of a kernel's structured type, or of numbers
#: Sizes (bytes; -1 for a null) of consecutive rows, and their repeats: REPEAT_TYPE, sorted by row
#: and start, rows counted from the first of these.
Found = tuple[I64, Array]

# Share of the memory allowed that the places at hand may take, and the first places of different
# units; hash tables, sorting and what is found take the rest.
_PLACES_FRAC = 0.3
#: Fewer places than this are not worth a file.
_LEAST_PLACES = 64
#: Places that are read from a file at a time, at least.
_LEAST_PIECE = 4096
#: Files that places are spread over at a time, by so many bits of their hash.
_SPREAD_BITS = 6
_FILES = 1 << _SPREAD_BITS
#: Bits after which places are no longer spread: units that agree in so many are too few to matter.
_MOST_BITS = 60

_NULL_ROW = -1


@dataclass(frozen=True, kw_only=True)
class RemoveRepeats(Annotator):
    """Take repeated pieces out of the text; nothing may be left of it.

    With a line or a paragraph goes its line feed, and blank lines after it where blank lines stand
    before it; with a piece of a line goes one space after it where white space stands before. Spans
    may overlap and may lie outside of the text; a character that a span covers in part stays. A
    row whose spans are null keeps its text. No span is left over, for its place would mean nothing
    in the new text; what looks for repeats after this step finds those of the new text.

    reads    text          large_string  any length; null allowed
             repeat_spans  large_list<item: struct<kind: large_string, start: uint64, stop: uint64>>
                           in any order; kind: "line" or "paragraph" for whole lines; null allowed
    writes   text          large_string  without the spans; null where text is null
             repeat_spans  large_list<item: struct<kind: large_string, start: uint64, stop: uint64>>
                           empty; null where text is null
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("text", "repeat_spans")
    writes: ClassVar[pa.Schema] = columns("text", "repeat_spans")

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from curation.kernels.repeats import remove_spans

        text, lists = batch["text"], batch["repeat_spans"]
        row_R, start_R, stop_R, lines_R = _sorted_spans(lists)
        first_N = np.searchsorted(row_R, np.arange(len(text) + 1))
        made = remove_spans(*bytes_and_offsets(text), first_N, start_R, stop_R, lines_R)
        valid_N = is_valid(text)
        shorter = from_bytes_and_offsets(*made, pa.large_string(), valid_N)
        return pa.RecordBatch.from_arrays(
            [shorter, span_lists(valid_N, NO_SPANS)], schema=self.writes
        )


def _sorted_spans(lists: pa.Array) -> tuple[I64, U64, U64, BoolArray]:
    """Return the row, start and stop of all spans, and whether whole lines are meant."""
    spans = spans_of(lists)
    lines = pc.is_in(spans.kind, value_set=pa.array(["line", "paragraph"], spans.kind.type))
    order = np.lexsort((spans.start_S, spans.row_S))
    return (
        spans.row_S[order],
        spans.start_S[order],
        spans.stop_S[order],
        values_of(lines)[order],
    )


# ---------------------------------------------------------------- what the finders share


@dataclass(frozen=True, kw_only=True)
class RepeatStage(Reducer):
    """What the stages that find repeated pieces share: settings, and marks of earlier steps."""

    incidental: ClassVar[tuple[str, ...]] = ("memory_bytes",)
    may_read: ClassVar[tuple[str, ...]] = ("repeat_spans", "repeat_char_frac")
    writes: ClassVar[pa.Schema] = columns("repeat_spans", "repeat_char_frac")

    #: Columns of which two rows must have the same values to be compared; () compares all rows.
    #: ("source",) looks within each source, ("date",) or ("file",) within each snapshot.
    within: tuple[str, ...] = ()
    #: Memory to work in, beside a batch of rows.
    memory_bytes: int = 256 << 20

    @property
    def reads(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("id", "text", *self.within)

    def check(self) -> None:
        name = type(self).__name__
        if self.memory_bytes < 1:
            raise RecipeError(
                f"{name} cannot work in no memory.",
                found=f"memory_bytes={self.memory_bytes}",
                remedy="leave it out, or give it some megabytes",
            )
        if len({"id", "text", *self.may_read, *self.within}) != 4 + len(self.within):
            raise RecipeError(
                f"{name} compares rows within columns other than id and text and those it writes, "
                "each named once.",
                found=f"within={self.within!r}",
                remedy="name columns such as source, date or file",
            )

    def ranks(self, batch: pa.RecordBatch) -> U64:
        """Return uint64[N]: a hash of each row's id; the unit in the lowest row stays."""
        from curation.kernels.hashing import hash_bytes

        return hash_bytes(*bytes_and_offsets(batch["id"]))

    def marked(self, kind: str, rows: Rows, found: Iterable[Found]) -> Iterator[pa.RecordBatch]:
        """Yield ``writes``: the repeats found and the spans that an earlier step has left."""
        handed = (batch["repeat_spans"] for batch in rows.batches("repeat_spans"))
        for size_N, repeat_R, lists in _side_by_side(found, handed):
            kinds = pa.repeat(pa.scalar(kind, pa.large_string()), len(repeat_R))
            start_R, stop_R = (repeat_R[edge].astype(np.uint64) for edge in ("start", "stop"))
            spans = Spans(repeat_R["row"], kinds, start_R, stop_R)
            earlier = spans_of(lists)
            if len(earlier.row_S):
                spans = _merged(earlier, spans, size_N)
            yield _spans_batch(size_N, spans)


def text_sizes(text: pa.Array) -> I64:
    """Return int64[N]: the bytes of each text, -1 for a null."""
    size_N = np.diff(bytes_and_offsets(text)[1])
    size_N[~is_valid(text)] = _NULL_ROW
    return size_N


def _side_by_side(
    found: Iterable[Found], handed: Iterator[pa.Array]
) -> Iterator[tuple[I64, Array, pa.Array]]:
    """Yield what is found with the lists of the same rows, cut wherever either ends."""
    lists = pa.array([], pa.large_list(SPAN))
    for size_N, repeat_R in found:
        start, row_R = 0, repeat_R["row"].copy()
        while start < len(size_N):
            while len(lists) == 0:
                lists = next(handed)
            stop = min(start + len(lists), len(size_N))
            first, last = np.searchsorted(row_R, (start, stop))
            part_R = repeat_R[first:last].copy()
            part_R["row"] -= start
            yield size_N[start:stop], part_R, lists.slice(0, stop - start)
            start, lists = stop, lists.slice(stop - start)
    for _ in handed:  # nothing is left but the end, at which files are closed
        pass


# ---------------------------------------------------------------- spans


def _merged(earlier: Spans, own: Spans, size_N: I64) -> Spans:
    """Return both, cut to their texts, by row, start and stop; empty ones are left out."""
    row_S, start_S, stop_S = (
        np.concatenate(pair)
        for pair in zip(
            (earlier.row_S, earlier.start_S, earlier.stop_S),
            (own.row_S, own.start_S, own.stop_S),
            strict=True,
        )
    )
    stop_S = np.minimum(stop_S, np.maximum(size_N, 0).astype(np.uint64)[row_S])
    order = np.lexsort((stop_S, start_S, row_S))  # stable: of two alike, the earlier comes first
    order = order[start_S[order] < stop_S[order]]
    kind = pa.concat_arrays([earlier.kind, own.kind]).take(to_column(order))
    return Spans(row_S[order], kind, start_S[order], stop_S[order])


def _spans_batch(size_N: I64, spans: Spans) -> pa.RecordBatch:
    """Return repeat_spans and repeat_char_frac of consecutive rows.

    size_N  int64[N]  bytes of each text, -1 for a null
    spans   inside of their texts, by row and start; they may overlap
    """
    valid_N = size_N != _NULL_ROW
    covered_N = _covered(np.maximum(size_N, 0), spans)
    share = to_column((covered_N / np.maximum(size_N, 1)).astype(np.float32), valid_N)
    schema = columns("repeat_spans", "repeat_char_frac")
    return pa.RecordBatch.from_arrays([span_lists(valid_N, spans), share], schema=schema)


def _covered(size_N: I64, spans: Spans) -> Array:
    """Return how many bytes of each text lie in a span, in however many."""
    # All texts are laid end to end: then a span ends before the next text's spans begin.
    begin_S = (np.cumsum(size_N) - size_N)[spans.row_S]
    start_S = begin_S + spans.start_S.astype(np.int64)
    reached_S = np.maximum.accumulate(begin_S + spans.stop_S.astype(np.int64))
    start_S[1:] = np.maximum(start_S[1:], reached_S[:-1])
    new_S = np.maximum(reached_S - start_S, 0)
    return np.bincount(spans.row_S, weights=new_S, minlength=len(size_N))


# ---------------------------------------------------------------- places


class Places:
    """Where units stand, gathered batch by batch; from them, the places that are repeats."""

    def __init__(self, scratch: Path, memory_bytes: int) -> None:
        from curation.kernels.repeats import PLACE_TYPE, REPEAT_TYPE

        self._scratch = scratch
        self._room = max(_LEAST_PLACES, int(memory_bytes * _PLACES_FRAC) // PLACE_TYPE.itemsize)
        self._piece = max(_LEAST_PIECE, self._room // 4)
        self._held = Pile(PLACE_TYPE)
        self._files: list[Pile] = []
        self._sizes = Pile(np.dtype(np.int64))
        self._ends = [0]  # numbers of rows at which the groups of rows end that are sorted together
        self._rows, self._grouped = 0, 0
        self._repeats: list[Pile] = []
        self._place_type, self._repeat_type = PLACE_TYPE, REPEAT_TYPE

    @property
    def rows(self) -> int:
        """How many rows have been added: the number of the next one."""
        return self._rows

    def add(self, place_P: Array, size_N: I64) -> None:
        """Take in the places and the sizes (bytes; -1 for a null) of the next rows."""
        self._held.append(place_P)
        self._sizes.append(size_N)
        self._rows += len(size_N)
        self._grouped += len(place_P) + len(size_N)
        if self._grouped > self._room:
            self._ends.append(self._rows)
            self._grouped = 0
        if self._held.count > self._room:
            self._to_files()

    def found(self) -> Iterator[Found]:
        """Yield the repeats of all rows, group after group."""
        self._ends += [self._rows] * (self._ends[-1] != self._rows)
        if self._files:
            self._to_files()
        self._repeats = [self._pile(f"rows-{n}", self._repeat_type) for n in self._ends[1:]]
        for pile in self._files or [self._held]:
            for repeat_R in self._repeats_of(pile, _SPREAD_BITS):
                self._sort_in(repeat_R)
        sizes = self._sizes.runs(np.diff(self._ends).tolist())
        for start, size_N, pile in zip(self._ends, sizes, self._repeats, strict=False):
            yield size_N, self._in_order(pile, start)
            pile.remove()
        self._sizes.remove()

    def _to_files(self) -> None:
        """Move the places at hand to files, by the first bits of their hashes."""
        if not self._files:
            self._scratch.mkdir(parents=True, exist_ok=True)
            self._sizes = self._sizes.moved(self._scratch / "sizes")
            self._files = self._spread_piles("units")
        self._spread(self._held, self._files, 0)
        self._held.remove()

    def _pile(self, name: str, kind: np.dtype[np.void]) -> Pile:
        return Pile(kind, self._scratch / name if self._files else None)

    def _spread_piles(self, name: str) -> list[Pile]:
        paths = [self._scratch / f"{name}-{n:02}" for n in range(_FILES)]
        return [Pile(self._place_type, path) for path in paths]

    def _spread(self, source: Pile, piles: list[Pile], bits: int) -> None:
        from curation.kernels.repeats import spread

        for piece in source.pieces(self._piece):
            first, sorted_P = spread(piece, 64 - _SPREAD_BITS - bits, _FILES)
            for pile, start, stop in zip(piles, first[:-1], first[1:], strict=True):
                pile.append(sorted_P[start:stop])

    def _repeats_of(self, pile: Pile, bits: int) -> Iterator[Array]:
        """Yield the repeats among places, some at a time; empty the pile.

        bits  how many leading bits of the hashes the places agree in
        """
        from curation.kernels.repeats import later_places

        firsts = _Firsts(self._place_type)
        for piece in pile.pieces(self._piece):
            firsts.add(piece)
            if firsts.count > self._room and bits < _MOST_BITS:
                yield from self._repeats_of_parts(pile, bits)
                return
        for piece in pile.pieces(self._piece):
            yield later_places(piece, firsts.place_K, firsts.slot_S)
        pile.remove()

    def _repeats_of_parts(self, pile: Pile, bits: int) -> Iterator[Array]:
        self._scratch.mkdir(parents=True, exist_ok=True)
        parts = self._spread_piles(f"{bits}-{pile.name}")
        self._spread(pile, parts, bits)
        pile.remove()
        for part in parts:
            yield from self._repeats_of(part, bits + _SPREAD_BITS)

    def _sort_in(self, repeat_R: Array) -> None:
        """Put repeats to the groups of their rows."""
        group_R = np.searchsorted(self._ends, repeat_R["row"], side="right") - 1
        order = np.argsort(group_R, kind="stable")
        stop_G = np.cumsum(np.bincount(group_R, minlength=len(self._repeats)))
        for pile, part in zip(self._repeats, np.split(repeat_R[order], stop_G[:-1]), strict=True):
            pile.append(part)

    def _in_order(self, pile: Pile, start: int) -> Array:
        """Return a group's repeats by row and place, overlapping ones joined."""
        from curation.kernels.repeats import join_overlapping

        repeat_R = pile.whole()
        repeat_R["row"] -= start
        place_R = (repeat_R["row"] << 32) + repeat_R["start"]
        return join_overlapping(repeat_R[np.argsort(place_R)])


class _Firsts:
    """The first places of different units, in a hash table that grows."""

    def __init__(self, place_type: np.dtype[np.void]) -> None:
        self.count = 0
        self.place_K = np.empty(0, dtype=place_type)
        self.slot_S = np.full(2, -1, dtype=np.int64)

    def add(self, place_P: Array) -> None:
        from curation.kernels.repeats import fill_slots, keep_first

        needed = self.count + len(place_P)
        if needed > len(self.place_K):
            larger_K = np.empty(max(needed, 2 * len(self.place_K)), dtype=self.place_K.dtype)
            larger_K[: self.count] = self.place_K[: self.count]
            self.place_K = larger_K
            self.slot_S = np.full(1 << (2 * len(larger_K)).bit_length(), -1, dtype=np.int64)
            fill_slots(self.place_K[: self.count], self.slot_S)
        self.count = keep_first(place_P, self.place_K, self.slot_S, self.count)


class Pile:
    """Arrays laid end to end, in memory or, where it has a path, in a file."""

    def __init__(self, kind: npt.DTypeLike, path: Path | None = None) -> None:
        self.count = 0
        self.name = path.name if path else "held"
        self._kind, self._path = np.dtype(kind), path
        self._arrays: list[Array] = []

    def append(self, array: Array) -> None:
        if len(array) == 0:
            return
        self.count += len(array)
        if self._path is None:
            self._arrays.append(array)
            return
        with open(self._path, "ab") as file:
            file.write(np.ascontiguousarray(array).view(np.uint8).data)

    def pieces(self, most: int) -> Iterator[Array]:
        """Yield what was appended, in order, not many more at a time than asked for."""
        yield from self._arrays
        yield from self.runs([most] * -(-self.count // most) if self._path else [])

    def runs(self, counts: Iterable[int]) -> Iterator[Array]:
        """Yield what was appended, in order, in arrays of the lengths asked for."""
        if self._path is None or self.count == 0:
            yield from np.split(self.whole(), np.cumsum(list(counts)))[:-1]
            return
        with open(self._path, "rb") as file:
            for count in counts:
                yield np.fromfile(file, dtype=self._kind, count=count)

    def whole(self) -> Array:
        """Return what was appended as one array, a copy."""
        if self._path is not None and self.count:
            return np.fromfile(self._path, dtype=self._kind)
        return np.concatenate([np.empty(0, dtype=self._kind), *self._arrays])

    def moved(self, path: Path) -> Pile:
        """Return a pile of the same in a file."""
        pile = Pile(self._kind, path)
        for array in self._arrays:
            pile.append(array)
        return pile

    def remove(self) -> None:
        """Forget what was appended, and remove the file."""
        self.count, self._arrays = 0, []
        if self._path is not None:
            self._path.unlink(missing_ok=True)
