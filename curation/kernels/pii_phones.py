"""Telephone numbers: E.164 with a plus, the common national forms, and what a word announces.

A number is groups of digits with one separator between each two. Whether groups are a telephone
number is a matter of their lengths, their separators and their first digits, never of a search,
so that at most MAX_GROUPS groups are looked at from any digit. The forms:

+CC ...             a country code that the ITU has assigned, as many digits as its plan allows;
                    also 00CC with a separator after it
NPA-NXX-XXXX        North America: no area or exchange code that its plan rules out; perhaps with
                    a 1 before it or (NPA)
0AA ...             a trunk prefix of one 0, 9 to 11 digits in the groupings of Europe, Asia and
                    Australia, perhaps with (0AA)
8 800 ...           Russia and Kazakhstan: 1-3-3-2-2;  (AA) NNNNN-NNNN: Brazil
1NN NNNN NNNN       China's mobile numbers
any 7 to 15 digits  after a word such as "Tel.", "Phone:", "fax no."; no date, no span of years

libphonenumber would say more of a number with a plus, but 100 microseconds a number, in tables
that change each month: a stored column would mean something else after an upgrade.

B bytes of all documents laid end to end, N documents, A anchors, S spans, G groups of digits,
C country codes, W words
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.pii import ALNUM, CLASS, DIGIT, LETTER, PHONE, UNDER
from curation.kernels.pii_plans import LEAST_C, MOST_C, ZERO_C

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

MAX_GROUPS, MAX_DIGITS = 8, 15
#: Columns of a group: first byte, byte after the last, separator before it.
_START, _STOP, _SEP = 0, 1, 2
#: Separators. SPACED is a dash between spaces; PAREN any with a bracket in it.
_NONE, _SPACE, _DASH, _DOT, _SLASH, _PAREN, _SPACED = range(7)

_ANNOUNCE = (
    "tel telephone telefon telefono teléfono telefone téléphone tél phone phones fax telefax"
)
_ANNOUNCE += " mobile mobil cellphone cell handy whatsapp hotline ph tty tdd"
_FILL = "number numbers no nr num is us at on line direct office home work free or toll"


def _hashed(word: str) -> int:
    """Return the hash that ``_is_announced`` gives a word of lower case."""
    value = 0
    for byte in reversed(word.encode()):
        value = value * 31 + (byte | 0x20)
    return value


_ANNOUNCE_W = np.array([_hashed(word) for word in _ANNOUNCE.split()])
_FILL_W = np.array([_hashed(word) for word in _FILL.split()])

#: Bytes after which no telephone number begins: currencies, signs, paths, anything that joins.
_JOINS = np.array([bool(c & (ALNUM | UNDER)) for c in CLASS])
_JOINS[[*b"-/\\#$%&+^~@"]] = True


@numba.njit(cache=True, nogil=True)
def find_phones(data_B: U8, offset: I64, place_A: I64, row_A: I64) -> I64:
    """Return the spans of telephone numbers.

    data_B   uint8[B]       UTF-8, all documents laid end to end
    offset   int64[N+1]     document n owns data_B[offset[n]:offset[n+1]]
    place_A  int64[A]       anchors, and row_A the document of each
    returns  int64[S, 3]    kind, first byte, byte after the last
    """
    span_SF = np.empty((place_A.size, 3), dtype=np.int64)
    group_GF = np.zeros((MAX_GROUPS + 1, 3), dtype=np.int64)
    made = 0
    for a in range(place_A.size):
        at = place_A[a]
        if not CLASS[data_B[at]] & DIGIT:
            continue
        first, last = offset[row_A[a]], offset[row_A[a] + 1]
        count = _read_groups(data_B, at, last, group_GF)
        if _digits_in(group_GF, count) < 7:
            continue
        start, used = _number(data_B, first, last, group_GF, count)
        if used and not _goes_on(data_B, group_GF[used - 1, _STOP], last):
            span_SF[made, 0], span_SF[made, 1] = PHONE, start
            span_SF[made, 2] = group_GF[used - 1, _STOP]
            made += 1
    return span_SF[:made].copy()


# ---------------------------------------------------------------- groups of digits


@numba.njit(cache=True, nogil=True)
def _read_groups(data_B: U8, at: int, last: int, group_GF: I64) -> int:
    """Fill in the groups of digits from ``at`` on, at most MAX_GROUPS; return how many.

    The separator behind the last group that is not followed up stands in the row after it.
    """
    count, separator = 0, _NONE
    while True:
        begin = at
        while at < last and at - begin <= MAX_DIGITS and CLASS[data_B[at]] & DIGIT:
            at += 1
        group_GF[count, _START], group_GF[count, _STOP] = begin, at
        group_GF[count, _SEP] = separator
        count += 1
        separator, width = _separator(data_B, at, last)
        group_GF[count, _SEP] = separator
        if separator == _NONE or count == MAX_GROUPS or at - begin > MAX_DIGITS:
            return count
        at += width


@numba.njit(cache=True, nogil=True)
def _separator(data_B: U8, at: int, last: int) -> tuple[int, int]:
    """Return the kind and the width of the separator at ``at``; a digit follows it."""
    low, kind, brackets = at, _NONE, 0
    if at < last and data_B[at] == 0x29:
        brackets, at = 1, at + 1
    mark, width = _mark(data_B, at, last)
    if width:
        kind, at = mark, at + width
        if kind == _SPACE:
            second, more = _mark(data_B, at, last)
            third, most = _mark(data_B, at + more, last)
            if second == _DASH and third == _SPACE:
                kind, at = _SPACED, at + more + most
            elif second == _DASH and brackets:
                at += more
    if at < last and data_B[at] == 0x28:
        brackets, at = brackets + 1, at + 1
    if at >= last or not CLASS[data_B[at]] & DIGIT or brackets > 1:
        return _NONE, 0
    return (_PAREN if brackets else kind), at - low


@numba.njit(cache=True, nogil=True)
def _mark(data_B: U8, at: int, last: int) -> tuple[int, int]:
    """Return the kind and the width of one space, dash, dot or slash; (_NONE, 0) for others."""
    if at >= last:
        return _NONE, 0
    byte = data_B[at]
    if byte == 0x20:
        return _SPACE, 1
    if byte == 0x2D:
        return _DASH, 1
    if byte == 0x2E:
        return _DOT, 1
    if byte == 0x2F:
        return _SLASH, 1
    if byte == 0xC2 and at + 1 < last and data_B[at + 1] == 0xA0:  # no-break space
        return _SPACE, 2
    if byte == 0xE2 and at + 2 < last and data_B[at + 1] == 0x80:
        third = data_B[at + 2]
        if 0x90 <= third <= 0x93:  # hyphens, figure dash, en dash
            return _DASH, 3
        if third == 0x89 or third == 0xAF:  # thin space, narrow no-break space
            return _SPACE, 3
    return _NONE, 0


@numba.njit(cache=True, nogil=True)
def _width(group_GF: I64, g: int) -> int:
    return int(group_GF[g, _STOP] - group_GF[g, _START])


@numba.njit(cache=True, nogil=True)
def _digits_in(group_GF: I64, count: int) -> int:
    digits = 0
    for g in range(count):
        digits += _width(group_GF, g)
    return digits


@numba.njit(cache=True, nogil=True)
def _goes_on(data_B: U8, stop: int, last: int) -> bool:
    """Say whether the digits that end at ``stop`` are part of something longer."""
    if stop >= last:
        return False
    byte = data_B[stop]
    after = CLASS[data_B[stop + 1]] if stop + 1 < last else 0
    if byte == 0x78 or byte == 0x58:  # an extension: x123
        return not after & DIGIT
    if CLASS[byte] & (ALNUM | UNDER) or byte == 0x40 or byte == 0x25 or byte == 0x3D:
        return True
    if byte == 0x2D or byte == 0x2E or byte == 0x2F:
        return byte != 0x2F and after & ALNUM != 0
    return byte == 0x3A and after & DIGIT != 0


# ---------------------------------------------------------------- which form


@numba.njit(cache=True, nogil=True)
def _number(data_B: U8, first: int, last: int, group_GF: I64, count: int) -> tuple[int, int]:
    """Return where the number begins and how many groups it takes; (0, 0) where it is none."""
    at = group_GF[0, _START]
    before = data_B[at - 1] if at > first else 0
    if before == 0x2B:
        return _with_plus(data_B, first, group_GF, count)
    start = at - 1 if before == 0x28 and _closes(data_B, group_GF) else at
    if not _may_begin(data_B, first, start):
        return 0, 0
    used = _with_zeros(data_B, group_GF, count)
    if used < 0:
        return 0, 0
    used = used if used else _north_america(data_B, group_GF, count, start < at)
    used = used if used else _with_trunk(data_B, group_GF, count)
    used = used if used else _other(data_B, group_GF, count, start < at)
    if used and not _stands_alone(data_B, first, start, group_GF, count, used):
        used = 0
    if not used and _is_announced(data_B, first, start):
        used = _announced(data_B, group_GF, count)
    return (start, used) if used else (0, 0)


@numba.njit(cache=True, nogil=True)
def _closes(data_B: U8, group_GF: I64) -> bool:
    """Say whether a bracket closes right behind the first group, and another group follows."""
    return bool(group_GF[1, _SEP] == _PAREN and data_B[group_GF[0, _STOP]] == 0x29)


@numba.njit(cache=True, nogil=True)
def _may_begin(data_B: U8, first: int, start: int) -> bool:
    """Say whether a number may begin after the byte before: not in "1,212 555 1234", "#212"."""
    if start == first:
        return True
    byte = data_B[start - 1]
    before = CLASS[data_B[start - 2]] if start - 1 > first else 0
    if _JOINS[byte]:
        return False
    if byte == 0x2E:  # "Tel.030", but not "0.212"
        return before & LETTER != 0
    if byte == 0x2C or byte == 0x3A:
        return not before & DIGIT
    return not (byte == 0xA3 and start - 1 > first and data_B[start - 2] == 0xC2)  # a pound sign


@numba.njit(cache=True, nogil=True)
def _stands_alone(data_B: U8, first: int, start: int, group_GF: I64, count: int, used: int) -> bool:
    """Say whether the groups are no part of a longer row of numbers."""
    spaced = False
    for g in range(1, used):
        spaced |= group_GF[g, _SEP] == _SPACE
    after = group_GF[used, _SEP]
    if after in (_DASH, _DOT) or (spaced and after == _SPACE):
        return False
    if not spaced or start - 2 < first or data_B[start] == 0x28:
        return True
    return not (data_B[start - 1] == 0x20 and CLASS[data_B[start - 2]] & DIGIT)


# ---------------------------------------------------------------- international


@numba.njit(cache=True, nogil=True)
def _with_plus(data_B: U8, first: int, group_GF: I64, count: int) -> tuple[int, int]:
    start = group_GF[0, _START] - 1
    if start > first and data_B[start - 1] == 0x28 and _closes(data_B, group_GF):
        start -= 1
    elif start > first and data_B[start - 1] == 0x2F:
        return 0, 0
    if start > first and (_JOINS[data_B[start - 1]] or data_B[start - 1] == 0x2E):
        return 0, 0
    used = _plan(data_B, group_GF, count, 0)
    return (start, used) if used else (0, 0)


@numba.njit(cache=True, nogil=True)
def _with_zeros(data_B: U8, group_GF: I64, count: int) -> int:
    """Take 0049 30 1234: 00 in place of the plus; a separator must show that it is a number.

    returns  groups taken, 0 for none, -1 for none where a first group of 00 has been given up
    """
    at = group_GF[0, _START]
    width = _width(group_GF, 0)
    if count < 2 or width < 2 or width > 5 or data_B[at] != 48 or data_B[at + 1] != 48:
        return 0
    if group_GF[1, _SEP] == _DOT or (width > 2 and data_B[at + 2] == 48):
        return 0
    if width > 2:
        return _plan(data_B, group_GF, count, 2)
    group_GF[0] = group_GF[1]  # 00 49 30 1234: read on from the second group
    for g in range(1, count):
        group_GF[g] = group_GF[g + 1]
    used = _plan(data_B, group_GF, count - 1, 0)
    return used if used else -1


@numba.njit(cache=True, nogil=True)
def _plan(data_B: U8, group_GF: I64, count: int, skip: int) -> int:
    """Return how many groups a number with a country code takes; 0 where no plan has it.

    skip  digits of the first group before the country code
    """
    code, width = _country(data_B, group_GF[0, _START] + skip, group_GF[0, _STOP])
    if code == 0:
        return 0
    digits = _width(group_GF, 0) - skip - width
    head = data_B[group_GF[0, _START] + skip + width] if digits else 0
    used = 1
    while used < count:
        more, trunk = _width(group_GF, used), 0
        begin = data_B[group_GF[used, _START]]
        if digits == 0 and begin == 48 and not ZERO_C[code]:  # +44 (0)20, +44 020
            trunk = 1
            begin = data_B[group_GF[used, _START] + 1] if more > 1 else 0
        if digits + more - trunk > MOST_C[code]:
            joined = group_GF[used, _SEP] != _SPACE and group_GF[used, _SEP] != _PAREN
            if joined or more > MAX_DIGITS:
                return 0
            break
        head = begin if digits == 0 else head
        digits += more - trunk
        used += 1
    if digits < LEAST_C[code] or digits > MOST_C[code] or (head == 48 and not ZERO_C[code]):
        return 0
    if used == 2 and group_GF[1, _SEP] == _DOT and digits < 9:  # +48.8566140 is a latitude
        return 0
    if code == 1 and not _is_american(data_B, group_GF, skip + 1):
        return 0
    return used


@numba.njit(cache=True, nogil=True)
def _country(data_B: U8, at: int, stop: int) -> tuple[int, int]:
    """Return the country code at ``at`` and its digits; (0, 0) where none is assigned."""
    code = 0
    for width in range(1, 4):
        if at + width > stop:
            break
        code = code * 10 + data_B[at + width - 1] - 48
        if code == 0:
            break
        if MOST_C[code]:
            return code, width
    return 0, 0


@numba.njit(cache=True, nogil=True)
def _is_american(data_B: U8, group_GF: I64, skip: int) -> bool:
    """Say whether ten digits, after ``skip`` others, are a number of the North American plan."""
    g, at = 0, group_GF[0, _START] + skip
    area, exchange = 0, 0
    for digit in range(6):
        while at >= group_GF[g, _STOP]:
            g += 1
            at = group_GF[g, _START]
        if digit < 3:
            area = area * 10 + data_B[at] - 48
        else:
            exchange = exchange * 10 + data_B[at] - 48
        at += 1
    if area < 200 or (area // 10) % 10 == 9 or area % 100 == 11 or exchange < 200:
        return False  # area codes are N0X to N8X; an N11 is a service
    return exchange % 100 != 11 or area in (800, 833, 844, 855, 866, 877, 888)  # toll-free


# ---------------------------------------------------------------- national


@numba.njit(cache=True, nogil=True)
def _north_america(data_B: U8, group_GF: I64, count: int, bracket: bool) -> int:
    """Take 212-555-1234, (212) 555-1234, 1 212 555 1234."""
    g = 0
    if _width(group_GF, 0) == 1 and data_B[group_GF[0, _START]] == 49:
        g, bracket = 1, group_GF[1, _SEP] == _PAREN
    if count < g + 3 or _width(group_GF, g) != 3 or _width(group_GF, g + 1) != 3:
        return 0
    if _width(group_GF, g + 2) != 4:
        return 0
    one, two = group_GF[g + 1, _SEP], group_GF[g + 2, _SEP]
    if two in (_SLASH, _PAREN) or (one == _PAREN and not bracket):
        return 0
    if one != two and one != _PAREN and one != _SLASH and not (one == _SPACE and two == _DASH):
        return 0
    return g + 3 if _is_american(data_B, group_GF, g) else 0


@numba.njit(cache=True, nogil=True)
def _with_trunk(data_B: U8, group_GF: I64, count: int) -> int:
    """Take 020 7946 0958, 030/1234567, 01 42 68 53 00, (0171) 1234567."""
    at, area = group_GF[0, _START], _width(group_GF, 0)
    if count < 2 or area < 2 or area > 6 or data_B[at] != 48 or data_B[at + 1] == 48:
        return 0
    one = group_GF[1, _SEP]
    for used in range(min(count, 5), 1, -1):
        digits, even = 0, True
        for g in range(used):
            digits += _width(group_GF, g)
            even &= g < 2 or group_GF[g, _SEP] == group_GF[2, _SEP]
        if digits < 9 or digits > 11 or not even or (used > 2 and group_GF[2, _SEP] == _PAREN):
            continue
        if not _is_grouping(group_GF, used, area):
            continue
        two = group_GF[2, _SEP] if used > 2 else one
        if used == 2 and one != _DOT:
            return used
        if used > 2 and (one == two or (one != _DOT and two != _DOT and two != _SLASH)):
            return used
    return 0


@numba.njit(cache=True, nogil=True)
def _is_grouping(group_GF: I64, used: int, area: int) -> bool:
    """Say whether the groups after the area code have lengths that some country writes."""
    one = _width(group_GF, 1)
    if used == 2:
        return 5 <= one <= 8
    two = _width(group_GF, 2)
    if used == 3:
        return 3 <= one <= 4 and 3 <= two <= 4
    three = _width(group_GF, 3)
    if used == 4:
        pairs = one == 2 and two == 2 and three == 2 and area > 2
        return pairs or (one == 3 and two in (2, 3) and three == 2)
    return area == 2 and one == 2 and two == 2 and three == 2 and _width(group_GF, 4) == 2


@numba.njit(cache=True, nogil=True)
def _other(data_B: U8, group_GF: I64, count: int, bracket: bool) -> int:
    """Take 8 (495) 123-45-67, (11) 91234-5678 and 138 1234 5678."""
    if count < 3:
        return 0
    at, one, two, three = group_GF[0, _START], 0, _width(group_GF, 1), _width(group_GF, 2)
    one = _width(group_GF, 0)
    if bracket and one == 2 and group_GF[1, _SEP] == _PAREN:
        brazil = (two == 5 or two == 4) and three == 4 and group_GF[2, _SEP] == _DASH
        return 3 if brazil else 0
    if one == 3 and two == 4 and three == 4 and data_B[at] == 49 and data_B[at + 1] > 50:
        return 3 if group_GF[1, _SEP] == group_GF[2, _SEP] else 0
    if count > 4 and one == 1 and two == 3 and three == 3 and data_B[at] == 56:
        pairs = _width(group_GF, 3) == 2 and _width(group_GF, 4) == 2
        return 5 if pairs and group_GF[4, _SEP] == group_GF[3, _SEP] else 0
    return 0


# ---------------------------------------------------------------- announced by a word


@numba.njit(cache=True, nogil=True)
def _is_announced(data_B: U8, first: int, start: int) -> bool:
    """Say whether a word such as "phone" stands before, with at most two words between.

    Spaces, colons, full stops, '#' and '*' may stand between words; a line end may not.
    """
    at = start
    for _ in range(3):
        low = max(first, at - 4)
        while at > low and data_B[at - 1] in (0x20, 0x3A, 0x2E, 0x23, 0x2A):
            at -= 1
        stop, value = at, 0
        while at > first and stop - at < 12 and CLASS[data_B[at - 1]] & ~(DIGIT | UNDER):
            if data_B[at - 1] == 0x2D:
                return False
            value = value * 31 + (data_B[at - 1] | 0x20)
            at -= 1
        if at == stop:
            return False
        for word in _ANNOUNCE_W:
            if word == value:
                return at == first or data_B[at - 1] not in (0x5B, 0x3C, 0x7B, 0x5F)
        filler = False
        for word in _FILL_W:
            filler |= word == value
        if not filler:
            return False
    return False


@numba.njit(cache=True, nogil=True)
def _announced(data_B: U8, group_GF: I64, count: int) -> int:
    """Take groups as long as they are 7 to 15 digits in all and no date."""
    used, digits = 0, 0
    while used < count and used < 6 and digits + _width(group_GF, used) <= MAX_DIGITS:
        digits += _width(group_GF, used)
        used += 1
    if digits < 7 or (used == 2 and group_GF[1, _SEP] == _DOT):
        return 0
    if used < count and group_GF[used, _SEP] not in (_SPACE, _PAREN, _SPACED):
        return 0
    one, two = _width(group_GF, 0), _width(group_GF, 1) if used > 1 else 0
    if used == 2 and one == 4 and two == 4 and _is_year(data_B, group_GF[0, _START]):
        return 0
    three = _width(group_GF, 2) if used > 2 else 0
    if one == 4 and two <= 2 and three in (1, 2) and _is_year(data_B, group_GF[0, _START]):
        return 0
    day = one <= 2 and two <= 2 and three == 4 and _is_year(data_B, group_GF[2, _START])
    return 0 if day else used


@numba.njit(cache=True, nogil=True)
def _is_year(data_B: U8, at: int) -> bool:
    century = (data_B[at] - 48) * 10 + data_B[at + 1] - 48
    return bool(century == 19 or century == 20)
