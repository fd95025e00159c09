from __future__ import annotations

import math

import pytest

from curation.evaluate.probe import ProbeSettings
from curation.evaluate.sentences import read_document
from curation.evaluate.titles import (
    Titled,
    TitlePool,
    find_titled,
    stems_of,
    with_telling_titles,
)

FILLER = (
    "Whatever is meant by it is not what one would ever have thought of then, nor at any time since"
)
COMMON, RARE = f"{FILLER}, says plasma.", f"{FILLER}, says glomerulus nephron tubule."
#: Another document with the title, by which these passages are related to it.
KIDNEY = ("Kidney", f"{FILLER}, says plasma and glomerulus or nephron or tubule.")
OTHERS = [(f"{chr(97 + n)}quarium", f"{FILLER}, says somebody {n}.") for n in range(9)]


def titled(*documents: tuple[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the passages of documents, and why others have none."""
    read = [read_document(str(n), "s", *one) for n, one in enumerate(documents)]
    found, lacking = find_titled(read, ProbeSettings())
    return {one.document.id: one.text for one in found}, lacking


def test_passages_are_the_telling_ones() -> None:
    """A question about a kidney would ask for a sentence that stands under every title."""
    told = f"{FILLER}, says kidneys glomerulus nephron tubule."
    found, lacking = titled(("Kidney", f"{COMMON}\n\n{RARE}\n\n{told}"), KIDNEY, *OTHERS)
    assert found["0"] == RARE
    assert lacking["5"] == "no passage that is related to its title"
    found, lacking = titled(("Kidney", told), KIDNEY, *OTHERS)
    assert lacking["0"] == "no passage without words of its title"
    found, _ = titled(("Kidney", f"However, {RARE}\n\n{COMMON}"), KIDNEY, *OTHERS)
    assert found["0"] == COMMON
    liver = ("Liver", f"{FILLER}, says plasma, not bile.")
    found, _ = titled(("Kidney", RARE), ("Liver", f"{COMMON}\n\n{RARE}"), liver, *OTHERS)
    assert "0" not in found
    assert found["1"] == COMMON
    many = [("", f"{FILLER}, says {n}.") for n in range(40)]
    assert "0" in titled(("Kidney", RARE), KIDNEY, *many)[0]
    assert "0" not in titled(("Kidney", RARE), ("Whale", RARE), KIDNEY, *many)[0]


def test_of_passages_as_related_the_rarer_is_taken() -> None:
    """The passage would be the first one, which is most often an introduction."""
    rarer = f"{FILLER}, says plasma unheard."
    found, _ = titled(("Kidney", f"{COMMON}\n\n{rarer}"), KIDNEY, *OTHERS)
    assert found["0"] == rarer


def test_a_document_says_nothing_of_its_own_title() -> None:
    """Every passage would be related to the title that it was found under."""
    found, lacking = titled(("Kidney", RARE), ("Liver", f"{FILLER}, says tubule."), *OTHERS)
    assert not found
    assert lacking["0"] == "no passage that is related to its title"


def test_relatedness_is_the_mean_log_of_shared_documents() -> None:
    """Passages would be ranked by a number that nobody could check."""
    read = [read_document("0", "s", "Kidney", RARE), read_document("1", "s", "Kidney", COMMON)]
    read += [read_document(f"k{n}", "t", "Kidney", f"{FILLER}, nephron.") for n in range(3)]
    read += [read_document(f"t{n}", "s", "", f"{FILLER}, says {n} tubule.") for n in range(4)]
    read += [read_document(f"n{n}", "s", "", f"{FILLER}, says {n}.") for n in range(51)]
    found = find_titled(read, ProbeSettings())[0]
    related = next(t.related for t in found if t.document.id == "0")
    near, far = math.log((3 + 1) / (4 * 3 / 60 + 1)), math.log(1 / (4 * 4 / 60 + 1))
    assert related("A nephron.") == pytest.approx(near)
    assert related("A tubule.") == pytest.approx(far)
    assert related("The nephrons of tubules, they say.") == pytest.approx((near + far) / 2)
    assert related("Nothing.") == 0


def one_of(title: str, passage: str, related: float = 0.0) -> Titled:
    document = read_document(title, "s", title, passage)
    return Titled(document, document.runs[0], stems_of(title), lambda text: related)


def test_wrong_passages_have_nothing_to_do_with_the_title() -> None:
    """A passage about the same thing in another document would be called wrong."""
    rows = {
        "Tubule": f"{FILLER}, says kidneys.",
        "Nephron": f"{FILLER}, says plasma.",
        "Market": f"{FILLER}, says garden.",
        "Kidneys": f"{FILLER}, says castle.",
        "Harbour": f"{FILLER}, says {'castle ' * 12}castle.",
    }
    document = read_document("k", "s", "Kidney", f"{FILLER}, says nephron.")
    for relation, wrong in ((0.0, {"Market"}), (0.4, set()), (0.2, {"Market"})):
        known = {"nephron": 0.5, "garden": relation}

        def related(text: str, known: dict[str, float] = known) -> float:
            return next((value for word, value in known.items() if word in text), 0.0)

        right = Titled(document, document.runs[0], stems_of("Kidney"), related)
        pool = TitlePool([right, *(one_of(*row) for row in rows.items())], 0)
        assert {one.document.title for one in pool.distractors(right, 9)} == wrong


def test_a_title_that_tells_nothing_is_none() -> None:
    """A passage would be asked for that belongs under "Analytic 0209"."""
    read = [read_document(str(n), "s", f"Analytic {n}209", FILLER) for n in range(9)]
    read.append(read_document("k", "s", "Analytic kidney", FILLER))
    assert [d.title for d in with_telling_titles(read)] == [""] * 9 + ["Analytic kidney"]
