from __future__ import annotations

import re
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import SourceIds
from curation.errors import RecipeError
from curation.testing import check_stage
from tests.oracles.spaces import RUN
from tests.oracles.text import hard_text, spaced_text

TEXT = 'Dr. Smith left. "Why?" she asked.\n\n# A title\n\nIt was 3.5 m. (See below.) The end'
MARK = "<url> doc </url>"


def written(texts: list[str | None], **more: Any) -> list[dict[str, Any]]:
    columns = {
        "id": pa.array(more.pop("ids", [f"d{n}" for n in range(len(texts))]), pa.large_string()),
        "text": pa.array(texts, pa.large_string()),
    }
    for name in ("url", "title"):
        if name in more:
            columns[name] = pa.array(more.pop(name), pa.large_string())
    return list(SourceIds(**more).rewrite(pa.record_batch(columns)).to_pylist())


def texts(text: str, **more: Any) -> list[str]:
    return [row["text"] for row in written([text], ids=["doc"], **more)]


def test_the_stage_keeps_its_contract() -> None:
    """Draws that depend on the batch would be other draws at another worker count."""
    check_stage(SourceIds())
    check_stage(SourceIds(place="repeat", copies=2))
    check_stage(SourceIds(by="title", place="first", copies=1))


def test_the_id_stands_where_the_published_forms_have_it() -> None:
    """What is measured of attribution is measured on these forms."""
    assert texts(TEXT, place="last") == [f"{TEXT} {MARK}"]
    assert texts(TEXT, place="first") == [f"{MARK} {TEXT}"]
    assert texts(TEXT, place="none") == [TEXT]
    assert texts(f"\n {TEXT}\n\n") == [f"\n {TEXT} {MARK}"]


@settings(deadline=None)
@given(st.lists(st.none() | hard_text | spaced_text | st.just(TEXT), max_size=4),
       st.sampled_from(["none", "first", "repeat", "last"]))  # fmt: skip
def test_texts_in_order_lose_nothing(rows: list[str | None], place: str) -> None:
    """The id is added to the text and nothing else is done to it."""
    rows = [row and row.replace("<", "").replace(">", "") for row in rows]
    made = written(rows, place=place)
    parents = [at for at, row in enumerate(rows) if row and row.strip()]
    assert [row["parent"] for row in made] == parents
    for row in made:
        mark = f"<url> d{row['parent']} </url>"
        assert row["text"].count(mark) >= (place != "none")
        left = row["text"].replace(mark, "")
        assert RUN.sub("", left) == RUN.sub("", rows[row["parent"]] or "")


@settings(deadline=None)
@given(hard_text | spaced_text | st.just(TEXT))
def test_copies_hold_the_same_characters(text: str) -> None:
    """An order of sentences that loses one is no order of the document's sentences."""
    made = texts(text, copies=2, place="none")
    assert len(made) <= 3
    assert bool(made) == bool(text.strip())
    for one in made:
        assert sorted(RUN.sub("", one)) == sorted(RUN.sub("", text))


def test_copies_have_the_sentences_in_other_orders() -> None:
    """Without them a model ties the id to a document's last sentence alone."""
    text = " ".join(f"Sentence number {n} is here." for n in range(30))
    one, two, three = texts(text, copies=2)
    assert one == f"{text} {MARK}"
    sentences = [one.removesuffix(f" {MARK}").split(". ") for one in (two, three)]
    assert sentences[0] != sentences[1]
    for made in (two, three):
        assert made.endswith(f" {MARK}")
        assert sorted(made.removesuffix(MARK).split()) == sorted(text.split())
    assert texts(text, copies=2) == [one, two, three]
    assert texts(text, copies=2, seed=1)[1:] != [two, three]


@pytest.mark.parametrize("place", ["none", "first", "repeat", "last"])
def test_no_two_copies_of_a_short_text_are_the_same(place: str) -> None:
    """Three times the same row is a row that weighs three times as much."""
    counts = [1, 2, 3, 4, 8, 1]
    sources = [" ".join(f"Sentence number {n} is here." for n in range(count)) for count in counts]
    for copies, wanted in ((2, [1, 2, 3, 3, 3, 1]), (30, [1, 2, 6, 24, 31, 1])):
        rows = written([*sources[:3], None, *sources[3:]], copies=copies, place=place)
        parents = [row["parent"] for row in rows]
        assert [parents.count(at) for at in (0, 1, 2, 4, 5, 6)] == wanted
        assert len(
            {(row["parent"], re.sub(" ?<.*?/url> ?", "", row["text"])) for row in rows}
        ) == len(rows)
        for row in rows:
            assert f"<url> d{row['parent']} </url>" in row["text"] or place == "none"
            assert row["source_id"] == f"d{row['parent']}"
    firsts = {texts(sources[2], copies=1, place="none", seed=seed)[1] for seed in range(60)}
    assert len(firsts) == 5  # each order but the text's own


def test_sentences_end_where_a_reader_has_them_end() -> None:
    """A name cut after Dr. would be put together with another sentence."""
    (_, permuted) = texts(TEXT, copies=1, place="none", seed=2)
    for sentence in ("Dr. Smith left.", '"Why?"', "# A title", "It was 3.5 m.", "(See below.)"):
        assert sentence in permuted
    assert permuted != TEXT


def test_repeated_ids_follow_fifteen_in_a_hundred_sentences() -> None:
    """The published share."""
    text = " ".join(f"Sentence number {n} is here." for n in range(4000))
    (made,) = texts(text, place="repeat")
    assert 0.13 < made.count(MARK) / 4000 < 0.17
    assert not re.search(rf"{MARK} {MARK}", made)
    assert re.sub(rf" {MARK}", "", made) == text
    assert texts("Only one.", place="repeat") == [f"Only one. {MARK}"]


def test_ids_are_readable() -> None:
    """A model has to learn an id by heart, and a reader to know it again."""
    urls = ["https://www.a.org/b/c/?q=1#x", None, " ", "not a url", "ftp://h/", "x" * 300]
    made = written(["t"] * 6, by="url", url=urls, ids=["f.jsonl#0", "b c", "<d>", "e", "f", "g"])
    ids = [row["source_id"] for row in made]
    assert ids == ["a.org/b/c", "b_c", "d", "not_a_url", "h", "x" * 120]
    made = written(["t"] * 2, by="title", title=["A  fine\ntitle", None])
    assert [row["source_id"] for row in made] == ["A_fine_title", "d1"]
    assert written(["t"], by="url")[0]["source_id"] == "d0"
    assert written(["t"], by="url")[0]["prompt_id"] == "source-ids-last@1"


def test_blank_documents_make_no_row() -> None:
    """An id of nothing is an id that answers anything."""
    assert written([None, "", " \n"]) == []
    assert [row["text"] for row in written(["..."])] == ["... <url> d0 </url>"]


@pytest.mark.parametrize(
    "more", [{"by": "date"}, {"place": "middle"}, {"copies": -1}, {"seed": -1}]
)
def test_settings_that_make_no_sense_are_refused(more: dict[str, Any]) -> None:
    """A mistake is found before a byte is read."""
    with pytest.raises(RecipeError):
        SourceIds(**more)
