"""The mean of a text's rows in a fastText model: of its words and their n-grams.

Words are told apart, hashed and cut as fastText 0.9 does it
(github.com/facebookresearch/fastText, MIT).

Trade-off: natural text repeats its words, so texts are read in windows, and the rows of each
different word of a window are added up once. A word's sum is made in one order and then added to
its text's, in the order of the text, so a text's value does not depend on where windows end or on
what stands beside it.

Each step is a loop over a whole window and takes its arrays out of a tuple once: numba counts
references whenever an array leaves a tuple, which in the innermost loops took half of the time.

B bytes of all texts, N texts, D dimensions, U different words of a window, O words of a window,
G n-grams that are dealt with together; see also ``Tables``
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.fasttext_tables import (
    EOS,
    FNV_SEED,
    KEEP_LISTED,
    KEEP_NONE,
    PREFIX,
    Tables,
    begins_with,
    equal,
    find_word,
    first_slot,
    fnv,
    hash_word,
    remainder,
)

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating[Any]]

#: Most words of a window, and most different ones; their sums take at most SUM_BYTES.
_WINDOW, _DIFFERENT, SUM_BYTES = 1 << 17, 1 << 15, 8 << 20
#: N-grams that are looked up together, and characters whose n-grams are hashed together.
_GRAMS, _CHARS = 1 << 14, 64
#: Sums of texts that are held at a time take at most so many bytes.
TEXT_BYTES = 16 << 20

#: Numba would compile what a literal is handed to for literals and again for numbers.
_ZERO: Any = np.int64(0)

_WORD_PRIME = np.uint64(116049371)
_IS_SPACE = np.zeros(256, dtype=np.bool_)
_IS_SPACE[[0x00, 0x20, *range(0x09, 0x0E)]] = True


class Window(NamedTuple):
    """The words of a window, and room to work in.

    slot_S    int32[S]       hash table of the different words; -1 where empty
    start_U   int64[U]       where each stands in data_B; the first is the end of a text
    size_U    int64[U]       its bytes
    hash_U    uint32[U]
    rows_U    int64[U]       its rows; -1 for a label, which fastText leaves out
    sum_UD    float32[U, D]  their sum
    word_O    int32[O]       which of the different words each word is
    text_O    int32[O]       the text that it stands in
    token_B   uint8[]        a word between its brackets
    end_C     int64[C+1]     where some characters of it end; the first is where they begin
    value_C   uint32[C]      hashes of the runs that begin at each character
    gram_G    uint32[G]      hashes of n-grams, then their rows
    owner_G   int32[G]       the word or text that each belongs to
    run_K     uint64[K+1]    hashes of the runs that end at the last word, of one word and more,
                             and last, how many words of its text there were
    """

    slot_S: I32
    start_U: I64
    size_U: I64
    hash_U: U32
    rows_U: I64
    sum_UD: F32
    word_O: I32
    text_O: I32
    token_B: U8
    end_C: I64
    value_C: U32
    gram_G: U32
    owner_G: I32
    run_K: U64


@numba.njit(cache=True, nogil=True)
def room(tables: Tables, start_N: I64, stop_N: I64) -> tuple[Window, int]:
    """Return a window of a size that suits the bytes to be read, and how many texts at a time."""
    total, longest = 0, 0
    for n in range(start_N.size):
        total += stop_N[n] - start_N[n]
        longest = max(longest, stop_N[n] - start_N[n])
    width, most = tables.output_LD.shape[1], max(tables.max_chars, 0)
    different = max(min(_DIFFERENT, SUM_BYTES // (4 * width), total // 2 + 2), 2)
    slots = 16
    while slots < 3 * different:
        slots *= 2
    grams = max(_GRAMS, 2 * (_CHARS + most) * most, 2 * tables.word_ngrams)
    window = Window(
        np.empty(slots, dtype=np.int32),
        np.empty(different, dtype=np.int64),
        np.empty(different, dtype=np.int64),
        np.empty(different, dtype=np.uint32),
        np.empty(different, dtype=np.int64),
        np.empty((different, width), dtype=np.float32),
        np.empty(min(_WINDOW, total // 2 + start_N.size + 1), dtype=np.int32),
        np.empty(min(_WINDOW, total // 2 + start_N.size + 1), dtype=np.int32),
        np.empty(longest + 2, dtype=np.uint8),
        np.empty(_CHARS + most + 1, dtype=np.int64),
        np.empty(_CHARS + most, dtype=np.uint32),
        np.empty(grams, dtype=np.uint32),
        np.empty(grams, dtype=np.int32),
        np.zeros(max(tables.word_ngrams, 1) + 1, dtype=np.uint64),
    )
    return window, max(TEXT_BYTES // (8 * width), 1)


@numba.njit(cache=True, nogil=True)
def means(tables: Tables, data_B: U8, start_N: I64, stop_N: I64, window: Window) -> tuple[F32, I64]:
    """Return the mean of each text's rows, float32[N, D], and how many there are, int64[N]."""
    shape = (start_N.size, tables.output_LD.shape[1])
    sum_ND = np.zeros(shape, dtype=np.float64)
    # Sums of their own, so that the order of addition is the text's wherever a window ends.
    run_ND = np.zeros(shape if tables.word_ngrams > 1 else (0, 0), dtype=np.float64)
    rows_N = np.zeros(start_N.size, dtype=np.int64)
    text, at = _ZERO, _ZERO - 1
    while text < start_N.size:
        text, at, different, words = _read_window(data_B, start_N, stop_N, text, at, window)
        _sum_words(tables, data_B, different, window)
        _add_words(window, words, sum_ND, rows_N)
        if tables.word_ngrams > 1:
            _add_runs(tables, window, words, run_ND, rows_N)
    if tables.word_ngrams > 1:
        sum_ND += run_ND
    mean_ND = np.empty(shape, dtype=np.float32)
    for n in range(start_N.size):
        for d in range(shape[1]):
            mean_ND[n, d] = sum_ND[n, d] / max(rows_N[n], 1)
    return mean_ND, rows_N


@numba.njit(cache=True, nogil=True)
def _read_window(
    data_B: U8, start_N: I64, stop_N: I64, text: int, at: int, window: Window
) -> tuple[int, int, int, int]:
    """Read words until the window is full or the texts are at their end.

    text, at  where the last window ended; ``at`` is -1 at the beginning of a text
    returns   where this one ends, how many different words it has, and how many words
    """
    slot_S, start_U, size_U, hash_U = window.slot_S, window.start_U, window.size_U, window.hash_U
    word_O, text_O = window.word_O, window.text_O
    slot_S[:] = -1
    hash_U[0] = hash_word(EOS, 0, EOS.size)
    different, words = 1, 0
    while text < start_N.size:
        at = int(start_N[text]) if at < 0 else at
        stop = int(stop_N[text])
        while at < stop and words < word_O.size:
            if _IS_SPACE[data_B[at]]:
                at += 1
                continue
            begin, word_hash = at, FNV_SEED
            while at < stop and not _IS_SPACE[data_B[at]]:
                word_hash = fnv(word_hash, data_B[at])
                at += 1
            if at - begin == EOS.size and begins_with(data_B, begin, at, EOS):
                at = stop  # as fastText does, which takes it for the end of the line
                break
            slot = np.int64(word_hash) & (slot_S.size - 1)
            while slot_S[slot] >= 0:
                word = slot_S[slot]
                if size_U[word] == at - begin and equal(data_B, start_U[word], data_B, begin, at):
                    break
                slot = (slot + 1) & (slot_S.size - 1)
            if slot_S[slot] < 0:
                if different == start_U.size:
                    return text, begin, different, words
                slot_S[slot] = different
                start_U[different], size_U[different] = begin, at - begin
                hash_U[different] = word_hash
                different += 1
            word_O[words], text_O[words] = slot_S[slot], text
            words += 1
        if words == word_O.size:
            return text, at, different, words
        word_O[words], text_O[words] = 0, text
        words += 1
        text, at = text + 1, _ZERO - 1
    return text, at, different, words


@numba.njit(cache=True, nogil=True)
def _add_words(window: Window, words: int, sum_ND: F64, rows_N: I64) -> None:
    """Add the sums of words to their texts' sums."""
    word_O, text_O = window.word_O, window.text_O
    rows_U, sum_UD = window.rows_U, window.sum_UD
    for o in range(words):
        word, text = word_O[o], text_O[o]
        if rows_U[word] > 0:
            rows_N[text] += rows_U[word]
            for d in range(sum_UD.shape[1]):
                sum_ND[text, d] += sum_UD[word, d]


@numba.njit(cache=True, nogil=True)
def _add_runs(tables: Tables, window: Window, words: int, sum_ND: F64, rows_N: I64) -> None:
    """Add the rows of runs of two words and more to the sums of their texts."""
    word_O, text_O, hash_U, rows_U = window.word_O, window.text_O, window.hash_U, window.rows_U
    gram_G, owner_G, run_K = window.gram_G, window.owner_G, window.run_K
    longest, buckets = run_K.size - 1, np.uint64(tables.buckets)
    before, grams = int(run_K[longest]), _ZERO
    for o in range(words):
        word = word_O[o]
        if rows_U[word] < 0:
            continue
        value = np.uint64(np.int64(np.int32(hash_U[word])))  # fastText keeps hashes as int32
        for run in range(min(before, longest - 1), 0, -1):
            run_K[run] = run_K[run - 1] * _WORD_PRIME + value
            gram_G[grams], owner_G[grams] = np.uint32(run_K[run] % buckets), text_O[o]
            grams += 1
        run_K[0] = value
        before = before + 1 if word else 0  # word 0 ends the text
        if grams + longest > gram_G.size or o + 1 == words:
            _add_grams(tables, window, grams, sum_ND, rows_N)
            grams = _ZERO
    run_K[longest] = np.uint64(before)


@numba.njit(cache=True, nogil=True)
def _sum_words(tables: Tables, data_B: U8, different: int, window: Window) -> None:
    """Add up the rows of the different words of a window, of themselves and of their n-grams."""
    start_U, size_U, hash_U = window.start_U, window.size_U, window.hash_U
    rows_U, sum_UD = window.rows_U, window.sum_UD
    sum_UD[:different] = 0.0
    for u in range(different):
        word = tables.eos
        if u > 0:
            begin, stop = int(start_U[u]), int(start_U[u] + size_U[u])
            word = find_word(tables, data_B, begin, stop, hash_U[u])
            if word < 0 and begins_with(data_B, begin, stop, PREFIX):
                word = tables.words
        rows_U[u] = -1 if word >= tables.words else word >= 0
        if rows_U[u] > 0:
            _add_row(tables, word, sum_UD, u)
    if tables.max_chars <= 0 or tables.pruned == KEEP_NONE:
        return
    u, at = _ZERO + 1, _ZERO
    while u < different:
        u, at, grams = _hash_chars(tables, data_B, different, u, at, window)
        _add_grams(tables, window, grams, sum_UD, rows_U)


@numba.njit(cache=True, nogil=True)
def _hash_chars(
    tables: Tables, data_B: U8, different: int, u: int, at: int, window: Window
) -> tuple[int, int, int]:
    """Hash the runs of characters of a window's words, as many as there is room for.

    u, at    the word, and its byte, brackets included, at which the first run begins
    returns  where the next run would begin, and how many hashes there are
    """
    start_U, size_U, rows_U = window.start_U, window.size_U, window.rows_U
    token_B, end_C, value_C = window.token_B, window.end_C, window.value_C
    gram_G, owner_G = window.gram_G, window.owner_G
    fewest, most = tables.min_chars, tables.max_chars
    grams = _ZERO
    while u < different:
        if rows_U[u] < 0:
            u += 1
            continue
        size = size_U[u] + 2
        if at == 0:
            token_B[0], token_B[size - 1] = 0x3C, 0x3E  # < and >
            for byte in range(size_U[u]):
                token_B[byte + 1] = data_B[start_U[u] + byte]
        while at < size:
            if grams + most * value_C.size > gram_G.size:
                return u, at, grams
            before = grams
            chars = _char_ends(token_B, size, at, end_C)
            done, grams = _hash_runs(token_B, chars, fewest, end_C, value_C, gram_G, grams)
            for gram in range(before, grams):
                owner_G[gram] = u
            at = int(end_C[done])
        u, at = u + 1, _ZERO
    return u, at, grams


@numba.njit(cache=True, nogil=True)
def _char_ends(token_B: U8, size: int, begin: int, end_C: I64) -> int:
    """Find where characters end, as many as there is room for; return how many there are."""
    chars, at = 0, begin
    end_C[0] = begin
    while at < size and chars < end_C.size - 1:
        at += 1
        while at < size and token_B[at] & 0xC0 == 0x80:
            at += 1
        chars += 1
        end_C[chars] = at
    return chars


@numba.njit(cache=True, nogil=True)
def _hash_runs(
    token_B: U8, chars: int, fewest: int, end_C: I64, value_C: U32, gram_G: U32, grams: int
) -> tuple[int, int]:
    """Hash the runs that begin at the next characters of a bracketed word, _CHARS of them if there
    are more.

    Runs of one length are made of those one shorter, so that the hashes of a step do not wait for
    each other. A bracket by itself is no run.

    chars    characters of which the ends are known; fewer than there is room for at the word's end
    returns  how many characters are done with, and how many hashes there are now
    """
    at_end = chars < value_C.size
    starts = chars if at_end else _CHARS
    for c in range(starts):
        value_C[c] = FNV_SEED
    for longer in range(value_C.size - _CHARS):
        last = min(starts, chars - longer)
        for c in range(last):
            value = value_C[c]
            for byte in range(end_C[c + longer], end_C[c + longer + 1]):
                value = fnv(value, token_B[byte])
            value_C[c] = value
        if longer + 1 >= fewest:
            single = longer == 0
            for c in range(single and end_C[0] == 0, last - (single and at_end)):
                gram_G[grams] = value_C[c]
                grams += 1
    return starts, grams


@numba.njit(cache=True, nogil=True)
def _add_grams(tables: Tables, window: Window, grams: int, sum_XD: Floats, rows_X: I64) -> None:
    """Add the rows of hashed n-grams, those that the model has kept, to their owners' sums."""
    if tables.pruned == KEEP_NONE:
        return
    gram_G, owner_G = window.gram_G, window.owner_G
    words, buckets, input_RD = tables.words, tables.buckets, tables.input_RD
    per_bucket = 1.0 / buckets
    for gram in range(grams):
        gram_G[gram] = remainder(gram_G[gram], buckets, per_bucket)
    if tables.pruned == KEEP_LISTED:
        grams = _keep_listed(tables.kept_bits, tables.bucket_S2, gram_G, owner_G, grams)
    for gram in range(grams):
        owner, row = owner_G[gram], words + int(gram_G[gram])
        rows_X[owner] += 1
        if input_RD.shape[0]:
            for d in range(sum_XD.shape[1]):
                sum_XD[owner, d] += input_RD[row, d]
        else:
            _add_row(tables, row, sum_XD, owner)


@numba.njit(cache=True, nogil=True)
def _keep_listed(kept_bits: U8, bucket_S2: I32, gram_G: U32, owner_G: I32, grams: int) -> int:
    """Put rows in the place of the buckets that a pruned model has kept; return how many."""
    kept = 0
    for gram in range(grams):
        bucket = gram_G[gram]
        gram_G[kept], owner_G[kept] = bucket, owner_G[gram]
        kept += (kept_bits[bucket >> 3] >> (bucket & 7)) & 1
    for gram in range(kept):
        slot = first_slot(gram_G[gram], bucket_S2.shape[0])
        while bucket_S2[slot, 0] != gram_G[gram]:
            slot = (slot + 1) & (bucket_S2.shape[0] - 1)
        gram_G[gram] = bucket_S2[slot, 1]
    return kept


@numba.njit(cache=True, nogil=True)
def _add_row(tables: Tables, row: int, sum_XD: Floats, to: int) -> None:
    """Add a row, dense or quantised, to the sum at ``to``."""
    input_RD = tables.input_RD
    if input_RD.shape[0]:
        for d in range(sum_XD.shape[1]):
            sum_XD[to, d] += input_RD[row, d]
        return
    part_QCK, code_RQ, norm_R = tables.part_QCK, tables.code_RQ, tables.norm_R
    width = part_QCK.shape[2]
    for part in range(part_QCK.shape[0]):
        code = code_RQ[row, part]
        for k in range(min(width, sum_XD.shape[1] - part * width)):
            sum_XD[to, part * width + k] += norm_R[row] * part_QCK[part, code, k]
