"""White space and words in UTF-8 bytes.

Three rules say what a word is:

space    a run of characters between white space
unicode  a run of letters, marks and numbers, with an apostrophe, a full stop or a comma between
         two of them ("don't", "3.14"); any other character that is not white space by itself.
         Scripts that put no space between words (Han, kana, Thai, Lao, Khmer, Burmese) are cut
         into the longest words of a dictionary, where one is given and holds them, and otherwise
         into characters, each with the marks that follow it
english  as spaCy cuts English: see ``english.py``

Nothing here makes an object per word: a word is its hash, its place, its length and its kind.

White space is what Python's ``str.isspace`` says, but for ``count_words`` and ``space_width``,
which follow Unicode's White_Space property: they leave U+001C to U+001F alone. Bytes that are not
UTF-8 are letters like any other.

B bytes of all documents laid end to end, N documents, W words of all documents, C code points,
D slots of a dictionary, S places in a run without white space
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.english import (
    MULTIPLIER,
    SEED,
    cut_chunk,
    hash_text,
    lexicon,
    special_cut,
)
from curation.kernels.leaf import Int, leaf
from curation.kernels.unicode import (
    CUTS,
    DIGIT,
    FILLER,
    MARK,
    PUNCT,
    QUOTE,
    SINGLE,
    STOP,
    TERMINAL,
    WORD,
    decode,
    flag_table,
)
from curation.kernels.unicode import LETTER as IN_ALPHABET
from curation.kernels.unicode import SPACE as WHITE

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
Word = Any  # one word of WORD_TYPE, to be filled in
WordArray = npt.NDArray[np.void]

NONE, ALL = np.uint32(0), np.uint32(0xFFFFFFFF)

#: What a byte is: part of a letter, white space, or the first byte of what may be white space.
LETTER, SPACE, PERHAPS = 0, 1, 2
KIND = np.zeros(256, dtype=np.uint8)
KIND[[0x20, *range(0x09, 0x0E)]] = SPACE
KIND[[0xC2, 0xE1, 0xE2, 0xE3]] = PERHAPS


@numba.njit(cache=True, nogil=True)
def space_width(data_B: U8, at: int, stop: int) -> int:
    """Return how many bytes the white space character that starts at ``at`` takes; 0 for others.

    stop  end of the document: no byte at or after it is looked at
    """
    first = data_B[at]
    if first < 0x80:
        return 1 if first == 0x20 or 0x09 <= first <= 0x0D else 0
    if first == 0xC2:  # U+0085, U+00A0
        return 2 if at + 1 < stop and (data_B[at + 1] == 0x85 or data_B[at + 1] == 0xA0) else 0
    if first < 0xE1 or first > 0xE3 or at + 2 >= stop:
        return 0
    second, third = data_B[at + 1], data_B[at + 2]
    if first == 0xE1:  # U+1680
        return 3 if second == 0x9A and third == 0x80 else 0
    if first == 0xE3:  # U+3000
        return 3 if second == 0x80 and third == 0x80 else 0
    if second == 0x81:  # U+205F
        return 3 if third == 0x9F else 0
    general = 0x80 <= third <= 0x8A or third == 0xA8 or third == 0xA9 or third == 0xAF
    return 3 if second == 0x80 and general else 0  # U+2000..200A, U+2028, U+2029, U+202F


@numba.njit(cache=True, nogil=True)
def count_words(data_B: U8, offset: I64) -> U32:
    """Count the runs of characters between white space in each document.

    data_B   uint8[B]    UTF-8, all documents laid end to end
    offset   int64[N+1]  document n owns data_B[offset[n]:offset[n+1]]; need not start at 0
    returns  uint32[N]
    """
    count_N = np.zeros(offset.size - 1, dtype=np.uint32)
    for n in range(count_N.size):
        at, stop = offset[n], offset[n + 1]
        words, after_space = 0, 1
        while at < stop:
            kind = KIND[data_B[at]]
            if kind == PERHAPS:  # the only branch: letters and ASCII spaces are told by arithmetic
                width = space_width(data_B, at, stop)
                kind = SPACE if width else LETTER
                at += max(width - 1, 0)
            words += after_space & (1 - kind)
            after_space = kind
            at += 1
        count_N[n] = words
    return count_N


# ---------------------------------------------------------------- words as hashes

RULES = ("english", "unicode", "space")

#: Characters of the longest word of a dictionary that is looked for.
LONGEST_ENTRY = 24
NO_DICTIONARY = np.empty(0, dtype=np.uint64)

#: What a word is, as bits: it has a letter; not all of it is filler; it ends a sentence; it is
#: punctuation throughout.
HAS_LETTER, HAS_SENSE, ENDS_SENTENCE, ALL_PUNCT = 1, 2, 4, 8


WORD_TYPE = np.dtype(
    [("hash", np.uint64), ("start", np.uint32), ("chars", np.uint32), ("kind", np.uint32)],
    align=True,
)


class Words(NamedTuple):
    """The words of a batch of documents.

    offset  int64[N+1]    document n owns word_W[offset[n]:offset[n+1]]
    word_W  WORD_TYPE[W]  hash   polynomial hash of the word's bytes; the same for the same word
                          start  byte of its document at which the word begins
                          chars  code points
                          kind   HAS_LETTER, HAS_SENSE, ENDS_SENTENCE, ALL_PUNCT
    room    WORD_TYPE[..] the memory that word_W is the beginning of
    """

    offset: I64
    word_W: WordArray
    room: WordArray


def dictionary(words: Iterable[str]) -> U64:
    """Return uint64[D], the words' hashes in an open table, for scripts without white space.

    Words of more than LONGEST_ENTRY characters are left out: a text is searched no further.
    """
    hashes = {hash_text(word) for word in words if 0 < len(word) <= LONGEST_ENTRY}
    if not hashes:
        return NO_DICTIONARY
    return entry_table(hashes)


def entry_table(hashes: Iterable[int]) -> U64:
    """Return uint64[D]: hashes in an open table, a power of two of slots."""
    hash_W = np.array(sorted(hashes), dtype=np.uint64)
    entry_D = np.zeros(1 << (2 * hash_W.size).bit_length(), dtype=np.uint64)
    fill_entries(entry_D, hash_W)
    return entry_D


@leaf
def fill_entries(entry_D: U64, hash_W: U64) -> None:
    """Put hashes into a table of zeros that has room for them."""
    for value in hash_W:
        slot = np.int64(value >> np.uint64(20)) & (entry_D.size - 1)
        while entry_D[slot] != 0 and entry_D[slot] != value:
            slot = (slot + 1) & (entry_D.size - 1)
        entry_D[slot] = value


def split_words(
    data_B: U8,
    offset: I64,
    rule: str,
    entry_D: U64 = NO_DICTIONARY,
    room: WordArray | None = None,
) -> Words:
    """Cut documents into words.

    data_B  uint8[B]    UTF-8, all documents laid end to end
    offset  int64[N+1]  document n owns data_B[offset[n]:offset[n+1]]; need not start at 0
    entry_D  uint64[D]  see ``dictionary``
    room    that of an earlier call, to be overwritten: fresh memory costs a third of the time
    """
    room = np.empty(0, dtype=WORD_TYPE) if room is None else room
    word_offset, word_W = _split(
        data_B, offset, RULES.index(rule), flag_table(), lexicon(), entry_D, room
    )
    return Words(word_offset, word_W[: word_offset[-1]], word_W)


@numba.njit(cache=True, nogil=True)
def _split(
    data_B: U8,
    offset: I64,
    rule: int,
    flag_C: U32,
    lexicon_L: U64,
    entry_D: U64,
    word_W: WordArray,
) -> tuple[I64, WordArray]:
    count = offset.size - 1
    longest = 0
    for n in range(count):
        longest = max(longest, offset[n + 1] - offset[n])
    # a word takes a byte at least, and memory that is not written to costs nothing
    size = (offset[count] - offset[0]) // 3 + longest + 1
    if word_W.size < size:
        word_W = np.empty(size, dtype=WORD_TYPE)
    end_S = np.empty(longest + 1, dtype=np.int64)
    word_offset = np.zeros(count + 1, dtype=np.int64)
    made = 0
    for n in range(count):
        text_B = data_B[offset[n] : offset[n + 1]]
        if made + text_B.size > word_W.size:
            larger_W = np.empty(made + offset[count] - offset[n], dtype=WORD_TYPE)
            larger_W[:made] = word_W[:made]
            word_W = larger_W
        made += cut_words(text_B, rule, flag_C, lexicon_L, entry_D, end_S, word_W[made:])
        word_offset[n + 1] = made
    return word_offset, word_W


@leaf
def cut_words(
    text_B: U8,
    rule: int,
    flag_C: U32,
    lexicon_L: U64,
    entry_D: U64,
    end_S: I64,
    word_W: WordArray,
) -> int:
    """Cut one document into words; return how many there are.

    rule    index into RULES
    end_S   int64[S]      S > bytes of the text; scratch
    word_W  WORD_TYPE[W]  W >= bytes of the text; takes the words
    """
    if rule == 0:
        return _english(text_B, flag_C, lexicon_L, end_S, word_W)
    if rule == 1:
        return _unicode(text_B, flag_C, entry_D, word_W)
    return _space(text_B, flag_C, word_W)


@leaf
def _put(
    word: Word, word_hash: np.uint64, start: int, chars: int, any_of: Int, all_of: Int
) -> None:
    """Fill in a word.

    any_of, all_of  flags that any, and that all, of its code points have
    """
    word.hash = word_hash
    word.start = start
    word.chars = chars
    word.kind = (
        HAS_LETTER * (any_of & IN_ALPHABET != 0)
        | HAS_SENSE * (all_of & FILLER == 0)
        | ENDS_SENTENCE * (chars == 1 and all_of & TERMINAL != 0)
        | ALL_PUNCT * (all_of & PUNCT != 0)
    )


@leaf
def _put_span(text_B: U8, start: int, stop: int, flag_C: U32, word: Word) -> None:
    """Fill in the word between two places."""
    value, chars, any_of, all_of = SEED, 0, NONE, ALL
    at = start
    while at < stop:
        code, width = decode(text_B, at, stop)
        any_of |= flag_C[code]
        all_of &= flag_C[code]
        for byte in range(at, at + width):
            value = value * MULTIPLIER + np.uint64(text_B[byte])
        at, chars = at + width, chars + 1
    _put(word, value, start, chars, any_of, all_of)


@leaf
def _space(text_B: U8, flag_C: U32, word_W: WordArray) -> int:
    """Cut one document at white space; return how many words there are."""
    made, at, stop = 0, 0, text_B.size
    while at < stop:
        begin, width = at, 1
        value, chars, any_of, all_of = SEED, 0, NONE, ALL
        while at < stop:
            code, width = decode(text_B, at, stop)
            flags = flag_C[code]
            if flags & WHITE:
                break
            any_of |= flags
            all_of &= flags
            for byte in range(at, at + width):
                value = value * MULTIPLIER + np.uint64(text_B[byte])
            at, chars = at + width, chars + 1
        if chars:
            _put(word_W[made], value, begin, chars, any_of, all_of)
            made += 1
        at += width
    return made


@leaf
def _unicode(text_B: U8, flag_C: U32, entry_D: U64, word_W: WordArray) -> int:
    """Cut one document into runs of letters and numbers, and what else there is."""
    made, at, stop = 0, 0, text_B.size
    while at < stop:
        code, width = decode(text_B, at, stop)
        flags = flag_C[code]
        if flags & WHITE:
            at += width
            continue
        end = at + width
        if flags & SINGLE:
            end = _past_entry(text_B, at, end, flag_C, entry_D)
        elif flags & WORD:
            end = _past_word(text_B, at, flag_C)
        _put_span(text_B, at, end, flag_C, word_W[made])
        at, made = end, made + 1
    return made


@leaf
def _past_entry(text_B: U8, at: int, end: int, flag_C: U32, entry_D: U64) -> int:
    """Return where the longest word of the dictionary that begins at ``at`` ends.

    end  where the character at ``at`` ends; where no word begins, marks after it belong to it
    """
    if entry_D.size:
        value, here, chars, longest = SEED, at, 0, at
        while here < text_B.size and chars < LONGEST_ENTRY:
            code, width = decode(text_B, here, text_B.size)
            if not flag_C[code] & (SINGLE | MARK):
                break
            for byte in range(here, here + width):
                value = value * MULTIPLIER + np.uint64(text_B[byte])
            here, chars = here + width, chars + 1
            longest = here if is_entry(value, entry_D) else longest
        if longest > at:
            return longest
    return _past_marks(text_B, end, flag_C)


@leaf
def is_entry(value: np.uint64, entry_D: U64) -> bool:
    """Say whether a hash stands in a table."""
    slot = np.int64(value >> np.uint64(20)) & (entry_D.size - 1)
    while entry_D[slot] != 0:
        if entry_D[slot] == value:
            return True
        slot = (slot + 1) & (entry_D.size - 1)
    return False


@leaf
def _past_marks(text_B: U8, at: int, flag_C: U32) -> int:
    while at < text_B.size:
        code, width = decode(text_B, at, text_B.size)
        if not flag_C[code] & MARK:
            break
        at += width
    return at


@leaf
def _past_word(text_B: U8, at: int, flag_C: U32) -> int:
    """Return where the run of letters, marks and numbers that begins at ``at`` ends."""
    stop = text_B.size
    while at < stop:
        code, width = decode(text_B, at, stop)
        flags = flag_C[code]
        if flags & SINGLE:
            break
        if not flags & WORD:
            inner = code in (0x27, 0x2019, 0x2E, 0x2C, 0xB7)  # ' ’ . , and the middle dot
            if not inner or at + width >= stop:
                break
            after = flag_C[decode(text_B, at + width, stop)[0]]
            if not after & WORD or after & SINGLE:
                break
        at += width
    return at


@leaf
def _english(text_B: U8, flag_C: U32, lexicon_L: U64, end_S: I64, word_W: WordArray) -> int:
    """Cut one document by the rules of ``english.py``; return how many words there are.

    Most runs between white space are letters, or letters and one mark after them: what becomes of
    those is settled here, in the walk that hashes them, and the others are cut by ``cut_chunk``.
    """
    made, at, stop = 0, 0, text_B.size
    while at < stop:
        begin, width, inner = at, 1, 0
        flags: Int = np.uint32(WHITE)
        value, any_of, all_of = SEED, NONE, ALL
        while at < stop:
            code: Int = np.int64(text_B[at])
            if code < 0x80:
                flags, width = flag_C[code], 1
                if flags & (WHITE | CUTS):
                    break
                value = value * MULTIPLIER + np.uint64(code)
            else:
                code, width = decode(text_B, at, stop)
                flags = flag_C[code]
                if flags & (WHITE | CUTS):
                    break
                for byte in range(at, at + width):
                    value = value * MULTIPLIER + np.uint64(text_B[byte])
                inner += width - 1
            any_of |= flags
            all_of &= flags
            at += width
        plain = at > begin and (any_of & DIGIT == 0 or all_of & DIGIT != 0)
        if at == stop or flags & WHITE:
            if at > begin:
                if plain and special_cut(value, lexicon_L) == 0:
                    _put(word_W[made], value, begin, at - begin - inner, any_of, all_of)
                    made += 1
                else:
                    made += _chunk(text_B, begin, at, flag_C, lexicon_L, end_S, word_W[made:])
            at += width
        else:
            after = at + width
            if (
                plain
                and _is_closing(text_B[at], flags, text_B[at - 1])
                and _is_white(text_B, after, flag_C)
                and special_cut(value, lexicon_L) == 0
                and special_cut(value * MULTIPLIER + np.uint64(text_B[at]), lexicon_L) == 0
            ):
                _put(word_W[made], value, begin, at - begin - inner, any_of, all_of)
                _put_span(text_B, at, after, flag_C, word_W[made + 1])
                made, at = made + 2, after
            else:
                while not _is_white(text_B, after, flag_C):
                    after += 1
                made += _chunk(text_B, begin, after, flag_C, lexicon_L, end_S, word_W[made:])
                at = after
    return made


@leaf
def _is_white(text_B: U8, at: int, flag_C: U32) -> bool:
    """Say whether white space or the text's end is at a place."""
    if at >= text_B.size:
        return True
    if text_B[at] < 0x80:
        return bool(flag_C[text_B[at]] & WHITE)
    return bool(flag_C[decode(text_B, at, text_B.size)[0]] & WHITE)


@leaf
def _chunk(
    text_B: U8,
    begin: int,
    end: int,
    flag_C: U32,
    lexicon_L: U64,
    end_S: I64,
    word_W: WordArray,
) -> int:
    """Cut a run without white space by all the rules; return how many words there are."""
    count = cut_chunk(text_B, begin, end, flag_C, lexicon_L, end_S)
    for word in range(count):
        _put_span(text_B, begin, end_S[word], flag_C, word_W[word])
        begin = end_S[word]
    return count


@leaf
def _is_closing(byte: int, flags: Int, behind: int) -> bool:
    """Say whether the last character of a run is cut from the letters or digits before it.

    byte, flags  the first byte and the flags of the character
    behind       the byte before it
    """
    if byte == 0x2E:
        return 0x61 <= behind <= 0x7A or 0x30 <= behind <= 0x39
    return bool(flags & (STOP | QUOTE))
