"""Lines of text: where they end, how long they are, what they begin and end with.

Two notions of a line are in use. FineWeb's rules and Gopher's rules on repetition cut at line
feeds alone; Gopher's rules on bullets and ellipses, and C4's, cut wherever Unicode ends a line, as
Python's ``str.splitlines`` does. A line here ends at a line feed, and is marked where it holds
another line end, which is rare.

Trade-off: the inner loops each look for one thing, so that the compiler makes vector instructions
of them; together they are faster than one loop that looks for everything.

B bytes of a text, N documents, L lines of all documents
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.hashing import SEED_0, xxh64
from curation.kernels.leaf import leaf
from curation.kernels.unicode import SPACE, TERMINAL, before, decode, flag_table

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Line = Any  # one line of LINE_TYPE, to be filled in
LineArray = npt.NDArray[np.void]

#: What a line is, as bits: white space alone; its last character ends a sentence; it holds a line
#: end other than a line feed.
BLANK, TERMINATED, BROKEN = 1, 2, 4

LINE_TYPE = np.dtype(
    [
        ("hash", np.uint64),
        ("start", np.int64),
        ("stop", np.int64),
        ("chars", np.uint32),
        ("kind", np.uint32),
    ],
    align=True,
)


class Lines(NamedTuple):
    """The lines of a batch of documents, cut at line feeds.

    offset  int64[N+1]    document n owns line_L[offset[n]:offset[n+1]]; at least one line
    line_L  LINE_TYPE[L]  hash   XXH64 of the line's bytes
                          start  place of its first byte, and
                          stop   of its line feed, among the bytes of all documents
                          chars  code points, the line feed not among them
                          kind   BLANK, TERMINATED, BROKEN
    """

    offset: I64
    line_L: LineArray


def split_lines(data_B: U8, offset: I64) -> Lines:
    """Cut documents into lines at line feeds, as Python's ``text.split("\\\\n")`` does.

    data_B  uint8[B]    UTF-8, all documents laid end to end
    offset  int64[N+1]  document n owns data_B[offset[n]:offset[n+1]]; need not start at 0
    """
    return Lines(*_split(data_B, offset, flag_table()))


@numba.njit(cache=True, nogil=True)
def _split(data_B: U8, offset: I64, flag_C: U32) -> tuple[I64, LineArray]:
    count = offset.size - 1
    line_offset = np.zeros(count + 1, dtype=np.int64)
    longest = 0
    for n in range(count):
        feeds = _count_byte(data_B, offset[n], offset[n + 1], 0x0A)
        line_offset[n + 1] = line_offset[n] + feeds + 1
        longest = max(longest, offset[n + 1] - offset[n])
    line_L = np.empty(line_offset[count], dtype=LINE_TYPE)
    scratch_W = np.empty(longest // 8 + 1, dtype=np.uint64)
    scratch_B = scratch_W.view(np.uint8)
    for n in range(count):
        at, stop = offset[n], offset[n + 1]
        may_break = _may_be_broken(data_B, at, stop)
        for line in range(line_offset[n], line_offset[n + 1]):
            end = at
            for byte in data_B[at:stop]:
                if byte == 0x0A:
                    break
                end += 1
            scratch_B[: end - at] = data_B[at:end]
            _fill_in(line_L[line], data_B, at, end, flag_C, may_break)
            line_L[line].hash = xxh64(scratch_W, scratch_B, end - at, SEED_0)
            at = end + 1
    return line_offset, line_L


@leaf
def _fill_in(line: Line, data_B: U8, start: int, stop: int, flag_C: U32, may_break: bool) -> None:
    kind = 0
    if trim_start(data_B, start, stop, flag_C) == stop:
        kind |= BLANK
    if stop > start and ends_sentence(data_B, start, stop, flag_C):
        kind |= TERMINATED
    if may_break and next_line(data_B, start, stop)[0] < stop:
        kind |= BROKEN
    line.start, line.stop, line.kind = start, stop, kind
    line.chars = count_chars(data_B, start, stop)


@leaf
def _count_byte(data_B: U8, start: int, stop: int, wanted: int) -> int:
    found = 0
    for byte in data_B[start:stop]:
        found += byte == wanted
    return found


@leaf
def count_chars(data_B: U8, start: int, stop: int) -> int:
    """Count code points: the bytes that do not continue one."""
    found = 0
    for byte in data_B[start:stop]:
        found += byte & 0xC0 != 0x80
    return found


@leaf
def _may_be_broken(data_B: U8, start: int, stop: int) -> bool:
    """Say whether any byte could be a line end other than a line feed."""
    found = False
    for byte in data_B[start:stop]:
        other = (byte < 0x20) & (byte != 0x09) & (byte != 0x0A)
        found |= other | (byte == 0xC2) | (byte == 0xE2)
    return found


@leaf
def next_line(data_B: U8, at: int, stop: int) -> tuple[int, int]:
    """Return where the line that begins at ``at`` ends, and where the next begins.

    Lines end as for ``str.splitlines``: LF, CR, CR LF, VT, FF, FS, GS, RS, NEL, LS, PS.
    """
    while at < stop:
        for byte in data_B[at:stop]:
            if (byte < 0x20) | (byte == 0xC2) | (byte == 0xE2):
                break
            at += 1
        width = _line_end(data_B, at, stop)
        if width:
            return at, at + width
        at += 1
    return stop, stop


@leaf
def _line_end(data_B: U8, at: int, stop: int) -> int:
    """Return the bytes of the line end that stands at a place; 0 for none."""
    if at >= stop:
        return 0
    byte = data_B[at]
    if byte == 0x0D and at + 1 < stop and data_B[at + 1] == 0x0A:
        return 2
    if 0x0A <= byte <= 0x0D or 0x1C <= byte <= 0x1E:
        return 1
    if byte == 0xC2 and at + 1 < stop and data_B[at + 1] == 0x85:
        return 2
    if byte == 0xE2 and at + 2 < stop and _is_separator(data_B[at + 1], data_B[at + 2]):
        return 3
    return 0


@leaf
def _is_separator(second: int, third: int) -> bool:
    """Say whether two bytes after E2 make the line or the paragraph separator."""
    return second == 0x80 and third & 0xFE == 0xA8


@leaf
def trim_start(data_B: U8, at: int, stop: int, flag_C: U32) -> int:
    """Return where the first character that is not white space begins, or ``stop``."""
    while at < stop:
        code, width = decode(data_B, at, stop)
        if not flag_C[code] & SPACE:
            break
        at += width
    return at


@leaf
def trim_end(data_B: U8, start: int, stop: int, flag_C: U32) -> int:
    """Return where the last character that is not white space ends."""
    while stop > start:
        at = before(data_B, stop, start)
        if not flag_C[decode(data_B, at, stop)[0]] & SPACE:
            break
        stop = at
    return stop


@leaf
def ends_sentence(data_B: U8, start: int, stop: int, flag_C: U32) -> bool:
    """Say whether the last character before ``stop`` is a mark that ends a sentence."""
    code, _ = decode(data_B, before(data_B, stop, start), stop)
    return bool(flag_C[code] & TERMINAL)


@leaf
def ends_in_ellipsis(data_B: U8, start: int, stop: int) -> bool:
    """Say whether three full stops, or U+2026, stand before ``stop``."""
    if stop - start < 3:
        return False
    third, second, first = data_B[stop - 3], data_B[stop - 2], data_B[stop - 1]
    dots = third == 0x2E and second == 0x2E and first == 0x2E
    return bool(dots or (third == 0xE2 and second == 0x80 and first == 0xA6))


@leaf
def begins_with_bullet(data_B: U8, at: int, stop: int) -> bool:
    """Say whether a hyphen-minus, or the bullet U+2022, stands at a place."""
    if at >= stop:
        return False
    if data_B[at] == 0x2D:
        return True
    bullet = at + 2 < stop and data_B[at] == 0xE2 and data_B[at + 1] == 0x80
    return bullet and data_B[at + 2] == 0xA2


# ---------------------------------------------------------------- statistics


@numba.njit(cache=True, nogil=True)
def gopher_lines(data_B: U8, line_offset: I64, line_L: LineArray, flag_C: U32) -> F64:
    """Return the share of lines that begin with a bullet, and that end in an ellipsis.

    Lines are those of ``str.splitlines``, white space at their ends aside.

    returns  float64[N, 2]  NaN for a document without a line
    """
    count = line_offset.size - 1
    share_N2 = np.full((count, 2), np.nan, dtype=np.float64)
    for n in range(count):
        total, bullets, ellipses = 0, 0, 0
        for index in range(line_offset[n], line_offset[n + 1]):
            line = line_L[index]
            is_last = index + 1 == line_offset[n + 1]
            at = line.start
            while at < line.stop:
                close, after = line.stop, line.stop
                if line.kind & BROKEN:
                    close, after = next_line(data_B, at, line.stop)
                total += 1
                bullets += begins_with_bullet(data_B, trim_start(data_B, at, close, flag_C), close)
                ellipses += ends_in_ellipsis(data_B, at, trim_end(data_B, at, close, flag_C))
                at = after
            if not is_last and _is_empty_end(data_B, line.start, line.stop, line.kind):
                total += 1
        if total:
            share_N2[n, 0] = bullets / total
            share_N2[n, 1] = ellipses / total
    return share_N2


@leaf
def _is_empty_end(data_B: U8, start: int, stop: int, kind: int) -> bool:
    """Say whether a line feed at ``stop`` ends a line of nothing.

    It does at the start of a line, and after any other line end but a carriage return.
    """
    if start == stop:
        return True
    if not kind & BROKEN or data_B[stop - 1] == 0x0D:
        return False
    at, close = start, start
    while at < stop:
        close, at = next_line(data_B, at, stop)
    return close < stop


@numba.njit(cache=True, nogil=True)
def count_text_chars(line_offset: I64, line_L: LineArray) -> I64:
    """Return int64[N]: the code points of each document, line feeds included."""
    chars_N = np.empty(line_offset.size - 1, dtype=np.int64)
    for n in range(chars_N.size):
        chars = line_offset[n + 1] - line_offset[n] - 1
        for index in range(line_offset[n], line_offset[n + 1]):
            chars += line_L[index].chars
        chars_N[n] = chars
    return chars_N


@numba.njit(cache=True, nogil=True)
def count_marks(data_B: U8, offset: I64) -> I64:
    """Count number signs, and ellipses ('...' and U+2026).

    data_B, offset  the documents, as in ``split_lines``
    returns         int64[N, 2]
    """
    count = offset.size - 1
    mark_N2 = np.zeros((count, 2), dtype=np.int64)
    for n in range(count):
        start, stop = offset[n], offset[n + 1]
        mark_N2[n, 0] = _count_byte(data_B, start, stop, 0x23)
        mark_N2[n, 1] = _count_ellipses(data_B, start, stop)
    return mark_N2


@leaf
def _count_ellipses(data_B: U8, start: int, stop: int) -> int:
    may = False
    text_B = data_B[start:stop]
    for at in range(1, text_B.size):
        may |= (text_B[at - 1] == 0x2E) & (text_B[at] == 0x2E)
    for byte in text_B:
        may |= byte == 0xE2
    if not may:
        return 0
    found, at = 0, start
    while at < stop - 2:
        byte = data_B[at]
        if (byte == 0x2E or byte == 0xE2) and ends_in_ellipsis(data_B, at, at + 3):
            found, at = found + 1, at + 3
        else:
            at += 1
    return found


@numba.njit(cache=True, nogil=True)
def fineweb_lines(line_offset: I64, line_L: LineArray, short_chars: int) -> F64:
    """Return FineWeb's shares of the lines that are not blank.

    short_chars  a line of at most so many code points is short
    returns      float64[N, 3]  lines that end a sentence; short lines; characters in lines that
                 repeat an earlier one, over all characters but line feeds. NaN where every line
                 is blank
    """
    count = line_offset.size - 1
    share_N3 = np.full((count, 3), np.nan, dtype=np.float64)
    key_S = room_for_set(line_offset)
    for n in range(count):
        first, last = line_offset[n], line_offset[n + 1]
        mask = clear_set(key_S, last - first)
        total, terminated, short, again, chars = 0, 0, 0, 0, 0
        for index in range(first, last):
            line = line_L[index]
            chars += line.chars
            if line.kind & BLANK:
                continue
            total += 1
            terminated += line.kind & TERMINATED != 0
            short += line.chars <= short_chars
            if add_to_set(key_S, mask, line.hash):
                again += line.chars
        if total:
            share_N3[n, 0] = terminated / total
            share_N3[n, 1] = short / total
            share_N3[n, 2] = again / chars if chars else 0.0  # damaged text may have none
    return share_N3


# ---------------------------------------------------------------- sets of hashes


@numba.njit(cache=True, nogil=True)
def room_for_set(offset: I64) -> U64:
    """Return slots for the largest set that any document needs."""
    most = 1
    for n in range(offset.size - 1):
        most = max(most, offset[n + 1] - offset[n])
    slots = 2
    while slots < 2 * most:
        slots *= 2
    return np.empty(slots, dtype=np.uint64)


@leaf
def clear_set(key_S: U64, count: int) -> int:
    """Empty as many slots as a set of so many hashes takes; return its mask."""
    slots = 2
    while slots < 2 * count:
        slots *= 2
    for slot in range(slots):
        key_S[slot] = 0
    return slots - 1


@leaf
def add_to_set(key_S: U64, mask: int, value: np.uint64) -> bool:
    """Add a hash; say whether it was there already."""
    value = value if value != 0 else np.uint64(1)
    slot = np.int64(value >> np.uint64(20)) & mask
    while key_S[slot] != 0:
        if key_S[slot] == value:
            return True
        slot = (slot + 1) & mask
    key_S[slot] = value
    return False
