"""Entropic optimal transport between two weighted samples, in the log domain.

The potentials f and g maximise <a, f> + <b, g> - e * sum(a b (exp((f + g - C) / e) - 1)). Given g,
the best f at a point z is -e * log(sum over m of b_m * exp((g_m - C(z, m)) / e)): a smooth minimum
that any point has, whether or not it is in the sample. At the maximum f is the derivative of the
distance by mass at z, which is what selection needs (see score/transport.py).

N points of the first sample, M of the second
"""

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.leaf import leaf

F64 = npt.NDArray[np.float64]


@leaf
def _soft_minimum(cost_NM: F64, n: int, potential_M: F64, logs_M: F64, epsilon: float) -> float:
    """Return -e * log(sum exp(log b_m + (g_m - C_nm) / e)), the largest term taken out first."""
    most = -np.inf
    for m in range(potential_M.size):
        most = max(most, logs_M[m] + (potential_M[m] - cost_NM[n, m]) / epsilon)
    total = 0.0
    for m in range(potential_M.size):
        total += math.exp(logs_M[m] + (potential_M[m] - cost_NM[n, m]) / epsilon - most)
    return -epsilon * (most + math.log(total))


@numba.njit(cache=True, nogil=True)
def soft_minima(cost_NM: F64, potential_M: F64, logs_M: F64, epsilon: float) -> F64:
    """Return the potential of each of N points, given that of the other sample.

    cost_NM      float64[N, M]  what it costs to move mass from n to m
    potential_M  float64[M]
    logs_M       float64[M]     logarithms of the masses
    """
    found_N = np.empty(cost_NM.shape[0], dtype=np.float64)
    for n in range(cost_NM.shape[0]):
        found_N[n] = _soft_minimum(cost_NM, n, potential_M, logs_M, epsilon)
    return found_N


def sinkhorn(
    cost_NM: F64, mass_N: F64, mass_M: F64, epsilon: float, tolerance: float, iterations: int
) -> tuple[F64, F64, float]:
    """Return both potentials, and the mass that the plan still puts in the wrong places.

    Ends when that mass is at most ``tolerance``, or after so many iterations. The first potential
    is the best for the second, whether or not it ended in time.
    """
    logs_N, logs_M = np.log(mass_N), np.log(mass_M)
    cost_MN = np.ascontiguousarray(cost_NM.T)
    second_M, wrong = np.zeros(len(mass_M)), np.inf
    for _ in range(iterations):
        first_N = soft_minima(cost_NM, second_M, logs_M, epsilon)
        next_M = soft_minima(cost_MN, first_N, logs_N, epsilon)
        # the plan's mass at m is b_m * exp((g_m - next_m) / e)
        wrong = float(np.abs(mass_M * np.expm1((second_M - next_M) / epsilon)).sum())
        second_M = next_M
        if wrong <= tolerance:
            break
    return soft_minima(cost_NM, second_M, logs_M, epsilon), second_M, wrong
