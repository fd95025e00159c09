"""Runs the published package on matrices from a file: what selection_correlation compares with.

    PYTHON correlation.py INPUT.npz OUTPUT.npz REPEATS

It needs numpy and perplexity-correlations alone, and is run in an environment that has them.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

ESTIMATORS = ("product", "sign", "sign_cdf", "sign_sign", "spearmanr")
PROJECTIONS = ("linear", "l2")


def fastest(function: Callable[[], Any], repeats: int) -> tuple[Any, float]:
    """Return what a function returns, and the seconds of its fastest call."""
    seconds, found = [], function()
    for _ in range(repeats):
        began = time.perf_counter()
        found = function()
        seconds.append(time.perf_counter() - began)
    return found, min(seconds)


def main() -> None:
    """Write every estimate and projection; print the seconds of each as JSON."""
    from perplexity_correlations import estimation, projection

    warnings.simplefilter("ignore")  # of values that are no bits per byte
    given, repeats = np.load(sys.argv[1]), int(sys.argv[3])
    made, seconds = {}, {}
    for case in (name.removeprefix("x ") for name in given.files if name.startswith("x ")):
        x, y, tau = (given[f"{part} {case}"] for part in "xyt")
        for name in ESTIMATORS:
            key = f"{case} {name}"
            estimator = getattr(estimation, name)
            made[key], seconds[key] = fastest(partial(estimator, x, y), repeats)
            for other in PROJECTIONS:
                call = partial(getattr(projection, other), made[key], tau)
                made[f"{key} {other}"], seconds[f"{key} {other}"] = fastest(call, repeats)
    np.savez(sys.argv[2], **made)
    print(json.dumps({"numpy": np.__version__, "seconds": seconds}))


if __name__ == "__main__":
    main()
