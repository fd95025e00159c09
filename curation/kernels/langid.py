"""Language identification as langid.py does it: byte n-grams found by an automaton, naive Bayes.

The method is Lui and Baldwin 2012 (aclanthology.org/P12-3005); the counting by log(1 + n) and the
temperature are py3langid 0.4's. Rows of the table are shifted to a mean of zero, which no
probability feels and which keeps the sums of long texts small enough for float32.

B bytes of all texts, N texts, S states, V different transition rows, F features, C classes
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
U32 = npt.NDArray[np.uint32]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]

#: Logarithms of so many counts are kept ready.
_LOGS = np.log1p(np.arange(1024)).astype(np.float32)


class Tables(NamedTuple):
    """A model as arrays.

    next_V   uint32[V * 256]  state after each byte, for each of the different rows of states
    state_S2 int32[S, 2]      where a state's row begins in ``next_V``; its feature, or -1
    score_FC float32[F, C]    logarithm of each feature's weight for each class
    prior_C  float32[C]       logarithm of each class's weight
    first_C  int32[C]         the class that this one's probability is added to: its label's first
    """

    next_V: U32
    state_S2: I32
    score_FC: F32
    prior_C: F32
    first_C: I32


@numba.njit(cache=True, nogil=True)
def best_classes(tables: Tables, data_B: U8, start_N: I64, stop_N: I64) -> tuple[I32, F32]:
    """Return the likeliest class of each text and its probability.

    data_B   uint8[B]    UTF-8 in normalization form C
    start_N  int64[N]    text n is data_B[start_N[n]:stop_N[n]]
    stop_N   int64[N]
    returns  int32[N]    index of the class, the first of its label; -1 for a text without features
             float32[N]  probability of the label; 0 where there is none
    """
    next_V, state_S2, score_FC = tables.next_V, tables.state_S2, tables.score_FC
    prior_C, first_C = tables.prior_C, tables.first_C
    class_N = np.full(start_N.size, -1, dtype=np.int32)
    prob_N = np.zeros(start_N.size, dtype=np.float32)
    count_F = np.zeros(score_FC.shape[0], dtype=np.int32)
    met_F = np.empty(score_FC.shape[0], dtype=np.int32)
    score_C = np.empty(score_FC.shape[1], dtype=np.float32)
    for n in range(start_N.size):
        met = _count_features(next_V, state_S2, data_B[start_N[n] : stop_N[n]], count_F, met_F)
        if met:
            _add_scores(score_FC, prior_C, count_F, met_F[:met], score_C)
            class_N[n], prob_N[n] = _likeliest(score_C, first_C, stop_N[n] - start_N[n])
    return class_N, prob_N


@numba.njit(cache=True, nogil=True)
def _count_features(next_V: U32, state_S2: I32, text_B: U8, count_F: I32, met_F: I32) -> int:
    """Count the features of a text; return how many different ones there are, listed in met_F."""
    state, met = 0, 0
    for byte in text_B:
        state = next_V[state_S2[state, 0] + byte]
        feature = state_S2[state, 1]
        if feature >= 0:
            if count_F[feature] == 0:
                met_F[met] = feature
                met += 1
            count_F[feature] += 1
    return met


@numba.njit(cache=True, nogil=True)
def _add_scores(score_FC: F32, prior_C: F32, count_F: I32, met_F: I32, score_C: F32) -> None:
    """Write each class's score and set the counts back to zero."""
    for c in range(score_C.size):
        score_C[c] = prior_C[c]
    for feature in met_F:
        count = count_F[feature]
        weight = _LOGS[count] if count < _LOGS.size else np.float32(np.log1p(count))
        for c in range(score_C.size):
            score_C[c] += weight * score_FC[feature, c]
        count_F[feature] = 0


@numba.njit(cache=True, nogil=True)
def _likeliest(score_C: F32, first_C: I32, size: int) -> tuple[int, float]:
    """Return the class with the greatest probability, classes of one label taken together.

    size  bytes of the text: the scores' temperature is its square root
    """
    scale = 1.0 / np.sqrt(np.float64(size))
    greatest = score_C.max()
    total = np.float64(0.0)
    for c in range(score_C.size):
        score_C[c] = np.exp((score_C[c] - greatest) * scale)
        total += score_C[c]
    best = 0
    for c in range(score_C.size):
        if first_C[c] != c:
            score_C[first_C[c]] += score_C[c]
            score_C[c] = 0.0
    for c in range(score_C.size):
        if score_C[c] > score_C[best]:
            best = c
    return best, score_C[best] / total
