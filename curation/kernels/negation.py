"""Sentences of a rewrite that say of the same words the opposite of what the source says.

A sentence is compared with those sentences of the source that have most of its content words. A
negator counts where the word that it stands before is in both sentences, so that a clause left out
takes its own negator along. The sentence is changed where the number of such negators is odd in
one and even in the other, for every sentence of the source that is as near.

A atoms of one text, S sentences of the source
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curation.kernels.atoms import (
    APOSTROPHE,
    ASKS,
    CHOICE,
    MULTIPLIER,
    NEGATOR,
    SENTENCE,
    STOP,
    Atoms,
    word_hash,
)
from curation.kernels.keys import Table, last_of
from curation.kernels.leaf import leaf

I64 = npt.NDArray[np.int64]

#: Content words that a sentence needs, and the share of them that a sentence of the source has.
LEAST_WORDS, LEAST_FRAC = 3, 0.7
#: A sentence of the source is as near as the nearest with this share of its words.
NEAR_FRAC = 0.9
#: Places of one word in the source that are looked at, and atoms of the longest sentence.
MOST_PLACES, LONGEST_SENTENCE = 64, 160

_T, _S = np.uint64(word_hash("t")), np.uint64(ord("s"))
_ONLY, _JUST, _OR = (np.uint64(word_hash(word)) for word in ("only", "just", "or"))


class Sides(NamedTuple):
    """The rewrite and its source.

    salt      what keys of words are salted with in the table
    chain_3A  int64[3, A]  [0] holds the atom before that has the same word; [1] and [2] are
                           scratch: where a sentence begins, by atom, and words found in it
    """

    text: Atoms
    source: Atoms
    size: int
    table: Table
    salt: np.uint64
    chain_3A: I64


@leaf
def negation_changes(sides: Sides, words: int, place_2: I64) -> int:
    """Return how many sentences of the text are negated otherwise than their likes in the source.

    place_2  takes the first such sentence
    """
    text, sentence_A, found_A = sides.text, sides.chain_3A[1], sides.chain_3A[2]
    begin = 0
    for k in range(sides.size):
        if sides.source.flag_A[k] & SENTENCE:
            begin = k
        sentence_A[k], found_A[k] = begin, 0
    changes = begin = 0
    while begin < words:
        end = begin + 1
        while end < words and not text.flag_A[end] & SENTENCE:
            end += 1
        judged = end - begin <= LONGEST_SENTENCE and not text.flag_A[end - 1] & ASKS
        if judged and not text.flag_A[begin] & CHOICE and _is_changed(sides, begin, end):
            if changes == 0:
                place_2[0], place_2[1] = text.start_A[begin], text.stop_A[end - 1]
            changes += 1
        begin = end
    return changes


@leaf
def _is_changed(sides: Sides, begin: int, end: int) -> bool:
    content = 0
    for k in range(begin, end):
        content += _is_content(sides.text, k)
    if content < LEAST_WORDS:
        return False
    most = _visit(sides, begin, end, 1, 0.0)
    agrees = 1
    if most >= LEAST_FRAC * content:
        agrees = _visit(sides, begin, end, 0, NEAR_FRAC * most)
    _visit(sides, begin, end, -1, 0.0)
    return agrees == 0


@leaf
def _visit(sides: Sides, begin: int, end: int, step: int, least: float) -> int:
    """Walk over the sentences of the source that have words of a sentence.

    step  1 counts the words in each and returns the most; -1 takes the counts back; 0 returns 1
          where a sentence with ``least`` words agrees on the negators, else 0
    """
    behind_A, sentence_A, found_A = sides.chain_3A[0], sides.chain_3A[1], sides.chain_3A[2]
    most = 0
    for k in range(begin, end):
        if not _is_content(sides.text, k):
            continue
        at, last = last_of(sides.table, sides.text.hash_A[k] ^ sides.salt), -1
        for _ in range(MOST_PLACES):
            if at < 0:
                break
            first = sentence_A[at]
            if first != last:
                last = first
                if step:
                    found_A[first] += step
                    most = max(most, found_A[first])
                elif found_A[first] >= least and _agrees(sides, begin, end, first):
                    return 1
            at = behind_A[at]
    return most


@leaf
def _agrees(sides: Sides, begin: int, end: int, first: int) -> bool:
    text, source, size = sides.text, sides.source, sides.size
    stop = first + 1
    while stop < size and not source.flag_A[stop] & SENTENCE:
        stop += 1
    if stop - first > LONGEST_SENTENCE:
        return True
    ours = _negations(text, begin, end, source, first, stop)
    theirs = _negations(source, first, stop, text, begin, end)
    return (ours - theirs) % 2 == 0


@leaf
def _negations(one: Atoms, begin: int, end: int, other: Atoms, first: int, stop: int) -> int:
    """Count the negators of one sentence whose word the other has too."""
    count = 0
    for k in range(begin, end):
        if not _is_negator(one, k, begin, end):
            continue
        scope = k + 1
        while scope < end and not _is_content(one, scope):
            scope += 1
        if scope == end:
            scope = k - 1
            while scope >= begin and not _is_content(one, scope):
                scope -= 1
        for j in range(first, stop):
            if scope >= begin and _is_same(other.hash_A[j], one.hash_A[scope]):
                count += 1
                break
    return count


@leaf
def _is_same(one: np.uint64, other: np.uint64) -> bool:
    """Say whether two words are the same but for an s: "does not cause", "causes"."""
    longer, shorter = one * MULTIPLIER + _S, other * MULTIPLIER + _S
    return bool(one in (other, shorter) or other == longer)


@leaf
def _is_negator(atoms: Atoms, k: int, begin: int, end: int) -> bool:
    """Say whether an atom negates: "not only" and "or not" do not, and "n't" does by its t."""
    if atoms.hash_A[k] == _T and atoms.joint_A[k] == APOSTROPHE:
        return True
    if not atoms.meaning_A[k] & NEGATOR:
        return False
    if k + 1 < end and atoms.hash_A[k + 1] in (_ONLY, _JUST):
        return False
    return not (k > begin and atoms.hash_A[k - 1] == _OR)


@leaf
def _is_content(atoms: Atoms, k: int) -> bool:
    return bool(atoms.stop_A[k] - atoms.start_A[k] > 1 and not atoms.meaning_A[k] & STOP)
