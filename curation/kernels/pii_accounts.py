"""Numbers of payment cards and of bank accounts: a length, a beginning and check digits.

B bytes of all documents laid end to end, N documents, A anchors, S spans, D digits of a number,
G groups of digits, R ranges
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.pii import ALNUM, CARD, CLASS, DIGIT, IBAN, UNDER, UPPER

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

MAX_CARD, MAX_GROUPS = 19, 5
#: Issuers' ranges: first four digits from, to, and the lengths in use. Source: ISO/IEC 7812 and
#: the networks' own rules: Visa, Mastercard, American Express, Diners Club, Discover, JCB,
#: UnionPay, Mir, Maestro.
_ISSUERS = (
    (4000, 4999, (13, 16, 19)),
    (5100, 5599, (16,)),
    (2221, 2720, (16,)),
    (3400, 3499, (15,)),
    (3700, 3799, (15,)),
    (3000, 3059, (14, 16)),
    (3095, 3095, (14, 16)),
    (3600, 3699, (14, 16)),
    (3800, 3999, (14, 16)),
    (6011, 6011, (16, 19)),
    (6440, 6599, (16, 19)),
    (3528, 3589, (16, 19)),
    (6200, 6299, (16, 17, 18, 19)),
    (8100, 8199, (16, 19)),
    (2200, 2204, (16, 19)),
    *((bin_, bin_, (13, 15, 16, 19)) for bin_ in (5018, 5020, 5038, 5893, 6304, 6759)),
    *((bin_, bin_, (13, 15, 16, 19)) for bin_ in (6761, 6762, 6763)),
)
_ISSUER_R = np.array([(low, high, sum(1 << n for n in ns)) for low, high, ns in _ISSUERS])

#: Lengths of account numbers by country. Source: ISO 13616, the IBAN registry of SWIFT.
_IBANS = {
    15: "NO",
    16: "BE",
    18: "DK FI FK FO GL NL SD",
    19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST",
    26: "IS TR",
    27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU YE",
    31: "MT SC",
    32: "LC",
    33: "RU",
}
#: Length by country, at 26 times the first letter plus the second, A as 0.
_IBAN_LENGTH = np.zeros(26 * 26, dtype=np.int64)
for _length, _countries in _IBANS.items():
    for _country in _countries.split():
        _IBAN_LENGTH[26 * (ord(_country[0]) - 65) + ord(_country[1]) - 65] = _length


@numba.njit(cache=True, nogil=True)
def find_accounts(data_B: U8, offset: I64, place_A: I64, row_A: I64) -> I64:
    """Return the spans of card numbers and of IBANs.

    data_B   uint8[B]       UTF-8, all documents laid end to end
    offset   int64[N+1]     document n owns data_B[offset[n]:offset[n+1]]
    place_A  int64[A]       anchors, and row_A the document of each
    returns  int64[S, 3]    kind, first byte, byte after the last
    """
    span_SF = np.empty((place_A.size, 3), dtype=np.int64)
    digit_D = np.zeros(MAX_CARD, dtype=np.int64)
    stop_G = np.zeros(MAX_GROUPS, dtype=np.int64)
    made = 0
    for a in range(place_A.size):
        at = place_A[a]
        if not CLASS[data_B[at]] & DIGIT:
            continue
        first, last = offset[row_A[a]], offset[row_A[a] + 1]
        kind, start, stop = CARD, at, 0
        alone = _may_begin(data_B, first, at)
        if alone or _in_cell(data_B, first, at):
            count = _read_groups(data_B, at, last, digit_D, stop_G)
            stop = _card_stop(data_B, first, at, last, digit_D, stop_G[:count])
            if not alone and not 15 <= stop - at <= 16:
                stop = 0
        if stop == 0:
            kind, start, stop = IBAN, at - 2, _iban_stop(data_B, first, at - 2, last)
        if stop:
            span_SF[made, 0], span_SF[made, 1], span_SF[made, 2] = kind, start, stop
            made += 1
    return span_SF[:made].copy()


# ---------------------------------------------------------------- cards


@numba.njit(cache=True, nogil=True)
def _may_begin(data_B: U8, first: int, at: int) -> bool:
    """Say whether a number may begin after the byte before: not in "A4111", "/4111", "0.4111"."""
    if at == first:
        return True
    byte = data_B[at - 1]
    if CLASS[byte] & (ALNUM | UNDER) or byte in (0x2D, 0x2E, 0x2F, 0x5C, 0x23, 0x24, 0x2B, 0x25):
        return False
    joined = byte == 0x2C or byte == 0x3A
    return not (joined and at - 1 > first and CLASS[data_B[at - 2]] & DIGIT)


@numba.njit(cache=True, nogil=True)
def _in_cell(data_B: U8, first: int, at: int) -> bool:
    """Say whether 15 or 16 digits in one piece may begin: after "#", "7," or "7:", not "0,"."""
    if at == first:
        return False
    byte = data_B[at - 1]
    if byte == 0x2C and at - 2 >= first and data_B[at - 2] == 0x30:
        return at - 3 >= first and CLASS[data_B[at - 3]] & DIGIT != 0
    return bool(byte in (0x23, 0x2C, 0x3A))


@numba.njit(cache=True, nogil=True)
def _read_groups(data_B: U8, at: int, last: int, digit_D: I64, stop_G: I64) -> int:
    """Read groups of at most MAX_CARD digits, one separator throughout.

    digit_D  int64[MAX_CARD]    written to: the digits of all groups, as many as there is room for
    stop_G   int64[MAX_GROUPS]  written to: the byte after each group
    returns  how many whole groups there are
    """
    count, digits, separator = 0, 0, 0
    while count < MAX_GROUPS:
        begin = at
        while at < last and at - begin < MAX_CARD and CLASS[data_B[at]] & DIGIT:
            if digits < MAX_CARD:
                digit_D[digits] = data_B[at] - 48
            digits, at = digits + 1, at + 1
        if at < last and CLASS[data_B[at]] & DIGIT:
            return count
        stop_G[count] = at
        count += 1
        if at + 1 >= last or not CLASS[data_B[at + 1]] & DIGIT:
            return count
        if data_B[at] != (separator if separator else 0x2D) and data_B[at] != 0x20:
            return count
        if separator and data_B[at] != separator:
            return count
        separator, at = data_B[at], at + 1
    return count


@numba.njit(cache=True, nogil=True)
def _card_stop(data_B: U8, first: int, at: int, last: int, digit_D: I64, stop_G: I64) -> int:
    """Return where the card number that begins at ``at`` ends; 0 where there is none."""
    used = _groups_used(at, digit_D, stop_G)
    if used == 0:
        return 0
    stop = int(stop_G[used - 1])
    if stop < last and CLASS[data_B[stop]] & (ALNUM | UNDER):
        return 0
    if stop + 1 < last and CLASS[data_B[stop + 1]] & ALNUM and data_B[stop] in (0x2D, 0x2E, 0x2F):
        return 0
    if used == 1 or data_B[stop_G[0]] != 0x20:
        return stop
    if at - 2 >= first and data_B[at - 1] == 0x20 and CLASS[data_B[at - 2]] & DIGIT:
        return 0
    # a row of four-digit numbers is a table, where any sixteen digits may pass the check
    return 0 if stop_G.size > used and stop_G[used] - stop == 5 else stop


@numba.njit(cache=True, nogil=True)
def _groups_used(at: int, digit_D: I64, stop_G: I64) -> int:
    """Return how many groups make a card number: one of 14 to 19, 4-4-4-4, 4-4-4-4-3, 4-6-5, ..."""
    count = stop_G.size
    if count == 0:
        return 0
    one = stop_G[0] - at
    if one >= 14:
        return 1 if _is_card(digit_D[:one]) else 0
    if one != 4 or count < 3:
        return 0
    two, three = stop_G[1] - stop_G[0] - 1, stop_G[2] - stop_G[1] - 1
    if two == 6 and (three == 5 or three == 4):
        return 3 if _is_card(digit_D[: 10 + three]) else 0
    if count < 4 or two != three or stop_G[3] - stop_G[2] - 1 != two:
        return 0
    if two == 4 and count > 4 and stop_G[4] - stop_G[3] == 4 and _is_card(digit_D):
        return 5
    return 4 if (two == 4 or two == 3) and _is_card(digit_D[: 4 + 3 * two]) else 0


@numba.njit(cache=True, nogil=True)
def _is_card(digit_D: I64) -> bool:
    """Say whether an issuer gives out numbers that begin so and are so long, and Luhn's check."""
    head = digit_D[0] * 1000 + digit_D[1] * 100 + digit_D[2] * 10 + digit_D[3]
    known = False
    for r in range(_ISSUER_R.shape[0]):
        if _ISSUER_R[r, 0] <= head <= _ISSUER_R[r, 1]:
            known |= (_ISSUER_R[r, 2] >> digit_D.size) & 1 != 0
    total = 0
    for d in range(digit_D.size):
        digit = digit_D[digit_D.size - 1 - d] << (d & 1)
        total += digit - 9 if digit > 9 else digit
    return known and total % 10 == 0


# ---------------------------------------------------------------- bank accounts


@numba.njit(cache=True, nogil=True)
def _iban_stop(data_B: U8, first: int, start: int, last: int) -> int:
    """Return where the IBAN that begins at ``start`` ends; 0 where there is none.

    It is written in one piece, or in groups of four with one space or hyphen between.
    """
    if start < first or not CLASS[data_B[start]] & UPPER or not CLASS[data_B[start + 1]] & UPPER:
        return 0
    if start > first and CLASS[data_B[start - 1]] & (ALNUM | UNDER):
        return 0
    one, two = data_B[start] - 65, data_B[start + 1] - 65
    length = _IBAN_LENGTH[26 * one + two]
    check, remainder, read, at = 0, 0, 2, start + 2
    while at < last and read < length:
        byte = data_B[at]
        if CLASS[byte] & DIGIT:
            if read < 4:
                check = check * 10 + byte - 48
            else:
                remainder = (remainder * 10 + byte - 48) % 97
        elif CLASS[byte] & UPPER and read >= 4:
            remainder = (remainder * 100 + byte - 55) % 97
        elif (byte == 0x20 or byte == 0x2D) and read % 4 == 0 and data_B[at - 1] != byte:
            at += 1
            continue
        else:
            return 0
        read, at = read + 1, at + 1
    if length == 0 or read < length:
        return 0
    if at < last and CLASS[data_B[at]] & (ALNUM | UNDER):
        return 0
    remainder = (remainder * 10000 + (one + 10) * 100 + two + 10) % 97  # letters are two digits
    return at if (remainder * 100 + check) % 97 == 1 else 0
