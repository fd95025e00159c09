"""Sentences that hold several words of a list: what text is to be written from, and the text.

A word is a run of letters, perhaps with hyphens, after white space or at the sentence's beginning;
of "word-of-mouth" the longest of "word-of-mouth", "word-of" and "word" that is listed counts. It is
looked up as it is in a list for all documents, case and all; in a document's own list, of
lower-cased words, with its ASCII capitals lowered. AdaptLLM takes pieces of a SentencePiece model
instead; of the 122 sentences of its own 12 texts, all but one hold the same words either way.

B bytes of all documents laid end to end, N documents, S sentences, D slots of a table, W words of
all documents' own lists, C sentences found, K keywords in them
"""

from __future__ import annotations

from collections.abc import Iterable

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.english import MULTIPLIER, SEED, hash_text
from curation.kernels.leaf import leaf
from curation.kernels.mining_patterns import skip_white, white_width
from curation.kernels.unicode import LETTER, decode, flag_table
from curation.kernels.words import entry_table, fill_entries, is_entry

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

#: A sentence needs so many different keywords, and may have so many different words.
LEAST_KEYWORDS, MOST_WORDS = 3, 100
#: No sentence's further keywords are looked at.
_MOST_KEYWORDS = 64
#: Slots for the different words of a sentence, more than twice MOST_WORDS.
_SEEN = 256
_NONE = np.empty(0, dtype=np.uint64)
_AS_IT_IS = np.arange(256, dtype=np.uint8)
_LOWERED = _AS_IT_IS.copy()
_LOWERED[0x41:0x5B] += 0x20


def keyword_table(words: Iterable[str]) -> U64:
    """Return uint64[D]: the words' hashes in an open table, a power of two of slots."""
    return entry_table({hash_text(word) for word in words if word})


@numba.njit(cache=True, nogil=True)
def hash_words(word_B: U8, offset: I64) -> U64:
    """Return uint64[W], the hashes of words laid end to end, equal to those of the table."""
    hash_W = np.empty(offset.size - 1, dtype=np.uint64)
    for w in range(hash_W.size):
        value = SEED
        for at in range(offset[w], offset[w + 1]):
            value = value * MULTIPLIER + np.uint64(word_B[at])
        hash_W[w] = value if offset[w + 1] > offset[w] else np.uint64(0)
    return hash_W


def keyword_sentences(
    data_B: U8,
    sentence: tuple[I64, I64, I64],
    entry_D: U64,
    own: tuple[U64, I64] | None = None,
) -> tuple[I64, I64, I64, I64]:
    """Find the sentences with LEAST_KEYWORDS different keywords and at most MOST_WORDS words.

    sentence  int64[N+1], int64[S] twice  see ``cut_sentences``
    entry_D   uint64[D]                   the words looked for in every document; or, where given,
    own       uint64[W], int64[N+1]       hashes of each document's own words, lower-cased
    returns   int64[C]                    the sentences, ascending
              int64[C+1]                  sentence c holds keywords offset[c] to offset[c+1]
              int64[K], int64[K]          first byte and byte after the last of each keyword
    """
    lists = own if own is not None else (_NONE, np.empty(0, dtype=np.int64))
    fold = _AS_IT_IS if own is None else _LOWERED
    return _find(data_B, sentence, entry_D, lists, (flag_table(), fold))


@numba.njit(cache=True, nogil=True)
def _find(
    data_B: U8,
    sentence: tuple[I64, I64, I64],
    entry_D: U64,
    own: tuple[U64, I64],
    tables: tuple[U32, U8],
) -> tuple[I64, I64, I64, I64]:
    offset, start_S, stop_S = sentence
    hash_W, word_offset = own
    index_C: list[int] = []
    offset_C: list[int] = [0]
    start_K: list[int] = []
    stop_K: list[int] = []
    hit_K2 = np.empty((_MOST_KEYWORDS, 2), dtype=np.int64)
    hash_K = np.empty(_MOST_KEYWORDS, dtype=np.uint64)
    seen = np.empty(_SEEN, dtype=np.uint64)
    for n in range(offset.size - 1):
        if word_offset.size:
            entry_D = _own_table(hash_W[word_offset[n] : word_offset[n + 1]])
        if entry_D.size == 0:
            continue
        for s in range(offset[n], offset[n + 1]):
            text_B = data_B[start_S[s] : stop_S[s]]
            hits = _keywords(text_B, entry_D, tables, hit_K2, hash_K)
            if hits < LEAST_KEYWORDS or _is_wordy(text_B, seen):
                continue
            index_C.append(s)
            for k in range(hits):
                start_K.append(start_S[s] + hit_K2[k, 0])
                stop_K.append(start_S[s] + hit_K2[k, 1])
            offset_C.append(len(start_K))
    return np.array(index_C), np.array(offset_C), np.array(start_K), np.array(stop_K)


@numba.njit(cache=True, nogil=True)
def _own_table(hash_W: U64) -> U64:
    slots = 2
    while slots < 2 * hash_W.size + 1:
        slots *= 2
    entry_D = np.zeros(slots if hash_W.size else 0, dtype=np.uint64)
    fill_entries(entry_D, hash_W)
    return entry_D


@leaf
def _keywords(text_B: U8, entry_D: U64, tables: tuple[U32, U8], hit_K2: I64, hash_K: U64) -> int:
    """Put the different keywords of a sentence into ``hit_K2``; return how many there are."""
    flag_C, fold = tables
    at, stop, hits = 0, text_B.size, 0
    while at < stop and hits < _MOST_KEYWORDS:
        begin, value, end, longest = at, SEED, at, SEED
        while at < stop:
            byte = text_B[at]
            if 0x61 <= (byte | 0x20) <= 0x7A:
                value = value * MULTIPLIER + np.uint64(fold[byte])
                at += 1
            elif byte == 0x2D:
                if is_entry(value, entry_D):
                    end, longest = at, value
                value = value * MULTIPLIER + np.uint64(byte)
                at += 1
            elif byte < 0x80:
                break
            else:
                code, width = decode(text_B, at, stop)
                if flag_C[code] & LETTER == 0:
                    break
                for place in range(at, at + width):
                    value = value * MULTIPLIER + np.uint64(text_B[place])
                at += width
        if at > begin and is_entry(value, entry_D):
            end, longest = at, value
        if end > begin:
            known = False
            for k in range(hits):
                known |= hash_K[k] == longest
            if not known:
                hash_K[hits] = longest
                hit_K2[hits, 0], hit_K2[hits, 1] = begin, end
                hits += 1
        at = skip_white(text_B, _past_word(text_B, at), stop)
    return hits


@leaf
def _past_word(text_B: U8, at: int) -> int:
    """Return the next place of white space."""
    while at < text_B.size and white_width(text_B, at, text_B.size) == 0:
        at += 1
    return at


@leaf
def _is_wordy(text_B: U8, seen: U64) -> bool:
    """Say whether a sentence has more than MOST_WORDS different words between white space."""
    if text_B.size < 2 * MOST_WORDS:
        return False
    seen[:] = 0
    at, words = 0, 0
    while at < text_B.size:
        end, value = _past_word(text_B, at), SEED
        for place in range(at, end):
            value = value * MULTIPLIER + np.uint64(text_B[place])
        slot = np.int64(value >> np.uint64(20)) & (_SEEN - 1)
        while seen[slot] != 0 and seen[slot] != value:
            slot = (slot + 1) & (_SEEN - 1)
        words += seen[slot] == 0
        seen[slot] = value
        if words > MOST_WORDS:
            return True
        at = skip_white(text_B, end, text_B.size)
    return False
