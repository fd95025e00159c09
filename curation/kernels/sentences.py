"""English sentences: where each begins and ends.

A sentence ends at a line end, or at . ! ? (with closing quotes and brackets after it) before white
space. It does not end

- at a full stop after an abbreviation ("Dr. Ames", "Fig. 2", "et al. found"), an initial
  ("J. Doe"), letters with full stops between them ("U.S.", "i.e."), or the number of a list item
- at an ellipsis or ``!`` that a small letter follows
- between quotes or brackets that are closed in the same line

Wide marks (U+3002, U+FF01, U+FF1F) end a sentence by themselves. The rules are those by which
pysbd (Sadvilkar and Neumann 2020, arXiv:2010.09657) cuts English, as far as they decide anything in
running text; ``benchmarks/rewrite_mined.py`` states how often the two agree.

One walk over the bytes that looks closely only where a mark of interest stands. Quotes and brackets
are looked for once: where no closing mark is found before the line ends, none is looked for again
in that line.

B bytes of all documents laid end to end, N documents, S sentences, A slots of a table
"""

from __future__ import annotations

import functools

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.chunks import skip_space, trim_end
from curation.kernels.leaf import Int, leaf
from curation.kernels.unicode import before
from curation.kernels.words import space_width

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

#: No sentence ends at these, whatever follows: titles and the like, which stand before a name.
_BEFORE_NAMES = """adm attys brig capt cmdr col cpl det dr fig figs gen gov hon ing lt maj messrs mr
    mrs ms mt ph prof rep reps rev sen sens sgt st supt v vs""".split()
#: No sentence ends at these before a number or a bracket.
_BEFORE_NUMBERS = "art ext no nos p pp".split()
#: No sentence ends at these before a small letter, a number, a bracket or further punctuation.
_OTHERS = """adj adv al ala approx apr ariz ark assn asst aug ave bldg blvd bros btw ca cal calif cf
    cl co colo conn corp cres ct dec del dept diff dist doc ed eds eq eqs esp esq est etc exp feb
    fem fla fri ga govt hosp hr hrs ill inc incl ind intl jan jr jul jun kan ky la lb lbs ltd mag
    mar masc mass max md mex mfg mich min minn misc mo mon mont neb nev nov oct ok okla ont oz
    para pa pl plc pres prop quot rd ref refs resp sat sci sec sep sept seq sp spp sq sr sun supp
    tbsp tel temp tenn tex thu tsp tue univ ut va var vol vols vt wash wed wis wt wyo yr""".split()
#: Words that begin a sentence even after "U.S." or "I".
_STARTERS = """A Being Did For He How However I In It Millions More She That The There They We What
    When Where Who Why""".split()
_NAMES, _NUMBERS, _OTHER, _STARTER = 1, 2, 3, 4
#: Abbreviations with inner full stops that may end a sentence, if a starter follows.
_PLACES = "U.S U.K E.U U.S.A".split()
#: Slots of the table: a power of two, more than twice its entries.
_SLOTS = 1 << 10
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio spreads the packed words

# What a byte may be the beginning of.
_PLAIN, _FEED, _MARK, _OPEN, _WIDE = 0, 1, 2, 3, 4
_CLASS = np.zeros(256, dtype=np.uint8)
_CLASS[0x0A] = _CLASS[0x0D] = _FEED
_CLASS[[0x2E, 0x21, 0x3F]] = _MARK  # . ! ?
_CLASS[[0x22, 0x27, 0x28, 0x5B]] = _OPEN  # " ' ( [
_CLASS[[0xC2, 0xE2, 0xE3, 0xEF]] = _WIDE
# Kinds of quotes and brackets, and the byte that closes each (the last byte of a wide one).
_DOUBLE, _SINGLE, _ROUND, _SQUARE, _CURLED, _CURLED_SINGLE, _ANGLED = 0, 1, 2, 3, 4, 5, 6


def pack(word: str) -> int:
    """Return up to 8 ASCII characters as one number, the first in the lowest byte."""
    return int.from_bytes(word.encode("ascii"), "little")


@functools.cache
def abbreviations() -> tuple[U64, U8]:
    """Return the open table of abbreviations and starters: packed words, and what each is."""
    word_A, kind_A = np.zeros(_SLOTS, dtype=np.uint64), np.zeros(_SLOTS, dtype=np.uint8)
    lists = ((_BEFORE_NAMES, _NAMES), (_BEFORE_NUMBERS, _NUMBERS), (_OTHERS, _OTHER))
    entries = {word: kind for words, kind in lists for word in words}
    # starters keep their capital and places their full stops: no lower-cased word is like them
    entries |= {f"{word[:7]}\t": _STARTER for word in [*_STARTERS, *_PLACES]}
    for word, kind in entries.items():
        packed = np.uint64(pack(word))
        slot = int(packed) * int(_GOLDEN) % (1 << 64) >> 54
        while word_A[slot]:
            slot = (slot + 1) & (_SLOTS - 1)
        word_A[slot], kind_A[slot] = packed, kind
    return word_A, kind_A


def cut_sentences(data_B: U8, first_N: I64, stop_N: I64) -> tuple[I64, I64, I64]:
    """Cut documents into sentences, white space between them left out.

    data_B   uint8[B]    UTF-8, all documents laid end to end
    first_N  int64[N]    document n is data_B[first_N[n]:stop_N[n]]
    returns  int64[N+1]  document n owns sentences offset[n] to offset[n+1]
             int64[S]    the first byte of each sentence
             int64[S]    the byte after its last
    """
    return _cut(data_B, first_N, stop_N, *abbreviations())


@numba.njit(cache=True, nogil=True)
def _cut(data_B: U8, first_N: I64, stop_N: I64, word_A: U64, kind_A: U8) -> tuple[I64, I64, I64]:
    offset = np.zeros(first_N.size + 1, dtype=np.int64)
    start_S = np.empty(1024, dtype=np.int64)
    stop_S = np.empty(1024, dtype=np.int64)
    unclosed = np.zeros(7, dtype=np.bool_)
    made = 0
    for n in range(first_N.size):
        at, stop = skip_space(data_B, first_N[n], stop_N[n]), stop_N[n]
        while at < stop:
            after = _sentence_end(data_B, first_N[n], at, stop, unclosed, word_A, kind_A)
            if made == start_S.size:
                start_S = np.concatenate((start_S, np.empty(made, dtype=np.int64)))
                stop_S = np.concatenate((stop_S, np.empty(made, dtype=np.int64)))
            start_S[made] = at
            stop_S[made] = trim_end(data_B, at, after)
            made += 1
            at = skip_space(data_B, after, stop)
        offset[n + 1] = made
    return offset, start_S[:made], stop_S[:made]


@leaf
def _sentence_end(
    data_B: U8, first: int, start: int, stop: int, unclosed: Flags, word_A: U64, kind_A: U8
) -> int:
    """Return where the sentence that begins at ``start`` ends, white space after it aside.

    first     where the document begins
    unclosed  bool[7], for the line: kinds of quotes and brackets that nothing closes; updated
    """
    if start == first or _feed_before(data_B, start, first):
        unclosed[:] = False
    at = start
    while at < stop:
        byte = data_B[at]
        kind = _CLASS[byte]
        if kind == _PLAIN:
            at += 1
        elif kind == _FEED:
            return at
        elif kind == _MARK:
            after = _past_marks(data_B, at, stop)
            end = _past_closing(data_B, after, stop)
            if end == stop:
                return stop
            if byte == 0x2E and after == at + 1:
                reference = _past_reference(data_B, first, at, stop)
                if reference > 0:
                    return reference
            if space_width(data_B, end, stop) > 0 and (
                end > after or _ends(data_B, start, at, after, stop, word_A, kind_A)
            ):
                return end
            at = after
        else:
            bracket = _opens(data_B, at, start, stop)
            if bracket == -2:
                return at + 3
            if bracket < 0 or unclosed[bracket]:
                at += 1
                continue
            end = _closed(data_B, at, stop, bracket)
            if end < 0:
                unclosed[bracket] = end == -1
                at += 1
                continue
            if _ends_with(data_B, at, start, end, stop, bracket):
                return end
            at = end
    return stop


@leaf
def _feed_before(data_B: U8, at: int, first: int) -> bool:
    """Say whether a line end is among the white space before ``at``."""
    while at > first:
        if data_B[at - 1] == 0x0A or data_B[at - 1] == 0x0D:
            return True
        here = before(data_B, at, first)
        if space_width(data_B, here, at) == 0:
            return False
        at = here
    return True


@leaf
def _past_marks(data_B: U8, at: int, stop: int) -> int:
    while at < stop and _CLASS[data_B[at]] == _MARK:
        at += 1
    return at


@leaf
def _past_closing(data_B: U8, at: int, stop: int) -> int:
    """Return the place after the closing quotes and brackets that stand at ``at``."""
    while at < stop:
        byte = data_B[at]
        if byte == 0x22 or byte == 0x27 or byte == 0x29 or byte == 0x5D:  # " ' ) ]
            at += 1
        elif byte == 0xE2 and at + 2 < stop and data_B[at + 1] == 0x80:
            if data_B[at + 2] != 0x99 and data_B[at + 2] != 0x9D:  # U+2019, U+201D
                break
            at += 3
        else:
            break
    return at


@leaf
def _past_reference(data_B: U8, first: int, at: int, stop: int) -> int:
    """Return the place after a reference such as "…end.12 Next" or "…end.[3,4] Next"; 0 if none."""
    if at == first or 0x30 <= data_B[at - 1] <= 0x39:
        return 0
    here, digits = at + 1, 0
    bracket = here < stop and data_B[here] == 0x5B
    here += bracket
    while here < stop and digits < 20:
        byte = data_B[here]
        inner = bracket and (byte == 0x2C or byte == 0x2D or byte == 0x20 or byte == 0x5D)
        if not (0x30 <= byte <= 0x39 or inner):
            break
        digits += 1
        here += 1
        if byte == 0x5D:
            bracket = here < stop and data_B[here] == 0x5B
            if not bracket:
                break
            here += 1
    if digits == 0 or bracket or (data_B[here - 1] != 0x5D and digits > 3):
        return 0
    if here + 1 >= stop or not _is_space(data_B[here]) or not _is_upper(data_B[here + 1]):
        return 0
    return here


@leaf
def _ends(data_B: U8, start: int, at: int, after: int, stop: int, word_A: U64, kind_A: U8) -> bool:
    """Say whether marks from ``at`` to ``after``, before white space, end the sentence."""
    following = skip_space(data_B, after, stop)
    byte = data_B[following] if following < stop else np.uint8(0x0A)
    feed = _has_feed(data_B, after, following)
    if after - at > 1:
        dots = True
        for place in range(at, after):
            dots &= data_B[place] == 0x2E
        return not dots or feed or _is_upper(byte)
    if data_B[at] == 0x21:
        return feed or not 0x61 <= byte <= 0x7A
    if data_B[at] == 0x3F or feed:
        return True
    return _full_stop_ends(data_B, start, at, following, stop, word_A, kind_A)


@leaf
def _full_stop_ends(
    data_B: U8, start: int, at: int, following: int, stop: int, word_A: U64, kind_A: U8
) -> bool:
    """Say whether a full stop at ``at`` ends the sentence; ``following`` is the next word."""
    begin, letters, dots, digits = at, 0, 0, 0
    while begin > start and at - begin < 12:
        byte = data_B[begin - 1]
        if byte == 0x2E:
            dots += 1
        elif 0x30 <= byte <= 0x39:
            digits += 1
        elif _is_upper(byte) or 0x61 <= byte <= 0x7A:
            letters += 1
        else:
            break
        begin -= 1
    size = at - begin
    at_start = begin == start
    apart = at_start or _is_space(data_B[begin - 1])
    if digits:  # the number of a list item stands at the beginning of a line
        return not (at_start and size == digits and digits <= 2)
    dotted = dots > 0 and letters == dots + 1
    if letters == 0 or size > 8 or not (apart or dotted):
        return True
    if dots:
        if not dotted or data_B[begin] == 0x2E:
            return True
        return _dotted_ends(data_B, begin, at, following, stop, word_A, kind_A)
    if size == 1 and _is_upper(data_B[begin]):
        is_i = data_B[begin] == 0x49
        return is_i and _is_starter(data_B, following, stop, word_A, kind_A)
    kind = _look_up(_packed(data_B, begin, at, True), word_A, kind_A)
    byte = data_B[following]
    number = 0x30 <= byte <= 0x39
    if kind == _NAMES:
        return False
    if kind == _NUMBERS:
        return not (number or byte == 0x28)
    if kind == _OTHER:
        is_i = byte == 0x49 and following + 1 < stop and _is_after_i(data_B[following + 1])
        return not (0x61 <= byte <= 0x7A or is_i or number or byte == 0x28)
    return True


@leaf
def _dotted_ends(
    data_B: U8, begin: int, at: int, following: int, stop: int, word_A: U64, kind_A: U8
) -> bool:
    """Say whether the last full stop of letters such as "U.S." or "p.m." ends the sentence."""
    if at - begin == 3:
        first, last = data_B[begin] | 0x20, data_B[begin + 2] | 0x20
        if (first == 0x61 or first == 0x70) and last == 0x6D:  # a.m., p.m.
            return _is_upper(data_B[following])
    packed = _packed(data_B, begin, at, False) | (np.uint64(9) << np.uint64(8 * (at - begin)))
    place = _look_up(packed, word_A, kind_A) == _STARTER
    return place and _is_starter(data_B, following, stop, word_A, kind_A)


@leaf
def _is_starter(data_B: U8, at: int, stop: int, word_A: U64, kind_A: U8) -> bool:
    """Say whether the word at ``at`` is one that begins sentences."""
    end = at
    while end < stop and end - at < 9 and not _is_space(data_B[end]):
        end += 1
    if not at < end < stop or end - at > 8:
        return False
    size = min(end - at, 7)
    packed = _packed(data_B, at, at + size, False) | (np.uint64(9) << np.uint64(8 * size))
    return bool(_look_up(packed, word_A, kind_A) == _STARTER)


@leaf
def _packed(data_B: U8, at: int, stop: int, lower: bool) -> np.uint64:
    """Return up to 8 bytes as one number; see ``pack``."""
    value = np.uint64(0)
    for place in range(at, stop):
        byte = np.uint64(data_B[place])
        if lower and np.uint64(0x41) <= byte <= np.uint64(0x5A):
            byte |= np.uint64(0x20)
        value |= byte << np.uint64(8 * (place - at))
    return value


@leaf
def _slot(packed: np.uint64) -> Int:
    return np.int64((packed * _GOLDEN) >> np.uint64(54))


@leaf
def _look_up(packed: np.uint64, word_A: U64, kind_A: U8) -> Int:
    slot = _slot(packed)
    while word_A[slot] != 0:
        if word_A[slot] == packed:
            return np.int64(kind_A[slot])
        slot = (slot + 1) & (_SLOTS - 1)
    return 0


@leaf
def _opens(data_B: U8, at: int, start: int, stop: int) -> int:
    """Return which quote or bracket opens at ``at``; -1 if none, -2 for a wide mark."""
    byte = data_B[at]
    if byte == 0x22:
        return _DOUBLE
    if byte == 0x27:
        return _SINGLE if at == start or _is_space(data_B[at - 1]) else -1
    if byte == 0x28:
        return _ROUND
    if byte == 0x5B:
        return _SQUARE
    if byte == 0xC2:
        return _ANGLED if at + 1 < stop and data_B[at + 1] == 0xAB else -1
    if at + 2 >= stop:
        return -1
    second, third = data_B[at + 1], data_B[at + 2]
    if byte == 0xE2 and second == 0x80:
        if third == 0x9C:
            return _CURLED
        apart = at == start or _is_space(data_B[at - 1])
        return _CURLED_SINGLE if third == 0x98 and apart else -1
    if byte == 0xE3:
        return -2 if second == 0x80 and third == 0x82 else -1
    is_wide = byte == 0xEF and second == 0xBC and (third == 0x81 or third == 0x9F)
    return -2 if is_wide else -1


@leaf
def _closed(data_B: U8, at: int, stop: int, kind: int) -> int:
    """Return the place after what closes the quote or bracket at ``at``.

    Returns -1 if the line has nothing that closes it, -2 if another opens before.
    """
    here = at + 1
    while here < stop:
        byte = data_B[here]
        if byte == 0x0A or byte == 0x0D:
            return -1
        wide = byte == 0xE2 and here + 2 < stop and data_B[here + 1] == 0x80
        if kind == _DOUBLE:
            if byte == 0x22:
                return here + 1
        elif kind == _SINGLE:
            if byte == 0x27 and not (here + 1 < stop and _is_letter(data_B[here + 1])):
                return here + 1
        elif kind == _ROUND:
            if byte == 0x29:
                return here + 1
            if byte == 0x28:
                return -2
        elif kind == _SQUARE:
            if byte == 0x5D:
                return here + 1
        elif kind == _CURLED:
            if wide and data_B[here + 2] == 0x9D:
                return here + 3
        elif kind == _CURLED_SINGLE:
            inner = here + 3 < stop and _is_letter(data_B[here + 3])
            if wide and data_B[here + 2] == 0x99 and not inner:
                return here + 3
        elif byte == 0xC2 and here + 1 < stop and data_B[here + 1] == 0xBB:
            return here + 2
        here += 1
    return -1


@leaf
def _ends_with(data_B: U8, at: int, start: int, end: int, stop: int, kind: int) -> bool:
    """Say whether a sentence ends with the quote or bracket that is closed before ``end``.

    It does before white space and a capital letter, if the quote ends with . ! ?, or it is all of
    the sentence, or the brackets follow . ! ? at once.
    """
    if end + 1 >= stop or not _is_space(data_B[end]) or not _is_upper(data_B[end + 1]):
        return False
    width = 3 if kind in (_CURLED, _CURLED_SINGLE) else 1
    last = data_B[end - width - 1]
    quoted = kind in (_DOUBLE, _SINGLE, _CURLED)
    if quoted and _CLASS[last] == _MARK:
        return True
    if kind == _ROUND and at > start and _CLASS[data_B[at - 1]] == _MARK:
        return True  # "…said so.(Ames 2001) The next": the reference belongs to what it follows
    return at == start and kind != _SQUARE and kind != _ANGLED and last != 0x2C


@leaf
def _has_feed(data_B: U8, at: int, stop: int) -> bool:
    found = False
    for place in range(at, stop):
        found |= data_B[place] == 0x0A or data_B[place] == 0x0D
    return found


@leaf
def _is_after_i(byte: Int) -> bool:
    return _is_space(byte) or byte == 0x27


@leaf
def _is_space(byte: Int) -> bool:
    """Say whether a byte is ASCII white space."""
    return bool(byte == 0x20 or 0x09 <= byte <= 0x0D)


@leaf
def _is_upper(byte: Int) -> bool:
    return bool(0x41 <= byte <= 0x5A)


@leaf
def _is_letter(byte: Int) -> bool:
    return bool(0x61 <= (byte | 0x20) <= 0x7A)
