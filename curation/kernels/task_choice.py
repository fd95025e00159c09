"""Which of the tasks mined from a document are set, in which order and in which form.

AdaptLLM (arXiv:2309.09530, utils/read.py) shuffles with Python's generator, seeded by the number of
the text; here every choice is a hash of the document's key, what is chosen and which one, so that
neither the document's neighbours nor its place decide anything.

N documents, M matches of the patterns, S sentences, C sentences with keywords, K keywords in them,
T tasks
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.leaf import Int, leaf
from curation.kernels.mining_patterns import CAUSE, DEFINITION, NEUTRAL, RELATIONS, SIMILAR

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

#: Kinds of tasks; those up to WORDS are mined, the others are set by the frame.
KINDS = ("nli", "commonsense", "paraphrase", "word", "summary", "completion")
NLI, COMMONSENSE, PARAPHRASE, WORDS, SUMMARY, COMPLETION = range(6)
#: Families of templates, by number. The three of a relation follow each other.
FAMILIES = (
    *(f"nli_classify_{label}" for label in ("entail", "contradict", "neutral")),
    *(f"nli_generate_{label}" for label in ("entail", "contradict", "neutral")),
    "cause_effect",
    "effect_cause",
    "paraphrase_similar",
    "paraphrase_different",
    "definition",
    "topic",
    "word_to_text",
    "frame_summary",
    "frame_completion",
    "frame_both",
    "frame_neither",
    "introduction",
)
WORD_TO_TEXT, FRAME_SUMMARY, FRAME_COMPLETION, FRAME_BOTH, FRAME_NEITHER, INTRODUCTION = range(
    12, 18
)
#: At most so many tasks of a relation, and so many sentences to be written from keywords.
PER_RELATION = 2
#: Share of the inference tasks that ask for a hypothesis; the others ask for the label.
_GENERATE = 0.2
#: With a title and two sentences: summary alone, completion alone, both; else neither.
_WITH_BOTH = (0.4, 0.5, 0.9)
#: With only one of the two: that one; else neither.
_WITH_ONE = 0.5

#: Columns of a task: document, family, kind, then four values from and to.
TASK_FIELDS = 11

# What is drawn.
_PICK, _SENTENCE, _WORD, _MODE, _ORDER, _KIND_ORDER, _FRAME, _CUT, TEMPLATE = range(1, 10)
_ODD = np.uint64(0x9E3779B97F4A7C15)  # splitmix64, Steele et al. 2014, doi:10.1145/2660193.2660195


@leaf
def draw(key: np.uint64, purpose: int, index: int) -> np.uint64:
    """Return 64 bits by chance: splitmix64 of a key, what is drawn and which one it is."""
    value = _mixed(key + np.uint64(purpose) * _ODD)
    return _mixed(value + np.uint64(index + 1) * _ODD)


@leaf
def _mixed(value: np.uint64) -> np.uint64:
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@leaf
def share(bits: np.uint64) -> float:
    """Return a number from 0 to 1, 1 excluded."""
    return np.float64(bits >> np.uint64(11)) / 9007199254740992.0  # 2**53


@numba.njit(cache=True, nogil=True)
def document_keys(hash_N: U64, seed: np.uint64) -> U64:
    """Return uint64[N]: what every choice for a document is drawn from."""
    key_N = np.empty_like(hash_N)
    for n in range(hash_N.size):
        key_N[n] = draw(hash_N[n], 0, 0) ^ draw(seed, 0, 1)
    return key_N


@numba.njit(cache=True, nogil=True)
def choose_tasks(
    key_N: U64,
    found_M6: I64,
    sentence: tuple[I64, I64, I64],
    keyword: tuple[I64, I64, I64, I64],
) -> I64:
    """Choose the tasks of each document and their order.

    key_N     uint64[N]
    found_M6  see ``mine``
    sentence  see ``cut_sentences``
    keyword   see ``keyword_sentences``
    returns   int64[T, 11]  document, family, kind, and four values from and to; documents in order
    """
    offset, start_S, stop_S = sentence
    index_C, offset_C, start_K, stop_K = keyword
    most = len(RELATIONS) * PER_RELATION + PER_RELATION
    task_T = np.empty((found_M6.shape[0] + index_C.size, TASK_FIELDS), dtype=np.int64)
    rank_T = np.empty(most, dtype=np.uint64)
    m, c, made = 0, 0, 0
    for n in range(key_N.size):
        m_stop, c_stop, first = m, c, made
        while m_stop < found_M6.shape[0] and found_M6[m_stop, 0] == n:
            m_stop += 1
        while c_stop < index_C.size and index_C[c_stop] < offset[n + 1]:
            c_stop += 1
        if m_stop > m:
            made = _choose_matches(key_N[n], found_M6, m, m_stop, task_T, made)
        taken = -1
        for _ in range(PER_RELATION):
            picked = _picked_sentence(key_N[n], c, c_stop, taken)
            if picked < 0:
                break
            s, k, k_stop = index_C[picked], offset_C[picked], offset_C[picked + 1]
            _put_sentence(n, task_T[made], start_S[s], stop_S[s])
            _put_words(key_N[n], task_T[made], k, k_stop, start_K, stop_K)
            made, taken = made + 1, picked
        if made - first > 1:
            _put_in_order(key_N[n], task_T, rank_T, first, made)
        m, c = m_stop, c_stop
    return task_T[:made]


@leaf
def _choose_matches(
    key: np.uint64, found_M6: I64, m: int, m_stop: int, task_T: I64, made: int
) -> int:
    """Take the matches of each relation whose hashes are the smallest."""
    for relation in range(len(RELATIONS)):
        taken = -1
        for _ in range(PER_RELATION):
            best, least = -1, np.uint64(0)
            for here in range(m, m_stop):
                if found_M6[here, 1] != relation or here == taken:
                    continue
                value = draw(key, _PICK, here - m)
                if best < 0 or value < least:
                    best, least = here, value
            if best < 0:
                break
            generate = share(draw(key, _MODE, best - m)) < _GENERATE
            _put_match(found_M6[best], generate, task_T[made])
            made, taken = made + 1, best
    return made


@leaf
def _put_match(match: I64, generate: bool, task: I64) -> None:
    relation = match[1]
    task[0] = match[0]
    task[1] = relation + CAUSE
    task[2] = COMMONSENSE
    if relation <= NEUTRAL:
        task[1] = relation + CAUSE if generate else relation
        task[2] = NLI
    elif relation >= DEFINITION:
        task[2] = WORDS
    elif relation >= SIMILAR:
        task[2] = PARAPHRASE
    for field in range(4):
        task[3 + field] = match[2 + field]
        task[7 + field] = 0


@leaf
def _picked_sentence(key: np.uint64, c: int, c_stop: int, taken: int) -> int:
    """Return the sentence with keywords whose hash is the smallest, ``taken`` aside; -1 if none."""
    best, least = -1, np.uint64(0)
    for here in range(c, c_stop):
        value = draw(key, _SENTENCE, here - c)
        if here != taken and (best < 0 or value < least):
            best, least = here, value
    return best


@leaf
def _put_sentence(n: int, task: I64, start: int, stop: int) -> None:
    task[0], task[1], task[2] = n, WORD_TO_TEXT, WORDS
    task[9], task[10] = start, stop


@leaf
def _put_words(key: np.uint64, task: I64, k: int, k_stop: int, start_K: I64, stop_K: I64) -> None:
    """Take three of a sentence's keywords, in an order by hash."""
    before, has_before = np.uint64(0), False
    for word in range(3):
        best, least = -1, np.uint64(0)
        for here in range(k, k_stop):
            value = draw(key ^ np.uint64(task[9] - start_K[k]), _WORD, here - k)
            if has_before and value <= before:
                continue
            if best < 0 or value < least:
                best, least = here, value
        task[3 + 2 * word], task[4 + 2 * word] = start_K[best], stop_K[best]
        before, has_before = least, True


@leaf
def _put_in_order(key: np.uint64, task_T: I64, rank_T: U64, first: int, stop: int) -> None:
    """Sort a document's tasks: kinds in an order by hash, and each kind's tasks likewise."""
    for t in range(first, stop):
        kind = draw(key, _KIND_ORDER, task_T[t, 2]) >> np.uint64(32)
        own = draw(key, _ORDER, t - first) >> np.uint64(32)
        rank_T[t - first] = (kind << np.uint64(32)) | own
    for t in range(first + 1, stop):  # no more than 20: sorted by insertion
        here = t
        while here > first and rank_T[here - first] < rank_T[here - first - 1]:
            for field in range(TASK_FIELDS):
                task_T[here, field], task_T[here - 1, field] = (
                    task_T[here - 1, field],
                    task_T[here, field],
                )
            low, high = here - first - 1, here - first
            rank_T[low], rank_T[high] = rank_T[high], rank_T[low]
            here -= 1


@leaf
def frame_of(key: np.uint64, has_title: bool, sentences: int) -> int:
    """Return the family of the frame that a document is put into."""
    value = share(draw(key, _FRAME, 0))
    if has_title and sentences >= 2:
        if value < _WITH_BOTH[0]:
            return FRAME_SUMMARY
        if value < _WITH_BOTH[1]:
            return FRAME_COMPLETION
        return FRAME_BOTH if value < _WITH_BOTH[2] else FRAME_NEITHER
    if value >= _WITH_ONE:
        return FRAME_NEITHER
    if has_title:
        return FRAME_SUMMARY
    return FRAME_COMPLETION if sentences >= 2 else FRAME_NEITHER


@leaf
def cut_after(key: np.uint64, sentences: int) -> Int:
    """Return how many of the sentences, one at least and not all, are shown to be continued."""
    return 1 + np.int64(draw(key, _CUT, 0) % np.uint64(sentences - 1))
