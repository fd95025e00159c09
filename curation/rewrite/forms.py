"""Templates as arrays: read once, so that no text is formatted row by row."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from curation.rewrite.templates import LABELS, TEMPLATES, Template

if TYPE_CHECKING:
    from curation.kernels.compose import Forms

#: Which value of an example each slot takes; ``kernels.task_choice`` puts them there.
_VALUES: Mapping[str, tuple[int, ...]] = {
    "premise": (0,),
    "hypothesis": (1,),
    "cause": (0,),
    "effect": (1,),
    "first": (0,),
    "second": (1,),
    "term": (0,),
    "definition": (1,),
    "subject": (0,),
    "topic": (1,),
    "keywords": (0, 1, 2),
    "sentence": (3,),
    "text": (0,),
    "beginning": (0,),
    "rest": (1,),
    "title": (2,),
}
#: The pattern finds an effect before its cause.
_REVERSED: Mapping[str, tuple[int, ...]] = {**_VALUES, "effect": (0,), "cause": (1,)}
#: Stands between tasks; the first bytes of the arrays' text.
_BETWEEN = b"\n\n"
#: Stands between keywords, and between a question and its answer.
_COMMA, _SPACE = ", ", " "
_SLOT = re.compile(r"\{(\w+)\}")
_SPACES = re.compile(" {2,}")
_CLASSIFY = "nli_classify_"
_LABEL_ORDER = ("entail", "contradict", "neutral")


@functools.cache
def forms() -> Forms:
    """Return the templates of all families, as the kernel takes them."""
    from curation.kernels.compose import Forms
    from curation.kernels.task_choice import FAMILIES

    literal = bytearray(_BETWEEN)
    rows: list[tuple[int, int, int]] = []
    segment, family = [0], [0]
    for name in FAMILIES:
        for text in _texts(name):
            for slot, piece in _segments(text, _REVERSED if name == "effect_cause" else _VALUES):
                rows.append((slot, len(literal), len(literal) + len(piece)))
                literal += piece
            segment.append(len(rows))
        family.append(len(segment) - 1)
    slot_G, start_G, stop_G = np.array(rows, dtype=np.int64).T.copy()
    text_L = np.frombuffer(bytes(literal), dtype=np.uint8)
    return Forms(text_L, slot_G, start_G, stop_G, np.array(segment), np.array(family))


@functools.cache
def forms_hash() -> str:
    """Return a hash of all templates: rows made with others are other rows."""
    texts = repr([(name, [repr(t) for t in made]) for name, made in TEMPLATES.items()])
    return hashlib.sha256(texts.encode()).hexdigest()


def _texts(family: str) -> Iterator[str]:
    """Yield question and answer of a family's templates, the label and its options filled in."""
    if not family.startswith(_CLASSIFY):
        yield from map(_joined, TEMPLATES[family])
        return
    label = _LABEL_ORDER.index(family.removeprefix(_CLASSIFY))
    for template in TEMPLATES["nli_classify"]:
        labels = LABELS[template.labels]
        options = "\n".join(f"- {one}" for one in labels)
        text = _joined(template)
        yield text.replace("{options}", options).replace("{label}", labels[label])


def _joined(template: Template) -> str:
    text = template.question + (_SPACE + template.answer if template.answer else "")
    return _SPACES.sub(" ", text)


def _segments(text: str, values: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[int, bytes]]:
    """Yield the value of each slot, and -1 with the text between slots."""
    for number, piece in enumerate(_SLOT.split(text)):
        if number % 2 == 0:
            if piece:
                yield -1, piece.encode()
            continue
        for place, value in enumerate(values[piece]):
            if place:
                yield -1, _COMMA.encode()
            yield value, b""
