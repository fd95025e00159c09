"""Question forms of mined reading comprehension: the sentences that examples are put into.

They are data, in ``templates.txt``; here is what holds of them. AdaptLLM (arXiv:2309.09530) has as
many forms of each kind; these are written anew.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from curation.errors import IntegrityError

#: Name of the set: a form that is changed, added or taken out is another version.
TEMPLATES_ID = "reading@1"

#: Slots of each family. Each is filled once in every template of the family.
SLOTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "nli_classify": ("premise", "hypothesis", "options", "label"),
        "nli_generate_entail": ("premise", "hypothesis"),
        "nli_generate_contradict": ("premise", "hypothesis"),
        "nli_generate_neutral": ("premise", "hypothesis"),
        "cause_effect": ("cause", "effect"),
        "effect_cause": ("effect", "cause"),
        "paraphrase_similar": ("first", "second"),
        "paraphrase_different": ("first", "second"),
        "word_to_text": ("keywords", "sentence"),
        "definition": ("term", "definition"),
        "topic": ("subject", "topic"),
        "frame_summary": ("text", "title"),
        "frame_completion": ("beginning", "rest"),
        "frame_both": ("beginning", "rest", "title"),
        "frame_neither": ("text",),
        "introduction": (),
    }
)

#: Answers of the forms of ``nli_classify``: for entailment, contradiction and neither.
LABELS: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "relation": ("Entail", "Contradict", "Neutral"),
        "yes": ("Yes", "No", "Maybe"),
        "word": ("Therefore", "However", "Moreover"),
        "entailment": ("Entailment", "Contradictory", "Neutral"),
    }
)

_FILE = Path(__file__).with_name("templates.txt")
_SLOT = re.compile(r"\{(\w*)\}")


@dataclass(frozen=True)
class Template:
    """A form of one kind of task; {NAME} stands where the example's part NAME goes.

    question  what is asked, up to where the answer begins
    answer    what is answered; empty where the family asks nothing
    labels    key of LABELS for a family that has several sets of answers
    """

    question: str
    answer: str
    labels: str = ""

    @property
    def slots(self) -> tuple[str, ...]:
        """The names of the slots, in the order of the text."""
        return tuple(_SLOT.findall(f"{self.question} {self.answer}"))


def parse_templates(text: str) -> dict[str, tuple[Template, ...]]:
    """Return the templates of each family of SLOTS.

    text    lines as the head of ``templates.txt`` describes them
    raises  IntegrityError for a line of an unknown family or labels, or with other slots than
            its family's
    """
    found: dict[str, list[Template]] = {family: [] for family in SLOTS}
    family, labels = "", ""
    for number, line in enumerate(text.splitlines(), start=1):
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            family, _, labels = line.strip("[]").partition(" ")
            continue
        question, _, answer = line.replace(r"\n", "\n").partition(" =>")
        made = Template(question, answer.removeprefix(" "), labels)
        if family not in SLOTS or sorted(made.slots) != sorted(SLOTS[family]):
            raise _wrong(number, line, f"slots of {family or 'no family'}: {SLOTS.get(family)}")
        if labels not in (LABELS if "label" in made.slots else ("",)):
            raise _wrong(number, line, f"labels: {', '.join(LABELS)}")
        found[family].append(made)
    return {family: tuple(made) for family, made in found.items()}


def _wrong(number: int, line: str, known: str) -> IntegrityError:
    return IntegrityError(
        f"line {number} of the templates fits no family.",
        found=line,
        known=known,
        remedy="fill each slot of the family once, in one line",
    )


#: The templates of each family.
TEMPLATES: Mapping[str, tuple[Template, ...]] = MappingProxyType(
    parse_templates(_FILE.read_text(encoding="utf-8"))
)
