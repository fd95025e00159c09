"""Sentences of a rewrite that say of the same words the opposite of what the source says.

Two content words that follow each other in a sentence are a step; between them is an even or an odd
number of negators. A sentence is changed where the source has one of its steps, and has it only
with the other parity. What a rewrite leaves out or puts together makes steps that the source does
not have, which say nothing. The first step of a sentence leads from its beginning over two content
words, since a negator may open it.

A atoms of one text
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from curation.kernels.atoms import (
    ADJACENT,
    APOSTROPHE,
    ASKS,
    CHOICE,
    MULTIPLIER,
    NEGATOR,
    RUN_MULTIPLIER,
    SENTENCE,
    SPACE_JOINT,
    STOP,
    Atoms,
    word_hash,
)
from curation.kernels.keys import Table, add, has
from curation.kernels.leaf import leaf

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

#: Salts of a step with an even and with an odd number of negators.
_EVEN, _ODD = np.uint64(0x94D049BB133111EB), np.uint64(0xD6E8FEB86659FD93)
_OPENS = np.uint64(0x2545F4914F6CDD1D)

_T, _TO = np.uint64(word_hash("t")), np.uint64(word_hash("to"))
_PLURAL = np.uint64(ord("s"))
_ONLY, _JUST, _OR, _NO = (np.uint64(word_hash(word)) for word in ("only", "just", "or", "no"))
_FAIL, _FAILS, _FAILED = (np.uint64(word_hash(word)) for word in ("fail", "fails", "failed"))
_INVERSE = np.uint64(pow(int(MULTIPLIER), -1, 1 << 64))


@leaf
def learn_steps(source_B: U8, source: Atoms, size: int, table: Table) -> None:
    """Put the steps of a source into the table."""
    begin = 0
    while begin < size:
        end = _sentence_end(source, begin, size)
        _walk(source_B, source, begin, end, table, True)
        begin = end


@leaf
def negation_changes(data_B: U8, text: Atoms, words: int, table: Table, place_2: I64) -> int:
    """Return how many sentences of the text have a step that the source has only otherwise.

    place_2  takes the first such sentence
    """
    changes = begin = 0
    while begin < words:
        end = _sentence_end(text, begin, words)
        judged = not text.flag_A[end - 1] & ASKS and not text.flag_A[begin] & CHOICE
        if judged and _walk(data_B, text, begin, end, table, False):
            if changes == 0:
                place_2[0], place_2[1] = text.start_A[begin], text.stop_A[end - 1]
            changes += 1
        begin = end
    return changes


@leaf
def _sentence_end(atoms: Atoms, begin: int, size: int) -> int:
    end = begin + 1
    while end < size and not atoms.flag_A[end] & SENTENCE:
        end += 1
    return end


@leaf
def _walk(data_B: U8, atoms: Atoms, begin: int, end: int, table: Table, learns: bool) -> bool:
    """Take the steps of a sentence: learn them, or say whether the table has one only otherwise."""
    behind, first, odd, opened = np.uint64(0), np.uint64(0), False, 0
    for k in range(begin, end):
        if _is_negator(atoms, k, begin, end):
            odd = not odd
        if not _is_content(atoms, k, end):
            continue
        stem = _stem(data_B, atoms, k)
        opened += 1
        if opened == 1:
            first, behind = np.uint64(odd), stem
            odd = False
            continue
        key = behind * RUN_MULTIPLIER + stem
        if _step(table, key, odd, learns):
            return True
        # the first two words after a sentence's beginning, by the negators before the first
        if opened == 2 and not odd and _step(table, key ^ _OPENS, first != 0, learns):
            return True
        behind, odd = stem, False
    return False


@leaf
def _step(table: Table, key: np.uint64, odd: bool, learns: bool) -> bool:
    own, other = (_ODD, _EVEN) if odd else (_EVEN, _ODD)
    if learns:
        add(table, key ^ own)
        return False
    return has(table, key ^ other) and not has(table, key ^ own)


@leaf
def _stem(data_B: U8, atoms: Atoms, k: int) -> np.uint64:
    """Return a word's hash without an s at its end: "does not cause", "causes"."""
    if data_B[atoms.stop_A[k] - 1] | 0x20 == 0x73 and atoms.stop_A[k] - atoms.start_A[k] > 3:
        return np.uint64((atoms.hash_A[k] - _PLURAL) * _INVERSE)
    return np.uint64(atoms.hash_A[k])


@leaf
def _is_negator(atoms: Atoms, k: int, begin: int, end: int) -> bool:
    """Say whether an atom negates.

    "not only", "or not" and the "No," of an answer do not; "n't" does by its t, "fails to" by fail.
    """
    word = atoms.hash_A[k]
    if word == _T and atoms.joint_A[k] == APOSTROPHE:
        return True
    if _fails(atoms, k, end):
        return True
    if not atoms.meaning_A[k] & NEGATOR:
        return False
    if k + 1 < end and atoms.hash_A[k + 1] in (_ONLY, _JUST):
        return False
    if word == _NO and k + 1 < end and atoms.joint_A[k + 1] not in (SPACE_JOINT, ADJACENT):
        return False
    return word == _NO or not (k > begin and atoms.hash_A[k - 1] == _OR)


@leaf
def _fails(atoms: Atoms, k: int, end: int) -> bool:
    if k + 1 >= end or atoms.hash_A[k + 1] != _TO:
        return False
    return bool(atoms.hash_A[k] in (_FAIL, _FAILS, _FAILED))


@leaf
def _is_content(atoms: Atoms, k: int, end: int) -> bool:
    if atoms.stop_A[k] - atoms.start_A[k] < 2 or atoms.meaning_A[k] & STOP:
        return False
    return not _fails(atoms, k, end)
