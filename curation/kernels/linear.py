"""What a linear model over hashed runs of words says of a text, hashed and added up in one pass.

A text's features are the runs that the model has met; each counts as 1 + ln(count) times the
run's weight of rarity (idf), and a text's features are divided by their Euclidean length. So the
kernel needs one row a run: its idf, and its weight for each output.

Trade-off: what a run's row is stands in an array as long as there are buckets, of four bytes each,
so that the rows themselves are only those of runs met in training, whatever the buckets.

B bytes of all texts, N texts, M buckets, U runs that the model has met, O outputs, C code points,
S runs of one text, L labels of one head
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.hashed_ngrams import WORDPUNCT, word_runs, word_table
from curation.kernels.leaf import leaf

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Bool_N = npt.NDArray[np.bool_]

#: Seed of the hashes of runs: another one would make every stored model another model.
SEED = np.uint64(0)


class Tables(NamedTuple):
    """A linear model as arrays.

    place_M  int32[M]         row of each bucket; -1 where no text of the training had it
    row_UX   float32[U, 1+O]  its idf, then its weight for each output
    bias_O   float32[O]
    table_C  uint32[C]        how characters are lowered and cut into words
    ngrams   int              words of the longest run
    """

    place_M: I32
    row_UX: F32
    bias_O: F32
    table_C: U32
    ngrams: int


def tables(bucket_U: U32, row_UX: F32, bias_O: F32, ngrams: int, buckets: int) -> Tables:
    """Return a model as the kernel takes it.

    bucket_U  uint32[U]        the buckets that have rows
    row_UX    float32[U, 1+O]  see ``Tables``
    """
    place_M = np.full(buckets, -1, dtype=np.int32)
    place_M[bucket_U] = np.arange(len(bucket_U), dtype=np.int32)
    return Tables(place_M, row_UX, bias_O, word_table(WORDPUNCT), ngrams)


@numba.njit(cache=True, nogil=True)
def linear_outputs(tables: Tables, data_B: U8, start_N: I64, stop_N: I64) -> tuple[F32, I32]:
    """Return the outputs of a linear model for each text, and how many features it has.

    data_B   uint8[B]       UTF-8
    start_N  int64[N]       text n is data_B[start_N[n]:stop_N[n]]
    stop_N   int64[N]
    returns  float32[N, O]  the bias alone where the text has no feature
             int32[N]       different runs of the text that the model has met
    """
    outputs = tables.bias_O.size
    output_NO = np.empty((start_N.size, outputs), dtype=np.float32)
    met_N = np.zeros(start_N.size, dtype=np.int32)
    longest = 0
    for n in range(start_N.size):
        longest = max(longest, stop_N[n] - start_N[n])
    run_R = np.empty(tables.ngrams, dtype=np.uint64)
    bucket_S = np.empty(longest * tables.ngrams, dtype=np.uint32)
    met_S = np.empty(min(longest * tables.ngrams, tables.row_UX.shape[0]), dtype=np.int32)
    count_U = np.zeros(tables.row_UX.shape[0], dtype=np.int32)
    sum_O = np.empty(outputs, dtype=np.float64)
    place_M, row_UX, bias_O = tables.place_M, tables.row_UX, tables.bias_O
    buckets, table_C = np.uint64(place_M.size), tables.table_C
    for n in range(start_N.size):
        text_B = data_B[start_N[n] : stop_N[n]]
        runs = word_runs(text_B, run_R, buckets, table_C, SEED, bucket_S)
        met = _count(bucket_S, runs, place_M, count_U, met_S)
        _add(met_S, met, count_U, row_UX, bias_O, sum_O, output_NO[n])
        met_N[n] = met
    return output_NO, met_N


@leaf
def _count(bucket_S: U32, runs: int, place_M: I32, count_U: I32, met_S: I32) -> int:
    """Count the runs that have a row; list each once, in the order of the text."""
    met = 0
    for s in range(runs):
        row = place_M[bucket_S[s]]
        if row >= 0:
            if count_U[row] == 0:
                met_S[met] = row
                met += 1
            count_U[row] += 1
    return met


@leaf
def _add(
    met_S: I32, met: int, count_U: I32, row_UX: F32, bias_O: F32, sum_O: F64, output_O: F32
) -> None:
    """Add up the rows of a text's runs, divide by its length; leave the counts at nought."""
    sum_O[:] = 0.0
    square = 0.0
    for s in range(met):
        row = met_S[s]
        count = count_U[row]
        count_U[row] = 0
        value = np.float64(row_UX[row, 0])
        if count > 1:
            value *= 1.0 + np.log(np.float64(count))
        square += value * value
        for o in range(sum_O.size):
            sum_O[o] += value * row_UX[row, o + 1]
    scale = 1.0 / np.sqrt(square) if square > 0 else 0.0
    for o in range(sum_O.size):
        output_O[o] = sum_O[o] * scale + bias_O[o]


@numba.njit(cache=True, nogil=True)
def has_word(data_B: U8, start_N: I64, stop_N: I64) -> Bool_N:
    """Return bool[N]: False where a text is nothing but ASCII white space and null bytes."""
    found_N = np.zeros(start_N.size, dtype=np.bool_)
    for n in range(start_N.size):
        for at in range(start_N[n], stop_N[n]):
            byte = data_B[at]
            if byte > 0x20 or (byte > 0x0D and byte < 0x20) or (byte > 0 and byte < 0x09):
                found_N[n] = True
                break
    return found_N


@numba.njit(cache=True, nogil=True)
def softmax(logit_NL: F32, temperature: float) -> F32:
    """Return float32[N, L]: the probability of each label, of which one holds."""
    prob_NL = np.empty(logit_NL.shape, dtype=np.float32)
    for n in range(logit_NL.shape[0]):
        most, total = -np.inf, 0.0
        for label in range(logit_NL.shape[1]):
            most = max(most, np.float64(logit_NL[n, label]))
        for label in range(logit_NL.shape[1]):
            total += np.exp((logit_NL[n, label] - most) / temperature)
        for label in range(logit_NL.shape[1]):
            prob_NL[n, label] = np.exp((logit_NL[n, label] - most) / temperature) / total
    return prob_NL


@numba.njit(cache=True, nogil=True)
def sigmoid(logit_NL: F32, temperature: float) -> F32:
    """Return float32[N, L]: the probability of each label, which hold independently."""
    prob_NL = np.empty(logit_NL.shape, dtype=np.float32)
    for n in range(logit_NL.shape[0]):
        for label in range(logit_NL.shape[1]):
            prob_NL[n, label] = 1.0 / (1.0 + np.exp(-logit_NL[n, label] / temperature))
    return prob_NL
