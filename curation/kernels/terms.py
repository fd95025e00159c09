"""Numbers, units and names of a rewrite, looked for in its source; false choices are left out.

A atoms of one text, B bytes, K counts, P places
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from curation.kernels.atoms import (
    ADJACENT,
    ANSWER,
    APOSTROPHE,
    BEGINS,
    CAPITAL,
    CAPITALS,
    CHOICE,
    COMMA,
    DIGITS,
    DOT,
    ENUMERATES,
    FILLED,
    FRAME,
    HYPHEN,
    LINE,
    MIXED,
    MULTIPLIER,
    OTHER,
    PARAGRAPH,
    RUN_MULTIPLIER,
    SCALE_SHIFT,
    SCORE,
    SENTENCE,
    SMALL,
    SPACE_JOINT,
    SPELLED,
    STOP,
    VERSION,
    Atoms,
    word_hash,
)
from curation.kernels.keys import Table, has
from curation.kernels.leaf import leaf

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

#: Counts of a row.
(
    WORDS, SOURCE_WORDS, COPIED, CONTENT, CONTENT_FOUND, ANSWERED, ANSWER_FOUND,
    NUMBERS, UNITS, NAMES, QUOTES, NEGATIONS, REFUSALS, PASSAGE, COUNTS,
) = range(15)  # fmt: skip
#: The first place of each kind that is not supported; the last is a piece in other words.
PLACES = 7
FOREIGN = 6
#: Atoms of the longest run that is known by itself: CVE-2024-3094 has three.
LONGEST_RUN = 6
LONGEST_TITLE = 16
#: Letters of a choice: A to H.
CHOICES = 8

WORD_SALT, RUN_SALT, AMOUNT_SALT, PAIR_SALT, BARE_SALT, COPY_SALT, UNITLESS_SALT = (
    np.uint64(0x9E3779B97F4A7C15 * odd & 0xFFFFFFFFFFFFFFFF) for odd in (1, 3, 5, 7, 9, 11, 13)
)
#: Endings by which forms of a name differ: "Europe", "European"; "Japan", "Japanese".
ENDINGS = (b"s", b"n", b"an", b"y", b"ese", b"ern")
_ONE = np.uint64(word_hash("one"))


@leaf
def pair(amount: np.uint64, unit: int) -> np.uint64:
    """Return the key of an amount with its unit."""
    return amount * MULTIPLIER + np.uint64(unit)


@leaf
def note(count_K: I64, kind: int, place_2: I64, start: int, stop: int) -> None:
    """Count something that is not supported, and keep the first place of its kind."""
    count_K[kind] += 1
    if place_2[0] < 0:
        place_2[0], place_2[1] = start, stop


# ---------------------------------------------------------------- choices


@leaf
def mark_choices(data_B: U8, text: Atoms, words: int) -> None:
    """Mark the lines of choices but the one that the answer names: distractors are false."""
    letter, block = -1, -1  # the last choice, and the atom of the first one's line
    for k in range(words):
        flags = text.flag_A[k]
        if flags & LINE:
            found = _choice_at(data_B, text, k)
            if found == 0 and _next_choice(data_B, text, k, words) != 1:
                found = -1
            if (found >= 0 and found == letter + 1) or found == 0:
                letter = found
                block = k if found == 0 else block
                text.flag_A[k] |= CHOICE
            elif letter >= 0 and text.meaning_A[k] & ANSWER:
                _unmark(data_B, text, block, k, words)
                letter = -1
            else:
                letter = -1 if found < 0 and flags & PARAGRAPH else letter


@leaf
def _choice_at(data_B: U8, text: Atoms, k: int) -> int:
    """Return the number of the choice whose letter is an atom, as in "B." or "(b)"; -1 for none."""
    if text.stop_A[k] - text.start_A[k] != 1 or text.flag_A[k] & DIGITS:
        return -1
    place = text.stop_A[k]
    if place >= data_B.size or data_B[place] not in (0x2E, 0x29, 0x3A):
        return -1
    number = int(data_B[text.start_A[k]] | 0x20) - 0x61
    return number if 0 <= number < CHOICES else -1


@leaf
def _next_choice(data_B: U8, text: Atoms, k: int, words: int) -> int:
    """Return the choice that the next line begins with."""
    for j in range(k + 1, words):
        if text.flag_A[j] & LINE:
            return _choice_at(data_B, text, j)
    return -1


@leaf
def _unmark(data_B: U8, text: Atoms, block: int, answer: int, words: int) -> None:
    """Take the mark from the line of the choice that an answer names."""
    for k in range(answer + 1, min(answer + 4, words)):
        if text.stop_A[k] - text.start_A[k] == 1 and text.flag_A[k] & CAPITAL:
            for j in range(block, answer):
                if text.flag_A[j] & CHOICE and text.hash_A[j] == text.hash_A[k]:
                    text.flag_A[j] &= ~CHOICE
            return


# ---------------------------------------------------------------- lines


@leaf
def check_line(
    data_B: U8, text: Atoms, begin: int, end: int, table: Table, count_K: I64, place_P2: I64
) -> None:
    heads = _is_heading(data_B, text, begin, end)
    k = begin
    while k < end:
        stop = _term_end(text, k, end)
        if stop - k > 1 or text.flag_A[k] & (MIXED | SCORE):
            verdict = _term_verdict(data_B, text, k, stop, table)
            if verdict < 0:
                note(count_K, NAMES, place_P2[2], text.start_A[k], text.stop_A[stop - 1])
            if verdict:
                k = stop
                continue
        for j in range(k, stop):
            if text.amount_A[j] or text.flag_A[j] & VERSION:
                _check_number(data_B, text, j, end, table, count_K, place_P2)
            elif _is_name(text, j, heads) and not _knows_name(text, j, table):
                note(count_K, NAMES, place_P2[2], text.start_A[j], text.stop_A[j])
        k = stop


@leaf
def _is_heading(data_B: U8, text: Atoms, begin: int, end: int) -> int:
    """Say how far a line's capitals mean nothing: 0, not so; 1, as a title's; 2, all capitals.

    A title is one sentence of at most LONGEST_TITLE atoms, has more words that begin with a capital
    than others, and no mark at its end. A line such as "author: Jane Doe" is none.
    """
    at = text.stop_A[begin]
    if at < data_B.size and data_B[at] == 0x3A and not text.flag_A[begin] & (CAPITAL | DIGITS):
        return 0
    capitals, smalls, loud, ended = 0, 0, 0, False
    for k in range(begin, end):
        flags = text.flag_A[k]
        capitals += flags & CAPITAL != 0
        smalls += not flags & (CAPITAL | DIGITS) and text.stop_A[k] - text.start_A[k] > 3
        loud += flags & CAPITALS != 0 and not flags & SMALL
        ended = ended or (k > begin and flags & SENTENCE != 0)
    if loud > 1 and loud + 1 >= end - begin:
        return 2
    at = text.stop_A[end - 1]
    while at < data_B.size and data_B[at] not in (0x0A, 0x2E, 0x21, 0x3F):
        at += 1
    closes = at < data_B.size and data_B[at] != 0x0A
    is_long = ended or end - begin > LONGEST_TITLE
    return 1 if capitals > max(smalls, 1) and not closes and not is_long else 0


@leaf
def _term_end(text: Atoms, k: int, end: int) -> int:
    """Return the atom after the term that begins at an atom: all that is joined to it."""
    stop = k + 1
    while stop < end:
        joint = text.joint_A[stop]
        numeric = text.flag_A[stop] & text.flag_A[stop - 1] & DIGITS
        if joint in (OTHER, SPACE_JOINT, APOSTROPHE) or (joint == COMMA and not numeric):
            break
        stop += 1
    return stop


@leaf
def _term_verdict(data_B: U8, text: Atoms, k: int, stop: int, table: Table) -> int:
    """Judge a term as a whole: 1 supported, -1 not, 0 to be judged by its parts."""
    letters = digits = dots = 0
    for j in range(k, stop):
        letters += not text.flag_A[j] & DIGITS
    spelled = text.amount_A[k] != 0 and k + text.span_A[k] >= stop
    if letters == 0 or spelled:  # "0.5", "5-10" and "twenty-five" have units
        return 0
    if _knows_term(text, k, stop, table):
        return 1
    for j in range(k, stop):
        flags = text.flag_A[j]
        digits += flags & (DIGITS | MIXED) != 0
        wide = text.stop_A[j] - text.start_A[j] > 1
        if j > k:
            mail = text.joint_A[j] == DOT or text.joint_A[j] == 0x40
            dots += mail and wide and not flags & DIGITS
    first = text.flag_A[k]
    if first & DIGITS:
        return 0
    if digits and letters:
        if _numbers_task(data_B, text, k, stop):
            return 1
        code = dots or first & (CAPITAL | CAPITALS | MIXED | SCORE)
        return -1 if code and not _knows_parts(text, k, stop, table) else 0
    if dots or first & SCORE:
        return 0 if _knows_parts(text, k, stop, table) else -1
    return 0


@leaf
def _numbers_task(data_B: U8, text: Atoms, k: int, stop: int) -> bool:
    """Say whether a term numbers a task: "Q1:", "A2."."""
    at = text.stop_A[k]
    short = stop - k == 1 and at - text.start_A[k] <= 3 and text.flag_A[k] & BEGINS
    return short and at < data_B.size and data_B[at] in (0x3A, 0x2E, 0x29)


@leaf
def _knows_term(text: Atoms, k: int, stop: int, table: Table) -> bool:
    """Say whether the source has a term, in pieces of LONGEST_RUN atoms where it is longer."""
    if stop - k == 1:
        return has(table, text.hash_A[k] ^ WORD_SALT)
    for begin in range(k, max(stop - LONGEST_RUN, k) + 1):
        value = text.hash_A[begin]
        for j in range(begin + 1, min(begin + LONGEST_RUN, stop)):
            value = value * RUN_MULTIPLIER + text.hash_A[j]
        if not has(table, value ^ RUN_SALT):
            return False
    return True


@leaf
def _knows_parts(text: Atoms, k: int, stop: int, table: Table) -> bool:
    """Say whether the source has each atom of a term that numbers nothing in it."""
    for j in range(k, stop):
        numbered = text.flag_A[j] & (DIGITS | MIXED) and stop - k > 1
        if numbered or not has(table, text.hash_A[j] ^ WORD_SALT):
            return False
    return True


@leaf
def supports_amount(text: Atoms, k: int, table: Table) -> bool:
    """Say whether the source has the number that begins at an atom."""
    return text.amount_A[k] != 0 and has(table, text.amount_A[k] ^ AMOUNT_SALT)


@leaf
def _check_number(
    data_B: U8, text: Atoms, k: int, end: int, table: Table, count_K: I64, place_P2: I64
) -> None:
    """Check that the source has a number, and has it with its unit."""
    stop = k + text.span_A[k]
    unit = int(text.unit_A[k])
    if _enumerates(data_B, text, k, stop) or (text.flag_A[k] & SPELLED and unit == 0):
        return
    start, after = text.start_A[k], text.stop_A[min(stop, end) - 1]
    if not supports_amount(text, k, table):
        # digits of a version or of a longer number are the source's, but not as so many thousands
        scaled = stop < end and text.meaning_A[stop] >> SCALE_SHIFT & np.uint64(0xF)
        if scaled or text.flag_A[k] & SPELLED or not _knows_term(text, k, stop, table):
            note(count_K, NUMBERS, place_P2[0], start, after)
        return
    if unit == 0 or text.flag_A[k] & FILLED or has(table, pair(text.amount_A[k], unit) ^ PAIR_SALT):
        return
    if text.flag_A[k] & SPELLED and text.hash_A[k] == _ONE:  # "one week" of "a week"
        return
    # the unit heads a table, or stands by another number: "27 years, 18 of them at sea"
    headed = has(table, np.uint64(unit) ^ BARE_SALT) and has(
        table, text.amount_A[k] ^ UNITLESS_SALT
    )
    if not headed:
        worded = stop < end and text.meaning_A[stop] & np.uint64(0xFF)
        note(count_K, UNITS, place_P2[1], start, text.stop_A[stop] if worded else after)


@leaf
def _enumerates(data_B: U8, text: Atoms, k: int, stop: int) -> bool:
    """Say whether a number numbers an item: "3." at a line's beginning, "Question 3"."""
    place = text.stop_A[stop - 1]
    heads = text.flag_A[k] & LINE and stop - k == 1 and place < data_B.size
    if heads and data_B[place] in (0x2E, 0x29, 0x3A):
        return True
    near = k > 0 and text.joint_A[k] in (SPACE_JOINT, HYPHEN, ADJACENT)
    return near and text.meaning_A[k - 1] & ENUMERATES != 0


@leaf
def _is_name(text: Atoms, k: int, heads: int) -> bool:
    """Say whether an atom is written as a name is.

    A capital at a sentence's beginning or in a title tells nothing; capitals inside a word do.
    """
    flags = text.flag_A[k]
    if heads == 2 or text.stop_A[k] - text.start_A[k] < 2 or text.meaning_A[k] & (FRAME | STOP):
        return False
    if text.meaning_A[k] & np.uint64(0xFF):  # a unit: Celsius, GB
        return False
    if flags & CAPITALS:
        return True
    return flags & CAPITAL != 0 and not flags & BEGINS and heads == 0


@leaf
def _knows_name(text: Atoms, k: int, table: Table) -> bool:
    """Say whether the source has a name, with one of ENDINGS more or less."""
    value = text.hash_A[k]
    if has(table, value ^ WORD_SALT):
        return True
    for ending in ENDINGS:
        longer, shorter = value, value
        for letter in ending:
            longer = longer * MULTIPLIER + np.uint64(letter)
        for letter in ending[::-1]:
            shorter = (shorter - np.uint64(letter)) * _INVERSE
        if has(table, longer ^ WORD_SALT) or has(table, shorter ^ WORD_SALT):
            return True
    return False


#: What undoes a multiplication by MULTIPLIER, modulo 2^64.
_INVERSE = np.uint64(pow(int(MULTIPLIER), -1, 1 << 64))
