from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.dedup.substring import SubstringDuplicates
from curation.errors import RecipeError
from curation.testing import check_stage
from tests.dedup.test_lines import found, pieces, two_rows
from tests.oracles import repeats as oracle
from tests.oracles.nasty import nasty_text
from tests.oracles.repeats import Row

SMALL = 1 << 20  # bytes

#: Few words, in many guises: every run of two or three is likely to repeat.
WORDS = (
    "a",
    "A",
    "b",
    "\u0416",
    "\u0436",
    "\u4e2d",
    "\u0e44\u0e17\u0e22",
    "e\u0301",
    "\u0130",
    "i",
    "1",
)
MARKS = (" ", " ", " ", ", ", "\n", "'", "\u3000", "\u0301", "_", "")
few_words = st.lists(st.sampled_from(WORDS + MARKS), max_size=40).map("".join)
texts = st.none() | few_words | nasty_text
names = st.text(st.sampled_from("aZ0#\xe9"), min_size=1, max_size=3)
tables = st.dictionaries(names, st.tuples(texts, st.sampled_from([None, "", "x"])), max_size=6)


@settings(deadline=None)  # the first call compiles
@given(tables, st.integers(2, 9), st.booleans(), st.sampled_from([1, 1 << 16]))
def test_repeats_are_those_of_a_dict(
    tmp_path_factory: pytest.TempPathFactory,
    cells: dict[str, tuple[str | None, str | None]],
    min_words: int,
    scoped: bool,
    memory_bytes: int,
) -> None:
    """A run that stands once would go from the corpus, or a copy stay in it."""
    rows = [Row(name, *cell) for name, cell in cells.items()]
    within = ("source",) if scoped else ()
    stage = SubstringDuplicates(min_words=min_words, within=within, memory_bytes=memory_bytes)
    alike = rows if scoped else [row._replace(scope=None) for row in rows]
    wanted = oracle.substring_repeats(alike, min_words)
    assert found(stage, rows, tmp_path_factory.mktemp("scratch")) == wanted


def copied_rows(count: int, seed: int) -> list[Row]:
    """Rows of words at random, into which pieces of others have been copied."""
    chance = random.Random(seed)
    rows: list[list[str]] = []
    for _ in range(count):
        made = [f"w{chance.randrange(1000)}" for _ in range(chance.randrange(300))]
        for _ in range(chance.randrange(4)):
            if rows:
                other = chance.choice(rows)
                first = chance.randrange(len(other) + 1)
                at = chance.randrange(len(made) + 1)
                made[at:at] = other[first : first + chance.randrange(20, 80)]
        rows.append(made)
    return [Row(f"f#{n}", " ".join(words)) for n, words in enumerate(rows)]


@pytest.mark.parametrize("min_words", [2, 7, 25, 50])
@pytest.mark.parametrize("memory_bytes", [1, 1 << 14, SMALL])
def test_every_copied_piece_of_so_many_words_is_found(
    tmp_path: Path, min_words: int, memory_bytes: int
) -> None:
    """Anchors, filter and files each could lose a copy that is just long enough."""
    rows = copied_rows(40, min_words)
    stage = SubstringDuplicates(min_words=min_words, memory_bytes=memory_bytes)
    made = found(stage, rows, tmp_path)
    assert made == oracle.substring_repeats(rows, min_words)
    assert any(made)


def test_a_span_is_as_long_as_it_can_be(tmp_path: Path) -> None:
    """What a person would expect to see, written out."""
    shared = "the quick brown fox, it jumps over the lazy dog"
    rows = two_rows(f"Once {shared}.", f"Twice - {shared.upper().replace(',', ' -')}! and again")
    spans = found(SubstringDuplicates(min_words=5, memory_bytes=SMALL), rows, tmp_path)
    assert pieces(rows, spans) == [[], ["THE QUICK BROWN FOX - IT JUMPS OVER THE LAZY DOG"]]


def test_a_run_of_one_word_too_few_is_none(tmp_path: Path) -> None:
    """Common phrases would be cut out of sentences."""
    run = " ".join(f"w{n}" for n in range(50))
    for words, many in ((run, 1), (run.rpartition(" ")[0], 0)):
        rows = two_rows(f"x {words} y", f"z {words} q")
        spans = found(SubstringDuplicates(memory_bytes=SMALL), rows, tmp_path)
        assert [len(places or []) for places in spans] == [0, many]


def test_the_order_of_rows_changes_nothing(tmp_path: Path) -> None:
    """A corpus must not change because its files were listed in another order."""
    rows = copied_rows(50, 1)
    stage = SubstringDuplicates(min_words=10, memory_bytes=SMALL)
    backwards = found(stage, rows[::-1], tmp_path, size=7)
    assert backwards[::-1] == found(stage, rows, tmp_path)


@pytest.mark.parametrize("memory_bytes", [1, SMALL])
def test_rows_are_compared_within_the_columns_named(tmp_path: Path, memory_bytes: int) -> None:
    """A source that quotes another one would lose the quotation, with the filter full or not."""
    text = " ".join(f"w{n}" for n in range(80))
    rows = [Row(f"{n}", text, scope) for n, scope in enumerate(["x", "y", None, "", "x"])]
    stage = SubstringDuplicates(within=("source",), memory_bytes=memory_bytes)
    spans = found(stage, rows, tmp_path)
    assert [bool(places) for places in spans[1:4]] == [False] * 3
    assert sorted(len(places or []) for places in (spans[0], spans[4])) == [0, 1]


# ---------------------------------------------------------------- adversarial


def test_of_one_word_again_and_again_one_run_stays(tmp_path: Path) -> None:
    """Such a text overlaps itself everywhere: its time must not grow with the square of it."""
    count = 300_000
    began = time.monotonic()
    rows = two_rows("a " * count, "b " + "a " * 60)
    spans = found(SubstringDuplicates(memory_bytes=SMALL), rows, tmp_path)
    assert spans == [[(2 * 50, 2 * count - 1)], [(2, 2 + 2 * 60 - 1)]]
    assert time.monotonic() - began < 20


def test_ten_thousand_copies_of_a_template_leave_one(tmp_path: Path) -> None:
    """Sites are made of templates; each copy is looked up, and none held beside the first."""
    template = " ".join(f"t{n}" for n in range(55))
    rows = [Row(f"page-{n}", f"{n} {template} {n}") for n in range(10_000)]
    spans = found(SubstringDuplicates(memory_bytes=SMALL), rows, tmp_path, size=1000)
    assert [len(places or []) for places in spans].count(0) == 1
    assert {text for row in pieces(rows, spans) for text in row} == {template}


def test_what_stands_once_is_not_looked_up(tmp_path: Path) -> None:
    """Without the filter every word of a corpus goes to the disk as 40 bytes."""
    from curation.dedup import substring

    chance = np.random.default_rng(0).integers(0, 1 << 30, (20, 2000))
    rows = [Row(f"{n}", " ".join(map(str, words))) for n, words in enumerate(chance)]
    looked_up = []

    class Counted(substring.Places):
        def add(self, place_P: Any, size_N: Any) -> None:
            looked_up.append(len(place_P))
            super().add(place_P, size_N)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(substring, "Places", Counted)
        found(SubstringDuplicates(memory_bytes=SMALL), rows, tmp_path)
        assert sum(looked_up) < 40
        found(SubstringDuplicates(memory_bytes=1), rows, tmp_path)
        assert sum(looked_up) > 20 * 1900


# ---------------------------------------------------------------- contract and settings


@pytest.mark.parametrize(
    "stage",
    [
        SubstringDuplicates(memory_bytes=SMALL),
        SubstringDuplicates(min_words=3, memory_bytes=1),
        SubstringDuplicates(within=("source", "date"), min_words=5, memory_bytes=SMALL),
    ],
)
def test_the_contract_holds_whatever_the_settings(stage: SubstringDuplicates) -> None:
    """Files and scopes are other paths through the code; the law is the same."""
    check_stage(stage)


def test_memory_is_no_part_of_the_identity() -> None:
    """More memory would mean doing everything anew, for the same result."""
    assert SubstringDuplicates(memory_bytes=1).identity() == SubstringDuplicates().identity()
    assert SubstringDuplicates(min_words=9).identity() != SubstringDuplicates().identity()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"memory_bytes": 0}, "no memory"),
        ({"min_words": 1}, "two words at least"),
        ({"within": ("id",)}, "other than id and text"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any], message: str) -> None:
    """A setting that cannot work is refused before a day of reading, not after it."""
    with pytest.raises(RecipeError, match=message):
        SubstringDuplicates(**wrong)
