from __future__ import annotations

from typing import Any

from curation.evaluate.masking import Cut, TermPool, find_cuts
from curation.evaluate.probe import ProbeSettings
from curation.evaluate.sentences import Sentence, read_document
from curation.evaluate.terms import TermRules, Vocabulary, find_terms


def test_cuts_leave_enough_before_and_nothing_told_twice() -> None:
    """A question of two words, or one that holds its answer, measures nothing."""
    rows = [
        "One two three four five kidney stands here. Kidney one two three four five plasma comes.",
        "Some two three four (kidney) five plasma/kidney six kidney. "
        "One two kidney four five six seven.",
    ]
    documents = [read_document(str(n), "", "Of plasma", text) for n, text in enumerate(rows)]
    sentences = [[s.text for run in d.runs for s in run] for d in documents]
    vocabulary = find_terms(sentences, TermRules(ProbeSettings().kinds, 2, 1.0, 0, 0, 8), None)
    assert {"kidney", "plasma"} <= vocabulary.kind.keys()
    cuts = find_cuts(documents, vocabulary, 200, 0)
    found = {(cut.document.id, cut.number, cut.term): cut for own in cuts for cut in own}
    assert found.keys() == {("0", 1, "kidney"), ("0", 2, "plasma")}
    shown = found["0", 2, "plasma"].shown
    assert shown == f"{rows[0].removesuffix(' plasma comes.')}"
    assert found["0", 1, "kidney"].shown == "Of plasma\nOne two three four five"
    alone = [cut for own in find_cuts(documents, vocabulary, 0, 0) for cut in own]
    assert {cut.context for cut in alone} == {()}
    assert {(cut.document.id, cut.number) for cut in alone} == {("0", 1), ("0", 2)}


def cut_before(term: str, shown: str) -> Cut:
    """A cut of a document that has nothing but what is shown and the term."""
    sentence = Sentence(f"{shown} {term}.", f"{shown} {term}.", "\n")
    document = read_document("d", "s", "Of things", f"{shown} {term} and the absent one.")
    return Cut(document, 0, 1, (), sentence, shown, shown.split()[-1], term)


def pool_of(*terms: str, **given: Any) -> TermPool:
    """Terms of one kind and frequency that may follow "the" and are apart from "renal"."""
    right = terms[0]
    facts: dict[str, Any] = {
        "kind": dict.fromkeys(terms, "word -"),
        "count": dict.fromkeys(terms, 8),
        "documents": {t: frozenset({1, 2, 3} if t == right else {7, 8, 9}) for t in terms},
        "after": {"the": frozenset(terms), "an": frozenset(terms)},
        "holding": {"renal": frozenset({1, 2, 3})},
        "size": 50,
    }
    return TermPool(Vocabulary(**(facts | given)), 0)


TERMS = ("kidney", "garden", "market")
RENAL = "In all renal texts they speak of the"


def drawn(pool: TermPool, right: str = "kidney", shown: str = RENAL) -> set[str]:
    return {*pool.distractors(cut_before(right, shown), 9)}


def test_each_rule_for_wrong_terms_keeps_one_out() -> None:
    """The right term could be told by length, letters, frequency, grammar or another answer."""
    assert drawn(pool_of(*TERMS)) == {"garden", "market"}
    assert drawn(pool_of(*TERMS, "gardener")) in ({"garden", "market"}, {"gardener", "market"})
    assert drawn(pool_of(*TERMS, "kidneys")) == {"garden", "market"}
    assert drawn(pool_of(*TERMS, "absent")) == {"garden", "market"}
    assert drawn(pool_of(*TERMS, "fortnight")) == {"garden", "market"}
    for count in (1, 33):
        assert drawn(pool_of(*TERMS, count={**dict.fromkeys(TERMS, 8), "garden": count})) == {
            "market"
        }
    assert drawn(pool_of(*TERMS, after={"the": frozenset({"market"})})) == {"market"}
    names = dict.fromkeys(TERMS, "acronym")
    assert drawn(pool_of(*TERMS, kind=names, after={})) == {"garden", "market"}
    assert drawn(pool_of(*TERMS, kind={**dict.fromkeys(TERMS, "word -"), "market": "name"})) == {
        "garden"
    }
    article = "In all renal texts they speak of an"
    assert drawn(pool_of("organ", "eagle", "table"), "organ", article) == {"eagle"}


def test_a_wrong_term_does_not_fit_as_well() -> None:
    """A model that knows the domain would be blamed for another right answer."""
    held = {"kidney": {1, 2, 3}, "garden": {7, 8, 9}, "market": {1, 2, 3}}
    documents = {term: frozenset(numbers) for term, numbers in held.items()}
    assert drawn(pool_of(*TERMS, documents=documents)) == {"garden"}
    unrelated = {term: frozenset({7, 8, 9}) for term in TERMS}
    assert drawn(pool_of(*TERMS, documents=unrelated)) == set()
