"""Scores from comparisons: the Bradley-Terry model, fitted by Newton's method.

    P(i is better than j) = 1 / (1 + exp(s_j - s_i))

A small ridge keeps the score of a document finite that wins all its comparisons, and holds together
documents that no chain of comparisons joins.

N documents, P comparisons
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

#: Of Newton's steps so many at most are made; a dozen is the rule.
_STEPS = 100
#: A gradient so small, beside the comparisons of a document, ends the search.
_SMALL = 1e-10


def bradley_terry(first_P: I64, second_P: I64, prob_P: F64, count: int, ridge: float = 0.1) -> F64:
    """Return the scores that make the comparisons likeliest, less ridge / 2 times their squares.

    first_P   int64[P]    document of each comparison
    second_P  int64[P]    the other document
    prob_P    float64[P]  probability, 0..1, that the first is the better one
    count     N
    ridge     above 0
    returns   float64[N]  their sum is 0; 0 for a document that was never compared
    """
    score_N = np.zeros(count)
    value = _loss(score_N, first_P, second_P, prob_P, ridge)
    for _ in range(_STEPS):
        win_P = _sigmoid(score_N[first_P] - score_N[second_P])
        gradient_N = _spread(win_P - prob_P, first_P, second_P, count) + ridge * score_N
        if np.abs(gradient_N).max(initial=0.0) < _SMALL:
            break
        step_N = _solve(gradient_N, win_P * (1 - win_P), first_P, second_P, ridge)
        size = 1.0
        while size > 1e-9:  # a whole step may go too far from a flat place
            moved_N = score_N - size * step_N
            new = _loss(moved_N, first_P, second_P, prob_P, ridge)
            if new <= value:
                break
            size /= 2
        else:
            break
        score_N, value = moved_N, new
    return score_N


def _sigmoid(x: F64) -> F64:
    return 1 / (1 + np.exp(-np.clip(x, -700, 700)))


def _loss(score_N: F64, first_P: I64, second_P: I64, prob_P: F64, ridge: float) -> float:
    gap_P = score_N[first_P] - score_N[second_P]
    lost_P = np.logaddexp(0, gap_P) - prob_P * gap_P
    return float(lost_P.sum() + ridge / 2 * (score_N @ score_N))


def _spread(value_P: F64, first_P: I64, second_P: I64, count: int) -> F64:
    """Add each comparison's value to its first document and take it from its second."""
    won_N: F64 = np.bincount(first_P, value_P, count).astype(np.float64)
    return won_N - np.bincount(second_P, value_P, count)


def _solve(right_N: F64, weight_P: F64, first_P: I64, second_P: I64, ridge: float) -> F64:
    """Solve (Hessian) x = right by conjugate gradients, without making the matrix."""
    count = len(right_N)
    solution_N, residual_N = np.zeros(count), right_N.copy()
    way_N, size = residual_N.copy(), float(residual_N @ residual_N)
    wanted = size * 1e-20
    for _ in range(10 * count + 10):
        if size <= wanted:
            break
        gap_P = weight_P * (way_N[first_P] - way_N[second_P])
        bent_N = _spread(gap_P, first_P, second_P, count) + ridge * way_N
        length = size / float(way_N @ bent_N)
        solution_N += length * way_N
        residual_N -= length * bent_N
        before, size = size, float(residual_N @ residual_N)
        way_N = residual_N + size / before * way_N
    return solution_N
