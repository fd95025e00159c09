"""How the innermost functions of kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

#: A whole number whose width numba settles; numpy's stubs know no mixture of widths.
Int = Any

F = TypeVar("F", bound=Callable[..., object])


def leaf(function: F) -> F:
    """Compile a function that allocates nothing, without numba's reference counts.

    Numba counts references to every array that a function is handed, atomically, and where calls
    are nested its optimiser leaves most of the counting in: a walk over text that calls
    ``decode`` ran at 62 MB/s with it and at 330 MB/s without. A leaf reads and writes arrays that
    its caller owns, and may call other leaves. One that does allocate fails to compile.
    """
    options: dict[str, Any] = {"cache": True, "nogil": True, "_nrt": False}
    return cast(F, numba.njit(**options)(function))
