"""The lower-case form of every code point, from Python's own character database.

``python -m tests.oracles.lowercase`` prints ``curation/kernels/lowercase.txt``; it wants a Python
whose database is Unicode 14 (3.11).
"""

from __future__ import annotations

import sys


def lower(code: int) -> int:
    """Return the one code point that a code point is lowered to; itself where there are several."""
    made = chr(code).lower()
    return ord(made) if len(made) == 1 else code


def main() -> None:
    """Print a line ``FIRST LAST STEP SHIFT`` for each run of code points lowered alike."""
    runs: list[list[int]] = []
    for code in range(sys.maxunicode + 1):
        shift = lower(code) - code
        if not shift:
            continue
        last = runs[-1] if runs else [0, -9, 0, 0]
        gap = code - last[1]
        if shift == last[3] and gap in (1, 2) and last[2] in (0, gap):
            last[1], last[2] = code, gap
        else:
            runs.append([code, code, 0, shift])
    for first, stop, step, shift in runs:
        print(f"{first:X} {stop:X} {step or 1} {shift}")


if __name__ == "__main__":
    main()
