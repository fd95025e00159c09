"""Texts cut into atoms, and the numbers among them with their units.

An atom is a run of letters, marks and digits. Digits that letters follow are an atom of their own
(``5mg`` is two, ``H1N1`` is one), and so is each character of a script that puts no space between
words. What stands between two atoms is kept as a joint, so that ``CVE-2024-3094``, ``1,200`` and
``10.0.0.1`` can be put together again. An atom is known by a hash of its lower-cased characters;
what a word means (a unit, a spelled number, a negator) is looked up once, in a lexicon.

Nothing here makes an object per atom.

A atoms of one text, B bytes, C code points, L slots of a lexicon
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.leaf import Int, leaf
from curation.kernels.unicode import DIGIT, LETTER, SINGLE, SPACE, UPPER, WORD, decode

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

#: A hash is a polynomial modulo 2^64; multipliers are odd and of random bits.
MULTIPLIER = np.uint64(0xA0761D6478BD642F)
RUN_MULTIPLIER = np.uint64(0xE7037ED1A0B428DB)
SEED = np.uint64(0x8EBC6AF09C88C6E3)
_MIX = np.uint64(0x9E3779B97F4A7C15)
_CODE = np.uint32(0x1FFFFF)

#: What an atom is, as bits.
DIGITS, CAPITAL, CAPITALS, SMALL, MIXED, SCORE = 1, 2, 4, 8, 16, 32
BEGINS, LINE, PARAGRAPH, AFTER_COLON, OPENED, ASKS = 64, 128, 256, 512, 1024, 2048
VERSION, SPELLED, FILLED, CHOICE, SENTENCE = 4096, 8192, 16384, 32768, 65536

#: Joints: what stands before an atom, where it is one character; no character; anything else.
OTHER, ADJACENT = 0, 1
SPACE_JOINT, HYPHEN, DOT, COMMA, APOSTROPHE = 0x20, 0x2D, 0x2E, 0x2C, 0x27

#: What a word means: its unit in the lowest 8 bits, then its value, then its power of ten.
VALUE_SHIFT, SCALE_SHIFT = np.uint64(8), np.uint64(16)
(
    STOP,
    NEGATOR,
    FRAME,
    ENUMERATES,
    ANSWER,
    QUESTION,
    CONNECTS,
    ABBREVIATION,
    OPENS_PHRASE,
    VERDICT,
) = (np.uint64(1 << bit) for bit in range(20, 30))
_BYTE, _NIBBLE = np.uint64(0xFF), np.uint64(0xF)

#: Units that signs stand for; the lexicon gives its words the same numbers.
PERCENT, DEGREE, CELSIUS, FAHRENHEIT, DOLLAR, EURO, POUND, YEN = range(1, 9)
#: A spelled number up to here counts where a unit follows: "two reasons" counts what a text lists.
SMALL_NUMBER = 12


class Lexicon(NamedTuple):
    """Words by their hashes, in an open table.

    key_L      uint64[L]  0 for an empty slot
    meaning_L  uint64[L]
    """

    key_L: U64
    meaning_L: U64


class Tables(NamedTuple):
    """What characters and words are.

    flag_C  uint32[C]  of ``unicode.flag_table``
    fold_C  uint32[C]  of ``shingles.fold_table``: what each code point is lowered to
    """

    flag_C: U32
    fold_C: U32
    lexicon: Lexicon


class Atoms(NamedTuple):
    """Room for the atoms of one text.

    start_A, stop_A  bytes
    hash_A           of the lower-cased characters
    flag_A           DIGITS to SENTENCE
    meaning_A        of the lexicon; 0 for a word that it does not hold
    joint_A          what stands before
    amount_A         hash of the number that begins here; 0 for none
    unit_A           unit of that number; 0 for none
    span_A           atoms that the number takes, its unit not counted
    link_A           where the number before begins; -1 for none
    prefix_A         hash of all atoms before this one, one entry more than atoms
    """

    start_A: I64
    stop_A: I64
    hash_A: U64
    flag_A: I64
    meaning_A: U64
    joint_A: U8
    amount_A: U64
    unit_A: U8
    span_A: I64
    link_A: I64
    prefix_A: U64


def make_lexicon(meanings: Mapping[int, int]) -> Lexicon:
    """Return a lexicon of hashes and what they mean."""
    slots = 1 << max(4 * len(meanings), 2).bit_length()
    made = Lexicon(np.zeros(slots, dtype=np.uint64), np.zeros(slots, dtype=np.uint64))
    for key, meaning in meanings.items():
        slot = (key >> 17) & (slots - 1)
        while made.key_L[slot]:
            slot = (slot + 1) & (slots - 1)
        made.key_L[slot], made.meaning_L[slot] = key, meaning
    return made


def word_hash(word: str) -> int:
    """Return the hash of a lower-case word, as the kernels make it."""
    value = int(SEED)
    for letter in word:
        value = (value * int(MULTIPLIER) + ord(letter)) & 0xFFFF_FFFF_FFFF_FFFF
    return value


@leaf
def meaning_of(lexicon: Lexicon, key: np.uint64) -> np.uint64:
    """Return what a hash means; 0 where the lexicon does not hold it."""
    last = lexicon.key_L.size - 1
    slot = np.int64(key >> np.uint64(17)) & last
    while lexicon.key_L[slot]:
        if lexicon.key_L[slot] == key:
            return np.uint64(lexicon.meaning_L[slot])
        slot = (slot + 1) & last
    return np.uint64(0)


@numba.njit(cache=True, nogil=True)
def make_room(size: int) -> Atoms:
    """Return room for a text of so many bytes; memory that is not written to costs nothing."""
    return Atoms(
        np.empty(size + 1, dtype=np.int64),
        np.empty(size + 1, dtype=np.int64),
        np.empty(size + 1, dtype=np.uint64),
        np.empty(size + 1, dtype=np.int64),
        np.empty(size + 1, dtype=np.uint64),
        np.empty(size + 1, dtype=np.uint8),
        np.empty(size + 1, dtype=np.uint64),
        np.empty(size + 1, dtype=np.uint8),
        np.empty(size + 1, dtype=np.int64),
        np.empty(size + 1, dtype=np.int64),
        np.empty(size + 2, dtype=np.uint64),
    )


# ---------------------------------------------------------------- atoms


@leaf
def cut_atoms(data_B: U8, start: int, stop: int, tables: Tables, atoms: Atoms, made: int) -> int:
    """Cut data_B[start:stop], after ``made`` atoms; return how many there are then."""
    flag_C = tables.flag_C
    at, first = start, made
    pending: Int = BEGINS | LINE | PARAGRAPH | SENTENCE
    gap, joint, ended, colon, money, feeds = 0, 0, False, False, 0, 0
    while at < stop:
        code, width = decode(data_B, at, stop)
        if flag_C[code] & WORD:
            at = _put_atom(data_B, at, stop, tables, atoms, made)
            atoms.flag_A[made] |= pending
            if gap == 0:
                joint = ADJACENT
            atoms.joint_A[made] = OTHER if made == first else joint
            atoms.unit_A[made] = money
            made += 1
            pending, gap, joint, ended, colon, money, feeds = 0, 0, 0, False, False, 0, 0
            continue
        gap += 1
        blank = flag_C[code] & SPACE != 0
        simple = _joint_of(code, blank)
        joint = simple if gap == 1 or (simple == SPACE_JOINT and joint == SPACE_JOINT) else OTHER
        if code == 0x0A or code == 0x0D or code == 0x2028 or code == 0x2029:
            feeds += code != 0x0D
            joint = OTHER
            pending |= LINE | BEGINS | SENTENCE
            if feeds > 1:
                pending |= PARAGRAPH
        elif blank:
            if ended:
                pending |= BEGINS | SENTENCE
            elif colon:
                pending |= BEGINS | AFTER_COLON
        elif code == 0x2E or code == 0x21 or code == 0x3F or code == 0x2026:
            abbreviates = code == 0x2E and gap == 1 and made > first and _abbreviates(atoms, made)
            ended = not abbreviates
            if code == 0x3F and made > first:
                atoms.flag_A[made - 1] |= ASKS
        elif code == 0x3002 or code == 0xFF01 or code == 0xFF1F:
            pending |= BEGINS | SENTENCE
        elif code == 0x3A:
            colon = True
        elif code == 0x28 or code == 0x5B:
            pending |= OPENED
            ended = False
        elif code == 0x25 or code == 0xB0 or code == 0x66A:
            near = gap == 1 or (gap == 2 and data_B[at - 1] == 0x20)
            if near and made > first and atoms.flag_A[made - 1] & DIGITS:
                atoms.unit_A[made - 1] = DEGREE if code == 0xB0 else PERCENT
        else:
            money = _money_of(code)
        at += width
    return made


@leaf
def _put_atom(data_B: U8, at: int, stop: int, tables: Tables, atoms: Atoms, made: int) -> int:
    """Fill in the atom that begins at a place; return where it ends."""
    flag_C, fold_C = tables.flag_C, tables.fold_C
    begin, value, chars, digits, capitals, smalls, letters, score = at, SEED, 0, 0, 0, 0, 0, 0
    first_capital = False
    while at < stop:
        code, width = decode(data_B, at, stop)
        flags = flag_C[code]
        if not flags & WORD or (chars and (flags & SINGLE or (digits == chars != 0 and
                                                             not flags & DIGIT))):  # fmt: skip
            break
        folded = fold_C[code] & _CODE
        digit = digit_of(code)
        if digit >= 0:
            folded = np.uint32(0x30 + digit)
            digits += 1
        elif flags & LETTER:
            letters += 1
            if flags & UPPER:
                capitals += 1
                first_capital = first_capital or chars == 0
            elif folded == code:
                smalls += 1
        score += code == 0x5F
        value = value * MULTIPLIER + np.uint64(folded)
        chars += 1
        at += width
        if flags & SINGLE:
            break
    flag = 0
    if digits == chars:
        flag |= DIGITS
    elif digits and letters:
        flag |= MIXED
    if first_capital:
        flag |= CAPITAL
    if capitals > 1 or (capitals and not first_capital):
        flag |= CAPITALS
    if smalls:
        flag |= SMALL
    if score and letters:
        flag |= SCORE
    atoms.start_A[made], atoms.stop_A[made] = begin, at
    atoms.hash_A[made], atoms.flag_A[made] = value, flag
    atoms.meaning_A[made] = meaning_of(tables.lexicon, value) if letters else np.uint64(0)
    atoms.amount_A[made], atoms.span_A[made] = 0, 1
    return at


@leaf
def digit_of(code: int) -> int:
    """Return the value of a digit: European, Arabic, Persian, Devanagari, full-width; else -1."""
    if 0x30 <= code <= 0x39:
        return code - 0x30
    if code < 0x660:
        return -1
    for zero in (0x660, 0x6F0, 0x966, 0xFF10):
        if zero <= code < zero + 10:
            return code - zero
    return -1


@leaf
def _joint_of(code: int, blank: bool) -> int:
    if blank:
        return SPACE_JOINT
    if code == 0x2019:
        return APOSTROPHE
    if 0x2010 <= code <= 0x2015 or code == 0x2212:
        return HYPHEN
    return code if 1 < code < 0x80 else OTHER


@leaf
def _money_of(code: int) -> int:
    if code == 0x24:
        return DOLLAR
    if code == 0x20AC:
        return EURO
    if code == 0xA3:
        return POUND
    return YEN if code == 0xA5 else 0


@leaf
def _abbreviates(atoms: Atoms, made: int) -> bool:
    """Say whether a full stop after the last atom abbreviates it: "Dr.", "e.g.", "J."."""
    last = made - 1
    if atoms.meaning_A[last] & ABBREVIATION:
        return True
    return atoms.stop_A[last] - atoms.start_A[last] == 1 and not atoms.flag_A[last] & DIGITS


# ---------------------------------------------------------------- numbers and units


@leaf
def read_numbers(data_B: U8, atoms: Atoms, count: int) -> None:
    """Find the numbers among the atoms of a text: amount_A, unit_A, span_A, link_A, prefix_A."""
    at, behind = 0, -1
    atoms.prefix_A[0] = SEED
    for k in range(count):
        atoms.prefix_A[k + 1] = atoms.prefix_A[k] * RUN_MULTIPLIER + atoms.hash_A[k]
    while at < count:
        after = at + 1
        if atoms.flag_A[at] & DIGITS:
            after = _read_digits(data_B, atoms, at, count)
        elif np.int64(atoms.meaning_A[at] >> VALUE_SHIFT & _BYTE):
            after = _read_spelled(atoms, at, count)
        if atoms.amount_A[at]:
            atoms.link_A[at] = behind
            _fill_back(atoms, at)
            behind = at
        at = after


@leaf
def _read_digits(data_B: U8, atoms: Atoms, at: int, count: int) -> int:
    """Read a number in digits; return the atom after it."""
    stop, dots = at + 1, 0
    if _size(atoms, at) <= 3:
        while stop < count and _joins(atoms, stop, COMMA) and _size(atoms, stop) == 3:
            stop += 1
    whole = stop
    while stop < count and _joins(atoms, stop, DOT):
        dots, stop = dots + 1, stop + 1
    atoms.span_A[at] = stop - at
    if dots > 1:
        atoms.flag_A[at] |= VERSION
        return stop
    value, zeros, decimals = SEED, 0, 0
    for k in range(at, stop):
        place = atoms.start_A[k]
        while place < atoms.stop_A[k]:
            code, width = decode(data_B, place, atoms.stop_A[k])
            digit = digit_of(code)
            if digit == 0:
                zeros += value != SEED
            else:
                value = _with_digit(value, zeros, digit)
                zeros = 0
            decimals += k >= whole
            place += width
    return _with_unit(atoms, at, stop, count, value, zeros - decimals)


@leaf
def _read_spelled(atoms: Atoms, at: int, count: int) -> int:
    """Read a number in words: twelve, twenty-five, three million; return the atom after it."""
    number, stop = np.int64(atoms.meaning_A[at] >> VALUE_SHIFT & _BYTE), at + 1
    if number >= 20 and stop < count and atoms.joint_A[stop] in (SPACE_JOINT, HYPHEN):
        ones = np.int64(atoms.meaning_A[stop] >> VALUE_SHIFT & _BYTE)
        if 0 < ones < 10:
            number, stop = number + ones, stop + 1
    atoms.span_A[at] = stop - at
    atoms.flag_A[at] |= SPELLED
    value, zeros = SEED, 0
    if number >= 10:
        value = _with_digit(value, 0, int(number // 10))
    if number % 10:
        value = _with_digit(value, 0, int(number % 10))
    else:
        zeros = 1
    after = _with_unit(atoms, at, stop, count, value, zeros)
    is_scaled = after > stop and np.int64(atoms.meaning_A[stop] >> SCALE_SHIFT & _NIBBLE) > 0
    if number > SMALL_NUMBER or is_scaled:
        atoms.flag_A[at] &= ~SPELLED
    return after


@leaf
def _with_digit(value: np.uint64, zeros: int, digit: int) -> np.uint64:
    for _ in range(zeros):
        value = value * MULTIPLIER + np.uint64(1)
    return value * MULTIPLIER + np.uint64(digit + 1)


@leaf
def _with_unit(
    atoms: Atoms, at: int, stop: int, count: int, value: np.uint64, exponent: int
) -> int:
    """Fill in a number's amount and unit; return the atom after both.

    exponent  power of ten of the last digit of ``value`` that is not 0
    """
    unit = atoms.unit_A[at] or atoms.unit_A[stop - 1]
    if stop < count and _follows(atoms, stop):
        scale = np.int64(atoms.meaning_A[stop] >> SCALE_SHIFT & _NIBBLE)
        if scale == 0 and DOLLAR <= unit <= YEN and atoms.joint_A[stop] == ADJACENT:
            scale = 6 * (atoms.hash_A[stop] == _METRE) + 3 * (atoms.hash_A[stop] == _K)  # $2.8m
        if scale:
            exponent, stop = exponent + int(scale), stop + 1
    if value == SEED:
        exponent = 0
    amount = (value ^ (np.uint64(exponent + 64) * _MIX)) * MULTIPLIER
    atoms.amount_A[at] = amount if amount else np.uint64(1)
    if unit == DEGREE and stop < count and atoms.stop_A[stop] - atoms.start_A[stop] == 1:
        named = _unit_of(atoms, stop)
        unit = named if named in (CELSIUS, FAHRENHEIT) else unit
        stop += 1
    elif unit == 0 and stop < count and _follows(atoms, stop):
        unit, stop = _worded_unit(atoms, stop, count)
    atoms.unit_A[at] = unit
    return stop


@leaf
def _worded_unit(atoms: Atoms, stop: int, count: int) -> tuple[int, int]:
    """Return the unit in words that begins at an atom, and the atom after it; 0 for no unit."""
    unit = _unit_of(atoms, stop)
    joint, flags = atoms.joint_A[stop], atoms.flag_A[stop]
    if atoms.stop_A[stop] - atoms.start_A[stop] == 1:
        # "type 2 A", "the 1990s" and "5G" hold no unit
        is_large = flags & CAPITAL and atoms.hash_A[stop] != _LITRE
        is_decade = atoms.hash_A[stop] == _SECOND and _size(atoms, stop - 1) == 4
        if is_large or (is_decade and joint == ADJACENT) or unit in (CELSIUS, FAHRENHEIT):
            return 0, stop
    if stop + 1 < count and atoms.joint_A[stop + 1] == SPACE_JOINT:
        after = _unit_of(atoms, stop + 1)
        if unit == DEGREE and after in (CELSIUS, FAHRENHEIT):
            return after, stop + 2
        if atoms.hash_A[stop] == _PER and atoms.hash_A[stop + 1] == _CENT:
            return PERCENT, stop + 2
    return (unit, stop + 1) if unit else (0, stop)


_METRE, _K = np.uint64(word_hash("m")), np.uint64(word_hash("k"))
_LITRE, _SECOND = np.uint64(word_hash("l")), np.uint64(word_hash("s"))
_PER, _CENT = np.uint64(word_hash("per")), np.uint64(word_hash("cent"))


@leaf
def _fill_back(atoms: Atoms, at: int) -> None:
    """Give a number's unit to those before it in a range or a list: "5, 10 or 20 mg"."""
    unit, behind = atoms.unit_A[at], atoms.link_A[at]
    begins = at
    while unit and behind >= 0 and atoms.unit_A[behind] == 0:
        stop = behind + atoms.span_A[behind]
        if begins - stop > 1 or atoms.flag_A[begins] & (LINE | BEGINS):
            return
        if begins - stop == 1 and not atoms.meaning_A[stop] & CONNECTS:
            return
        atoms.unit_A[behind] = unit
        atoms.flag_A[behind] |= FILLED
        begins, behind = behind, atoms.link_A[behind]


@leaf
def _follows(atoms: Atoms, at: int) -> bool:
    """Say whether an atom follows the one before as a unit follows its number."""
    joint = atoms.joint_A[at]
    near = joint in (ADJACENT, SPACE_JOINT, HYPHEN)
    return bool(near and not atoms.flag_A[at] & LINE)


@leaf
def _joins(atoms: Atoms, at: int, joint: int) -> bool:
    return bool(atoms.joint_A[at] == joint and atoms.flag_A[at] & DIGITS)


@leaf
def _size(atoms: Atoms, at: int) -> int:
    return int(atoms.stop_A[at] - atoms.start_A[at])


@leaf
def _unit_of(atoms: Atoms, at: int) -> int:
    return int(atoms.meaning_A[at] & _BYTE)
