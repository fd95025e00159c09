"""Texts that say where they come from, for models that are to name their sources."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from itertools import permutations
from math import factorial
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.arrow import bytes_and_offsets, from_bytes_and_offsets, values_of
from curation.columns import columns
from curation.errors import RecipeError
from curation.rewrite.lineage import LINEAGE, lineage
from curation.rewrite.made import new_rows
from curation.stage import Rewriter

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
Bool = npt.NDArray[np.bool_]

Place = Literal["none", "first", "repeat", "last"]
PLACES: tuple[str, ...] = ("none", "first", "repeat", "last")

#: Khalifa et al. 2024: the id stands after this share of the sentences, in the form repeat.
REPEAT_FRAC = 0.15
#: What an id stands between in the published form.
OPEN, CLOSE = "<url> ", " </url>"
#: A longer id is cut: a model has to learn all of it.
ID_CHARS = 120
#: Set the order of sentences and the places of ids apart from other draws by the same ids: the
#: first 64 bits of SHA-256 of "order" and of "repeat".
_ORDER, _REPEAT = np.uint64(0x3EEB7E96E59CE40F), np.uint64(0x25E2B6B106523880)
#: Orders of so few sentences are counted off and not drawn, so that no two are the same.
_COUNTED = 8
#: The step between them: a prime that divides none of the numbers of orders less one.
_STEP = 1_000_003
#: Marks that stand before the first word of a sentence and belong to it.
_OPENING = np.frombuffer(b"\"'([{*_#`<-", dtype=np.uint8)
_MOST_OPENING = 4


@dataclass(frozen=True, kw_only=True)
class SourceIds(Rewriter):
    """Write each text with the id of its source: ``text <url> ID </url>``.

    A model that is trained on documents with their ids, and then on questions with answers and
    ids, can name the document that it knows an answer from. For that it has to see a document's
    sentences in more than one order: ``copies`` adds so many texts of permuted sentences, each
    with the same id. Null and blank text makes no row.

    by      what the id is made of, where the row has it: the url without its scheme and query, the
            title, or the row's id, which also stands in for one that is null or blank
    place   none, first, repeat (after 15 % of the sentences, drawn by hash; after the last where
            none is drawn) or last
    copies  texts with permuted sentences beside the one in order, each in an order of its own;
            published: 2. There are no more than the sentences have orders: a text of one sentence
            makes one row, one of two makes two
    seed    other seeds draw other places and orders

    reads    id            large_string  distinct
             text          large_string  any length; null allowed
    may_read url           large_string
             title         large_string
    writes   text          large_string  permuted copies follow the text in order; those of more
                                         than eight sentences may be the same by chance, 1 in 10^5
             rewriter      large_string
             prompt_id     large_string  the place of the id
             model_id      large_string  null
             rewrite_seed  int64
             source_id     large_string  at most 120 characters, no white space, no < and >
    source   Khalifa et al. 2024, arXiv:2404.01019 (source-aware training)
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("id", "text")
    may_read: ClassVar[tuple[str, ...]] = ("url", "title")
    writes: ClassVar[pa.Schema] = columns("text", *LINEAGE, "source_id")

    by: Literal["id", "url", "title"] = "id"
    place: Place = "last"
    copies: int = 0
    seed: int = 0

    def check(self) -> None:
        if self.place not in PLACES or self.by not in ("id", "url", "title"):
            raise RecipeError(
                "SourceIds takes no such settings.",
                found=f"by={self.by!r}, place={self.place!r}",
                remedy=f"by is id, url or title; place is one of {', '.join(PLACES)}",
            )
        if self.copies < 0 or self.seed < 0:
            raise RecipeError(
                "SourceIds takes no copies and no seed below 0.",
                found=f"copies={self.copies}, seed={self.seed}",
            )

    def rewrite(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from curation.engine.best import id_hash

        is_blank = pc.equal(pc.utf8_trim_whitespace(batch["text"]), "")
        has_text = pc.invert(pc.fill_null(is_blank, True))
        kept = batch.filter(has_text)
        parent_N = np.flatnonzero(values_of(has_text)).astype(np.int64)
        ids = source_ids(kept, self.by)
        hash_N = id_hash(kept["id"], self.seed)
        text, times_N = self._texts(kept["text"], ids, hash_N)
        rows = len(text)
        name = f"source-ids-{self.place}@{self.version}"
        made = {
            "text": text,
            **lineage(self, [name] * rows, None, [self.seed] * rows),
            "source_id": ids.take(pa.array(np.repeat(np.arange(len(kept)), times_N))),
        }
        return new_rows(self.writes, np.repeat(parent_N, times_N), made)

    def _texts(self, text: pa.Array, ids: pa.Array, hash_N: U64) -> tuple[pa.Array, I64]:
        """Return each document's text in order and its permuted copies, and how many these are."""
        data, offset = bytes_and_offsets(text)
        marks, mark_offset = bytes_and_offsets(_marked(ids))
        # after the documents: a space, then the marks
        buffer = np.concatenate([data, np.frombuffer(b" ", dtype=np.uint8), marks])
        sentences = Sentences.of(data, offset)
        drawn = Pieces(buffer, len(data), len(data) + 1 + mark_offset)
        times_N = 1 + np.minimum(self.copies, _other_orders(sentences.count_N))
        first_N = np.cumsum(times_N) - times_N
        for copy in range(int(times_N.max(initial=1))):
            has_N = times_N > copy
            self._add(drawn, sentences.of_documents(has_N), hash_N, copy, (first_N + copy, has_N))
        return drawn.joined(int(times_N.sum())), times_N

    def _add(
        self, drawn: Pieces, sentences: Sentences, hash_N: U64, copy: int, rows: tuple[I64, Bool]
    ) -> None:
        """Add the pieces of one text of documents: its sentences, and its id among them.

        rows  int64[N] the text's row, bool[N] whether the document has that text
        """
        from curation.engine.best import mix

        document_S, number_S = sentences.document_S, sentences.number_S
        row_S = rows[0][document_S]
        chance_S = hash_N[document_S] ^ mix(number_S.astype(np.uint64), copy)
        place_S = number_S
        if copy:
            place_S = _ranked(row_S, mix(chance_S ^ _ORDER, 0))
            _count_off(place_S, sentences, mix(hash_N ^ _ORDER, 0), copy)
        is_last_S = place_S == sentences.count_N[document_S] - 1
        drawn.add(row_S, 4 * place_S + 1, sentences.start_S, sentences.end_S)
        spaces = (drawn.space, drawn.space + 1)
        if copy:
            drawn.add_same(row_S[~is_last_S], 4 * place_S[~is_last_S] + 3, *spaces)
        else:
            drawn.add(row_S, 4 * place_S + 3, sentences.end_S, sentences.stop_S, ~is_last_S)
        if self.place == "first":
            row_N = rows[0][rows[1]]
            drawn.add_marks(row_N, np.full(len(row_N), -2), np.flatnonzero(rows[1]))
            drawn.add_same(row_N, np.full(len(row_N), -1), *spaces)
        elif self.place != "none":
            at = is_last_S
            if self.place == "repeat":
                limit = np.uint64(int(REPEAT_FRAC * 2.0**64))
                at = _or_last(mix(chance_S ^ _REPEAT, 0) < limit, is_last_S, document_S)
            drawn.add_same(row_S[at], 4 * place_S[at] + 1, *spaces)
            drawn.add_marks(row_S[at], 4 * place_S[at] + 2, document_S[at])


def source_ids(batch: pa.RecordBatch, by: str) -> pa.Array:
    """Return a readable id for each row, made of a column or, where that has none, of the row's."""
    plain = _readable(batch["id"])
    if by == "id" or by not in batch.schema.names:
        return plain
    wanted = batch[by]
    if by == "url":
        wanted = pc.replace_substring_regex(wanted, r"^\s*[A-Za-z][A-Za-z0-9+.-]*://(www\.)?", "")
        wanted = pc.replace_substring_regex(wanted, r"(/*[?#].*|/+)\s*$", "")
    return pc.coalesce(_readable(wanted), plain)


def _readable(ids: pa.Array) -> pa.Array:
    made = pc.replace_substring_regex(pc.utf8_trim_whitespace(ids), r"[<>]", "")
    made = pc.utf8_slice_codeunits(pc.replace_substring_regex(made, r"\s+", "_"), 0, ID_CHARS)
    return pc.if_else(pc.equal(made, ""), pa.scalar(None, made.type), made)


def _marked(ids: pa.Array) -> pa.Array:
    kind = pa.large_string()
    parts = (pa.scalar(OPEN, kind), ids, pa.scalar(CLOSE, kind))
    return pc.binary_join_element_wise(*parts, pa.scalar("", kind))


@dataclass(frozen=True)
class Sentences:
    """The sentences of documents; those of a document cover all of it.

    document_S  int64[S]  ascending
    number_S    int64[S]  place in the document, from 0
    start_S     int64[S]  first byte
    end_S       int64[S]  byte after the last that is not white space
    stop_S      int64[S]  where the next one starts, or the document ends
    count_N     int64[N]  sentences of each document
    """

    document_S: I64
    number_S: I64
    start_S: I64
    end_S: I64
    stop_S: I64
    count_N: I64

    @classmethod
    def of(cls, data: U8, offset: I64) -> Sentences:
        """Cut documents, none of them blank, after sentence ends and at blank lines."""
        from curation.kernels.chunks import trim_ends

        document_S, start_S = _sentence_starts(data, offset)
        first_S = np.searchsorted(document_S, document_S)
        number_S = np.arange(len(document_S)) - first_S
        start_S = np.where(number_S == 0, offset[document_S], start_S)
        is_last_S = np.append(document_S[1:] != document_S[:-1], True)[: len(document_S)]
        stop_S = np.where(
            is_last_S, offset[document_S + 1], np.append(start_S[1:], 0)[: len(start_S)]
        )
        end_S = trim_ends(data, start_S, stop_S)
        count_N = np.bincount(document_S, minlength=len(offset) - 1)
        return cls(document_S, number_S, start_S, end_S, stop_S, count_N)

    def of_documents(self, is_wanted_N: Bool) -> Sentences:
        """Return the sentences of some documents; documents keep their numbers."""
        is_wanted_S = is_wanted_N[self.document_S]
        names = ("document_S", "number_S", "start_S", "end_S", "stop_S")
        return replace(self, **{name: getattr(self, name)[is_wanted_S] for name in names})


def _other_orders(count_N: I64) -> I64:
    """Return in how many other orders so many sentences can stand; no more than are counted off."""
    orders = np.array([factorial(count) - 1 for count in range(_COUNTED + 1)])
    orders_N: I64 = orders[np.minimum(count_N, _COUNTED)]
    return np.where(count_N > _COUNTED, np.iinfo(np.int64).max, orders_N)


def _count_off(place_S: I64, sentences: Sentences, hash_N: U64, copy: int) -> None:
    """Put the sentences of short documents into the next of their orders, other than the text's."""
    count_S = sentences.count_N[sentences.document_S]
    for count in range(2, _COUNTED + 1):
        at = np.flatnonzero(count_S == count)
        others = factorial(count) - 1
        first = hash_N[sentences.document_S[at]] % np.uint64(others)
        which = 1 + (first.astype(np.int64) + copy * _STEP) % others
        place_S[at] = _orders(count)[which, sentences.number_S[at]]


@cache
def _orders(count: int) -> npt.NDArray[np.int8]:
    """Return all orders of so many sentences, the ascending one first."""
    return np.array([*permutations(range(count))], dtype=np.int8)


def _sentence_starts(data: U8, offset: I64) -> tuple[I64, I64]:
    """Return the document and the first byte of each sentence; a document has one at least."""
    from curation.kernels.words import ALL_PUNCT, ENDS_SENTENCE, split_words

    words = split_words(data, offset, "english")
    kind_W = words.word_W["kind"]
    document_W = np.repeat(np.arange(len(offset) - 1), np.diff(words.offset))
    start_W = words.word_W["start"].astype(np.int64) + offset[document_W]
    ended_W = np.cumsum(kind_W & ENDS_SENTENCE != 0)
    is_plain_W = kind_W & ALL_PUNCT == 0
    document_P, start_P = document_W[is_plain_W], start_W[is_plain_W]
    blank_L = _blank_lines(data)
    breaks_P = np.searchsorted(blank_L, start_P) + ended_W[is_plain_W]
    # a plain word does not end a sentence before itself: what it ends counts for the next one
    breaks_P -= (kind_W & ENDS_SENTENCE != 0)[is_plain_W]
    is_new_P = np.ones(len(start_P), dtype=np.bool_)
    is_new_P[1:] = (document_P[1:] != document_P[:-1]) | (breaks_P[1:] > breaks_P[:-1])
    document_S, word_S = document_P[is_new_P], start_P[is_new_P]
    start_S = _before_marks(data, offset, word_S)
    # after a blank line it starts there, whatever marks a heading or a list item begins with
    line_S = np.append(0, blank_L + 1)[np.searchsorted(blank_L, word_S)]
    is_line_S = np.append(False, line_S[1:] > word_S[:-1])[: len(word_S)]
    start_S = np.where(is_line_S, line_S, start_S)
    bare = np.setdiff1d(np.arange(len(offset) - 1), document_S)  # marks alone, or other scripts
    order = np.argsort(np.concatenate([document_S, bare]), kind="stable")
    both = np.concatenate([document_S, bare])[order]
    return both, np.concatenate([start_S, offset[bare]])[order]


def _blank_lines(data: U8) -> I64:
    """Return the line feeds that end a blank line."""
    feed = np.flatnonzero(data == 0x0A)
    gap = np.diff(feed)
    between = data[feed[1:] - 1] == 0x0D if len(feed) else np.zeros(0, dtype=np.bool_)
    blank: I64 = feed[1:][(gap == 1) | ((gap == 2) & between)]
    return blank


def _before_marks(data: U8, offset: I64, start_S: I64) -> I64:
    """Move the starts of sentences to before the quotes and brackets that open them."""
    is_opening = np.zeros(256, dtype=np.bool_)
    is_opening[_OPENING] = True
    lowest = offset[np.searchsorted(offset, start_S, side="right") - 1]
    moved = start_S.copy()
    for _ in range(_MOST_OPENING):
        moved -= (moved > lowest) & is_opening[data[moved - 1]]
    is_apart = (moved == lowest) | np.isin(data[moved - 1], (0x20, 0x09, 0x0A, 0x0D))
    started_S: I64 = np.where(is_apart, moved, start_S)
    return started_S


def _ranked(row_S: I64, key_S: U64) -> I64:
    """Return each sentence's place among those of its row, by ascending key."""
    order = np.lexsort((key_S, row_S))
    place_S = np.empty(len(row_S), dtype=np.int64)
    place_S[order] = np.arange(len(row_S)) - np.searchsorted(row_S[order], row_S[order])
    return place_S


def _or_last(drawn_S: Bool, is_last_S: Bool, document_S: I64) -> Bool:
    """Draw the last sentence of documents of which none is drawn."""
    count = np.bincount(document_S, weights=drawn_S, minlength=1)
    both_S: Bool = drawn_S | (is_last_S & (count[document_S] == 0))
    return both_S


class Pieces:
    """Spans of one buffer, each with its row and its place in it; joined, they are texts.

    space        byte of the buffer that is a space
    mark_offset  int64[N+1], where each document's id stands in the buffer
    """

    def __init__(self, buffer: U8, space: int, mark_offset: I64) -> None:
        self.buffer, self.space, self.mark_offset = buffer, space, mark_offset
        self.parts: list[tuple[I64, ...]] = []

    def add(self, row: I64, place: I64, start: I64, stop: I64, which: Bool | None = None) -> None:
        """Add spans, or those of them that are wanted."""
        spans = (row, place, start, stop)
        self.parts.append(spans if which is None else tuple(one[which] for one in spans))

    def add_same(self, row: I64, place: I64, start: int, stop: int) -> None:
        """Add one span to many rows."""
        self.parts.append((row, place, np.full(len(row), start), np.full(len(row), stop)))

    def add_marks(self, row: I64, place: I64, document: I64) -> None:
        """Add the ids of documents."""
        self.add(row, place, self.mark_offset[document], self.mark_offset[document + 1])

    def joined(self, rows: int) -> pa.Array:
        """Return the text of each row: its spans by their places, those first added first."""
        from curation.kernels.chunks import copy_pieces

        row, place, start, stop = (np.concatenate(one) for one in zip(*self.parts, strict=True))
        order = np.lexsort((place, row))
        copied, offset = copy_pieces(self.buffer, start[order], stop[order])
        bounds = np.searchsorted(row[order], np.arange(rows + 1))
        return from_bytes_and_offsets(copied, offset[bounds], pa.large_string())
