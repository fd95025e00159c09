"""C4's rules: which lines stay, how many sentences are in them, and the text that they make.

Lines are those of ``str.splitlines``. The phrases are looked for in any mixture of ASCII cases.

B bytes of all documents laid end to end, N documents, W words of all documents, O options,
P bytes of the phrases
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.leaf import leaf
from curation.kernels.lines import ends_in_ellipsis, next_line, trim_end, trim_start
from curation.kernels.unicode import DIGIT, SPACE, decode
from curation.kernels.words import ALL_PUNCT, ENDS_SENTENCE, WORD_TYPE, WordArray, cut_words

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

#: Columns of the counts, in the order in which the rules are asked.
(
    SENTENCES,
    KEPT,
    LONG_WORD,
    UNTERMINATED,
    SHORT,
    LOREM,
    JAVASCRIPT,
    CURLY,
    POLICY,
) = range(9)

#: Options: index of the splitter's rule; code points that make a word too long; words that a line
#: needs; whether citations are taken out; whether a line must end a sentence; whether the text of
#: the lines that stay is wanted.
RULE, WORD_CHARS, LINE_WORDS, CITATIONS, TERMINAL_ONLY, TEXT = range(6)

_PHRASES = (
    (LOREM, "lorem ipsum"),
    (JAVASCRIPT, "javascript"),
    (POLICY, "terms of use"),
    (POLICY, "privacy policy"),
    (POLICY, "cookie policy"),
    (POLICY, "uses cookies"),
    (POLICY, "use of cookies"),
    (POLICY, "use cookies"),
)
_PHRASE = np.frombuffer("".join(text for _, text in _PHRASES).encode(), dtype=np.uint8)
_PHRASE_END = np.cumsum([len(text) for _, text in _PHRASES])
_PHRASE_MEANS = np.array([meaning for meaning, _ in _PHRASES])
_CITED = np.frombuffer(b"edit]citation needed]", dtype=np.uint8)

#: For the first letter of a phrase, in either case, its second letter; 0 for other bytes.
_SECOND = np.zeros(256, dtype=np.uint8)
for _, _text in _PHRASES:
    _SECOND[[ord(_text[0]), ord(_text[0].upper())]] = ord(_text[1])

#: What a line holds, beside the phrases (1 << LOREM and so on): a square bracket.
_BRACKET = 1 << 20


@numba.njit(cache=True, nogil=True)
def judge_lines(
    data_B: U8,
    offset: I64,
    word_offset: I64,
    word_W: WordArray,
    option_O: I64,
    flag_C: U32,
    lexicon_L: U64,
) -> tuple[I64, U8, I64]:
    """Return the counts of each document, and the text of the lines that stay.

    data_B, offset       the documents
    word_offset, word_W  their words; see ``words.Words``
    option_O             int64[6]  RULE, WORD_CHARS (-1 for no bound), LINE_WORDS, CITATIONS,
                         TERMINAL_ONLY, TEXT
    returns              int64[N, 9]  counts of lines by what became of them, and SENTENCES
                         uint8[B], int64[N+1]  the kept lines, joined by line feeds; nothing
                         unless TEXT
    """
    count = offset.size - 1
    tally_N9 = np.zeros((count, 9), dtype=np.int64)
    text_B = np.empty(offset[count] - offset[0] + count, dtype=np.uint8)
    text_offset = np.zeros(count + 1, dtype=np.int64)
    longest = 0
    for n in range(count):
        longest = max(longest, offset[n + 1] - offset[n])
    line_B = np.empty(longest, dtype=np.uint8)
    end_S = np.empty(longest + 1, dtype=np.int64)
    spare_W = np.empty(longest + 1, dtype=WORD_TYPE)
    for n in range(count):
        words = word_W[word_offset[n] : word_offset[n + 1]]
        start, stop, out = offset[n], offset[n + 1], text_offset[n]
        at, word = start, 0
        rare = _may_hold(data_B[start:stop])
        while at < stop:
            close, after = next_line(data_B, at, stop)
            first = trim_start(data_B, at, close, flag_C)
            last = trim_end(data_B, first, close, flag_C)
            whole_B = data_B[first:last]
            kept_B, held = whole_B, 0
            if rare:
                held = _holds(whole_B, rare)
                if held & _BRACKET and option_O[CITATIONS]:
                    kept_B = line_B[: _without_citations(whole_B, line_B, flag_C)]
                    held = _holds(kept_B, 3)  # a citation may have parted rare letters
            verdict = _verdict(whole_B, kept_B, held, option_O, flag_C)
            tally_N9[n, verdict] += 1
            while word < words.size and words[word].start < first - start:
                word += 1
            if verdict == KEPT:
                end = word
                while end < words.size and words[end].start < last - start:
                    end += 1
                if kept_B.size == whole_B.size:
                    tally_N9[n, SENTENCES] += count_sentences(words[word:end])
                else:
                    made = cut_words(
                        kept_B, option_O[RULE], flag_C, lexicon_L, lexicon_L[:0], end_S, spare_W
                    )
                    tally_N9[n, SENTENCES] += count_sentences(spare_W[:made])
                word = end
                if option_O[TEXT]:
                    text_B[out : out + kept_B.size] = kept_B
                    text_B[out + kept_B.size] = 0x0A
                    out += kept_B.size + 1
            at = after
        begin = trim_start(text_B, text_offset[n], out, flag_C)
        out = trim_end(text_B, begin, out, flag_C)
        if begin > text_offset[n]:
            for byte in range(begin, out):
                text_B[text_offset[n] + byte - begin] = text_B[byte]
        text_offset[n + 1] = text_offset[n] + out - begin
    return tally_N9, text_B[: text_offset[count]], text_offset


@leaf
def _verdict(whole_B: U8, kept_B: U8, held: int, option_O: I64, flag_C: U32) -> int:
    """Return the first rule that takes a line away, or KEPT.

    whole_B, kept_B  the line with its citations, and without
    held             what it holds without them
    """
    if option_O[WORD_CHARS] >= 0 and _has_long_word(whole_B, option_O[WORD_CHARS], flag_C):
        return LONG_WORD
    if option_O[TERMINAL_ONLY] and not _is_terminated(kept_B):
        return UNTERMINATED
    if option_O[LINE_WORDS] > 0 and not _has_words(whole_B, option_O[LINE_WORDS], flag_C):
        return SHORT
    for rule in (LOREM, JAVASCRIPT, CURLY, POLICY):
        if held & (1 << rule):
            return rule
    return KEPT


@leaf
def _is_terminated(line_B: U8) -> bool:
    """Say whether a line ends with . ? ! " or ' but not with three full stops."""
    if line_B.size == 0 or line_B[-1] not in (0x2E, 0x3F, 0x21, 0x22, 0x27):
        return False
    return line_B[-1] != 0x2E or not ends_in_ellipsis(line_B, 0, line_B.size)


@leaf
def _has_words(line_B: U8, wanted: int, flag_C: U32) -> bool:
    """Say whether a line has so many runs between white space; looks no further than that."""
    words, at, inside = 0, 0, False
    while at < line_B.size and words < wanted:
        code, width = decode(line_B, at, line_B.size)
        white = flag_C[code] & SPACE != 0
        words += not white and not inside
        inside = not white
        at += width
    return words >= wanted


@leaf
def _has_long_word(line_B: U8, most: int, flag_C: U32) -> bool:
    """Say whether a run between white space has more than so many code points."""
    if line_B.size <= most:
        return False
    at, chars = 0, 0
    while at < line_B.size and chars <= most:
        code, width = decode(line_B, at, line_B.size)
        chars = 0 if flag_C[code] & SPACE else chars + 1
        at += width
    return chars > most


@leaf
def _may_hold(text_B: U8) -> int:
    """Say whether a document may hold a bracket (bit 0) or a phrase (bit 1).

    Two or three rare letters of each phrase are looked for. To join truth values, and not to count
    them, is what lets the compiler look at 32 bytes at once.
    """
    bracket, phrase = False, False
    for byte in text_B:
        bracket |= (byte == 0x5B) | (byte == 0x7B)
    one_B, two_B, three_B, four_B = text_B[:-3], text_B[1:-2], text_B[2:-1], text_B[3:]
    for at in range(four_B.size):
        one, two = one_B[at] | 0x20, two_B[at] | 0x20
        three, four = three_B[at] | 0x20, four_B[at] | 0x20
        phrase |= (
            (one == 0x6A) & (three == 0x76)  # j.v: javascript
            | (one == 0x70) & (two == 0x73) & (three == 0x75)  # psu: ipsum
            | (one == 0x72) & (two == 0x6D) & (three == 0x73)  # rms: terms
            | (one == 0x76) & (three == 0x63) & (four == 0x79)  # v.cy: privacy
            | (one == 0x6B) & (two == 0x69) & (three == 0x65)  # kie: cookie
        )
    return bracket + 2 * phrase


@leaf
def _holds(line_B: U8, rare: int) -> int:
    """Return what a line holds, as bits.

    rare  what its document may hold, as ``_may_hold`` says
    """
    square, curly = False, False
    for byte in line_B:
        square |= byte == 0x5B
        curly |= byte == 0x7B
    held = _BRACKET * square | (1 << CURLY) * curly
    if rare & 2:
        second = np.uint8(0)
        for at, byte in enumerate(line_B):
            if second and byte | 0x20 == second:
                held |= _phrase_at(line_B, at - 1)
            second = _SECOND[byte]
    return held


@leaf
def _phrase_at(line_B: U8, at: int) -> int:
    """Return the bit of the phrase that begins at a place; 0 for none."""
    begin = 0
    for which in range(_PHRASE_END.size):
        end = _PHRASE_END[which]
        if _is_there(line_B, at, _PHRASE[begin:end], True):
            return 1 << int(_PHRASE_MEANS[which])
        begin = end
    return 0


@leaf
def _is_there(line_B: U8, at: int, wanted_P: U8, any_case: bool) -> bool:
    """Say whether bytes stand at a place, ASCII capitals taken for small letters or not."""
    if line_B.size - at < wanted_P.size:
        return False
    for index in range(wanted_P.size):
        byte = line_B[at + index]
        if any_case and 0x41 <= byte <= 0x5A:
            byte += 0x20
        if byte != wanted_P[index]:
            return False
    return True


@leaf
def _without_citations(whole_B: U8, line_B: U8, flag_C: U32) -> int:
    """Copy a line without [1], [], [edit] and [citation needed]; return its length."""
    size, at = 0, 0
    while at < whole_B.size:
        end = _citation_end(whole_B, at + 1, flag_C) if whole_B[at] == 0x5B else 0
        if end:
            at = end
        else:
            line_B[size] = whole_B[at]
            size, at = size + 1, at + 1
    return size


@leaf
def _citation_end(line_B: U8, at: int, flag_C: U32) -> int:
    """Return where a citation ends whose bracket stands before ``at``; 0 if it is none."""
    for wanted_P in (_CITED[:5], _CITED[5:]):
        if _is_there(line_B, at, wanted_P, False):
            return at + wanted_P.size
    while at < line_B.size:
        code, width = decode(line_B, at, line_B.size)
        if not flag_C[code] & DIGIT:  # of any script, as in the released code
            break
        at += width
    return at + 1 if at < line_B.size and line_B[at] == 0x5D else 0


@leaf
def count_sentences(words: WordArray) -> int:
    """Count sentences: the next begins at the first word that is no mark after a final mark."""
    sentences, ended = 1, False
    for at in range(words.size):
        kind = words[at].kind
        if kind & ENDS_SENTENCE:
            ended = True
        elif ended and not kind & ALL_PUNCT:
            sentences, ended = sentences + 1, False
    return sentences
