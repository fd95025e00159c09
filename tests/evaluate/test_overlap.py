from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from curation import Recipe, TextSize, col, keep
from curation.evaluate.overlap import find_in_training
from tests.conftest import table, write_jsonl


def training(*texts: str | None) -> list[list[pa.RecordBatch]]:
    column = pa.array(texts, pa.large_string())
    return [[pa.RecordBatch.from_arrays([column], names=["text"])]]


def test_a_passage_is_found_with_its_markup_and_without() -> None:
    """Raw pages and cleaned ones hold the same passage in two spellings."""
    plain = "one two three four five six"
    linked = "one [two](http://a.b/c-d) three four (Citation: e f) five six"
    rest = "seven eight nine ten eleven twelve thirteen"
    spellings = [{f"{plain} {rest}", f"{linked} {rest}"}, {f"{rest} {plain}"}, {"too short"}]
    for text in (plain, linked):
        seen, told = find_in_training(spellings, training(f"x {text} {rest} y"), shared=1)
        assert seen.tolist() == [True, False, False]
        assert told.tolist() == [True, True, False]


def test_passages_of_one_document_do_not_hide_one_another() -> None:
    """What many items of a document share would be taken for a template and leak."""
    same = " ".join(f"w{n}" for n in range(20))
    passages = [{f"{same} tail{n}"} for n in range(14)]
    assert find_in_training(passages, training(same), shared=2)[0].all()
    assert not find_in_training(passages, training(same), shared=1)[0].any()


def test_a_build_holds_what_stayed_in_it(tmp_path: Path) -> None:
    """A passage would be left out for a row that was never trained on."""
    stays, goes = (" ".join(f"{letter}{n}" for n in range(20)) for letter in "ab")
    rows = [{"text": stays, "n": 1}, {"text": goes, "n": 0}]
    source = table(write_jsonl(tmp_path / "rows.jsonl", rows))
    recipe = Recipe(source=source, steps=[TextSize(), keep(col("n") > 0, because="n")])
    build = recipe.run(store=tmp_path / "store", workers=1)
    assert find_in_training([{stays}, {goes}], [build], shared=1)[0].tolist() == [True, False]
