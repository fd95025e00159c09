"""A corpus for the deduplication benchmarks: real text with near-duplicates whose origin is known.

Documents are of the size of web pages (median about 1,100 bytes, 200 to 20,000). Of all documents

  71.5 %  originals: runs of sentences of the real texts, each sentence at most once in its place;
          when those run out, runs of sentences drawn from everywhere, so that two documents share
          a sentence at most by chance, and no sentence is half of a document
  25 %    near-duplicates in groups of 2 to 50 (the share of size g falls with g squared): copies of
          an original with words replaced, inserted and deleted, for a Jaccard index over 5 words
          of about 0.5 to 1.0, evenly spread
   3 %    exact copies of an original
   0.5 %  one flood: the same page with another date and name

    python -m benchmarks.copies FOLDER --documents 1000000 [--files 8] [--seed 1]

writes Parquet files with the columns ``id``, ``text`` and ``twin``: the id of the original that a
row was copied from, null for an original. Equal arguments give equal files. A sentence that the
real texts repeat is used once, but originals are as alike as real articles on one matter are.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.measure import texts

# Shapes: F fragments (sentences), Q places in the sequence that documents are cut from, D documents
# in the order of the plan, R rows of one chunk, W words, B bytes.

I64 = np.ndarray[Any, np.dtype[np.int64]]
F64 = np.ndarray[Any, np.dtype[np.float64]]

SCHEMA = pa.schema(
    [("id", pa.large_string()), ("text", pa.large_string()), ("twin", pa.large_string())]
)
NEAR_FRAC, EXACT_FRAC, FLOOD_FRAC = 0.25, 0.03, 0.005
#: Log-normal lengths: the median and spread of text extracted from web pages, cut at both ends.
MEDIAN_BYTES, SIGMA, SHORTEST_BYTES, LONGEST_BYTES = 1000, 0.75, 200, 20_000
#: A sentence of this size may be drawn again; others are used only in their place.
AGAIN_BYTES = (30, 400)
LARGEST_GROUP = 50
LOWEST_JACCARD = 0.5
SHINGLE_WORDS = 5
CHUNK_ROWS, GROUP_ROWS = 50_000, 5_000

SENTENCE = re.compile(r".+?(?:[.!?][\"')\]]*\s+|\n\s*\n|\Z)", re.DOTALL)
FLOOD = """Notice of the annual general meeting

The members of the association are hereby invited to the annual general meeting, which takes place \
on {day} {month} {year} at the offices of the association. The meeting was called by {name}, who \
will be in the chair. Members who cannot attend may give their vote to another member in writing; \
no member may hold more than three votes. The agenda covers the report of the board, the accounts \
of the past year, the discharge of the board, the election of two auditors, the budget for the \
coming year and any motions received. Motions must reach the secretary no later than fourteen days \
before the meeting. The accounts and the report of the auditors can be read at the office during \
opening hours from Monday to Friday, between nine in the morning and four in the afternoon. Coffee \
and cake will be served after the meeting. Questions are answered by the secretary by telephone or \
by letter. On behalf of the board, {name}.
"""
MONTHS = ("January", "March", "April", "May", "June", "September", "October", "November")
FIRST = ("Ada", "Boris", "Carla", "Dmitri", "Edith", "Farid", "Greta", "Hugo", "Ines", "Jonas")
LAST = ("Abel", "Brandt", "Costa", "Dahl", "Evans", "Fischer", "Gomez", "Hansen", "Ito", "Jensen")


def write_dedup_corpus(folder: Path, documents: int, files: int = 8, seed: int = 1) -> list[Path]:
    """Write so many documents in so many Parquet files and return their paths."""
    rng = np.random.default_rng(seed)
    fragment_F = real_sentences()
    plan = plan_corpus(rng, fragment_F, documents)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, row_R in enumerate(np.array_split(np.arange(documents), files)):
        path = folder / f"pages-{number:03d}.parquet"
        with pq.ParquetWriter(path, SCHEMA, compression="zstd", use_dictionary=False) as writer:
            for first in range(0, len(row_R), CHUNK_ROWS):
                table = make_rows(rng, fragment_F, plan, row_R[first : first + CHUNK_ROWS])
                writer.write_table(table, row_group_size=GROUP_ROWS)
        paths.append(path)
    return paths


def real_sentences() -> pa.Array:
    """Return each different sentence of the real texts, with the white space after it, in order."""
    return pa.array(dict.fromkeys(iterate_sentences()).keys(), pa.large_string())


def iterate_sentences() -> Iterator[str]:
    """Yield the sentences of the real texts."""
    for text in texts():
        body = f"{text.strip()}\n\n"
        yield from (match.group() for match in SENTENCE.finditer(body))


# ---------------------------------------------------------------- what each row will be


@dataclass(frozen=True)
class Plan:
    """What the corpus is made of.

    fragment_Q  int64[Q]    sentences, in the order that runs are cut from
    start_O     int64[O]    original o is fragment_Q[start_O[o]:stop_O[o]]
    parent_D    int64[D]    the original that a document is a copy of; itself for an original
    rate_D      float64[D]  share of its words that are edited
    flood       int         documents from this number on belong to the flood
    document_R  int64[R]    the document in each row, all rows; row_D is the inverse
    """

    fragment_Q: I64
    start_O: I64
    stop_O: I64
    parent_D: I64
    rate_D: F64
    flood: int
    document_R: I64
    row_D: I64


def plan_corpus(rng: np.random.Generator, fragment_F: pa.Array, documents: int) -> Plan:
    """Draw originals, groups of copies, the rate of edits in each, and the row of each."""
    near, exact = int(documents * NEAR_FRAC), int(documents * EXACT_FRAC)
    flood = documents - int(documents * FLOOD_FRAC)
    originals = flood - near - exact
    fragment_Q, start_O, stop_O = cut_originals(rng, fragment_F, originals)
    parent_D = np.arange(documents)
    parent_D[originals : originals + near] = draw_parents(rng, originals, near)
    parent_D[originals + near : flood] = rng.integers(originals, size=exact)
    parent_D[flood:] = flood
    rate_D = np.zeros(documents)
    rate_D[originals : originals + near] = edit_rates(rng.uniform(LOWEST_JACCARD, 1, near))
    document_R = rng.permutation(documents)
    row_D = np.argsort(document_R)
    return Plan(fragment_Q, start_O, stop_O, parent_D, rate_D, flood, document_R, row_D)


def draw_parents(rng: np.random.Generator, originals: int, copies: int) -> I64:
    """Return the original of each copy: few originals have many copies."""
    size_G = np.arange(2, LARGEST_GROUP + 1)
    share_G = 1.0 / size_G**2
    drawn = rng.choice(size_G - 1, size=copies, p=share_G / share_G.sum())
    drawn = drawn[: np.searchsorted(np.cumsum(drawn), copies) + 1]
    parents = rng.permutation(originals)[: len(drawn)]
    return np.repeat(parents, drawn[: len(parents)])[:copies]


def edit_rates(jaccard: F64) -> F64:
    """Return the share of words to edit for a Jaccard index over shingles of five words.

    Of n shingles s*n survive, and the union holds (2 - s)*n; each edit hits five shingles.
    """
    surviving = 2 * jaccard / (1 + jaccard)
    return 1 - surviving ** (1 / SHINGLE_WORDS)


def cut_originals(
    rng: np.random.Generator, fragment_F: pa.Array, originals: int
) -> tuple[I64, I64, I64]:
    """Cut so many documents: from the texts as they are, then from reshuffled sentences."""
    size_F = pc.binary_length(fragment_F).to_numpy().astype(np.int64)
    again = np.flatnonzero((size_F >= AGAIN_BYTES[0]) & (size_F <= AGAIN_BYTES[1]))
    order = np.arange(len(size_F))
    fragments, starts, stops, place, found = [], [], [], 0, 0
    while found < originals:
        start, stop = cut_runs(rng, size_F[order], mixed=place > 0)
        if found + len(start) > originals:
            some = np.sort(rng.permutation(len(start))[: originals - found])
            start, stop = start[some], stop[some]
        fragments.append(order)
        starts.append(start + place)
        stops.append(stop + place)
        place, found = place + len(order), found + len(start)
        order = rng.permutation(again)
    return np.concatenate(fragments), np.concatenate(starts), np.concatenate(stops)


def cut_runs(rng: np.random.Generator, size_Q: I64, *, mixed: bool) -> tuple[I64, I64]:
    """Cut a sequence of sentences into documents; no sentence is half of a mixed one."""
    total = np.cumsum(size_Q)
    count = 2 * int(total[-1]) // MEDIAN_BYTES
    want = np.clip(rng.lognormal(np.log(MEDIAN_BYTES), SIGMA, count), SHORTEST_BYTES, LONGEST_BYTES)
    cut = np.unique(np.searchsorted(total, np.cumsum(want)))
    cut = np.concatenate([[0], cut[(cut > 0) & (cut < len(size_Q))]])
    start, stop = cut[:-1], cut[1:]
    size = total[stop - 1] - total[start] + size_Q[start]
    good = (size >= SHORTEST_BYTES) & (size <= LONGEST_BYTES)
    if mixed:
        good &= 2 * np.maximum.reduceat(size_Q, cut)[:-1] <= size
    return start[good], stop[good]


# ---------------------------------------------------------------- rows


def make_rows(rng: np.random.Generator, fragment_F: pa.Array, plan: Plan, row_R: I64) -> pa.Table:
    """Return some rows of the corpus."""
    document_R = plan.document_R[row_R]
    is_flood, is_edited = document_R >= plan.flood, plan.rate_D[document_R] > 0
    plain = np.flatnonzero(~is_flood & ~is_edited)
    edited = np.flatnonzero(is_edited)
    flooded = np.flatnonzero(is_flood)
    base = copy_originals(fragment_F, plan, document_R[edited])
    parts = [
        copy_originals(fragment_F, plan, document_R[plain]),
        edit_words(rng, base, plan.rate_D[document_R[edited]]),
        flood_pages(rng, len(flooded)),
    ]
    back = np.argsort(np.concatenate([plain, edited, flooded]))
    parent_R = plan.parent_D[document_R]
    twin = ids(plan.row_D[parent_R], missing_R=parent_R == document_R)
    return pa.table([ids(row_R), pa.concat_arrays(parts).take(pa.array(back)), twin], SCHEMA)


def ids(row_R: I64, missing_R: np.ndarray[Any, np.dtype[np.bool_]] | None = None) -> pa.Array:
    """Return the id of each row."""
    number = pa.array(row_R, mask=missing_R).cast(pa.large_string())
    return pc.utf8_lpad(number, width=9, padding="0")


def copy_originals(fragment_F: pa.Array, plan: Plan, document_R: I64) -> pa.Array:
    """Return the text of the original that each document is or was made from."""
    parent_R = plan.parent_D[document_R]
    start_R = plan.start_O[parent_R]
    count_R = plan.stop_O[parent_R] - start_R
    stop_R = np.cumsum(count_R)
    place = np.arange(count_R.sum()) + np.repeat(start_R - (stop_R - count_R), count_R)
    laid = fragment_F.take(pa.array(plan.fragment_Q[place]))
    return join(laid, np.concatenate([[0], stop_R]))


def join(piece: pa.Array, offset: I64) -> pa.Array:
    """Return string n as the pieces offset[n]:offset[n+1] laid end to end, without copying."""
    _, byte_offset, data = piece.buffers()
    piece_offset = np.frombuffer(byte_offset, np.int64)[piece.offset :]
    new_offset = pa.py_buffer(np.ascontiguousarray(piece_offset[offset]))
    return pa.Array.from_buffers(pa.large_string(), len(offset) - 1, [None, new_offset, data])


def edit_words(rng: np.random.Generator, text_R: pa.Array, rate_R: F64) -> pa.Array:
    """Replace, delete or add (each a third) the given share of the words of each text.

    A word runs to the start of the next one, so that the white space after it goes with it.
    """
    offset = np.frombuffer(text_R.buffers()[1], np.int64)[: len(text_R) + 1]
    byte_B = np.frombuffer(text_R.buffers()[2], np.uint8)[: offset[-1]]
    space_B = (byte_B == 0x20) | ((byte_B >= 0x09) & (byte_B <= 0x0D))
    starts_B = ~space_B
    starts_B[1:] &= space_B[:-1]
    starts_B[offset[:-1]] = True
    start_W = np.flatnonzero(starts_B)
    words = len(start_W)
    word_offset = np.searchsorted(start_W, offset)
    rate_W = np.repeat(rate_R, np.diff(word_offset))
    hit = np.flatnonzero(rng.random(words) < rate_W)
    action = rng.integers(3, size=len(hit))

    source_W, count_W = np.arange(words), np.ones(words, np.int64)
    replaced, deleted, grown = (hit[action == kind] for kind in range(3))
    source_W[replaced] = rng.integers(words, size=len(replaced))
    count_W[deleted] = 0
    count_W[grown] = 2
    stop_W = np.cumsum(count_W)
    edited = np.repeat(source_W, count_W)
    edited[stop_W[grown] - 1] = rng.integers(words, size=len(grown))

    word = cut_bytes(text_R, np.append(start_W, offset[-1]))
    return join(word.take(pa.array(edited)), np.concatenate([[0], stop_W])[word_offset])


def cut_bytes(text_R: pa.Array, offset: I64) -> pa.Array:
    """Return the bytes of all texts, cut at other offsets and not copied."""
    buffers = [None, pa.py_buffer(offset.astype(np.int64)), text_R.buffers()[2]]
    return pa.Array.from_buffers(pa.large_string(), len(offset) - 1, buffers)


def flood_pages(rng: np.random.Generator, count: int) -> pa.Array:
    """Return copies of one page, each with a date and a name of its own."""
    drawn = rng.integers([1, 0, 1990, 0, 0], [29, 8, 2030, 10, 10], size=(count, 5))
    pages = [
        FLOOD.format(day=day, month=MONTHS[month], year=year, name=f"{FIRST[one]} {LAST[two]}")
        for day, month, year, one, two in drawn.tolist()
    ]
    return pa.array(pages, pa.large_string())


def main() -> None:
    """Write a corpus and say what it holds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    began = time.perf_counter()
    paths = write_dedup_corpus(chosen.folder, chosen.documents, chosen.files, chosen.seed)
    disk = sum(path.stat().st_size for path in paths)
    print(f"{len(paths)} files, {disk / 1e6:.0f} MB, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
