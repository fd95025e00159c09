"""The question forms of mined reading comprehension."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from curation.errors import IntegrityError
from curation.rewrite.templates import LABELS, SLOTS, TEMPLATES, Template, parse_templates

GOLDEN = Path(__file__).parents[1] / "golden" / "templates.txt"

#: How many forms the released file of AdaptLLM has of each kind (METHODS.md, section 3).
PUBLISHED = {
    "nli_classify": 37,
    "nli_generate_entail": 13,
    "nli_generate_contradict": 5,
    "nli_generate_neutral": 7,
    "cause_effect": 24,
    "effect_cause": 31,
    "paraphrase_similar": 12,
    "paraphrase_different": 11,
    "word_to_text": 25,
    "definition": 12,
    "topic": 19,
    "frame_summary": 20,
    "frame_completion": 10,
    "frame_both": 10,
    "frame_neither": 13,
    "introduction": 18,
}
#: What the answers of a family are made of: one of these slots at least.
ANSWERS = {
    "nli_classify": {"label"},
    "nli_generate_entail": {"hypothesis"},
    "nli_generate_contradict": {"hypothesis"},
    "nli_generate_neutral": {"hypothesis"},
    "cause_effect": {"effect"},
    "effect_cause": {"cause"},
    "paraphrase_similar": {"second"},
    "paraphrase_different": {"second"},
    "word_to_text": {"sentence"},
    "definition": {"definition"},
    "topic": {"topic"},
    "frame_summary": {"title", "text"},
    "frame_completion": {"rest"},
    "frame_both": {"rest", "title"},
}
#: Slots of whole sentences, which end with a stop of their own.
SENTENCES = (
    "premise",
    "hypothesis",
    "cause",
    "effect",
    "first",
    "second",
    "sentence",
    "definition",
    "topic",
    "text",
    "beginning",
    "rest",
    "options",
)
EVERY = [(family, one) for family, forms in TEMPLATES.items() for one in forms]
EXAMPLE = {
    "premise": "The appeal was lodged after the time limit of thirty days had passed.",
    "hypothesis": "the court of appeal dismissed it without looking at its merits.",
    "cause": "The patch was never applied to the servers of the branch offices.",
    "effect": "attackers could run code on them without any password at all.",
    "first": "The drug narrows the vessels of the nose for several hours.",
    "second": "it is a decongestant that acts on blood vessels, not on mucus.",
    "keywords": "anticoagulant, haemorrhage, prescription",
    "sentence": "A prescription of an anticoagulant has to name the risk of haemorrhage.",
    "term": "bradycardia",
    "definition": "a resting heart rate of fewer than sixty beats a minute.",
    "subject": "The second chapter of the report",
    "topic": "how stolen credentials were used in the attack.",
    "text": "A firewall filters packets. It does not look into encrypted ones.",
    "title": "What firewalls can and cannot see",
    "beginning": "A firewall filters packets.",
    "rest": "It does not look into encrypted ones.",
}


def filled(form: Template) -> str:
    """Return a form with the example in its slots, as a stage joins question and answer."""
    options = "\n".join(f"- {label}" for label in LABELS.get(form.labels, ()))
    label = LABELS[form.labels][0] if form.labels else ""
    parts = {**EXAMPLE, "options": options, "label": label}
    return f"{form.question.format(**parts)} {form.answer.format(**parts)}".rstrip()


def test_there_are_at_least_as_many_forms_of_each_kind_as_published() -> None:
    """Who compares with the paper would have less variety and blame the method."""
    assert {family: len(forms) for family, forms in TEMPLATES.items()} == PUBLISHED
    kinds = Counter(form.labels for form in TEMPLATES["nli_classify"])
    assert kinds["word"] == 5
    assert kinds["relation"] == 4
    assert kinds["yes"] + kinds["entailment"] == 28


def test_each_slot_is_filled_once_and_answers_hold_what_is_asked_for() -> None:
    """A form that drops the answer trains the model to say nothing."""
    for family, form in EVERY:
        assert sorted(form.slots) == sorted(SLOTS[family]), form
        asked = set(re.findall(r"\{(\w+)\}", form.answer))
        assert asked <= ANSWERS.get(family, set()), form
        assert bool(asked) == (family in ANSWERS), form


def test_texts_stand_whole_and_in_order() -> None:
    """A frame that puts the end before the beginning teaches texts back to front."""
    for family, form in EVERY:
        if "rest" in SLOTS[family]:
            assert form.slots.index("beginning") < form.slots.index("rest"), form


def test_forms_are_plain_and_distinct() -> None:
    """Doubled blanks and forms that stand twice are artefacts that a model would learn."""
    texts = [f"{form.question} {form.answer}" for _, form in EVERY]
    assert len(set(texts)) == len(texts)
    for text in texts:
        assert "  " not in text, text
        assert not re.search(r"[ \t]\n|\n[ \t]|\n\n\n", text), text
        assert set(re.findall(r"[{}]", re.sub(r"\{\w+\}", "", text))) == set(), text
        assert text.isascii(), text
    for _, form in EVERY:
        assert form.question == form.question.strip(), form
        assert form.answer == form.answer.strip(), form


def test_no_form_sets_a_stop_after_a_sentence() -> None:
    """Mined sentences bring their own full stops: "so.." would stand in every example."""
    for family, form in EVERY:
        for slot in set(SLOTS[family]) & set(SENTENCES):
            followed = re.search(rf"\{{{slot}\}}[.,;:!?]", f"{form.question} {form.answer}")
            assert followed is None, form


def test_a_question_ends_where_its_answer_can_begin() -> None:
    """An answer glued to half a sentence cannot be told from the question."""
    for family, form in EVERY:
        if family in ANSWERS:
            assert re.search(
                r"([.?!:}]| as| with| about| are| is| stands| introduce| concerns)$", form.question
            ), form


def test_a_sample_of_each_family_is_as_in_the_golden() -> None:
    """Who reads the golden sees what the model will read; a changed form is a new version."""
    shown = "\n\n".join(
        f"[{family} {form.labels}".rstrip() + f"]\n{filled(form)}"
        for family, forms in TEMPLATES.items()
        for form in {one.labels: one for one in forms}.values()
    )
    assert shown + "\n" == GOLDEN.read_text(encoding="utf-8"), "TEMPLATES_ID names the old forms"


@pytest.mark.parametrize(
    "line",
    [
        "[riddle]\n{riddle} => {answer}",
        "{text} => {title}",
        "[topic]\n{subject} => it",
        "[topic]\n{subject} {topic} => {topic}",
        "[nli_classify maybe]\n{premise} {hypothesis} {options} => {label}",
        "[topic yes]\n{subject} => {topic}",
    ],
)
def test_a_line_that_fits_no_family_is_told(line: str) -> None:
    """An edited file with a slip in it would raise KeyErrors deep in a run of days."""
    with pytest.raises(IntegrityError, match="fits no family"):
        parse_templates(line)


def test_lines_are_read_as_the_head_of_the_file_says() -> None:
    """Breaks, comments and blank lines are for the person who edits the forms."""
    made = parse_templates("# note\n\n[definition]\nWhat is {term}?\\nA: => It is {definition}\n")
    assert made["definition"] == (Template("What is {term}?\nA:", "It is {definition}"),)
    assert made["topic"] == ()
