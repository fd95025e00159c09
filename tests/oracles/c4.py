"""C4's rules on lines, section 2.2 of arXiv:1910.10683 and its released code."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from tests.oracles.words import sentences

CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
POLICY = (
    *("terms of use", "privacy policy", "cookie policy"),
    *("uses cookies", "use of cookies", "use cookies"),
)
#: Columns of the counts, in the kernel's order.
FATES = (
    *("sentences", "kept", "long word", "unterminated", "short"),
    *("lorem", "javascript", "curly", "policy"),
)
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


@dataclass(frozen=True)
class Options:
    """The settings of C4Quality and C4Lines, by their names there."""

    terminal_only: bool = True
    min_line_words: int = 3
    max_word_chars: int = 1000
    remove_citations: bool = True


def fate(line: str, options: Options) -> tuple[str, str]:
    """Return what becomes of a line, and the line without citations."""
    words = line.split()
    if options.max_word_chars >= 0 and any(len(w) > options.max_word_chars for w in words):
        return "long word", line
    if options.remove_citations:
        line = CITATION.sub("", line)
    ends = line.endswith((".", "?", "!", '"', "'")) and not line.endswith("...")
    if options.terminal_only and not ends:
        return "unterminated", line
    if len(words) < options.min_line_words:
        return "short", line
    lowered = line.translate(_LOWER)
    if "lorem ipsum" in lowered:
        return "lorem", line
    if "javascript" in lowered:
        return "javascript", line
    if "{" in line:
        return "curly", line
    if any(phrase in lowered for phrase in POLICY):
        return "policy", line
    return "kept", line


def judge(
    text: str, options: Options, words_of: Callable[[str], list[str]]
) -> tuple[tuple[int, ...], str]:
    """Return the counts in the order of FATES, and the text of the lines that stay."""
    count: Counter[str] = Counter()
    kept = []
    for line in text.splitlines():
        what, left = fate(line.strip(), options)
        count[what] += 1
        if what == "kept":
            kept.append(left)
            count["sentences"] += sentences(words_of(left))
    return tuple(count[name] for name in FATES), "\n".join(kept).strip()
