from __future__ import annotations

import pytest

from curation.evaluate.sentences import is_prose, joined, joined_raw, read_document


def test_documents_are_cut_into_prose() -> None:
    """Code, tables and lists of links would be asked about."""
    text = """# The title

> Adversaries may use [Doki](https://a.b/c) as a door.(Citation: D. K. 2020) Then they, e.g. Dr. No
> and others, go on with it.

```
This is code and it stands alone here.
```
* A point of the list is a sentence of its own.
  It goes on in a second line here.
  - short
description: Detects what nobody would want to see here.
| a | table of some words that ends so. |
See https://a.b for more of the same old things.
"""
    document = read_document("1", "s", "", text)
    assert document.title == "The title"
    runs = [[s.text for s in run] for run in document.runs]
    assert runs == [
        [
            "Adversaries may use Doki as a door.",
            "Then they, e.g. Dr. No and others, go on with it.",
        ],
        [
            "A point of the list is a sentence of its own.",
            "It goes on in a second line here.",
        ],
        ["Detects what nobody would want to see here."],
    ]


def test_a_given_title_leaves_the_first_line_in_the_text() -> None:
    """A passage would be lost, or a title be read twice."""
    text = "A first line of a text that is no title.\nA second line of the very same text."
    given = read_document("1", "s", " Of lines ", text)
    assert given.title == "Of lines"
    assert joined(given.runs[0]).startswith("A first line")
    none = read_document("1", "s", "", text)
    assert none.title == ""
    assert joined(none.runs[0]).startswith("A first line")
    assert read_document("1", "s", "", "title: Of `b`\n").title == ""
    assert read_document("1", "s", "", "title: Of b\nid: 5").title == "Of b"


def test_the_raw_spelling_is_what_stood_there() -> None:
    """A passage would not be found in a corpus that keeps its markup."""
    raw = "They **may** use [Doki](https://a.b/c) as a door.(Citation: D)"
    document = read_document("1", "s", "T", f"- {raw} It is known by all of them.")
    assert joined_raw(document.runs[0]) == f"{raw} It is known by all of them."
    assert joined(document.runs[0]) == "They may use Doki as a door. It is known by all of them."


@pytest.mark.parametrize(
    "sentence",
    ["", "too few words here.", "no capital at the start of this.", "No stop at the end of it",
     "A path of C:\\ stands in this one.", "It has 1 2 3 4 5 6 7 8 9 10 numbers.",
     "A " * 300 + "."],
)  # fmt: skip
def test_what_is_no_prose_is_left_out(sentence: str) -> None:
    """Questions would be made of tables."""
    assert not is_prose(sentence)
    assert is_prose("This is a sentence that is one.")
