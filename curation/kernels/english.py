"""English words, punctuation, contractions and abbreviations cut as spaCy's tokenizer cuts them.

The published thresholds of Gopher's, FineWeb's and C4's filters were used with such words, so
equal decisions need equal words. A run without white space ("chunk") is cut in four steps: marks
are taken from both ends until a known special case or nothing to take is left; a special case has
cuts of its own (``don't`` is ``do`` + ``n't``, ``Mr.`` stays whole); an address on the web stays
whole; what remains is cut at marks between letters. Where spaCy joins marks again to form a
special case (``d.`` after a hyphen, a smiley after a word), so does this file.

Trade-offs: letters, capitals and symbols are told by Unicode category and not by spaCy's lists of
ranges; an address is told by a scan of its host name and not by spaCy's long expression. Every
byte is looked at a bounded number of times, whatever the text.

B bytes of a text, L places of the lexicon, S places in a run without white space, C code points
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from curation.kernels.leaf import Int, leaf
from curation.kernels.unicode import (
    ALPHA,
    CURRENCY,
    CUTS,
    HYPHEN,
    ICON,
    LOWER_OR_UNCASED,
    QUOTE,
    STOP,
    UPPER_OR_UNCASED,
    before,
    decode,
)

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

#: A word's hash is a polynomial of its bytes, modulo 2^64: MULTIPLIER is odd and of random bits.
MULTIPLIER = np.uint64(0x9E6C63D0873A2CB5)
SEED = np.uint64(0xD6E8FEB86659FD93)

_SLOT_BITS, _SIEVE_BITS = 13, 16
_SLOT_SHIFT, _SIEVE_SHIFT = np.uint64(64 - _SLOT_BITS), np.uint64(64 - _SIEVE_BITS)
_SLOTS, _SIEVE = 1 << _SLOT_BITS, 2 << _SLOT_BITS

_UNITS = """km km² km³ m m² m³ dm dm² dm³ cm cm² cm³ mm mm² mm³ ha µm nm yd in ft kg g mg µg t lb oz
m/s km/h kmh mph hPa Pa mbar mb MB kb KB gb GB tb TB T G M K %"""

_ABBREVIATIONS = """Mt. Ak. Ala. Apr. Ariz. Ark. Aug. Calif. Colo. Conn. Dec. Del. Feb. Fla. Ga. Ia.
Id. Ill. Ind. Jan. Jul. Jun. Kan. Kans. Ky. La. Mar. Mass. Mich. Minn. Miss. N.C. N.D. N.H. N.J.
N.M. N.Y. Neb. Nebr. Nev. Nov. Oct. Okla. Ore. Pa. S.C. Sep. Sept. Tenn. Va. Wash. Wis. a.m. p.m.
Adm. Bros. co. Co. Corp. D.C. Dr. e.g. E.g. E.G. Gen. Gov. i.e. I.e. I.E. Inc. Jr. Ltd. Md. Messrs.
Mo. Mont. Mr. Mrs. Ms. Ph.D. Prof. Rep. Rev. Sen. St. vs. v.s. C++ and/or w/o ma'am Ma'am o'clock
O'clock"""

_CLIPPED = (
    """'S 's ‘S ‘s 're 'd 'em 'll 'nuff 'Cause 'cause 'cos 'Cos 'coz 'Coz 'cuz 'Cuz 'bout ' ''"""
)

_SMILEYS = r"""
:) :-) :)) :-)) :))) :-))) (: (-: =) (= :] :-] [: [-: [= =] :o) (o: :} :-} 8) 8-) (-8 ;) ;-) (; (-;
:( :-( :(( :-(( :((( :-((( ): )-: =( >:( :') :'-) :'( :'-( :/ :-/ =/ =| :| :-| ]= =[ :1 :P :-P :p
:-p :O :-O :o :-o :0 :-0 :() >:o :* :-* :3 :-3 =3 :> :-> :X :-X :x :-x :D :-D ;D ;-D =D 8D 8-D ^_^
^__^ ^___^ >.< >.> <.< ._. ;_; -_- -__- v.v V.V v_v o_O O_o o.O O.o O.O o.o 0.0 o.0 0.o @_@ <3 <33
<333 </3 (^_^) (-_-) (._.) (>_<) (*_*) — \t \n \")
"""


def _contractions() -> Iterator[str]:
    """Yield contractions in their parts, separated by spaces, in lower case."""
    for person in ("i", "you", "he", "she", "it", "we", "they"):
        yield from (f"{person} 'll", f"{person} 'll 've", f"{person} 'd", f"{person} 'd 've")
    yield from ("i 'm", "i 'm a")
    yield from (f"{person} 've" for person in ("i", "you", "we", "they"))
    yield from (f"{person} 're" for person in ("you", "we", "they"))
    yield from (f"{person} 's" for person in ("he", "she", "it"))
    for word in "who what when where why how there that this these those".split():
        yield from (f"{word} 'll", f"{word} 'll 've", f"{word} 'd", f"{word} 'd 've")
        if word not in ("these", "those"):
            yield f"{word} 's"
        if word not in ("that", "this"):
            yield from (f"{word} 're", f"{word} 've")
    for verb in "ca could do does did had may might must need ought sha should wo would".split():
        yield from (f"{verb} n't", f"{verb} n't 've")
    yield from (f"{verb} 've" for verb in "could might must should would".split())
    yield from (f"{verb} n't" for verb in "ai are is was were have has dare".split())
    yield "not 've"


def _straight_cases() -> Iterator[str]:
    """Yield the special cases with a straight apostrophe, in parts separated by spaces."""
    whole = {"ill", "its", "hell", "shell", "shed", "were", "well"}  # words in their own right
    for parts in _contractions():
        for spelt in (parts, parts.replace("'", "")):
            if spelt.replace(" ", "") not in whole:
                yield spelt
                yield spelt[0].upper() + spelt[1:]
    for hour in range(1, 13):
        yield from (f"{hour} {half}" for half in ("a.m.", "am", "p.m.", "pm"))
    for parts in ("can not", "gon na", "got ta", "let 's", "c'm on", "how 'd 'y"):
        yield from (parts, parts[0].upper() + parts[1:])
    yield from ("y' all", "y all")
    for word in "doin goin nothin nuthin ol somethin lovin havin".split():
        yield from (f"{word}'", f"{word.title()}'")
    yield from (f"{letter}." for letter in "abcdefghijklmnopqrstuvwxyzäöü")
    yield from (f"° {letter} ." for letter in "cfkCFK")
    yield from (*_ABBREVIATIONS.split(), *_CLIPPED.split(), *_SMILEYS.split())


def _special_cases() -> Iterator[str]:
    """Yield every special case in its parts, separated by spaces."""
    for parts in _straight_cases():
        yield parts
        if "'" in parts:
            yield parts.replace("'", "’")


@functools.cache
def lexicon() -> U64:
    """Return uint64[L]: the special cases as a hash table, in one array.

    Numba counts references to each array of a tuple at each call; to one array, at none.

    [0:SLOTS]        hashes, each at the first free slot from its first bits on; 0 where free
    [SLOTS:SIEVE]    bytes of their first, second and third part, a byte each, lowest first
    [SIEVE:]         a bit for each hash's first bits, where almost every other word is told apart
    """
    table = np.zeros(_SIEVE + (1 << _SIEVE_BITS) // 64, dtype=np.uint64)
    for parts in _special_cases():
        word_hash = hash_text("".join(parts.split()))
        bit = word_hash >> int(_SIEVE_SHIFT)
        table[_SIEVE + (bit >> 6)] |= np.uint64(1 << (bit & 63))
        slot = word_hash >> int(_SLOT_SHIFT)
        while table[slot] not in (0, word_hash):
            slot = (slot + 1) % _SLOTS
        table[slot] = word_hash
        sizes = [len(part.encode()) for part in parts.split()]
        table[_SLOTS + slot] = sum(size << 8 * n for n, size in enumerate(sizes))
    table.flags.writeable = False
    return table


def hash_text(word: str) -> int:
    """Return a word's hash, as the kernels make it."""
    value = int(SEED)
    for byte in word.encode():
        value = (value * int(MULTIPLIER) + byte) & 0xFFFF_FFFF_FFFF_FFFF
    return value


_LONGEST = max(len("".join(parts.split()).encode()) for parts in _special_cases())  # bytes
#: For each first byte, a bit for each length that a special case beginning with it has.
_SHAPE = np.zeros(256, dtype=np.uint32)
for _case in _special_cases():
    _word = "".join(_case.split()).encode()
    _SHAPE[_word[0]] |= np.uint32(1 << len(_word))
_UNIT = np.sort(np.array([hash_text(unit) for unit in _UNITS.split()], dtype=np.uint64))
_LONGEST_UNIT = 5  # bytes


@leaf
def special_cut(word_hash: np.uint64, lexicon_L: U64) -> Int:
    """Return how a word is cut by heart; 0 for a word that is not."""
    bit = word_hash >> _SIEVE_SHIFT
    sieve = lexicon_L[np.uint64(_SIEVE) + (bit >> np.uint64(6))]
    if (sieve >> (bit & np.uint64(63))) & np.uint64(1) == 0:
        return 0
    slot = np.int64(word_hash >> _SLOT_SHIFT)
    while lexicon_L[slot] != 0:
        if lexicon_L[slot] == word_hash:
            return np.int64(lexicon_L[_SLOTS + slot])
        slot = (slot + 1) % _SLOTS
    return 0


@leaf
def hash_span(data_B: U8, start: int, stop: int) -> np.uint64:
    """Return the hash of the bytes between two places."""
    value = SEED
    for at in range(start, stop):
        value = value * MULTIPLIER + np.uint64(data_B[at])
    return value


@leaf
def _cut_of(data_B: U8, start: int, stop: int, lexicon_L: U64) -> Int:
    size = stop - start
    if size <= 0 or size > _LONGEST or not (_SHAPE[data_B[start]] >> np.uint32(size)) & 1:
        return 0
    return special_cut(hash_span(data_B, start, stop), lexicon_L)


# ---------------------------------------------------------------- affixes


@leaf
def _is_digit(byte: int) -> bool:
    return 0x30 <= byte <= 0x39


@leaf
def _prefix(data_B: U8, start: int, stop: int, flag_C: U32) -> int:
    """Return the bytes of the mark to take from the front; 0 for none."""
    first = data_B[start]
    if first == 0x2E:  # two or more full stops
        at = start
        while at < stop and data_B[at] == 0x2E:
            at += 1
        return at - start if at - start > 1 else 0
    if first == 0x2B:  # a plus sign, but not before a number
        return 0 if start + 1 < stop and _is_digit(data_B[start + 1]) else 1
    code, width = decode(data_B, start, stop)
    if flag_C[code] & (STOP | QUOTE | ICON | CURRENCY):
        return width
    if code in (0x25, 0x3D, 0xA7, 0x2014, 0x2013):  # % = § and the dashes
        return width
    if first in (0x41, 0x43) and start + 1 < stop and data_B[start + 1] == 0x24:  # A$ C$
        return 2
    if first == 0x55 and start + 2 < stop and data_B[start + 1] == 0x53:  # US$
        return 3 if data_B[start + 2] == 0x24 else 0
    return 0


@leaf
def _suffix(data_B: U8, start: int, stop: int, flag_C: U32) -> int:
    """Return the bytes of what is to be taken from the end; 0 for nothing."""
    if start >= stop:
        return 0
    at = before(data_B, stop, start)
    code, width = decode(data_B, at, stop)
    if code == 0x2E:
        return _final_stops(data_B, start, stop, flag_C)
    if at > start and (code == 0x73 or code == 0x53):  # 's, with either apostrophe
        mark = before(data_B, at, start)
        apostrophe, size = decode(data_B, mark, at)
        if apostrophe == 0x27 or apostrophe == 0x2019:
            return size + 1
    flags = flag_C[code]
    if flags & (STOP | QUOTE | ICON) or code == 0x2014 or code == 0x2013:
        return width
    after_digit = at > start and _is_digit(data_B[at - 1])
    if after_digit and (code == 0x2B or flags & CURRENCY):
        return width
    return _unit(data_B, start, stop)


@leaf
def _final_stops(data_B: U8, start: int, stop: int, flag_C: U32) -> int:
    """Return how many of the full stops at the end are a mark: an ellipsis, or a sentence's end."""
    at = stop
    while at > start and data_B[at - 1] == 0x2E:
        at -= 1
    if stop - at > 1 or at == start:
        return stop - at if stop - at > 1 else 0
    first = before(data_B, at, start)
    code, _ = decode(data_B, first, at)
    flags = flag_C[code]
    if flags & (LOWER_OR_UNCASED | QUOTE | STOP) or _is_digit(code):
        return 1
    if code in (0x25, 0xB2, 0x2D, 0x2B, 0x7C):  # % ² - + |
        return 1
    if first == start:
        return 0
    second, _ = decode(data_B, before(data_B, first, start), first)
    if second == 0xB0:  # a degree sign before F, C or K
        return 1 if code in (0x43, 0x46, 0x4B) else 0
    return 1 if flags & flag_C[second] & UPPER_OR_UNCASED else 0


@leaf
def _unit(data_B: U8, start: int, stop: int) -> int:
    """Return the bytes of a unit of measurement that follows a digit at the end."""
    for size in range(min(_LONGEST_UNIT, stop - start - 1), 0, -1):
        if _is_digit(data_B[stop - size - 1]) and not _is_digit(data_B[stop - size]):
            value = hash_span(data_B, stop - size, stop)
            slot = np.searchsorted(_UNIT, value)
            if slot < _UNIT.size and _UNIT[slot] == value:
                return size
    return 0


# ---------------------------------------------------------------- addresses and infixes


@leaf
def _is_address(data_B: U8, start: int, stop: int, flag_C: U32) -> bool:
    """Say whether a chunk is an address on the web or of electronic mail.

    It is one if, after a scheme or the last ``@``, there are labels joined by full stops, the
    last of two or more small letters, and then nothing, a port, or a path.
    """
    host, scheme, dots = start, True, 0
    for at in range(start, stop):
        byte = data_B[at]
        if byte == 0x40:  # @
            host = at + 1
        elif scheme and byte == 0x3A and at > start + 1 and _has_slashes(data_B, at + 1, stop):
            host = at + 3
        dots += byte == 0x2E
        scheme = scheme and (byte in (0x2B, 0x2D, 0x2E) or _is_word_byte(byte))
    if dots == 0:
        return False
    return _is_host(data_B, host, stop, flag_C) or (
        host > start and _is_host(data_B, start, stop, flag_C)
    )


@leaf
def _has_slashes(data_B: U8, at: int, stop: int) -> bool:
    return at + 1 < stop and data_B[at] == 0x2F and data_B[at + 1] == 0x2F


@leaf
def _is_word_byte(byte: int) -> bool:
    return _is_digit(byte) or 0x41 <= byte <= 0x5A or 0x61 <= byte <= 0x7A or byte >= 0x80


@leaf
def _is_host(data_B: U8, start: int, stop: int, flag_C: U32) -> bool:
    """Say whether labels, a top label of small letters, and an end, port or path begin here."""
    at, labels, size, small = start, 0, 0, True
    last: Int = np.int64(0)
    while at < stop:
        code, width = decode(data_B, at, stop)
        if code == 0x2E:
            if size == 0 or last == 0x2D or last == 0x5F:
                return False
            labels, size, small = labels + 1, 0, True
        elif code in (0x2F, 0x3F, 0x23, 0x3A):  # / ? # :
            break
        elif _is_label(code):
            if size == 0 and (code == 0x2D or code == 0x5F):
                return False
            small = small and flag_C[code] & LOWER_OR_UNCASED != 0
            size += 1
        else:
            return False
        at, last = at + width, code
    if labels == 3 and size > 0 and not small:
        return _is_digit(last) and at == stop  # an IP address, near enough
    if labels == 0 or size < 2 or not small:
        return False
    if at < stop and data_B[at] == 0x3A:
        begin = at + 1
        while at + 1 < stop and _is_digit(data_B[at + 1]):
            at += 1
        at += 1
        if at - begin < 2 or (at < stop and data_B[at] not in (0x2F, 0x3F, 0x23)):
            return False
    return True


@leaf
def _is_label(code: int) -> bool:
    letter = (
        0x41 <= code <= 0x5A or 0x61 <= code <= 0x7A or _is_digit(code) or 0xA1 <= code <= 0xFFFF
    )
    return letter or code == 0x2D or code == 0x5F


@leaf
def _infix(data_B: U8, start: int, at: int, stop: int, flag_C: U32) -> int:
    """Return the bytes of the infix that begins at ``at``; 0 for none.

    start  where the chunk's core begins; at > start
    """
    code, width = decode(data_B, at, stop)
    flags = flag_C[code]
    if code == 0x2E and at + 1 < stop and data_B[at + 1] == 0x2E:
        end = at
        while end < stop and data_B[end] == 0x2E:
            end += 1
        return end - at
    if flags & ICON or code == 0x2026:
        return width
    ahead = at + width
    if ahead >= stop:
        return 0
    behind, _ = decode(data_B, before(data_B, at, start), at)
    after, _ = decode(data_B, ahead, stop)
    left, right = flag_C[behind], flag_C[after]
    if code == 0x2E:
        cut = left & (LOWER_OR_UNCASED | QUOTE) and right & (UPPER_OR_UNCASED | QUOTE)
        return width if cut else 0
    if code == 0x2C:
        return width if left & ALPHA and right & ALPHA else 0
    between_numbers = _is_digit(behind) and (_is_digit(after) or after == 0x2D)
    if between_numbers and code in (0x2B, 0x2D, 0x2A, 0x5E):  # + - * ^
        return width
    if not (left & ALPHA or _is_digit(behind)):
        return 0
    if code in (0x3A, 0x3C, 0x3E, 0x3D, 0x2F):  # : < > = /
        return width if right & ALPHA else 0
    if flags & HYPHEN:
        while ahead < stop and ahead - at < 3 and code == 0x2D and data_B[ahead] == 0x2D:
            ahead += 1
        if ahead < stop and flag_C[decode(data_B, ahead, stop)[0]] & ALPHA:
            return ahead - at
    return 0


# ---------------------------------------------------------------- a chunk


@leaf
def cut_chunk(data_B: U8, start: int, stop: int, flag_C: U32, lexicon_L: U64, end_S: I64) -> int:
    """Cut a run without white space into words; return how many.

    start, stop  the run; not empty
    end_S        int64[S]  S > stop - start; takes the place where each word ends, in order
    """
    count, back = 0, end_S.size
    core, tail, cut = start, stop, 0
    while core < tail:
        cut = _cut_of(data_B, core, tail, lexicon_L)
        if cut:
            break
        prefix = _prefix(data_B, core, tail, flag_C)
        if prefix:
            cut = _cut_of(data_B, core + prefix, tail, lexicon_L)
            if cut:
                core += prefix
                end_S[count], count = core, count + 1
                break
        suffix = _suffix(data_B, core + prefix, tail, flag_C)
        if suffix:
            cut = _cut_of(data_B, core, tail - suffix, lexicon_L)
            if cut:
                back, tail = back - 1, tail - suffix
                end_S[back] = tail
                break
        if prefix == 0 and suffix == 0:
            break
        if prefix:
            core += prefix
            end_S[count], count = core, count + 1
        if suffix:
            back, tail = back - 1, tail - suffix
            end_S[back] = tail
    if cut:
        count = cut_by_heart(core, cut, end_S, count)
    elif core < tail:
        count = _cut_core(data_B, core, tail, flag_C, end_S, count)
    if back == end_S.size:
        return _join(data_B, start, count, lexicon_L, end_S) if count > 1 else count
    # the suffixes lie as where each begins, the outermost last in memory
    for at in range(back + 1, end_S.size):
        end_S[count], count = end_S[at], count + 1
    end_S[count], count = stop, count + 1
    return _join(data_B, start, count, lexicon_L, end_S)


@leaf
def cut_by_heart(start: int, cut: int, end_S: I64, count: int) -> int:
    """Write where the parts of a special case end; return how many words there are then."""
    while cut:
        start += cut & 0xFF
        end_S[count], count, cut = start, count + 1, cut >> 8
    return count


@leaf
def _cut_core(data_B: U8, start: int, stop: int, flag_C: U32, end_S: I64, count: int) -> int:
    """Cut what is left between the affixes at its infixes, unless it is an address."""
    word = start
    at = _next_cut(data_B, start + decode(data_B, start, stop)[1], stop, flag_C)
    if at < stop and not _is_address(data_B, start, stop, flag_C):
        while at < stop:
            size = _infix(data_B, start, at, stop, flag_C)
            if size:
                if at > word:
                    end_S[count], count = at, count + 1
                word = at + size
                end_S[count], count = word, count + 1
                at = word
            else:
                at += decode(data_B, at, stop)[1]
            at = _next_cut(data_B, at, stop, flag_C)
        if word == stop:
            return count
    end_S[count] = stop
    return count + 1


@leaf
def _next_cut(data_B: U8, at: int, stop: int, flag_C: U32) -> int:
    """Return the next place of a character that some rule looks at, or ``stop``."""
    while at < stop:
        byte = data_B[at]
        if byte < 0x80:
            if flag_C[byte] & CUTS:
                break
            at += 1
        else:
            code, width = decode(data_B, at, stop)
            if flag_C[code] & CUTS:
                break
            at += width
    return at


@leaf
def _join(data_B: U8, start: int, count: int, lexicon_L: U64, end_S: I64) -> int:
    """Join up to four words that make a special case together; return how many words are left."""
    kept, first, word = 0, 0, start
    while first < count:
        joined = 0
        for last in range(min(first + 3, count - 1), first, -1):
            is_whole = first == 0 and last == count - 1  # which has been looked up
            cut = 0 if is_whole else _cut_of(data_B, word, end_S[last], lexicon_L)
            if cut:
                joined = last
                break
        if joined and _parts(cut) <= joined - first + 1:
            kept = cut_by_heart(word, cut, end_S, kept)
            first = joined + 1
        else:
            end_S[kept], kept, first = end_S[first], kept + 1, first + 1
        word = end_S[kept - 1]
    return kept


@leaf
def _parts(cut: int) -> int:
    return (cut & 0xFF != 0) + (cut >> 8 & 0xFF != 0) + (cut >> 16 & 0xFF != 0)
