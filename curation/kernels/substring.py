"""Runs of words that stand in more places than one, by the hashes of all windows of so many words.

Words are runs of letters, marks, numbers and connectors, lower-cased, that begin with no mark: one
without a letter varies an emoji. In scripts that put no space between words each character with the
marks after it is a word. What stands between words does not count.

A window is looked up only where it may repeat. Its anchor is the run of half as many words within
it that has the smallest hash (winnowing: Schleimer, Wilkerson and Aiken 2003, "Winnowing: local
algorithms for document fingerprinting"). The anchor depends on the window's words alone, so equal
windows have equal anchors, and a window whose anchor stands in one place is alone too. Anchors, one
for about a quarter of a window's words, are counted in a filter of two bits a slot: those that
share a slot with another cost a look-up and change no result.

Hashes of runs are polynomials modulo 2^64 of the words' hashes, so that the next one follows in a
step. They are no defence against somebody who builds collisions on purpose.

B bytes, N documents, C code points, W words, P places, F bytes of the filter
"""

from __future__ import annotations

import functools

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.leaf import Int, leaf
from curation.kernels.ngrams import permute
from curation.kernels.repeats import LONGEST_BYTES, PLACE_TYPE, PlaceArray
from curation.kernels.shingles import fold_table
from curation.kernels.unicode import MARK, SINGLE, WORD, decode, flag_table

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

# An entry of the table: the code point it is lowered to, and what it is.
_CODE = np.uint32(0x1FFFFF)
_IN_WORD, _ALONE, _MARK = (np.uint32(1 << bit) for bit in (24, 25, 26))

_UNIT_BASE = np.uint64(0x9FB21C651E98DF25)
_SEED = np.uint64(0x2545F4914F6CDD1D)
_BASE_0, _BASE_1 = np.uint64(0xC6A4A7935BD1E995), np.uint64(0xD6E8FEB86659FD93)
_ANCHOR = np.uint64(0x94D049BB133111EB)


@functools.cache
def word_table() -> U32:
    """Return uint32[C]: what each code point is lowered to, and its part in a word."""
    flags, table_C = flag_table(), fold_table() & _CODE
    alone = (flags & SINGLE) != 0
    table_C[((flags & WORD) != 0) & ~alone] |= _IN_WORD
    table_C[alone] |= _ALONE
    table_C[(flags & MARK) != 0] |= _MARK
    table_C.flags.writeable = False
    return table_C


@numba.njit(cache=True, nogil=True)
def hash_words(data_B: U8, offset: I64, table_C: U32) -> tuple[I64, U64, U32, U32]:
    """Cut documents into words and hash each.

    data_B   uint8[B]    UTF-8, all documents laid end to end
    offset   int64[N+1]  document n owns data_B[offset[n]:offset[n+1]]; need not start at 0
    table_C  uint32[C]   see ``word_table``
    returns  int64[N+1]  document n owns words first[n]:first[n+1]; texts of more than
                         LONGEST_BYTES have none
             uint64[W]   hash of each word
             uint32[W]   byte of its document at which it begins
             uint32[W]   and the byte after it
    """
    count = offset.size - 1
    most = offset[count] - offset[0]  # memory that is not written to costs nothing
    first_N = np.zeros(count + 1, dtype=np.int64)
    hash_W = np.empty(most, dtype=np.uint64)
    start_W = np.empty(most, dtype=np.uint32)
    stop_W = np.empty(most, dtype=np.uint32)
    made = 0
    for n in range(count):
        text_B = data_B[offset[n] : offset[n + 1]]
        if text_B.size <= LONGEST_BYTES:
            made += _words(text_B, table_C, hash_W[made:], start_W[made:], stop_W[made:])
        first_N[n + 1] = made
    return first_N, hash_W[:made], start_W[:made], stop_W[:made]


@leaf
def _words(text_B: U8, table_C: U32, hash_W: U64, start_W: U32, stop_W: U32) -> int:
    made, at, stop = 0, 0, text_B.size
    while at < stop:
        code: Int = np.int64(text_B[at])
        width = 1
        if code >= 0x80:
            code, width = decode(text_B, at, stop)
        entry: Int = table_C[code]
        begin = at
        at += width
        if not entry & (_IN_WORD | _ALONE) or entry & _MARK:
            continue
        goes_on = _MARK if entry & _ALONE else _IN_WORD
        value = _SEED
        while True:
            value = (value ^ np.uint64(entry & _CODE)) * _UNIT_BASE
            if at >= stop:
                break
            code, width = np.int64(text_B[at]), 1
            if code >= 0x80:
                code, width = decode(text_B, at, stop)
            entry = table_C[code]
            if not entry & goes_on:
                break
            at += width
        hash_W[made] = value ^ (value >> np.uint64(32))
        start_W[made], stop_W[made] = begin, at
        made += 1
    return made


# ---------------------------------------------------------------- anchors


@numba.njit(cache=True, nogil=True)
def note_anchors(first_N: I64, hash_W: U64, scope_N: U64, length: int, filter_F: U8) -> None:
    """Count the anchors of all windows in the filter.

    first_N, hash_W  the words; see ``hash_words``
    scope_N          uint64[N]  documents are compared where this is equal
    length           words of a window, at least 2
    filter_F         uint8[F]   in and out: four slots a byte; in each, one bit for an anchor that
                                was met and one for a second place
    """
    longest = _longest(first_N)
    gram_W = np.empty(longest, dtype=np.uint64)
    queue_W = np.empty(longest, dtype=np.int64)
    anchor_W = np.empty(longest, dtype=np.int64)
    for n in range(scope_N.size):
        words = hash_W[first_N[n] : first_N[n + 1]]
        windows = _anchors(words, scope_N[n], length, gram_W, queue_W, anchor_W)
        for window in range(windows):
            if window == 0 or anchor_W[window] != anchor_W[window - 1]:
                _note(gram_W[anchor_W[window]], filter_F)


@numba.njit(cache=True, nogil=True)
def candidate_windows(
    first_N: I64,
    hash_W: U64,
    span_2W: U32,
    row_3N: U64,
    length: int,
    filter_F: U8,
) -> PlaceArray:
    """Return the places of the windows whose anchors stand in two places or more.

    first_N, hash_W   the words; see ``hash_words``
    span_2W           uint32[2, W]   their first bytes and the bytes after their last
    row_3N            uint64[3, N]   scope, rank and number of each document
    length, filter_F  as for ``note_anchors``, which has seen all documents
    returns           PLACE_TYPE[P]
    """
    longest = _longest(first_N)
    gram_W = np.empty(longest, dtype=np.uint64)
    queue_W = np.empty(longest, dtype=np.int64)
    anchor_W = np.empty(longest, dtype=np.int64)
    place_P = np.empty(hash_W.size, dtype=PLACE_TYPE)
    made = 0
    for n in range(row_3N.shape[1]):
        first = first_N[n]
        words = hash_W[first : first_N[n + 1]]
        windows = _anchors(words, row_3N[0, n], length, gram_W, queue_W, anchor_W)
        if not _mark_repeated(windows, gram_W, anchor_W, filter_F):
            continue
        begin = made
        made += _window_keys(words, length, anchor_W, place_P[made:])
        for index in range(begin, made):
            place = place_P[index]
            word = first + np.int64(place.row)
            place.key_0 = permute(place.key_0, row_3N[0, n])
            place.key_1 = permute(place.key_1, row_3N[0, n])
            place.rank = row_3N[1, n]
            place.row = np.int64(row_3N[2, n])
            place.start = span_2W[0, word]
            place.stop = span_2W[1, word + length - 1]
    return place_P[:made].copy()


@numba.njit(cache=True, nogil=True)
def _longest(first_N: I64) -> int:
    longest = 1
    for n in range(first_N.size - 1):
        longest = max(longest, first_N[n + 1] - first_N[n])
    return longest


@leaf
def _anchors(
    words: U64, scope: np.uint64, length: int, gram_W: U64, queue_W: I64, anchor_W: I64
) -> int:
    """Find the anchor of each window of one document; return how many windows there are.

    gram_W    out: hash of the run of half a window's words that begins at each word
    queue_W   scratch
    anchor_W  out: where in gram_W the anchor of each window is; never descending
    """
    windows = words.size - length + 1
    if windows <= 0:
        return 0
    half = (length + 1) // 2
    leaving = _power(_BASE_0, half)
    run = np.uint64(0)
    head, tail = 0, 0
    for at in range(words.size):
        run = run * _BASE_0 + words[at]
        if at >= half:
            run -= words[at - half] * leaving
        gram = at - half + 1
        if gram < 0:
            continue
        value = permute(run, scope)
        gram_W[gram] = value
        while tail > head and gram_W[queue_W[tail - 1]] >= value:
            tail -= 1
        queue_W[tail] = gram
        tail += 1
        window = at - length + 1
        if window >= 0:
            if queue_W[head] < window:
                head += 1
            anchor_W[window] = queue_W[head]
    return windows


@leaf
def _power(base: np.uint64, exponent: int) -> np.uint64:
    made = np.uint64(1)
    for _ in range(exponent):
        made *= base
    return made


@leaf
def _note(gram: np.uint64, filter_F: U8) -> None:
    byte, bit = _filter_slot(gram, filter_F)
    held = filter_F[byte]
    filter_F[byte] = held | (1 << bit) | (((held >> bit) & 1) << (bit + 1))


@leaf
def _filter_slot(gram: np.uint64, filter_F: U8) -> tuple[Int, Int]:
    """Return the byte of an anchor's slot and the lower one of its two bits."""
    value = permute(gram, _ANCHOR)  # anchors are smallest hashes, and far from evenly spread
    slot = value % np.uint64(4 * filter_F.size)
    return np.int64(slot >> np.uint64(2)), np.int64(slot & np.uint64(3)) * 2


@leaf
def _mark_repeated(windows: int, gram_W: U64, anchor_W: I64, filter_F: U8) -> bool:
    """Replace the anchors that stand in one place by -1; say whether any is left."""
    found, last, again = False, -1, False
    for window in range(windows):
        anchor = anchor_W[window]
        if anchor != last:
            byte, bit = _filter_slot(gram_W[anchor], filter_F)
            last, again = anchor, (filter_F[byte] >> (bit + 1)) & 1 != 0
            found |= again
        if not again:
            anchor_W[window] = -1
    return found


@leaf
def _window_keys(words: U64, length: int, anchor_W: I64, place_P: PlaceArray) -> int:
    """Hash the windows that have an anchor; a place's row is for now its first word."""
    leaving_0, leaving_1 = _power(_BASE_0, length), _power(_BASE_1, length)
    run_0, run_1, made = np.uint64(0), np.uint64(0), 0
    for at in range(words.size):
        run_0 = run_0 * _BASE_0 + words[at]
        run_1 = run_1 * _BASE_1 + permute(words[at], _SEED)
        if at >= length:
            run_0 -= words[at - length] * leaving_0
            run_1 -= permute(words[at - length], _SEED) * leaving_1
        window = at - length + 1
        if window >= 0 and anchor_W[window] >= 0:
            place_P[made].key_0 = run_0
            place_P[made].key_1 = run_1
            place_P[made].row = window
            made += 1
    return made
