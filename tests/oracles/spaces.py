"""White space as Unicode's PropList.txt lists it (White_Space), and words between it."""

from __future__ import annotations

import re

WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B)))
WHITE_SPACE += "\u2028\u2029\u202f\u205f\u3000"
RUN = re.compile(f"[{WHITE_SPACE}]+")


def words(text: str) -> list[str]:
    """Split at runs of white space."""
    return [word for word in RUN.split(text) if word]
