"""What of a rewrite its source supports: numbers, units, names, quotes, words and runs of words.

The source's atoms go into one table, under a salt for each kind of key; every check of the rewrite
is a look into it. A row costs a pass over both texts; what could cost more has a limit, named
below.

A atoms of one text, B bytes, N rows, K counts, P places
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.atoms import (
    ANSWER,
    BEGINS,
    CHOICE,
    COMMA,
    DIGITS,
    FRAME,
    LINE,
    MIXED,
    MULTIPLIER,
    OPENED,
    OPENS_PHRASE,
    OTHER,
    PARAGRAPH,
    QUESTION,
    RUN_MULTIPLIER,
    SPACE_JOINT,
    STOP,
    Atoms,
    Lexicon,
    Tables,
    cut_atoms,
    make_room,
    meaning_of,
    read_numbers,
)
from curation.kernels.keys import Table, add, empty, has, make_table
from curation.kernels.leaf import leaf
from curation.kernels.negation import learn_steps, negation_changes
from curation.kernels.quotes import Pieces, check_quotes
from curation.kernels.terms import (
    AMOUNT_SALT,
    ANSWER_FOUND,
    ANSWERED,
    BARE_SALT,
    CONTENT,
    CONTENT_FOUND,
    COPIED,
    COPY_SALT,
    COUNTS,
    FOREIGN,
    LONGEST_RUN,
    NEGATIONS,
    PAIR_SALT,
    PASSAGE,
    PLACES,
    QUOTES,
    REFUSALS,
    RUN_SALT,
    SOURCE_WORDS,
    UNITLESS_SALT,
    WORD_SALT,
    WORDS,
    check_line,
    mark_choices,
    note,
    pair,
    supports_amount,
)
from curation.kernels.words import space_width

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

#: A passage of fewer bytes is not taken off: it may stand in the rewrite by chance.
LEAST_PASSAGE = 20
#: Most keys that an atom of the source brings: word, gram, amount with its unit, two steps, runs.
KEYS_PER_ATOM = 6 + LONGEST_RUN
#: A piece with fewer bytes is too short to tell its language. Of the pieces of sentences, the one
#: with the most bytes of words that the source does not have, more than those that it has, is
#: suspect.
LEAST_FOREIGN_BYTES = 40


class Phrases(NamedTuple):
    """Hashes of runs of atoms, how each counts, and the atoms of the longest."""

    lexicon: Lexicon
    longest: int


# ---------------------------------------------------------------- all rows


@numba.njit(cache=True, nogil=True)
def compare(
    data_B: U8,
    offset: I64,
    source_B: U8,
    source_offset: I64,
    tables: Tables,
    phrases: Phrases,
    copy_words: int,
) -> tuple[I64, I64]:
    """Compare each rewrite with its source.

    data_B    uint8[B]       the rewrites; text n is data_B[offset[n]:offset[n+1]]
    source_B  uint8[B]       the sources, likewise
    tables    of characters and words
    phrases   that only a model says
    returns   int64[N, K]    WORDS to PASSAGE
              int64[N, P, 2] where the first unsupported number, unit, name, quote, changed
                             negation, refusal and the longest piece in other words
                             stand in data_B; start -1 for none
    """
    count = offset.size - 1
    count_NK = np.zeros((count, COUNTS), dtype=np.int64)
    place_NP2 = np.full((count, PLACES, 2), -1, dtype=np.int64)
    longest = longest_source = 0
    for n in range(count):
        longest = max(longest, offset[n + 1] - offset[n])
        longest_source = max(longest_source, source_offset[n + 1] - source_offset[n])
    text, source = make_room(longest), make_room(longest_source)
    table = make_table(KEYS_PER_ATOM * longest_source)
    size = 0
    for n in range(count):
        # rewrites of one passage mostly follow each other
        if n == 0 or not _is_same(source_B, source_offset, n - 1, n):
            size = cut_atoms(source_B, source_offset[n], source_offset[n + 1], tables, source, 0)
            read_numbers(source_B, source, size)
            empty(table, KEYS_PER_ATOM * size)
            _learn(source_B, source, size, table, copy_words)
        at, stop = offset[n], offset[n + 1]
        found, end = _passage(data_B, at, stop, source_B, source_offset[n], source_offset[n + 1])
        words = cut_atoms(data_B, at, found, tables, text, 0)
        words = cut_atoms(data_B, end, stop, tables, text, words)
        read_numbers(data_B, text, words)
        count_K, place_P2 = count_NK[n], place_NP2[n]
        count_K[WORDS], count_K[SOURCE_WORDS], count_K[PASSAGE] = words, size, end > found
        _check(data_B, text, words, table, copy_words, count_K, place_P2)
        _check_phrases(text, words, source, size, phrases, count_K, place_P2[5])
        pieces = Pieces(at, found, end, stop)
        count_K[QUOTES] = check_quotes(data_B, pieces, text, words, source, size, place_P2[3])
        count_K[NEGATIONS] = negation_changes(data_B, text, words, table, place_P2[4])
    return count_NK, place_NP2


@leaf
def _is_same(source_B: U8, offset: I64, one: int, other: int) -> bool:
    """Say whether two texts are equal."""
    size = offset[one + 1] - offset[one]
    if offset[other + 1] - offset[other] != size:
        return False
    same = 0
    while same < size and source_B[offset[one] + same] == source_B[offset[other] + same]:
        same += 1
    return bool(same == size)


@leaf
def _passage(
    data_B: U8, start: int, stop: int, source_B: U8, begin: int, end: int
) -> tuple[int, int]:
    """Return where the source stands in the rewrite, white space at its ends aside."""
    while begin < end and space_width(source_B, begin, end):
        begin += space_width(source_B, begin, end)
    while end > begin and source_B[end - 1] <= 0x20:
        end -= 1
    size = end - begin
    if size < LEAST_PASSAGE or size > stop - start:
        return stop, stop
    wanted = value = np.uint64(0)
    power = np.uint64(1)
    for at in range(size):
        wanted = wanted * MULTIPLIER + np.uint64(source_B[begin + at])
        value = value * MULTIPLIER + np.uint64(data_B[start + at])
        power *= MULTIPLIER
    for at in range(start, stop - size + 1):
        if value == wanted:
            same = 0
            while same < size and data_B[at + same] == source_B[begin + same]:
                same += 1
            if same == size:
                return at, at + size
        if at + size < stop:
            gone = power * np.uint64(data_B[at])
            value = value * MULTIPLIER + np.uint64(data_B[at + size]) - gone
    return stop, stop


# ---------------------------------------------------------------- the source


@leaf
def _learn(source_B: U8, source: Atoms, size: int, table: Table, copy_words: int) -> None:
    """Put all that a source supports into the table."""
    learn_steps(source_B, source, size, table)
    power = _power(copy_words)
    for k in range(size):
        add(table, source.hash_A[k] ^ WORD_SALT)
        if k + copy_words <= size:
            add(table, _gram(source, k, copy_words, power) ^ COPY_SALT)
        _learn_runs(source, k, size, table)
        amount, unit = source.amount_A[k], int(source.unit_A[k])
        if amount:
            add(table, amount ^ AMOUNT_SALT)
            key = amount ^ UNITLESS_SALT if unit == 0 else pair(amount, unit) ^ PAIR_SALT
            add(table, key)
            if unit:
                add(table, np.uint64(unit) ^ BARE_SALT)
        elif source.flag_A[k] & OPENED and np.int64(source.meaning_A[k] & np.uint64(0xFF)):
            add(table, (source.meaning_A[k] & np.uint64(0xFF)) ^ BARE_SALT)  # "Dose (mg)"
        if source.unit_A[k] == 1 and source.flag_A[k] & OPENED:
            add(table, np.uint64(1) ^ BARE_SALT)


@leaf
def _learn_runs(source: Atoms, k: int, size: int, table: Table) -> None:
    value = source.hash_A[k]
    for j in range(k + 1, min(k + LONGEST_RUN, size)):
        if not _runs_on(source, j):
            return
        value = value * RUN_MULTIPLIER + source.hash_A[j]
        add(table, value ^ RUN_SALT)


@leaf
def _runs_on(atoms: Atoms, j: int) -> bool:
    """Say whether an atom and the one before may be one term: joined, or a space beside digits."""
    joint = atoms.joint_A[j]
    if joint == SPACE_JOINT:
        return bool((atoms.flag_A[j] | atoms.flag_A[j - 1]) & (DIGITS | MIXED))
    return bool(joint not in (OTHER, COMMA))


@leaf
def _power(exponent: int) -> np.uint64:
    power = np.uint64(1)
    for _ in range(exponent):
        power *= RUN_MULTIPLIER
    return power


@leaf
def _gram(atoms: Atoms, k: int, words: int, power: np.uint64) -> np.uint64:
    return np.uint64(atoms.prefix_A[k + words] - atoms.prefix_A[k] * power)


# ---------------------------------------------------------------- the rewrite


@leaf
def _check(
    data_B: U8,
    text: Atoms,
    words: int,
    table: Table,
    copy_words: int,
    count_K: I64,
    place_P2: I64,
) -> None:
    """Check copies, words and answers, then line by line numbers, units and names."""
    _count_copies(text, words, table, copy_words, count_K)
    _count_words(data_B, text, words, table, count_K, place_P2[FOREIGN])
    mark_choices(data_B, text, words)
    begin = 0
    while begin < words:
        end = begin + 1
        while end < words and not text.flag_A[end] & LINE:
            end += 1
        if not text.flag_A[begin] & CHOICE:
            check_line(data_B, text, begin, end, table, count_K, place_P2)
        begin = end


@leaf
def _count_copies(text: Atoms, words: int, table: Table, copy_words: int, count_K: I64) -> None:
    power, covered = _power(copy_words), 0
    for k in range(words - copy_words + 1):
        if has(table, _gram(text, k, copy_words, power) ^ COPY_SALT):
            count_K[COPIED] += k + copy_words - max(covered, k)
            covered = k + copy_words


@leaf
def _is_content(text: Atoms, k: int) -> bool:
    """Say whether an atom carries meaning: no function word, no word of a task's form."""
    if text.meaning_A[k] & (STOP | FRAME):
        return False
    return bool(text.stop_A[k] - text.start_A[k] > 1 or text.flag_A[k] & DIGITS)


@leaf
def _count_words(
    data_B: U8, text: Atoms, words: int, table: Table, count_K: I64, foreign_2: I64
) -> None:
    """Count the content words that the source has, in all and in answers; find other words.

    The piece with the most other words is the run with the largest sum, one pass by Kadane's rule.
    """
    answering = False
    begin = excess = best = 0
    for k in range(words):
        if text.flag_A[k] & BEGINS or excess <= 0:
            begin, excess = k, 0
        if text.flag_A[k] & PARAGRAPH:
            answering = False
        if text.flag_A[k] & BEGINS and _is_headed(data_B, text, k, words):
            answers = text.meaning_A[k] & ANSWER != 0
            if answers or text.meaning_A[k] & QUESTION:
                answering = answers
                continue
        found = has(table, text.hash_A[k] ^ WORD_SALT)
        if not text.flag_A[k] & DIGITS:
            size = text.stop_A[k] - text.start_A[k]
            excess += -size if found else size
            if excess > best and text.stop_A[k] - text.start_A[begin] >= LEAST_FOREIGN_BYTES:
                best = excess
                foreign_2[0], foreign_2[1] = text.start_A[begin], text.stop_A[k]
        if _is_content(text, k):
            found = found or supports_amount(text, k, table)
            count_K[CONTENT] += 1
            count_K[CONTENT_FOUND] += found
            count_K[ANSWERED] += answering
            count_K[ANSWER_FOUND] += answering and found


@leaf
def _is_headed(data_B: U8, text: Atoms, k: int, words: int) -> bool:
    """Say whether a colon follows an atom, or its number: "Answer:", "**Answer 3:**"."""
    at = text.stop_A[k]
    if k + 1 < words and text.flag_A[k + 1] & DIGITS and text.joint_A[k + 1] == SPACE_JOINT:
        at = text.stop_A[k + 1]
    while at < data_B.size and data_B[at] == 0x2A:  # an asterisk
        at += 1
    return bool(at < data_B.size and data_B[at] == 0x3A)


# ---------------------------------------------------------------- refusals


@leaf
def _check_phrases(
    text: Atoms, words: int, source: Atoms, size: int, phrases: Phrases, count_K: I64, place_2: I64
) -> None:
    """Find what a model says for itself; a phrase that the source has is the source's."""
    for k in range(words):
        if not text.meaning_A[k] & OPENS_PHRASE:
            continue
        value = np.uint64(0)
        for j in range(k, min(k + phrases.longest, words)):
            value = value * RUN_MULTIPLIER + text.hash_A[j]
            how = np.int64(meaning_of(phrases.lexicon, value))
            counts = how & 1 or (how & 2 and k == 0) or (how & 4 and count_K[PASSAGE] == 0)
            if counts and not _in_source(source, size, value, j + 1 - k):
                note(count_K, REFUSALS, place_2, text.start_A[k], text.stop_A[j])
                break
        if count_K[REFUSALS] and place_2[0] >= 0:
            return  # one is enough


@leaf
def _in_source(source: Atoms, size: int, value: np.uint64, words: int) -> bool:
    power = _power(words)
    k = 0
    while k + words <= size and _gram(source, k, words, power) != value:
        k += 1
    return k + words <= size
