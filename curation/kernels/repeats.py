"""Units of text (lines, paragraphs, runs of words) that stand in more places than one.

Of all the places of a unit, the first one stays: the one in the row of the lowest rank, and the
earliest in that row. A rank is a hash of the row's id, so the first place is the same whatever the
order in which rows come; two rows of one rank (a chance of 2^-64 a pair) are told apart by their
number.

Two structures find it. ``keep_first`` holds the first place of every different unit in an open
hash table and errs never. ``bloom_lower`` and ``bloom_repeats`` have a table of fixed size, as a
Bloom filter has, each slot of which holds the lowest rank of any unit that falls there: a unit's
own rank shows in one of its slots only where no lower one has been written over all of them.

N documents, U units of all documents, P places, K different units, S slots, R repeats, B bytes
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.leaf import Int, leaf
from curation.kernels.lines import add_to_set, clear_set, room_for_set
from curation.kernels.words import KIND, PERHAPS, SPACE, space_width

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
Bool_N = npt.NDArray[np.bool_]
PlaceArray = npt.NDArray[Any]  # of PLACE_TYPE
RepeatArray = npt.NDArray[Any]  # of REPEAT_TYPE
Place = Any  # one of PLACE_TYPE

#: Where a unit stands: 128 bits of hash, rank and number of the row, bytes of the row's text.
PLACE_TYPE = np.dtype(
    [
        ("key_0", np.uint64),
        ("key_1", np.uint64),
        ("rank", np.uint64),
        ("row", np.int64),
        ("start", np.uint32),
        ("stop", np.uint32),
    ],
    align=True,
)
#: A place that is not the first of its unit.
REPEAT_TYPE = np.dtype(
    [("row", np.int64), ("start", np.uint32), ("stop", np.uint32)],
    align=True,
)

#: Longer texts have no places: PLACE_TYPE counts bytes in 32 bits.
LONGEST_BYTES = (1 << 32) - 1
#: Slots of the Bloom filter that a unit falls into.
PROBES = 4
#: A slot of the Bloom filter that no unit has fallen into.
UNTOUCHED = np.uint32(0xFFFFFFFF)

_LINE_FEED = np.uint8(0x0A)
_FREE = np.int64(-1)


# ---------------------------------------------------------------- lines and paragraphs


@numba.njit(cache=True, nogil=True)
def cut_units(data_B: U8, offset: I64, paragraphs: bool) -> tuple[I64, I64, I64]:
    """Cut documents at line feeds, or into the runs of lines that blank lines part.

    A blank line has nothing but white space (Unicode's property White_Space).

    data_B   uint8[B]    UTF-8, all documents laid end to end
    offset   int64[N+1]  document n owns data_B[offset[n]:offset[n+1]]; need not start at 0
    returns  int64[N+1]  document n owns units first[n]:first[n+1]
             int64[U+1]  byte of data_B at which each unit begins; at last the end of all texts.
                         Between a unit's stop and the next one's start is white space alone
             int64[U]    where it stops, the line feed that ends it not included
    """
    count = offset.size - 1
    most = count
    for byte in data_B[offset[0] : offset[count]]:
        most += byte == _LINE_FEED
    first_N = np.zeros(count + 1, dtype=np.int64)
    start_U = np.empty(most + 1, dtype=np.int64)
    stop_U = np.empty(most, dtype=np.int64)
    made = 0
    for n in range(count):
        at, stop, open_ = offset[n], offset[n + 1], False
        while at < stop:
            end = _line_feed(data_B, at, stop)
            if paragraphs and _is_blank(data_B, at, end):
                open_ = False
            elif open_:
                stop_U[made - 1] = end
            else:
                start_U[made], stop_U[made] = at, end
                made += 1
                open_ = paragraphs
            at = end + 1
        first_N[n + 1] = made
    start_U[made] = offset[count]
    return first_N, start_U[: made + 1].copy(), stop_U[:made].copy()


@leaf
def _line_feed(data_B: U8, at: int, stop: int) -> int:
    """Return where the next line feed stands, or ``stop``."""
    for byte in data_B[at:stop]:
        if byte == _LINE_FEED:
            break
        at += 1
    return at


@leaf
def _is_blank(data_B: U8, at: int, stop: int) -> bool:
    while at < stop:
        kind = KIND[data_B[at]]
        width = space_width(data_B, at, stop) if kind == PERHAPS else 1
        if width == 0 or (kind != SPACE and kind != PERHAPS):
            return False
        at += width
    return True


# ---------------------------------------------------------------- first places


@numba.njit(cache=True, nogil=True)
def keep_first(place_P: PlaceArray, first_K: PlaceArray, slot_S: I64, count: int) -> int:
    """Bring the first places of different units up to date with more places.

    place_P  PLACE_TYPE[P]  in any order
    first_K  PLACE_TYPE[K]  in and out: the first ``count`` are filled; K >= count + P
    slot_S   int64[S]       in and out: index into first_K by hash, -1 where free; S a power of two
                            of at least 2 K
    returns  how many of first_K are filled now
    """
    for index in range(place_P.size):
        place = place_P[index]
        slot = _slot(place, first_K, slot_S)
        if slot_S[slot] == _FREE:
            slot_S[slot] = count
            first_K[count] = place
            count += 1
        elif _is_before(place, first_K[slot_S[slot]]):
            first_K[slot_S[slot]] = place
    return count


@numba.njit(cache=True, nogil=True)
def fill_slots(first_K: PlaceArray, slot_S: I64) -> None:
    """Fill free slots with first places, all of them of different units."""
    for index in range(first_K.size):
        slot_S[_slot(first_K[index], first_K, slot_S)] = index


@numba.njit(cache=True, nogil=True)
def later_places(place_P: PlaceArray, first_K: PlaceArray, slot_S: I64) -> RepeatArray:
    """Return the places that are not the first of their units, and overlap not the first either.

    place_P          PLACE_TYPE[P]   all of their units are among first_K
    first_K, slot_S  as ``keep_first`` leaves them
    returns          REPEAT_TYPE[R]  in the order of place_P
    """
    made, repeat_R = 0, np.empty(place_P.size, dtype=REPEAT_TYPE)
    for index in range(place_P.size):
        place = place_P[index]
        first: Place = first_K[slot_S[_slot(place, first_K, slot_S)]]
        if place.row != first.row or place.start >= first.stop:
            repeat_R[made].row = place.row
            repeat_R[made].start = place.start
            repeat_R[made].stop = place.stop
            made += 1
    return repeat_R[:made].copy()


@leaf
def _slot(place: Place, first_K: PlaceArray, slot_S: I64) -> Int:
    """Return the slot of a place's unit, or the free one where it belongs."""
    mask = slot_S.size - 1
    slot: Int = np.int64(place.key_1 >> np.uint64(8)) & mask  # key_0 says which file it came from
    while slot_S[slot] != _FREE:
        first: Place = first_K[slot_S[slot]]
        if first.key_0 == place.key_0 and first.key_1 == place.key_1:
            break
        slot = (slot + 1) & mask
    return slot


@leaf
def _is_before(one: Place, other: Place) -> bool:
    if one.rank != other.rank:
        return bool(one.rank < other.rank)
    if one.row != other.row:
        return bool(one.row < other.row)
    return bool(one.start < other.start)


@numba.njit(cache=True, nogil=True)
def spread(place_P: PlaceArray, shift: int, parts: int) -> tuple[I64, PlaceArray]:
    """Sort places by some bits of their hash.

    parts    a power of two; place p belongs to part key_0 >> shift & (parts - 1)
    returns  int64[parts + 1] and PLACE_TYPE[P]: part i owns places first[i]:first[i+1]
    """
    mask, bits = np.uint64(parts - 1), np.uint64(shift)
    first = np.zeros(parts + 1, dtype=np.int64)
    for index in range(place_P.size):
        first[np.int64((place_P[index].key_0 >> bits) & mask) + 1] += 1
    for before in range(parts):
        first[before + 1] += first[before]
    free, sorted_P = first.copy(), np.empty_like(place_P)
    for index in range(place_P.size):
        part: Int = np.int64((place_P[index].key_0 >> bits) & mask)
        sorted_P[free[part]] = place_P[index]
        free[part] += 1
    return first, sorted_P


@numba.njit(cache=True, nogil=True)
def join_overlapping(repeat_R: RepeatArray) -> RepeatArray:
    """Make one repeat of those that overlap; they come sorted by row and start."""
    made, joined_R = 0, np.empty_like(repeat_R)
    for index in range(repeat_R.size):
        repeat = repeat_R[index]
        if made and joined_R[made - 1].row == repeat.row:
            last = joined_R[made - 1]
            if repeat.start < last.stop:
                last.stop = max(last.stop, repeat.stop)
                continue
        joined_R[made] = repeat
        made += 1
    return joined_R[:made].copy()


# ---------------------------------------------------------------- Bloom filter


@numba.njit(cache=True, nogil=True)
def bloom_lower(table_S: U32, key_U2: U64, first_N: I64, rank_N: U64) -> None:
    """Lower every slot that a unit falls into to the rank of its row.

    table_S  uint32[S]     in and out: the lowest rank of the units that fall there
    key_U2   uint64[U, 2]  hashes of the units
    first_N  int64[N+1]    document n owns units first_N[n]:first_N[n+1]
    rank_N   uint64[N]     ranks of the documents, of which the upper half counts
    """
    for n in range(rank_N.size):
        rank = np.uint32(rank_N[n] >> np.uint64(32))
        for unit in range(first_N[n], first_N[n + 1]):
            for probe in range(PROBES):
                slot = _bloom_slot(key_U2[unit, 0], key_U2[unit, 1], probe, table_S.size)
                if rank < table_S[slot]:
                    table_S[slot] = rank


@numba.njit(cache=True, nogil=True)
def bloom_repeats(table_S: U32, key_U2: U64, first_N: I64, rank_N: U64) -> Bool_N:
    """Say which units have occurred in a document of lower rank, or before in their own.

    table_S           as ``bloom_lower`` leaves it when it has seen all units
    key_U2 .. rank_N  as for ``bloom_lower``
    returns           bool[U]
    """
    again_U = np.zeros(key_U2.shape[0], dtype=np.bool_)
    set_S = room_for_set(first_N)
    for n in range(rank_N.size):
        rank = np.uint32(rank_N[n] >> np.uint64(32))
        mask = clear_set(set_S, first_N[n + 1] - first_N[n])
        for unit in range(first_N[n], first_N[n + 1]):
            highest = np.uint32(0)
            for probe in range(PROBES):
                slot = _bloom_slot(key_U2[unit, 0], key_U2[unit, 1], probe, table_S.size)
                lowest: Int = table_S[slot]
                highest = max(highest, lowest)
            met = add_to_set(set_S, mask, key_U2[unit, 0])
            again_U[unit] = met or highest < rank
    return again_U


@leaf
def _bloom_slot(key_0: np.uint64, key_1: np.uint64, probe: int, slots: int) -> Int:
    return np.int64((key_0 + np.uint64(probe) * (key_1 | np.uint64(1))) % np.uint64(slots))


# ---------------------------------------------------------------- taking repeats out


@numba.njit(cache=True, nogil=True)
def remove_spans(
    data_B: U8, offset: I64, first_N: I64, start_R: U64, stop_R: U64, lines_R: Bool_N
) -> tuple[U8, I64]:
    """Return documents without some of their bytes.

    Spans are cut to the document and to whole characters, of which none is removed in part. With
    a span of whole lines goes the line feed that ends them, and what blank lines follow if blank
    ones stand before; with any other a space after it, if white space stands before.

    data_B, offset  the documents
    first_N         int64[N+1]  document n owns spans first_N[n]:first_N[n+1]
    start_R         uint64[R]   first byte of a span within its document, ascending; any number
    stop_R          uint64[R]   the byte after its last; spans may overlap
    lines_R         bool[R]     the span is meant to be of whole lines
    returns         uint8[..], int64[N+1]: the documents, laid out as they were
    """
    count = offset.size - 1
    made_B = np.empty(offset[count] - offset[0], dtype=np.uint8)
    made_offset = np.zeros(count + 1, dtype=np.int64)
    size = 0
    for n in range(count):
        text_B = data_B[offset[n] : offset[n + 1]]
        first, last = first_N[n], first_N[n + 1]
        size += _remove(
            text_B, start_R[first:last], stop_R[first:last], lines_R[first:last], made_B[size:]
        )
        made_offset[n + 1] = size
    return made_B[:size].copy(), made_offset


@leaf
def _remove(text_B: U8, start_R: U64, stop_R: U64, lines_R: Bool_N, made_B: U8) -> int:
    """Write one document without its spans; return how many bytes are left."""
    size, length = 0, np.int64(text_B.size)
    at: Int = 0
    known, blank = -1, False  # whether what is made ends in a blank line, and for what size so
    removed_end = False
    for index in range(start_R.size):
        start, stop = _clipped(text_B, start_R[index], stop_R[index], at)
        if start >= stop:
            continue
        for byte in text_B[at:start]:
            made_B[size] = byte
            size += 1
        at = stop
        if lines_R[index] and _is_whole(text_B, start, stop):
            at = min(stop + 1, length)
            if size != known:
                known, blank = size, _ends_blank(made_B, size)
            if blank:
                at = _past_blank_lines(text_B, at)
            removed_end = at == length
        elif stop < length and text_B[stop] == 0x20 and _ends_in_space(made_B, size):
            at = stop + 1
    if at == length and removed_end:
        return _trim_feeds(made_B, size, text_B[length - 1] == _LINE_FEED)
    for byte in text_B[at:]:
        made_B[size] = byte
        size += 1
    return size


@leaf
def _clipped(text_B: U8, first: np.uint64, after: np.uint64, at: int) -> tuple[int, int]:
    """Return a span within the document, from ``at`` on, and of whole characters."""
    length = np.uint64(text_B.size)
    start: Int = max(np.int64(min(first, length)), at)
    stop: Int = np.int64(min(after, length))
    for _ in range(3):
        if start < stop and text_B[start] & 0xC0 == 0x80:
            start += 1
        if start < stop < text_B.size and text_B[stop] & 0xC0 == 0x80:
            stop -= 1
    return start, stop


@leaf
def _is_whole(text_B: U8, start: int, stop: int) -> bool:
    """Say whether a span begins where a line does and ends where one does."""
    begins = start == 0 or text_B[start - 1] == _LINE_FEED
    return begins and (stop == text_B.size or text_B[stop] == _LINE_FEED)


@leaf
def _is_gap(byte: int) -> bool:
    return byte == 0x20 or byte == 0x09 or byte == 0x0D


@leaf
def _ends_blank(made_B: U8, size: int) -> bool:
    """Say whether nothing stands before, or the last whole line is blank."""
    at = size - 1
    if at >= 0 and made_B[at] != _LINE_FEED:
        return False
    at -= 1
    while at >= 0 and _is_gap(made_B[at]):
        at -= 1
    return at < 0 or made_B[at] == _LINE_FEED


@leaf
def _past_blank_lines(text_B: U8, at: int) -> int:
    """Return where the first line from ``at`` on begins that is not blank."""
    here = at
    while here < text_B.size and (_is_gap(text_B[here]) or text_B[here] == _LINE_FEED):
        here += 1
        if text_B[here - 1] == _LINE_FEED or here == text_B.size:
            at = here
    return at


@leaf
def _ends_in_space(made_B: U8, size: int) -> bool:
    return size == 0 or _is_gap(made_B[size - 1]) or made_B[size - 1] == _LINE_FEED


@leaf
def _trim_feeds(made_B: U8, size: int, ended: bool) -> int:
    """Take line feeds off the end; leave one where the text ended in one and something is left."""
    last = size
    while last > 0 and (made_B[last - 1] == _LINE_FEED or made_B[last - 1] == 0x0D):
        last -= 1
    if not ended or last == 0:
        return last
    while last < size and made_B[last] != _LINE_FEED:  # the carriage return before it
        last += 1
    return min(last + 1, size)
