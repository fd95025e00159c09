"""AdaptLLM's patterns as regular expressions, as METHODS.md states them."""

from __future__ import annotations

import re
from collections.abc import Iterator

_THUS = "Therefore|Thus|Accordingly|Hence|For this reason"
_BUT = "No|However|But|On the contrary|In contrast|Whereas"
_S = r"([^.!?\n,]{50,}[.!?]+)"
_LONGER = r"([^.!?\n]{50,}[.!?]+)"
_CAUSE = r"([^.!?;\n,]{50,}[.!?]+)"
_SAID = r"([^.!?\n]{20,}[.!?]+)"


def _joined(sentence: str, verbs: str) -> str:
    return rf"([.!?]+[\s]+){sentence}([\s]+)({verbs})([\s]*,[\s]+){sentence}([\s]+)"


PATTERNS: dict[str, str] = {
    "entail": _joined(_S, f"Yes|{_THUS}"),
    "contradict": _joined(_S, _BUT),
    "neutral": _joined(_S, "Maybe|Also|Furthermore|Secondly|Additionally|Moreover|In addition"),
    "cause_effect": _joined(_S, _THUS),
    "effect_cause": (
        rf"([.!?]+[\s]+){_CAUSE}([\s]+)(due to|on account of|owing to)([\s]+){_CAUSE}([\s]+)"
    ),
    "similar": _joined(
        _LONGER,
        "In other words|In other word|Namely|That is to say|i.e.|Scilicet|Similarly|Equally",
    ),
    "different": _joined(_LONGER, _BUT),
    "definition": (
        r"([\s]+)([^.!?,;\s\"]{10,})([\s]+)(is defined as|\'s definition is)([\s]+)"
        rf"{_SAID}([\s]+)"
    ),
    "topic": (
        r"([.!?]+[\s]+)([^.!?,;\n]{20,})([\s]+)(was about|talks about|is about|\'s topic is)([\s]+)"
        rf"{_SAID}([\s]+)"
    ),
}
_COMPILED = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in PATTERNS.items()}


def matches(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield the relation and both parts of every match, relation after relation."""
    for relation, pattern in _COMPILED.items():
        for found in pattern.findall(text):
            yield relation, found[1], found[5]
