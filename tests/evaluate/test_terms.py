from __future__ import annotations

import math

import pytest

from curation.evaluate.probe import ProbeSettings
from curation.evaluate.terms import TermRules, count_tokens, find_terms, kind_of, log_odds, looser

#: Words of any document count, and no general text is asked.
RULES = TermRules(ProbeSettings().kinds, 2, 0.4, 3.0, 8.0, 8)


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        ("CVE-2021-44228", "code CVE-9-9"), ("T1059.001", "code T9.9"), ("BRCA1", "code BRCA9"),
        ("lsass.exe", "file exe"), ("DNS", "acronym"), ("PowerShell", "mixed"), ("mRNA", "mixed"),
        ("Mimikatz", "name"), ("kidney", "word -y"), ("scanning", "word -ing"),
        ("50%", "quantity %"), ("50 mg", "quantity mg"), ("3 weeks", "quantity week"),
        ("1999", "year"), ("12.5", "number 2.1"), ("7", "number 1.0"),
        ("however", ""), ("However", ""), ("the", ""), ("DNSs", ""), ("x-linked", ""), ("_", ""),
        ("2-inch-long", ""), ("ABCDEFGH", ""),
    ],
)  # fmt: skip
def test_a_term_s_spelling_says_its_kind(token: str, kind: str) -> None:
    """A number among names would give the answer away."""
    assert kind_of(token) == kind


def test_small_families_of_identifiers_are_one_kind() -> None:
    """A gene would have no other gene to be told from."""
    assert looser("code BRCA9") == looser("code TP9") == "code A9"
    assert looser("code CVE-9-9") == "code A-9-9"
    assert looser("code aB9.9") == "code aA9.9"
    genes = [f"{name}{n}" for n, name in enumerate(("BRCA", "TP", "MLH", "KRAS"))]
    lines = [f"It is known that {gene} and T10{n}{k} are meant." for k in range(2)
             for n, gene in enumerate(genes)]  # fmt: skip
    vocabulary = find_terms([lines, lines], RULES, None)
    assert {vocabulary.kind[gene] for gene in genes} == {"code A9"}
    many = TermRules(RULES.kinds, 2, 1.0, 3.0, 8.0, 1)
    assert find_terms([lines, lines], many, None).kind["BRCA0"] == "code BRCA9"
    assert find_terms([lines, lines], many, None).kind["T1000"] == "code T9"


def test_general_words_are_no_terms() -> None:
    """A probe of a domain would ask for words that everyone knows."""
    lines = ["It is said that the kidney filters the garden near Bremen and Glomerulus today."] * 30
    lines += ["It is said that tissue is tissue."] * 30 + ["It is said that there is plasma."]
    general = ["The garden near Bremen is a garden. " * 20, "People filters coffee. " * 200]
    general += ["There is tissue here. " * 20]
    plain = find_terms([lines, lines], TermRules(RULES.kinds, 2, 1.0, 3.0, 8.0, 8), None)
    assert {"kidney", "garden", "filters", "Bremen", "tissue", "plasma"} <= plain.kind.keys()
    domain = find_terms([lines, lines], TermRules(RULES.kinds, 2, 1.0, 3.0, 8.0, 8), general)
    assert {"kidney", "Glomerulus"} <= domain.kind.keys()
    assert not {"garden", "Bremen", "filters", "tissue", "plasma"} & domain.kind.keys()


def test_terms_are_in_some_documents_and_not_in_most() -> None:
    """A word seen once cannot be known, and one seen everywhere is no term."""
    every = "All of the texts name the kidney here."
    documents = [
        [every, f"Some of the texts name {w} here."] for w in ("plasma", "plasma", "lonely")
    ]
    documents += [[every]] * 7
    kinds = find_terms(documents, RULES, None).kind
    assert "plasma" in kinds
    assert not {"kidney", "lonely"} & kinds.keys()
    first = find_terms([["Kidneys are named here, not inside."]] * 2 + documents, RULES, None)
    assert "Kidneys" not in first.kind


def test_a_name_that_is_a_word_is_none() -> None:
    """Words that begin a sentence in a title would be taken for names."""
    lines = ["As the Attackers do, attackers do what other attackers do."]
    kinds = find_terms([lines, lines], TermRules(RULES.kinds, 2, 1.0, 0, 0, 8), None).kind
    assert "Attackers" not in kinds
    assert "attackers" in kinds


def test_log_odds_are_those_of_the_paper() -> None:
    """The domain's words would be chosen by a number of our own making."""
    domain, general = {"a": 30, "b": 5, "c": 65}, {"a": 10, "b": 90, "d": 300}
    found = log_odds(domain, general, ["a", "b", "d"])
    for token in ("a", "b", "d"):
        y, z = domain.get(token, 0), general.get(token, 0)
        prior, total = y + z, 100 + 400
        delta = math.log((y + prior) / (100 + total - y - prior))
        delta -= math.log((z + prior) / (400 + total - z - prior))
        expected = delta / math.sqrt(1 / (y + prior) + 1 / (z + prior))
        assert found[token] == pytest.approx(expected)
    assert found["a"] > 0 > found["b"]
    assert count_tokens(["a b a", "", "5 mg b"]) == {"a": 2, "b": 2, "5 mg": 1}


def test_a_wrong_term_is_less_related_to_what_is_shown() -> None:
    """A wrong choice that fits as well as the right one would be held against a model."""
    filler = "of the same old thing"
    documents = [[f"Renal {filler} nephron."]] * 5 + [[f"Cardiac {filler} ventricle."]] * 5
    documents += [[]] * 50
    vocabulary = find_terms(documents, TermRules(RULES.kinds, 2, 1.0, 0, 0, 8), None)
    near = vocabulary.relatedness("nephron", ["renal"], without=99)
    assert near == pytest.approx(math.log((5 + 1) / (5 * 5 / 60 + 1)))
    assert vocabulary.relatedness("ventricle", ["renal"], without=99) < 0 < near
    assert vocabulary.relatedness("nephron", ["renal"], without=0) == pytest.approx(
        math.log((4 + 1) / (4 * 4 / 60 + 1))
    )
    assert vocabulary.relatedness("nephron", ["unknown"], without=0) == 0
