"""How much of a document repeats itself: lines, paragraphs and runs of words (Gopher, table A1).

A run of n words that occurs twice consists of runs of n - 1 words that occur twice. So only the
pairs of words are all looked up; a run of three is looked up where two pairs were found again, and
so on, and ten lengths cost little more than one. Of the pairs, two bitmaps first sort out most of
those that occur once. Runs are told apart by 64-bit hashes.

N documents, W words and L lines of all documents, S slots of a hash table
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.hashing import SEED_0, xxh64
from curation.kernels.leaf import Int, leaf
from curation.kernels.lines import (
    LineArray,
    add_to_set,
    clear_set,
    count_chars,
    room_for_set,
    trim_end,
    trim_start,
)

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
WordArray = npt.NDArray[np.void]

_MIX = np.uint64(0xA24BAED4963EE407)

#: A run: its hash or 0; where it occurred first; how often it did; whether the walk has met it.
_SLOT_TYPE = np.dtype(
    [("key", np.uint64), ("first", np.uint32), ("count", np.uint32), ("met", np.uint32)],
    align=True,
)
Slots = Any  # an array of _SLOT_TYPE


@numba.njit(cache=True, nogil=True)
def line_repetition(
    data_B: U8, offset: I64, line_offset: I64, line_L: LineArray, flag_C: U32
) -> F64:
    """Return how much of each document is in lines and paragraphs that repeat an earlier one.

    Lines are what stands between runs of line feeds, paragraphs between runs of two or more; the
    empty strings before a leading and after a trailing line feed count as lines, as they do for
    ``re.split``. White space at the text's ends belongs to no paragraph.

    data_B, offset       the documents
    line_offset, line_L  their lines; see ``lines.Lines``
    returns              float64[N, 4]  share of lines, of characters in lines, of paragraphs, of
                         characters in paragraphs; NaN for an empty document
    """
    count = offset.size - 1
    share_N4 = np.full((count, 4), np.nan, dtype=np.float64)
    key_S = room_for_set(line_offset)
    longest = 0
    for n in range(count):
        longest = max(longest, offset[n + 1] - offset[n])
    scratch_W = np.empty(longest // 8 + 1, dtype=np.uint64)
    scratch_B = scratch_W.view(np.uint8)
    for n in range(count):
        start, stop = offset[n], offset[n + 1]
        first, last = line_offset[n], line_offset[n + 1]
        chars = last - first - 1
        for index in range(first, last):
            chars += line_L[index].chars
        if chars == 0:  # empty, or damaged: bytes that all continue a code point
            continue
        mask = clear_set(key_S, last - first)
        total, again, again_chars = _repeated_lines(line_L, first, last, key_S, mask)
        share_N4[n, 0] = again / total
        share_N4[n, 1] = again_chars / chars
        mask = clear_set(key_S, last - first)
        start = trim_start(data_B, start, stop, flag_C)
        stop = trim_end(data_B, start, stop, flag_C)
        total, again, again_chars = 0, 0, 0
        index = first
        while index < last:
            value, size, index = _next_paragraph(
                data_B, start, stop, line_L[:last], index, scratch_W, scratch_B
            )
            if size == 0:
                continue
            total += 1
            if add_to_set(key_S, mask, value):
                again, again_chars = again + 1, again_chars + size
        share_N4[n, 2] = again / total if total else 0.0
        share_N4[n, 3] = again_chars / chars
    return share_N4


@leaf
def _repeated_lines(
    line_L: LineArray, first: int, last: int, key_S: U64, mask: int
) -> tuple[int, int, int]:
    """Return the number of lines, of those that repeat one, and of the characters in them."""
    total, again, again_chars = 0, 0, 0
    for index in range(first, last):
        chars = line_L[index].chars
        if chars == 0 and first < index < last - 1:
            continue
        total += 1
        if add_to_set(key_S, mask, line_L[index].hash):
            again, again_chars = again + 1, again_chars + chars
    return total, again, again_chars


@leaf
def _next_paragraph(
    data_B: U8,
    start: int,
    stop: int,
    line_L: LineArray,
    index: int,
    scratch_W: U64,
    scratch_B: U8,
) -> tuple[np.uint64, int, int]:
    """Return a paragraph's hash, its characters, and the line after it.

    start, stop  the document without white space at its ends
    index        a line; if it is empty or outside the document, the paragraph has no characters
    """
    value, chars = np.uint64(0), 0
    while index < line_L.size:
        line = line_L[index]
        index += 1
        begin, end = max(line.start, start), min(line.stop, stop)
        if begin >= end:
            break
        if begin > line.start or end < line.stop:
            size: Int = count_chars(data_B, begin, end)
            for at in range(begin, end):
                scratch_B[at - begin] = data_B[at]
            line_hash = xxh64(scratch_W, scratch_B, end - begin, SEED_0)
        else:
            size, line_hash = np.int64(line.chars), line.hash
        value = (value + line_hash) * _MIX
        chars += size + (chars > 0)
    return value, chars, index


# ---------------------------------------------------------------- words


@numba.njit(cache=True, nogil=True)
def word_repetition(word_offset: I64, word_W: WordArray, text_chars: I64) -> F64:
    """Return how much of each document its repeated runs of words take.

    word_offset, word_W  the words; see ``words.Words``
    text_chars           int64[N]  code points of the documents
    returns              float64[N, 9]  for 2, 3 and 4 words: length of the commonest run, the
                         spaces between its words included, times its count; for 5 to 10 words:
                         characters in words of runs that occurred before, none counted twice.
                         Both over all characters; NaN for an empty document
    """
    count = word_offset.size - 1
    share_N9 = np.full((count, 9), np.nan, dtype=np.float64)
    most = 1
    for n in range(count):
        most = max(most, word_offset[n + 1] - word_offset[n])
    slots = 2
    while slots < 2 * most:
        slots *= 2
    slot_S = np.empty(slots, dtype=_SLOT_TYPE)
    bit_S = np.empty((2, max(slots // 16, 1)), dtype=np.uint64)
    again_W = np.empty(most, dtype=np.uint8)
    place_W = np.empty(most, dtype=np.int64)
    run_W = np.empty(most, dtype=np.uint64)
    before_W = np.empty(most + 1, dtype=np.int64)
    for n in range(count):
        if text_chars[n] == 0:
            continue
        words = word_W[word_offset[n] : word_offset[n + 1]]
        before_W[0] = 0
        for at in range(words.size):
            before_W[at + 1] = before_W[at] + words[at].chars
        places = _first_pairs(words, run_W, place_W, bit_S)
        for length in range(2, 11):
            if length > 2:
                places = _next_runs(words, length, places, run_W, place_W)
            top, chars = _count_runs(length, places, slot_S, again_W, run_W, place_W, before_W)
            if length > 4:
                share_N9[n, length - 2] = chars / text_chars[n]
            elif words.size >= length:
                first = before_W[length] + length - 1
                share_N9[n, length - 2] = (top if top else first) / text_chars[n]
            else:
                share_N9[n, length - 2] = 0.0
            places = _keep_repeated(places, again_W, run_W, place_W)
    return share_N9


@leaf
def _first_pairs(words: WordArray, run_W: U64, place_W: I64, bit_S: U64) -> int:
    """Find where pairs of words begin that may occur twice; return how many places.

    run_W, place_W  out: the hashes of the pairs, and the places, ascending
    bit_S           uint64[2, S]  scratch: a bit for each hash met, and for each met again; at
                    least 4 bits for each word
    """
    bits = 64
    while bits < 8 * words.size and bits < 64 * bit_S.shape[1]:
        bits *= 2
    for part in range(bits // 64):
        bit_S[0, part] = bit_S[1, part] = 0
    mask = np.uint64(bits - 1)
    for at in range(words.size - 1):
        run = _run(words[at].hash, words[at + 1].hash)
        run_W[at] = run
        slot, bit = _bit(run, mask)
        bit_S[1, slot] |= bit_S[0, slot] & bit
        bit_S[0, slot] |= bit
    found = 0
    for at in range(words.size - 1):
        run = run_W[at]
        slot, bit = _bit(run, mask)
        place_W[found], run_W[found] = at, run
        found += bit_S[1, slot] & bit != 0
    return found


@leaf
def _bit(run: np.uint64, mask: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Return the word and the bit of a bitmap that stand for a hash."""
    place = ((run * _MIX) >> np.uint64(32)) & mask
    return place >> np.uint64(6), np.uint64(1) << (place & np.uint64(63))


@leaf
def _next_runs(words: WordArray, length: int, places: int, run_W: U64, place_W: I64) -> int:
    """Find where runs of so many words begin that may occur twice; return how many places.

    places   how many places begin a run of one word less that occurs twice
    run_W    in and out: the hashes of the runs that begin at the places
    place_W  in and out: the places, ascending
    """
    found = 0
    for index in range(places - 1):
        at = place_W[index]
        if place_W[index + 1] == at + 1 and at + length <= words.size:
            run_W[found] = _run(run_W[index], words[at + length - 1].hash)
            place_W[found] = at
            found += 1
    return found


@leaf
def _run(run: np.uint64, word: np.uint64) -> np.uint64:
    """Return the hash of a run with one more word; never 0, which marks a free slot."""
    return max(run * _MIX + word, np.uint64(1))


@leaf
def _count_runs(
    length: int,
    places: int,
    slot_S: Slots,
    again_W: U8,
    run_W: U64,
    place_W: I64,
    before_W: I64,
) -> tuple[int, int]:
    """Return the characters of the commonest run and of all the repeats.

    again_W  1 for each place whose run occurs at another place too
    returns  characters of the run that occurs most often, of equals the first, with the spaces
             between its words, times its count; 0 if none occurs twice
             characters of the runs that occurred before, walking on behind each of them
    """
    mask = _clear(slot_S, places)
    most, where, chars, free = np.uint32(1), np.uint32(0), 0, 0
    for index in range(places):
        slot = slot_S[_find(slot_S, mask, run_W[index])]
        again_W[index] = slot.key != 0
        if slot.key == 0:
            slot.key, slot.first, slot.count, slot.met = run_W[index], index, 0, 0
        else:
            again_W[slot.first] = 1
        slot.count += np.uint32(1)
        if slot.count > most or (slot.count == most > 1 and slot.first < where):
            most, where = slot.count, slot.first
        at = place_W[index]
        if at >= free:  # the walk comes by here
            if slot.met:
                chars += before_W[at + length] - before_W[at]
                free = at + length
            slot.met = 1
    if most == 1:
        return 0, 0
    first = place_W[where]
    return (before_W[first + length] - before_W[first] + length - 1) * np.int64(most), chars


@leaf
def _keep_repeated(places: int, again_W: U8, run_W: U64, place_W: I64) -> int:
    """Keep the places whose run occurs at another place too; return how many."""
    kept = 0
    for index in range(places):
        if again_W[index]:
            run_W[kept], place_W[kept] = run_W[index], place_W[index]
            kept += 1
    return kept


@leaf
def _clear(slot_S: Slots, count: int) -> int:
    """Empty as many slots as a table of so many hashes takes; return its mask."""
    slots = 2
    while slots < 2 * count:
        slots *= 2
    for slot in range(slots):
        slot_S[slot].key = 0
    return slots - 1


@leaf
def _find(slot_S: Slots, mask: int, value: np.uint64) -> Int:
    """Return the slot of a hash, or the free one where it belongs."""
    slot: Int = np.int64((value * _MIX) >> np.uint64(32)) & mask
    while slot_S[slot].key != 0 and slot_S[slot].key != value:
        slot = (slot + 1) & mask
    return slot
