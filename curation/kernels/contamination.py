"""Overlaps of documents with many short texts, the fields of evaluation items, in one walk.

Every run of the lengths looked for meets a Bloom filter first, which lets one or two of a hundred
pass that are in no item, and then the table of ``contamination_index.py``. What is found in a
document is judged when all of it has been seen; only one with an overlap is walked a second time,
to tell where it is.

B bytes of all documents, N documents, W words, K different runs that are looked for, E entries,
M matches, G spans, C code points
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.contamination_index import (
    ANSWER,
    COVERAGE,
    NGRAM,
    Index,
    WordRoom,
    bits_of,
    cut,
    key_of,
    run_hash,
    word_room,
)
from curation.kernels.leaf import Int, leaf

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]


class _Walk(NamedTuple):
    """The memory of a walk; what bears a row's number is void in other rows.

    words      WordRoom     the document's words
    row_K      int64[K]     row that last held a key
    docs_K     uint32[K]    rows that hold a key
    row_E      int64[E]     row that last touched an entry
    count_E    int32[E]     different keys of the entry that the row holds
    rules_E    uint8[E]     rules that found the entry
    span_E     int64[E]     the entry's latest span in the row, -1 for none
    touched_E  int32[E]     entries touched, in the order they were met
    """

    words: WordRoom
    row_K: I64
    docs_K: U32
    row_E: I64
    count_E: I32
    rules_E: U8
    span_E: I64
    touched_E: I32


# ---------------------------------------------------------------- the walk


@numba.njit(cache=True, nogil=True)
def find_overlaps(data_B: U8, offset: I64, code_C: I32, index: Index) -> tuple[I64, I64, U32]:
    """Find which entries each document overlaps with, by which rules and where.

    data_B   uint8[B]     UTF-8, all documents laid end to end
    offset   int64[N+1]   document n owns data_B[offset[n]:offset[n+1]]; need not start at 0
    code_C   int32[C]     see ``code_table``
    returns  int64[M, 4]  document, entry, rules as bits, different runs of COVERAGE held
             int64[G, 4]  document, entry, first byte in the document, byte after the last; spans of
                          one entry may come twice
             uint32[K]    documents that hold each key
    """
    count = offset.size - 1
    longest = 0
    for n in range(count):
        longest = max(longest, offset[n + 1] - offset[n])
    walk = _room(longest, index)
    match_M4 = np.empty((64, 4), dtype=np.int64)
    span_G4 = np.empty((64, 4), dtype=np.int64)
    matches, spans = 0, 0
    for n in range(count):
        text_B = data_B[offset[n] : offset[n + 1]]
        words = cut(text_B, code_C, walk.words)
        touched, hits = _note_runs(n, words, NGRAM, 0, index, walk)
        touched, more = _note_runs(n, words, COVERAGE, touched, index, walk)
        hits += more
        touched, more = _note_pairs(n, words, touched, index, walk)
        hits += more
        if touched == 0:
            continue
        match_M4 = _longer(match_M4, matches, touched)
        found = _judge(n, touched, index, walk, match_M4[matches:])
        if found:
            span_G4 = _longer(span_G4, spans, hits)
            spans = _mark_runs(n, words, NGRAM, index, walk, span_G4, spans)
            spans = _mark_runs(n, words, COVERAGE, index, walk, span_G4, spans)
            spans = _mark_pairs(n, words, index, walk, span_G4, spans)
        matches += found
    return match_M4[:matches].copy(), span_G4[:spans].copy(), walk.docs_K


@numba.njit(cache=True, nogil=True)
def _room(longest: int, index: Index) -> _Walk:
    keys, entries = index.first_K.size - 1, index.grams_E.size
    return _Walk(
        word_room(longest),
        np.full(keys, -1, dtype=np.int64),
        np.zeros(keys, dtype=np.uint32),
        np.full(entries, -1, dtype=np.int64),
        np.zeros(entries, dtype=np.int32),
        np.zeros(entries, dtype=np.uint8),
        np.empty(entries, dtype=np.int64),
        np.empty(entries, dtype=np.int32),
    )


@numba.njit(cache=True, nogil=True)
def _longer(row_X4: I64, used: int, more: int) -> I64:
    """Return an array with room for more rows; the same one, if it has it."""
    if used + more <= row_X4.shape[0]:
        return row_X4
    longer_X4 = np.empty((2 * used + more, 4), dtype=np.int64)
    longer_X4[:used] = row_X4[:used]
    return longer_X4


@leaf
def _find(run: np.uint64, rule: int, index: Index) -> Int:
    """Return the number of a run's key, -1 if it is not looked for."""
    key = key_of(run, rule)
    word = index.bloom_T[np.int64(key >> np.uint64(32)) & (index.bloom_T.size - 1)]
    bits = bits_of(key)
    if word & bits != bits:
        return -1
    slot: Int = np.int64(key >> np.uint64(20)) & (index.slot_S.size - 1)
    while index.slot_S[slot] != 0:
        if index.slot_S[slot] == key:
            return np.int64(index.number_S[slot])
        slot = (slot + 1) & (index.slot_S.size - 1)
    return -1


@leaf
def _touch(n: int, entry: int, touched: int, walk: _Walk) -> int:
    """Begin an entry in a row, if it has not been; return how many entries are touched."""
    if walk.row_E[entry] == n:
        return touched
    walk.row_E[entry] = n
    walk.count_E[entry], walk.rules_E[entry], walk.span_E[entry] = 0, 0, -1
    walk.touched_E[touched] = entry
    return touched + 1


@leaf
def _note_runs(
    n: int, words: int, rule: int, touched: int, index: Index, walk: _Walk
) -> tuple[int, int]:
    """Note the entries whose runs a document holds; return entries touched, hits on entries."""
    length, power = index.length_R[rule], index.power_R[rule]
    hits = 0
    if length == 0:
        return touched, hits
    for at in range(words - length + 1):
        k = _find(run_hash(walk.words.prefix_W, at, length, power), rule, index)
        if k < 0:
            continue
        first, last = index.first_K[k], index.first_K[k + 1]
        hits += last - first
        if walk.row_K[k] == n:
            continue
        walk.row_K[k] = n
        walk.docs_K[k] += np.uint32(1)
        for place in range(first, last):
            entry = index.entry_P[place]
            touched = _touch(n, entry, touched, walk)
            if rule == NGRAM:
                walk.rules_E[entry] |= np.uint8(1 << NGRAM)
            else:
                walk.count_E[entry] += 1
    return touched, hits


@leaf
def _note_pairs(n: int, words: int, touched: int, index: Index, walk: _Walk) -> tuple[int, int]:
    """Note the questions that stand in a document beside their answers; likewise."""
    length, power = index.length_R[ANSWER], index.power_R[ANSWER]
    hits = 0
    if length == 0:
        return touched, hits
    fields = index.grams_E.size - index.pair_Q.size
    for at in range(words - length + 1):
        k = _find(run_hash(walk.words.prefix_W, at, length, power), ANSWER, index)
        if k < 0:
            continue
        for place in range(index.first_K[k], index.first_K[k + 1]):
            entry = index.entry_P[place]
            pair = index.pair_Q[entry - fields]
            if _answer(at, words, pair, index.near, walk) >= 0:
                touched = _touch(n, entry, touched, walk)
                walk.rules_E[entry] |= np.uint8(1 << ANSWER)
                hits += 2
    return touched, hits


@leaf
def _answer(at: int, words: int, pair: Any, near: int, walk: _Walk) -> Int:
    """Return at which word the answer nearest to a question begins; -1 without question or answer.

    at  word at which the run stands that the question is looked up by
    """
    begin = at - pair.before
    end = begin + pair.question_words
    if begin < 0 or end > words:
        return -1
    if (
        run_hash(walk.words.prefix_W, begin, pair.question_words, pair.question_power)
        != pair.question
    ):
        return -1
    length = pair.answer_words
    for gap in range(near + 1):
        behind, ahead = end + gap, begin - gap - length
        if behind + length <= words:
            if run_hash(walk.words.prefix_W, behind, length, pair.answer_power) == pair.answer:
                return behind
        elif ahead < 0:
            break
        if (
            ahead >= 0
            and run_hash(walk.words.prefix_W, ahead, length, pair.answer_power) == pair.answer
        ):
            return ahead
    return -1


@leaf
def _judge(n: int, touched: int, index: Index, walk: _Walk, match_M4: I64) -> int:
    """Write the entries that some rule finds; return how many there are."""
    found = 0
    for t in range(touched):
        entry = walk.touched_E[t]
        if index.grams_E[entry] > 0 and walk.count_E[entry] >= index.need_E[entry]:
            walk.rules_E[entry] |= np.uint8(1 << COVERAGE)
        if walk.rules_E[entry]:
            match_M4[found, 0], match_M4[found, 1] = n, entry
            match_M4[found, 2], match_M4[found, 3] = walk.rules_E[entry], walk.count_E[entry]
            found += 1
    return found


@leaf
def _mark_runs(
    n: int, words: int, rule: int, index: Index, walk: _Walk, span_G4: I64, spans: int
) -> int:
    """Write where the runs of entries found stand, neighbours made one; return how many in all.

    An entry that is covered is marked by the runs of COVERAGE, another by those of NGRAM.
    """
    length, power = index.length_R[rule], index.power_R[rule]
    if length == 0:
        return spans
    for at in range(words - length + 1):
        k = _find(run_hash(walk.words.prefix_W, at, length, power), rule, index)
        if k < 0:
            continue
        for place in range(index.first_K[k], index.first_K[k + 1]):
            entry = index.entry_P[place]
            rules = walk.rules_E[entry] if walk.row_E[entry] == n else np.uint8(0)
            if rules & (1 << rule) == 0 or (rule == NGRAM and rules & (1 << COVERAGE)):
                continue
            start, stop = walk.words.start_W[at], walk.words.stop_W[at + length - 1]
            latest = walk.span_E[entry]
            if latest >= 0 and start <= span_G4[latest, 3]:
                span_G4[latest, 3] = stop
            else:
                walk.span_E[entry] = spans
                spans = _mark(n, entry, start, stop, span_G4, spans)
    return spans


@leaf
def _mark_pairs(n: int, words: int, index: Index, walk: _Walk, span_G4: I64, spans: int) -> int:
    """Write where questions and their answers stand; return how many spans there are in all."""
    length, power = index.length_R[ANSWER], index.power_R[ANSWER]
    if length == 0:
        return spans
    fields = index.grams_E.size - index.pair_Q.size
    for at in range(words - length + 1):
        k = _find(run_hash(walk.words.prefix_W, at, length, power), ANSWER, index)
        if k < 0:
            continue
        for place in range(index.first_K[k], index.first_K[k + 1]):
            entry = index.entry_P[place]
            pair = index.pair_Q[entry - fields]
            answer: int = _answer(at, words, pair, index.near, walk)
            if answer < 0:
                continue
            begin, last = at - pair.before, at - pair.before + pair.question_words - 1
            spans = _mark(
                n, entry, walk.words.start_W[begin], walk.words.stop_W[last], span_G4, spans
            )
            last = answer + pair.answer_words - 1
            spans = _mark(
                n, entry, walk.words.start_W[answer], walk.words.stop_W[last], span_G4, spans
            )
    return spans


@leaf
def _mark(n: int, entry: int, start: int, stop: int, span_G4: I64, spans: int) -> int:
    span_G4[spans, 0], span_G4[spans, 1] = n, entry
    span_G4[spans, 2], span_G4[spans, 3] = start, stop
    return spans + 1


# ---------------------------------------------------------------- cutting out


class Cut(NamedTuple):
    """How text around an overlap is cut out; all in characters but ``most_pieces``."""

    window: int
    least: int
    most_pieces: int


@numba.njit(cache=True, nogil=True)
def cut_out(data_B: U8, offset: I64, first: I64, span_G2: I64, cut: Cut) -> tuple[U8, I64]:
    """Return documents without their spans and the characters around those.

    first    int64[N+1]   document n has the spans span_G2[first[n]:first[n+1]]
    span_G2  int64[G, 2]  first byte in the document and byte after the last, within the document;
                          those of a document ascending by their first byte
    cut      a piece between two cuts shorter than ``least`` goes too; a document in more pieces
             than ``most_pieces`` goes whole. Pieces are parted by an empty line
    returns  uint8[...], int64[N+1]
    """
    size = offset[-1] - offset[0] + 2 * span_G2.shape[0]
    made_B = np.empty(size, dtype=np.uint8)
    made = np.zeros(offset.size, dtype=np.int64)
    for n in range(offset.size - 1):
        text_B = data_B[offset[n] : offset[n + 1]]
        spans_G2 = span_G2[first[n] : first[n + 1]]
        made[n + 1] = made[n] + _kept_pieces(text_B, spans_G2, cut, made_B[made[n] :])
    return made_B[: made[-1]].copy(), made


@leaf
def _kept_pieces(text_B: U8, span_G2: I64, cut: Cut, made_B: U8) -> int:
    """Write what is left of a document; return how many bytes."""
    if span_G2.shape[0] == 0:
        return _copy(text_B, 0, text_B.size, made_B, 0)
    made, pieces, behind = 0, 0, 0  # behind: where the latest cut ends
    for g in range(span_G2.shape[0] + 1):
        start, stop = text_B.size, text_B.size
        if g < span_G2.shape[0]:
            start = _back(text_B, span_G2[g, 0], behind, cut.window)
            stop = _on(text_B, span_G2[g, 1], cut.window)
        if start > behind:
            pieces += 1
            if _on(text_B, behind, cut.least - 1) < start:
                if made:
                    made_B[made] = made_B[made + 1] = 0x0A
                    made += 2
                made = _copy(text_B, behind, start, made_B, made)
        behind = max(behind, stop)
    return made if pieces <= cut.most_pieces else 0


@leaf
def _copy(text_B: U8, start: int, stop: int, made_B: U8, made: int) -> int:
    """Write some bytes of a document behind those that are made; return how many that makes."""
    for at in range(start, stop):
        made_B[made + at - start] = text_B[at]
    return made + stop - start


@leaf
def _back(text_B: U8, at: int, least: int, chars: Int) -> int:
    """Return the place so many characters before another; ``least`` or below if there are fewer.

    A place within a character is as good as that where it begins.
    """
    while least < at < text_B.size and text_B[at] & 0xC0 == 0x80:
        at -= 1
    while at > least and chars > 0:
        at -= 1
        chars -= text_B[at] & 0xC0 != 0x80
    return at


@leaf
def _on(text_B: U8, at: int, chars: Int) -> int:
    """Return the place so many characters behind another, at most the end."""
    while at < text_B.size and (chars > 0 or text_B[at] & 0xC0 == 0x80):
        chars -= text_B[at] & 0xC0 != 0x80
        at += 1
    return at
