"""What a classifier answers: its heads, and what a file says of them, which nobody need believe."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

HeadKind = Literal["one", "many", "score"]

#: The kinds of model, and least and most of what a linear one counts.
_KINDS, _WHOLE = ("linear", "fasttext"), {"ngrams": (1, 16), "buckets": (1, 1 << 31)}
#: Temperatures that leave probabilities numbers; training finds some between 0.02 and 55.
_COLDEST, _HOTTEST = 1e-6, 1e6
#: Half a character, which JSON can spell and UTF-8 cannot.
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Head:
    """One question that a model answers.

    kind         one    which of several labels holds (their probabilities sum to 1)
                 many   which labels hold, each by itself
                 score  a number, such as a grade
    labels       in the order of the outputs; none for a score
    positive     the one of the labels that is looked for; then its probability is the answer
    temperature  what the outputs are divided by, so that probabilities are shares of what holds
    """

    name: str
    kind: HeadKind
    labels: tuple[str, ...] = ()
    positive: str = ""
    temperature: float = 1.0

    @property
    def outputs(self) -> int:
        """Numbers that a linear model yields for the head; two labels need one only."""
        return 1 if self.kind == "score" or self.is_pair else len(self.labels)

    @property
    def is_pair(self) -> bool:
        """Whether one of two labels holds."""
        return self.kind == "one" and len(self.labels) == 2


def header_fault(header: Mapping[str, Any]) -> str:
    """Return what is wrong with a header of this version; nothing where it can be used.

    What is read later without a question is asked for here: whoever sends a file wrote its header.
    """
    if header.get("kind") not in _KINDS:
        return f"a model of the unknown kind {header.get('kind')!r:.60}"
    for name, (least, most) in _WHOLE.items() if header["kind"] == "linear" else ():
        if type(header.get(name)) is not int or not least <= header[name] <= most:
            return f"its header is damaged ({name} is {header.get(name)!r:.60})"
    for name in ("settings", "report"):
        if not isinstance(header.get(name, {}), dict):
            return f"its header is damaged ({name} is {header[name]!r:.60})"
    heads = header.get("heads")
    if not isinstance(heads, list) or not heads:
        return "its heads are damaged (there are none)"
    faults = [fault for fault in map(_head_fault, heads) if fault]
    if faults:
        return f"its heads are damaged ({faults[0]})"
    names = [head["name"] for head in heads]
    return "its heads are damaged (two have one name)" if len(set(names)) < len(names) else ""


def _head_fault(head: Any) -> str:
    """Return what is wrong with a head as the header has it; nothing where it can be used."""
    if not isinstance(head, dict) or set(head) != {field.name for field in fields(Head)}:
        return f"{head!r:.60} is no head"
    name, kind, labels, positive = (head[key] for key in ("name", "kind", "labels", "positive"))
    if not _is_text(name) or not name:
        return f"one is called {name!r:.60}"
    if kind not in get_args(HeadKind):
        return f"'{name}' is of the unknown kind {kind!r:.60}"
    if not isinstance(labels, list) or not all(map(_is_text, labels)):
        return f"labels of '{name}' are no text: {labels!r:.60}"
    fits = not labels if kind == "score" else len(labels) >= (2 if kind == "one" else 1)
    if not fits or len(set(labels)) < len(labels):
        return f"'{name}' is of the kind {kind}, with the labels {labels!r:.60}"
    if not _is_text(positive) or (positive and (kind != "one" or positive not in labels)):
        return f"'{name}' looks for {positive!r:.60}, which is none of its labels"
    warmth = head["temperature"]
    if type(warmth) not in (int, float) or not _COLDEST <= warmth <= _HOTTEST:
        return f"'{name}' has the temperature {warmth!r:.60}"
    return ""


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not _SURROGATE.search(value)
