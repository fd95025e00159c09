from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.columns import SPAN
from curation.dedup import repeats
from curation.dedup.lines import LineDuplicates
from curation.dedup.repeats import Pile, Places, RemoveRepeats
from curation.kernels.repeats import PLACE_TYPE
from curation.testing import MemoryRows, check_stage
from tests.dedup.test_lines import PIECES, batches_of, many_rows
from tests.oracles import repeats as oracle
from tests.oracles.repeats import Row

Cell = tuple[str | None, int | None, int | None] | None


def remove(texts: list[str | None], spans: list[list[Cell] | None]) -> list[str | None]:
    """Return texts without spans of (kind, start, stop)."""
    keys = ("kind", "start", "stop")
    cells = [s and [c and dict(zip(keys, c, strict=True)) for c in s] for s in spans]
    lead = [{"kind": "line", "start": 0, "stop": 2}]  # of another row, as in a sliced column
    batch = pa.record_batch(
        {
            "text": pa.array(["\xe9 x", *texts], pa.large_string()),
            "repeat_spans": pa.array([lead, *cells], pa.large_list(SPAN)),
        }
    )
    made = RemoveRepeats().annotate(batch.slice(1))["text"]
    made.validate(full=True)
    values: list[str | None] = made.to_pylist()
    return values


kinds = st.sampled_from(["line", "paragraph", "substring", "other", None])
places = st.integers(0, 30) | st.integers(0, 2**64 - 1)
cells = st.none() | st.tuples(kinds, places | st.none(), places | st.none())
some_text = st.none() | st.lists(
    st.sampled_from(("ab", "\xe9", "\U0001f600", " ", "\n", "\n\n", "\r\n", "\t")), max_size=12
).map("".join)


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.tuples(some_text, st.none() | st.lists(cells, max_size=6)), max_size=4))
def test_any_spans_are_taken_out_as_the_definition_says(
    rows: list[tuple[str | None, list[Cell] | None]],
) -> None:
    """Spans may come from anywhere: half a character would make the text no text at all."""
    wanted = [
        text
        if text is None
        else oracle.removed(text, [c for c in spans or [] if c and None not in c[1:]])  # type: ignore[misc]
        for text, spans in rows
    ]
    assert remove([r[0] for r in rows], [r[1] for r in rows]) == wanted


some_lines = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)


@settings(deadline=None)
@given(some_lines, st.sampled_from(["line", "paragraph"]), st.data())
def test_whole_lines_leave_the_other_lines_as_they_were(
    text: str, kind: str, data: st.DataObject
) -> None:
    """What stands between two repeats would be cut, or two lines run into one."""
    cut = oracle.lines(text)
    gone = data.draw(st.lists(st.booleans(), min_size=len(cut), max_size=len(cut)))
    spans = [(kind, a, b) for (_, a, b), is_gone in zip(cut, gone, strict=True) if is_gone]
    [made] = remove([text], [spans])  # type: ignore[list-item]
    assert made is not None
    rest = [line for line, is_gone in zip(text.split("\n"), gone, strict=True) if not is_gone]
    # A carriage return belongs to the line feed after it, and goes with it at the text's end.
    assert [x.rstrip("\r") for x in made.split("\n") if x.strip()] == [
        x.rstrip("\r") for x in rest if x.strip()
    ]


@pytest.mark.parametrize(
    ("text", "gone", "left"),
    [
        ("menu\nstory", "menu", "story"),
        ("story\nmenu", "menu", "story"),
        ("story\nmenu\n", "menu", "story\n"),
        ("story\nmenu\nmore", "menu", "story\nmore"),
        ("story\n\nmenu\n\nmore", "menu", "story\n\nmore"),
        ("story\nmenu\n\nmore", "menu", "story\n\nmore"),
        ("story\n\nmenu\nmore", "menu", "story\n\nmore"),
        ("story\r\n\r\nmenu\r\n\r\nmore", "menu\r", "story\r\n\r\nmore"),
        ("menu\n\n\nstory", "menu", "story"),
        ("story\n\nmenu", "menu", "story"),
        ("story\n \nmenu\n\n", "menu", "story\n \n"),
        ("story\r\nmenu\r\n", "menu\r", "story\r\n"),
        ("menu", "menu", ""),
        ("menu\n", "menu", ""),
        ("\n\nmenu\n\n", "menu", ""),
        ("a menu\nb", "menu", "a \nb"),
    ],
)
def test_line_feeds_go_with_their_lines(text: str, gone: str, left: str) -> None:
    """Holes where menus were would pass for the ends of paragraphs, hundreds in a row."""
    start = text.index(gone)
    for kind in ("line", "paragraph"):
        assert remove([text], [[(kind, start, start + len(gone))]]) == [left]


@pytest.mark.parametrize(
    ("text", "gone", "left"),
    [
        ("one two three", "two", "one three"),
        ("one two, three", "two", "one , three"),
        ("one two  three", "two", "one  three"),
        ("one two", "two", "one "),
        ("two one", "two", "one"),
        ("one\ntwo three", "two", "one\nthree"),
        ("one\ntwo\nthree", "two", "one\n\nthree"),
        ("onetwo three", "two", "one three"),
    ],
)
def test_one_space_goes_with_a_piece(text: str, gone: str, left: str) -> None:
    """Two spaces would stand wherever a piece was, or two words run into one."""
    start = text.index(gone)
    assert remove([text], [[("substring", start, start + len(gone))]]) == [left]


def test_null_spans_leave_the_text_and_null_texts_stay_null() -> None:
    """A row that was not compared has lost nothing."""
    assert remove(["abc", None, None, ""], [None, None, [("line", 0, 1)], [("line", 0, 1)]]) == [
        "abc",
        None,
        None,
        "",
    ]


def test_what_is_left_has_every_line_once(tmp_path: Path) -> None:
    """Finding and removing belong together: a second round has nothing to find."""
    rows = many_rows(80)
    [batch] = batches_of(rows, size=len(rows))
    [spans] = LineDuplicates().reduce(MemoryRows([batch], tmp_path))
    found = pa.record_batch([batch["text"], spans["repeat_spans"]], ["text", "repeat_spans"])
    texts = RemoveRepeats().annotate(found)["text"].to_pylist()
    before = {line for row in rows for line in (row.text or "").split("\n")}
    after = [line for text in texts for line in text.split("\n") if line]
    assert sorted(after) == sorted(before)
    again = batches_of([Row(row.id, text) for row, text in zip(rows, texts, strict=True)], 9)
    assert not any(
        spans
        for made in LineDuplicates().reduce(MemoryRows(again, tmp_path))
        for spans in made["repeat_spans"].to_pylist()
    )


def test_many_spans_take_time_in_proportion() -> None:
    """A line of spaces before ten thousand repeats would be walked over ten thousand times."""
    text = " " * 1_000_000 + "\n" + "menu of a page\n" * 20_000
    start = np.arange(20_000) * 15 + 1_000_001
    spans: list[Cell] = [("line", at, at + 14) for at in start.tolist()]
    remove(["a"], [[]])  # compiles
    began = time.monotonic()
    assert remove([text], [spans]) == [" " * 1_000_000 + "\n"]
    assert time.monotonic() - began < 5


def test_the_contract_holds() -> None:
    """Spans are a user's to make: too large, null, of no known kind."""
    check_stage(RemoveRepeats())


def test_no_more_different_units_are_held_than_memory_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a million units that all differ fill a file that has to be split again."""
    chance, count, rows = np.random.default_rng(0), 400_000, 400
    place_P = np.zeros(count, dtype=PLACE_TYPE)
    for field in ("key_0", "key_1", "rank"):
        place_P[field] = chance.integers(0, 1 << 64, count, dtype=np.uint64)
    place_P["row"], place_P["stop"] = np.arange(count) // (count // rows), 1
    places = Places(tmp_path, memory_bytes=300_000)
    for start in range(0, count, count // 10):
        places.add(place_P[start : start + count // 10], np.ones(rows // 10, dtype=np.int64))
    held = []

    class Watched(repeats._Firsts):
        def add(self, place_P: repeats.Array) -> None:
            super().add(place_P)
            held.append(self.count)

    monkeypatch.setattr(repeats, "_Firsts", Watched)
    found = [(len(size_N), len(repeat_R)) for size_N, repeat_R in places.found()]
    assert np.sum(found, axis=0).tolist() == [rows, 0]
    assert max(held) <= 4096


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 99), max_size=9), max_size=5), st.booleans(), st.data())
def test_a_pile_gives_back_what_it_was_given(
    tmp_path_factory: pytest.TempPathFactory,
    arrays: list[list[int]],
    on_disk: bool,
    data: st.DataObject,
) -> None:
    """Rows would change places with their neighbours."""
    path = tmp_path_factory.mktemp("pile") / "pile" if on_disk else None
    pile = Pile(np.int64, path)
    for array in arrays:
        pile.append(np.array(array, dtype=np.int64))
    flat = [value for array in arrays for value in array]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(flat)), max_size=4)))
    counts = np.diff([0, *cuts, len(flat)]).tolist()
    runs = [run.tolist() for run in pile.runs(counts)]
    assert [len(run) for run in runs] == counts
    assert [v for run in runs for v in run] == pile.whole().tolist() == flat
    assert [v for piece in pile.pieces(2) for v in piece.tolist()] == flat
    pile.remove()
    assert pile.whole().tolist() == []
