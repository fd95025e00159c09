"""What a fastText classifier says of a text: the likeliest label, or the probability of each.

Written after the model as fastText 0.9 runs it (github.com/facebookresearch/fastText, MIT): what
the losses make of the mean of a text's rows.

B bytes of all texts, N texts, D dimensions, L labels, T nodes of the label tree
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.fasttext_means import means, room
from curation.kernels.fasttext_tables import HIERARCHICAL, SOFTMAX, Tables

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

#: Added by fastText to a probability before its logarithm.
_TINY = 1e-5
#: fastText looks its sigmoid up in a table of 512 steps between -8 and 8.
_STEPS, _LIMIT = 512, 8
_SIGMOID = 1.0 / (1.0 + np.exp(-(np.arange(_STEPS + 1) * (2 * _LIMIT / _STEPS) - _LIMIT)))


@numba.njit(cache=True, nogil=True)
def best_labels(tables: Tables, data_B: U8, start_N: I64, stop_N: I64) -> tuple[I32, F32]:
    """Return the likeliest label of each text and its probability.

    data_B   uint8[B]    UTF-8
    start_N  int64[N]    text n is data_B[start_N[n]:stop_N[n]]
    stop_N   int64[N]
    returns  int32[N]    index of the label; -1 where no word of the text has a row
             float32[N]  what fastText states, at most 1; 0 where there is no label
    """
    label_N = np.full(start_N.size, -1, dtype=np.int32)
    prob_N = np.zeros(start_N.size, dtype=np.float32)
    output_L = np.zeros(tables.labels, dtype=np.float64)
    node_T = np.zeros(max(tables.child_T2.shape[0], 1), dtype=np.int32)
    prob_T = np.zeros(node_T.size, dtype=np.float64)
    window, step = room(tables, start_N, stop_N)
    for first in range(0, start_N.size, step):
        last = min(first + step, start_N.size)
        mean_ND, rows_N = means(tables, data_B, start_N[first:last], stop_N[first:last], window)
        for n in range(first, last):
            if rows_N[n - first] == 0:
                continue
            if tables.loss == HIERARCHICAL:
                label, prob = _likeliest_leaf(tables, mean_ND[n - first], node_T, prob_T)
            else:
                _outputs(tables, mean_ND[n - first], output_L)
                label = _last_greatest(output_L)
                prob = output_L[label] + _TINY
            label_N[n], prob_N[n] = label, min(prob, 1.0)
    return label_N, prob_N


@numba.njit(cache=True, nogil=True)
def label_probs(tables: Tables, data_B: U8, start_N: I64, stop_N: I64) -> F32:
    """Return the probability of every label for each text: float32[N, L].

    Arguments as in ``best_labels``; a text without a row of its own has zeros.
    """
    prob_NL = np.zeros((start_N.size, tables.labels), dtype=np.float32)
    output_L = np.zeros(tables.labels, dtype=np.float64)
    prob_T = np.zeros(max(tables.child_T2.shape[0], 1), dtype=np.float64)
    window, step = room(tables, start_N, stop_N)
    for first in range(0, start_N.size, step):
        last = min(first + step, start_N.size)
        mean_ND, rows_N = means(tables, data_B, start_N[first:last], stop_N[first:last], window)
        for n in range(first, last):
            if rows_N[n - first] == 0:
                continue
            if tables.loss == HIERARCHICAL:
                _all_leaves(tables, mean_ND[n - first], prob_T)
                for label in range(tables.labels):
                    prob_NL[n, label] = min(prob_T[label], 1.0)
            else:
                _outputs(tables, mean_ND[n - first], output_L)
                for label in range(tables.labels):
                    prob_NL[n, label] = min(output_L[label] + _TINY, 1.0)
    return prob_NL


@numba.njit(cache=True, nogil=True)
def _last_greatest(output_L: F64) -> int:
    """Return the index of the greatest; the last of equals, as fastText's heap does."""
    best = 0
    for label in range(1, output_L.size):
        if output_L[label] >= output_L[best]:
            best = label
    return best


@numba.njit(cache=True, nogil=True)
def _outputs(tables: Tables, hidden_D: F32, output_L: F64) -> None:
    """Write the probability of each label, by softmax or by one sigmoid for each."""
    most = -np.inf
    for label in range(output_L.size):
        output_L[label] = _dot(tables.output_LD, label, hidden_D)
        most = max(most, output_L[label])
    if tables.loss != SOFTMAX:
        for label in range(output_L.size):
            output_L[label] = _sigmoid(output_L[label])
        return
    total = 0.0
    for label in range(output_L.size):
        output_L[label] = np.exp(output_L[label] - most)
        total += output_L[label]
    for label in range(output_L.size):
        output_L[label] /= total


@numba.njit(cache=True, nogil=True)
def _sigmoid(x: float) -> float:
    if x < -_LIMIT:
        return 0.0
    if x > _LIMIT:
        return 1.0
    return float(_SIGMOID[int((np.float32(x) + _LIMIT) * _STEPS / _LIMIT / 2)])


@numba.njit(cache=True, nogil=True)
def _likeliest_leaf(tables: Tables, hidden_D: F32, node_T: I32, prob_T: F64) -> tuple[int, float]:
    """Return the likeliest label of the tree and its probability.

    The likelier child is looked at first and branches below the best leaf are left alone, which
    changes what is looked at and not what is found. Of equal leaves, the rightmost is taken.

    node_T, prob_T  room for the nodes still to be looked at
    """
    child_T2, place_T, output_LD, labels = (
        tables.child_T2,
        tables.place_T,
        tables.output_LD,
        tables.labels,
    )
    best, best_prob = -1, -1.0
    node_T[0], prob_T[0], waiting = node_T.size - 1, 1.0, 1
    while waiting:
        waiting -= 1
        node, prob = node_T[waiting], prob_T[waiting]
        if prob < best_prob:
            continue
        if child_T2[node, 0] < 0:
            if prob > best_prob or place_T[node] > place_T[best]:
                best, best_prob = int(node), float(prob)
            continue
        right = 1.0 / (1.0 + np.exp(-_dot(output_LD, node - labels, hidden_D)))
        first, second = prob * (1.0 - right + _TINY), prob * (right + _TINY)
        left_last = 1 if first > second else 0
        node_T[waiting + left_last], prob_T[waiting + left_last] = child_T2[node, 0], first
        node_T[waiting + 1 - left_last] = child_T2[node, 1]
        prob_T[waiting + 1 - left_last] = second
        waiting += 2
    return best, best_prob


@numba.njit(cache=True, nogil=True)
def _all_leaves(tables: Tables, hidden_D: F32, prob_T: F64) -> None:
    """Write the probability of every node; a node's children come before it."""
    child_T2, output_LD, labels = tables.child_T2, tables.output_LD, tables.labels
    prob_T[-1] = 1.0
    for node in range(prob_T.size - 1, labels - 1, -1):
        right = 1.0 / (1.0 + np.exp(-_dot(output_LD, node - labels, hidden_D)))
        prob_T[child_T2[node, 0]] = prob_T[node] * (1.0 - right + _TINY)
        prob_T[child_T2[node, 1]] = prob_T[node] * (right + _TINY)


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _dot(output_LD: F32, row: int, hidden_D: F32) -> float:
    total = np.float32(0.0)
    for d in range(hidden_D.size):
        total += output_LD[row, d] * hidden_D[d]
    return float(total)
