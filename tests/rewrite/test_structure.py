from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation import Structure
from curation.annotate.model import Reply, Request
from curation.errors import RecipeError
from curation.rewrite.structure import read_contents, read_title
from curation.testing import check_stage
from tests.oracles.spaces import RUN

PARAGRAPHS = "\n\n".join(f"Paragraph {n} is about matter {n}." for n in range(6))


def contents(*chapters: tuple[str, list[tuple[str, list[int]]]]) -> str:
    made = [
        {"title": title, "sections": [{"title": name, "parts": parts} for name, parts in sections]}
        for title, sections in chapters
    ]
    return json.dumps({"chapters": made})


@dataclass(frozen=True, kw_only=True)
class Librarian:
    """Titles a passage by its first three words, and puts three parts into each section."""

    contents: str = ""
    title: str = ""
    error: str = ""
    garbled: int = 0
    asked: list[Request] = field(default_factory=list)

    def generate(self, requests: Sequence[Request]) -> list[Reply]:
        self.asked.extend(requests)
        return [self.answer(request) for request in requests]

    def answer(self, request: Request) -> Reply:
        text = request.messages[-1][1]
        if self.error and self.error in text:
            return Reply(error="no answer")
        if request.attempt < self.garbled:
            return Reply(text="...", finish="stop")
        if "<passage>" in text:
            inner = re.search(r"<passage>\n(.*)\n</passage>", text, re.S)
            assert inner is not None
            return Reply(text=self.title or " ".join(inner[1].split()[:3]) or "Nothing")
        count = len(re.findall(r"^\d+\. ", text, re.M))
        sections = [
            (f"S{at}", [*range(at, min(at + 3, count + 1))]) for at in range(1, count + 1, 3)
        ]
        return Reply(text=self.contents or f"```json\n{contents(('Chapter', sections))}\n```")

    def facts(self) -> dict[str, object]:
        return {"model": "librarian", "contents": self.contents, "seed": 5}


def structured(*texts: str | None, model: Any = None, **more: Any) -> list[dict[str, Any]]:
    batch = pa.record_batch({"text": pa.array(texts, pa.large_string())})
    stage = Structure(**{"model": model or Librarian(), "max_chars": 40, "form": "plain", **more})
    return list(stage.rewrite(batch).to_pylist())


def test_the_stage_keeps_its_contract() -> None:
    """Rows that depend on their batch are another corpus at another worker count."""
    check_stage(Structure(model=Librarian(), max_chars=5000))


def test_each_piece_has_its_place_in_two_levels() -> None:
    """The path is what a model learns the piece under."""
    rows = structured(PARAGRAPHS)
    assert [row["section_path"] for row in rows] == [
        f"Chapter > S{1 + n // 3 * 3} > Paragraph {n} is" for n in range(6)
    ]
    assert [row["section_number"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert (rows[0]["prompt_id"], rows[0]["model_id"], rows[0]["rewrite_seed"]) == (
        "structure@1",
        "librarian",
        5,
    )
    assert RUN.sub("", "".join(row["text"] for row in rows)) == RUN.sub("", PARAGRAPHS)
    (row,) = structured("One piece.", form="path")
    assert row["text"] == "One piece\n\nOne piece."
    assert row["section_path"] == row["section_title"] == "One piece"


def test_a_title_like_the_one_above_is_not_said_twice() -> None:
    """A path that repeats itself says nothing more."""
    model = Librarian(title="Ports", contents=contents(("Ports", [("ports", [1, 2, 3, 4, 5, 6])])))
    assert {row["section_path"] for row in structured(PARAGRAPHS, model=model)} == {"Ports"}


def test_a_batch_is_two_calls_and_one_table_of_contents_a_document() -> None:
    """A server is kept busy by many requests at once."""
    model = Librarian()
    structured(PARAGRAPHS, "One piece.", PARAGRAPHS, None, " ", model=model)
    assert [r.purpose for r in model.asked] == ["structure@1/title"] * 13 + [
        "structure@1/contents"
    ] * 2
    assert {(r.max_tokens, bool(r.json_schema)) for r in model.asked} == {(48, False), (1024, True)}


def test_a_long_document_has_more_than_one_table_of_contents() -> None:
    """One of four hundred pieces would be cut at its token limit."""
    model = Librarian()
    rows = structured(
        "\n\n".join(f"Paragraph {n} is long enough." for n in range(130)), model=model
    )
    assert len(rows) == 130
    asked = [r for r in model.asked if r.purpose.endswith("contents")]
    assert len(asked) == 3
    assert rows[60]["section_path"].startswith("Chapter > S1 >")


def test_a_reply_that_cannot_be_read_is_asked_for_again() -> None:
    """Another draw is often right; a document without one is in error, and only it."""
    model = Librarian(garbled=2)
    assert len(structured(PARAGRAPHS, model=model)) == 6
    assert [r.attempt for r in model.asked] == [0] * 6 + [1] * 6 + [2] * 6 + [0, 1, 2]
    rows = structured(PARAGRAPHS, "One piece.", model=Librarian(contents="No."))
    assert [row["parent"] for row in rows] == [0, 1]
    assert rows[0]["error"].startswith("the reply cannot be read")
    assert rows[0]["text"] is None
    assert rows[1]["error"] is None


def test_a_request_without_an_answer_makes_its_document_an_error() -> None:
    """Half a document under titles is half a document lost."""
    rows = structured("One piece.", PARAGRAPHS, model=Librarian(error="matter 3"))
    assert [row["error"] for row in rows] == [None, "no answer"]


@pytest.mark.parametrize(
    ("reply", "title"),
    [
        ('"Cold storage of vaccines."', "Cold storage of vaccines"),
        ("Title: **Cold storage**", "Cold storage"),
        ("\n\n# Cold > storage\nmore", "Cold storage"),
        ("a b c d e f g h i j", "a b c d e f g h"),
        ("```\nCold\n```", "Cold"),
    ],
)
def test_a_title_is_the_first_line_of_a_reply(reply: str, title: str) -> None:
    """Models put titles into quotes and go on talking."""
    assert read_title(reply) == title


def test_a_reply_without_words_has_no_title() -> None:
    """An empty title is no place."""
    with pytest.raises(ValueError, match="no title"):
        read_title('""\n...\n')


def test_a_table_of_contents_is_put_right() -> None:
    """Each piece is placed once, and in its order, whatever the model forgot."""
    places = read_contents(contents(("A", [("x", [1, 2, 2]), ("y", [4])]), ("B", [("z", [6])])), 6)
    assert places == [("A", "x"), ("A", "x"), ("A", "x"), ("A", "y"), ("A", "y"), ("B", "z")]
    twice = read_contents(contents(("A", [("x", [1, 2]), ("y", [2, 3, 4])])), 4)
    assert twice == [("A", "x"), ("A", "x"), ("A", "y"), ("A", "y")]
    late = read_contents(contents(("A", [("x", [2, 3, 4])])), 4)
    assert late == [("A", "x")] * 4
    with pytest.raises(ValueError, match="8 of 6 parts"):
        read_contents(contents(("A", [("x", [1, 7, 8, 9])])), 6)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "{}",
        "[1]",
        '{"chapters": [{"title": "A", "sections": [{"title": "x", "parts": ["1"]}]}]}',
        '{"chapters": [{"title": 1, "sections": [{"title": "x", "parts": [1]}]}]}',
        '{"chapters": [{"title": "A", "sections": [{"parts": [1]}]}]}',
        '{"chapters": [{"title": "A", "sections": [{"title": "x", "parts": [1, 2',
        '{"a":' * 5000 + "}",
        contents(("A", [("x", [9, 8, 7])])),
        contents(("A", [])),
    ],
)
def test_what_is_no_table_of_contents_is_refused(reply: str) -> None:
    """A wrong place is worse than none."""
    with pytest.raises(ValueError, match=r"\w"):
        read_contents(reply, 2)


_sections = st.tuples(st.sampled_from("ABC"), st.lists(st.integers(-1, 9), max_size=5))


@given(st.lists(_sections, max_size=5), st.integers(1, 8))
def test_each_piece_has_exactly_one_place(parts: list[tuple[str, list[int]]], count: int) -> None:
    """A piece without a place would have no path, one with two would be told twice."""
    try:
        places = read_contents(contents(("C", parts)), count)
    except ValueError:
        return
    assert len(places) == count
    assert {chapter for chapter, _ in places} == {"C"}
    first: dict[int, str] = {}
    for name, numbers in parts:
        for number in numbers:
            first.setdefault(number, name)
    assert all(places[n - 1] == ("C", name) for n, name in first.items() if 1 <= n <= count)


def test_models_and_prompts_are_part_of_the_identity() -> None:
    """A store would hand over what another model has made."""
    one, other = Structure(model=Librarian()), Structure(model=Librarian(contents="x"))
    assert one.identity() != other.identity()
    settings: Any = one.identity()["settings"]
    assert "table of contents" in settings["prompt"]["contents"]


@pytest.mark.parametrize("more", [{"form": "tree"}, {"max_chars": 0}, {"retries": -1}])
def test_settings_that_make_no_sense_are_refused(more: dict[str, Any]) -> None:
    """A mistake is found before the first request is paid for."""
    with pytest.raises(RecipeError):
        Structure(model=Librarian(), **more)
