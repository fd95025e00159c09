"""Headings of documents, and the sections between them.

A line walk over the bytes. Markdown's headings (# and underlines, code fences passed over) are a
document's headings where it has any; where it has none, numbered lines and lines in capitals are,
which stand alone after a blank line: in Markdown such lines are list items and shouting.

A # begins a comment in scripts and YAML, and --- parts documents there. A text that begins with #!
has no headings. In one of which most lines are "key: value", a line with # is a heading only
between blank lines, and --- underlines nothing. Several lines of one # and none of more are
comments where another line follows on each of them and none of those is a sentence.

B bytes of all documents laid end to end, N documents, H headings, S sections, P entries of paths,
6 the fields of a heading
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.chunks import after_chars, cut, skip_space, trim_end
from curation.kernels.leaf import leaf

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

#: Fields of a heading: document, first byte of its line, level from 1, the title's bytes, and the
#: byte after the line (or after its underline) and its line feed.
DOCUMENT, LINE, LEVEL, TITLE, TITLE_STOP, BODY = range(6)
#: A longer line is no heading, unless a # says so; and what is shown of a title.
TITLE_CHARS = 120
#: Numbers of more parts than 3.2.1.… are no headings but addresses and versions.
_MOST_PARTS = 6
_MOST_DIGITS = 3
#: A number goes before a title if it has so few words, or half of its long words have a capital.
_SHORT_WORDS, _LONG_WORD_BYTES = 3, 4
_KEY_BYTES = 60
#: What the lines of a text say of it.
_SCRIPT, _KEYED, _PROSE = range(3)
#: Letters in capitals that make a heading: fewer are an abbreviation.
_LEAST_CAPITALS = 4

_FEED, _RETURN, _SPACE, _TAB, _HASH, _EQUALS, _DASH, _DOT = 10, 13, 32, 9, 35, 61, 45, 46
_BACKTICK, _TILDE, _COLON, _BANG = 96, 126, 58, 33


@numba.njit(cache=True, nogil=True)
def find_headings(data_B: U8, offset: I64) -> I64:
    """Find the headings of documents.

    data_B   uint8[B]      UTF-8, all documents laid end to end
    offset   int64[N+1]    document n owns data_B[offset[n]:offset[n+1]]
    returns  int64[H, 6]   the fields of each heading, in order
    """
    found = [0 for _ in range(0)]  # typed so, since others append to it
    for n in range(offset.size - 1):
        before = len(found)
        kind = _kind(data_B, offset[n], offset[n + 1])
        if kind == _SCRIPT:
            continue
        _markdown(data_B, offset[n], offset[n + 1], n, kind == _KEYED, found)
        if _are_comments(data_B, offset[n + 1], found, before):
            del found[before:]
        if len(found) == before:
            _standing(data_B, offset[n], offset[n + 1], n, found)
    field = np.array(found)
    return field.reshape(field.size // 6, 6)


@numba.njit(cache=True, nogil=True)
def cut_sections(data_B: U8, offset: I64, heading_H6: I64) -> tuple[I64, I64, I64, I64, I64, I64]:
    """Cut documents into what stands under each heading, the heading's own line before it.

    A heading with nothing under it but the next one begins the section of that. What stands
    before a document's first heading is a section of no heading; a blank document has none. White
    space at the ends of sections belongs to none.

    returns  int64[S], four times  document, first byte, byte after the last, heading or -1
             int64[S+1]            section s owns path_P[path[s]:path[s+1]]
             int64[P]              headings from the outermost to the section's own
    """
    document_S: list[int] = []
    start_S: list[int] = []
    stop_S: list[int] = []
    heading_S: list[int] = []
    path_S: list[int] = [0]
    path_P: list[int] = []
    stack = np.empty(heading_H6.shape[0] + 1, dtype=np.int64)
    h, count = 0, heading_H6.shape[0]
    for n in range(offset.size - 1):
        start, end, depth = offset[n], offset[n + 1], 0
        own = -1
        body = start
        while True:
            is_next = h < count and heading_H6[h, DOCUMENT] == n
            stop = heading_H6[h, LINE] if is_next else end
            has_body = skip_space(data_B, body, stop) < stop
            if has_body or (not is_next and skip_space(data_B, start, stop) < stop):
                document_S.append(n)
                start_S.append(skip_space(data_B, start, stop))
                stop_S.append(trim_end(data_B, start, stop))
                heading_S.append(own)
                for at in range(depth):
                    path_P.append(stack[at])
                path_S.append(len(path_P))
                start = stop
            if not is_next:
                break
            while depth and heading_H6[stack[depth - 1], LEVEL] >= heading_H6[h, LEVEL]:
                depth -= 1
            stack[depth] = own = h
            depth, body, h = depth + 1, heading_H6[h, BODY], h + 1
    spans = np.array(document_S), np.array(start_S), np.array(stop_S), np.array(heading_S)
    return (*spans, np.array(path_S), np.array(path_P))


@numba.njit(cache=True, nogil=True)
def cut_passages(data_B: U8, offset: I64, max_chars: int) -> tuple[I64, I64, I64]:
    """Cut documents into passages of whole sections, as many as ``max_chars`` code points hold.

    A section that is longer is cut as ``chunks.cut`` cuts, and begins and ends passages of its own.
    No passage but of such a section ends with a heading that stands above what comes next.

    data_B   uint8[B]            UTF-8, all documents laid end to end
    offset   int64[N+1]          document n owns data_B[offset[n]:offset[n+1]]
    returns  int64[C], each      document, first byte, byte after the last; in order
    """
    document_S, start_S, stop_S, _, _, _ = cut_sections(
        data_B, offset, find_headings(data_B, offset)
    )
    document_C: list[int] = []
    start_C: list[int] = []
    stop_C: list[int] = []
    is_open = False
    for s in range(document_S.size):
        is_open &= s > 0 and document_S[s] == document_S[s - 1]
        if is_open and after_chars(data_B, start_C[-1], stop_S[s], max_chars) == stop_S[s]:
            stop_C[-1] = stop_S[s]
            continue
        bounds = np.array([start_S[s], stop_S[s]])
        _, first_P, last_P = cut(data_B, bounds, max_chars)
        for p in range(first_P.size):
            document_C.append(document_S[s])
            start_C.append(first_P[p])
            stop_C.append(last_P[p])
        is_open = first_P.size == 1
    return np.array(document_C), np.array(start_C), np.array(stop_C)


@numba.njit(cache=True, nogil=True)
def first_lines(data_B: U8, start_S: I64, stop_S: I64) -> tuple[I64, I64]:
    """Return the first line of each text that is not blank, as what is shown of a title."""
    first_S, last_S = np.empty_like(start_S), np.empty_like(stop_S)
    for s in range(start_S.size):
        at = skip_space(data_B, start_S[s], stop_S[s])
        first_S[s] = at
        last_S[s] = _title_stop(data_B, at, _line_stop(data_B, at, stop_S[s]))
    return first_S, last_S


@numba.njit(cache=True, nogil=True)
def _kind(data_B: U8, at: int, end: int) -> int:
    """Say what a text is by the lines that begin at its left edge: a script, keyed lines, prose."""
    if at + 1 < end and data_B[at] == _HASH and data_B[at + 1] == _BANG:
        return _SCRIPT
    keys = others = fence = fence_marks = 0
    while at < end:
        stop = _line_stop(data_B, at, end)
        last = _line_end(data_B, at, stop)
        first = _past_spaces(data_B, at, last)
        marks = _run(data_B, first, last) if first < last and first - at <= 3 else 0
        if fence:
            if marks >= fence_marks and data_B[first] == fence and first + marks == last:
                fence = 0
        elif marks >= 3 and data_B[first] in (_BACKTICK, _TILDE):
            fence, fence_marks = data_B[first], marks
        elif first == at and first < last and data_B[first] not in (_HASH, _DASH):
            is_key = _is_keyed(data_B, first, last)
            keys += is_key
            others += not is_key
        at = stop + 1
    return _KEYED if keys >= 2 and keys > others else _PROSE


@numba.njit(cache=True, nogil=True)
def _are_comments(data_B: U8, end: int, found: list[int], before: int) -> bool:
    """Say whether lines with # are comments: several, of one # each, all with commands under them.

    Commands are what is not blank and does not end as a sentence does.
    """
    if len(found) - before < 12:  # two headings of six fields
        return False
    for h in range(before, len(found), 6):
        at, body = found[h + LINE], found[h + BODY]
        if found[h + LEVEL] != 1 or data_B[_past_spaces(data_B, at, body)] != _HASH:
            return False
        last = _line_end(data_B, body, _line_stop(data_B, body, end))
        if last - body < 2:
            return False
        is_word = data_B[last - 2] >= 0x80 or _is_key_byte(data_B[last - 2])
        if data_B[last - 1] in (_DOT, _BANG, 0x3F) and is_word:  # . ! ?
            return False
    return True


@numba.njit(cache=True, nogil=True)
def _markdown(data_B: U8, at: int, end: int, n: int, is_keyed: bool, found: list[int]) -> None:
    """Append headings with # before them or with an underline, those in code fences left out."""
    fence, fence_marks = 0, 0
    is_after_blank, before = True, -1  # the line before, where it may be an underlined title
    while at < end:
        stop = _line_stop(data_B, at, end)
        after = min(stop + 1, end)
        first = _past_spaces(data_B, at, stop)
        last = _line_end(data_B, first, stop)
        is_indented = first - at > 3
        marks = 0 if is_indented or first == last else _run(data_B, first, last)
        byte = data_B[first] if first < last else 0
        may_be_title, held = False, len(found)
        if fence:
            if byte == fence and marks >= fence_marks and first + marks == last:
                fence = 0
        elif byte in (_BACKTICK, _TILDE) and marks >= 3:
            fence, fence_marks = byte, marks
        elif byte == _HASH and 1 <= marks <= 6 and _is_apart(data_B, first + marks, last):
            start = _past_spaces(data_B, first + marks, last)
            shown = _title_stop(data_B, start, _without_closing(data_B, start, last))
            is_apart = is_after_blank and after < end and _is_blank(data_B, after, end)
            if shown > start and (is_apart or not is_keyed):
                _append(found, n, at, marks, start, shown, after)
        elif byte in (_EQUALS, _DASH) and marks >= 2 and first + marks == last and before >= 0:
            start = _past_spaces(data_B, before, at)
            shown = _title_stop(data_B, start, _line_stop(data_B, before, at))
            if byte == _EQUALS or not (is_keyed or _is_keyed(data_B, start, shown)):
                _append(found, n, before, 1 if byte == _EQUALS else 2, start, shown, after)
        else:
            may_be_title = is_after_blank and not is_indented and first < last
            may_be_title = may_be_title and _may_stand(data_B, first, last)
        before = at if may_be_title else -1
        is_after_blank = (first == last or len(found) > held) and not fence
        at = after


@numba.njit(cache=True, nogil=True)
def _standing(data_B: U8, at: int, end: int, n: int, found: list[int]) -> None:
    """Append numbered lines and lines in capitals that stand alone after a blank line."""
    is_after_blank = True
    while at < end:
        stop = _line_stop(data_B, at, end)
        after = min(stop + 1, end)
        first = skip_space(data_B, at, stop)
        last = trim_end(data_B, first, stop)
        if is_after_blank and first < last and _may_stand(data_B, first, last):
            parts = _number_parts(data_B, first, last)
            if parts == 1 and not _is_blank(data_B, after, end):
                parts = 0
            if parts == 0 and _is_capitals(data_B, first, last):
                parts = 1
            if parts:
                _append(found, n, at, parts, first, _title_stop(data_B, first, last), after)
        is_after_blank = first >= last
        at = after


@numba.njit(cache=True, nogil=True)
def _append(
    found: list[int], n: int, line: int, level: int, title: int, title_stop: int, body: int
) -> None:
    for value in (n, line, level, title, title_stop, body):
        found.append(value)


@leaf
def _may_stand(data_B: U8, first: int, last: int) -> bool:
    """Say whether a line is short enough for a title and does not end as a sentence does."""
    if after_chars(data_B, first, last, TITLE_CHARS) < last:
        return False
    return data_B[last - 1] not in (0x2E, 0x2C, 0x3B, 0x3A, 0x21)  # . , ; : !


@leaf
def _number_parts(data_B: U8, at: int, last: int) -> int:
    """Return the parts of the number that a heading begins with: two in "3.2 Title"; or 0."""
    parts = 0
    while parts < _MOST_PARTS:
        digits = 0
        while at < last and 0x30 <= data_B[at] <= 0x39:
            at, digits = at + 1, digits + 1
        if digits == 0 or digits > _MOST_DIGITS:
            break
        parts += 1
        if at == last or data_B[at] != _DOT:
            break
        at += 1
    if parts == 0 or at >= last or data_B[at] not in (_SPACE, _TAB):
        return 0
    at = _past_spaces(data_B, at, last)
    is_word = at < last and _is_capital(data_B[at])
    return parts if is_word and _is_title_like(data_B, at, last) else 0


@leaf
def _is_title_like(data_B: U8, at: int, last: int) -> bool:
    """Say whether words are few, or half of the long ones begin as those of titles do."""
    words = long = capitals = 0
    while at < last:
        stop = at
        while stop < last and data_B[stop] not in (_SPACE, _TAB):
            stop += 1
        words += 1
        if stop - at >= _LONG_WORD_BYTES:
            long += 1
            capitals += _is_capital(data_B[at])
        at = _past_spaces(data_B, stop, last)
    return words <= _SHORT_WORDS or 2 * capitals >= long


@leaf
def _is_capital(byte: int) -> bool:
    return 0x41 <= byte <= 0x5A or byte >= 0xC3  # A-Z, letters of other scripts


@leaf
def _is_keyed(data_B: U8, at: int, last: int) -> bool:
    """Say whether a line is a word and a colon, with white space or nothing after it."""
    stop = min(last, at + _KEY_BYTES)
    first = at
    while at < stop:
        if not (_is_key_byte(data_B[at]) or data_B[at] in (0x5F, _DASH, _DOT)):  # _
            break
        at += 1
    return first < at < last and data_B[at] == _COLON and _is_apart(data_B, at + 1, last)


@leaf
def _is_capitals(data_B: U8, at: int, last: int) -> bool:
    """Say whether all letters are capitals: those of ASCII and of Latin 1."""
    capitals = 0
    while at < last:
        byte = data_B[at]
        capitals += 0x41 <= byte <= 0x5A
        if 0x61 <= byte <= 0x7A:
            return False
        if byte == 0xC3 and at + 1 < last:
            if data_B[at + 1] > 0x9E:  # from sharp s on
                return False
            capitals, at = capitals + 1, at + 1
        elif byte == 0xE2 and at + 2 < last and data_B[at + 1] == 0x80:  # dashes and quotes
            at += 2
        elif byte >= 0x80:
            return False
        at += 1
    return capitals >= _LEAST_CAPITALS


@leaf
def _title_stop(data_B: U8, start: int, stop: int) -> int:
    """Return where what is shown of a title ends."""
    stop = min(stop, after_chars(data_B, start, stop, TITLE_CHARS))
    return trim_end(data_B, start, stop)


@leaf
def _without_closing(data_B: U8, start: int, last: int) -> int:
    """Return where a title ends before the #s that close it: they stand apart from it."""
    at = last
    while at > start and data_B[at - 1] == _HASH:
        at -= 1
    if at == start:
        return start
    return at if data_B[at - 1] in (_SPACE, _TAB) else last


@leaf
def _is_apart(data_B: U8, at: int, last: int) -> bool:
    return at >= last or data_B[at] in (_SPACE, _TAB)


@leaf
def _run(data_B: U8, at: int, last: int) -> int:
    """Return how often the byte at ``at`` stands there."""
    stop = at
    while stop < last and data_B[stop] == data_B[at]:
        stop += 1
    return stop - at


@leaf
def _past_spaces(data_B: U8, at: int, stop: int) -> int:
    while at < stop and data_B[at] in (_SPACE, _TAB):
        at += 1
    return at


@leaf
def _line_end(data_B: U8, at: int, stop: int) -> int:
    """Return where a line ends without its spaces, tabs and carriage returns."""
    while stop > at and data_B[stop - 1] in (_SPACE, _TAB, _RETURN):
        stop -= 1
    return stop


@leaf
def _is_key_byte(byte: int) -> bool:
    return 0x30 <= byte <= 0x39 or 0x41 <= byte <= 0x5A or 0x61 <= byte <= 0x7A  # 0-9 A-Z a-z


@leaf
def _is_blank(data_B: U8, at: int, end: int) -> bool:
    """Say whether the line that starts at a byte is blank, or there is none."""
    stop = _line_stop(data_B, at, end)
    return skip_space(data_B, at, stop) >= stop


@leaf
def _line_stop(data_B: U8, at: int, end: int) -> int:
    while at < end and data_B[at] != _FEED:
        at += 1
    return at
