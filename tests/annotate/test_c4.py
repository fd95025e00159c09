from __future__ import annotations

import dataclasses
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import C4Lines, C4Quality
from curation.errors import RecipeError
from tests.annotate.golden import check_golden
from tests.kernels.test_c4 import options, page
from tests.oracles import c4 as oracle
from tests.oracles import words
from tests.oracles.nasty import column, nasty_text

batches = st.lists(st.none() | page | nasty_text, max_size=5)


def annotated(stage: Any, texts: list[str | None]) -> list[dict[str, Any]]:
    made: pa.RecordBatch = stage.annotate(pa.record_batch({"text": column(texts)}))
    made.validate(full=True)
    return made.to_pylist()


@settings(deadline=None)  # the first call compiles
@given(batches, options)
def test_lines_are_counted_and_taken_out_by_the_definition(
    texts: list[str | None], choice: oracle.Options
) -> None:
    """What is counted and what is taken out must be the same lines, under every setting."""
    chosen = {"words": "unicode", **dataclasses.asdict(choice)}
    found = [None if t is None else oracle.judge(t, choice, words.unicode) for t in texts]
    counted = [tuple(row.values()) for row in annotated(C4Quality(**chosen), texts)]
    assert counted == [(None,) * 9 if one is None else one[0] for one in found]
    left = [row["text"] for row in annotated(C4Lines(**chosen), texts)]
    assert left == [None if one is None else one[1] for one in found]


def test_the_columns_are_named_for_what_they_count() -> None:
    """Two counts that have changed places drop other pages than the paper's."""
    fates = [name.removeprefix("c4_").rsplit("_count", 1)[0] for name in C4Quality().writes.names]
    shown = [name.removesuffix("_line").replace("_", " ") for name in fates]
    assert shown == ["sentence", *oracle.FATES[1:]]


def test_the_default_settings_are_the_papers() -> None:
    """Two stages with defaults of their own would count other lines than they take out."""
    for kind in (C4Quality, C4Lines):
        chosen = {f.name: f.default for f in dataclasses.fields(kind)}
        assert chosen == {"words": "english", **dataclasses.asdict(oracle.Options())}


@pytest.mark.parametrize("stage", [C4Quality(), C4Quality(terminal_only=False), C4Lines()], ids=str)
def test_texts_are_judged_as_in_the_golden(stage: Any) -> None:
    """Stored columns were made by the old rules; one that moves needs a new version."""
    check_golden(stage, "c4.json")


def test_what_is_left_may_be_empty_but_is_never_null() -> None:
    """An empty page goes by a rule and with a reason; a null would be a row in error."""
    assert annotated(C4Lines(), ["no end", "", None]) == [
        {"text": ""},
        {"text": ""},
        {"text": None},
    ]


def test_lines_once_taken_out_stay_out() -> None:
    """A text that changes each time it is looked at has no end and no fingerprint."""
    text = "One is here.[1]\nno\n  Two is here!  \r\nuse cookies for this.\nThree is here."
    (once,) = annotated(C4Lines(), [text])
    assert (
        annotated(C4Lines(), [once["text"]])
        == [once]
        == [{"text": "One is here.\nTwo is here!\nThree is here."}]
    )


@pytest.mark.parametrize(
    "bad", [{"min_line_words": -1}, {"max_word_chars": -2}, {"words": "space"}]
)
@pytest.mark.parametrize("kind", [C4Quality, C4Lines])
def test_settings_that_make_no_sense_are_refused(kind: Any, bad: dict[str, Any]) -> None:
    """-1 words, as datatrove has it, would keep every line and say nothing."""
    with pytest.raises(RecipeError):
        kind(**bad)
