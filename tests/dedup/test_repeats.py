from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import ExactDuplicates, Jsonl, NearDuplicates, Recipe
from curation.columns import SPAN, columns
from curation.dedup import repeats
from curation.dedup.lines import LineDuplicates
from curation.dedup.repeats import Pile, Places, RemoveRepeats, RepeatStage
from curation.dedup.substring import SubstringDuplicates
from curation.errors import RecipeError
from curation.kernels.repeats import PLACE_TYPE
from curation.stage import Stage
from curation.testing import MemoryRows, check_stage
from tests.conftest import write_jsonl
from tests.dedup.test_lines import PIECES, batches_of, many_rows
from tests.oracles import repeats as oracle
from tests.oracles.repeats import Row

Cell = tuple[str | None, int | None, int | None] | None


def remove(texts: list[str | None], spans: list[list[Cell] | None]) -> list[str | None]:
    """Return texts without spans of (kind, start, stop)."""
    lead: list[Cell] = [("line", 0, 2)]  # of another row, as in a sliced column
    batch = pa.record_batch(
        {
            "text": pa.array(["\xe9 x", *texts], pa.large_string()),
            "repeat_spans": span_lists([lead, *spans]),
        }
    )
    made = RemoveRepeats().annotate(batch.slice(1))
    made.validate(full=True)
    assert made["repeat_spans"].to_pylist() == [None if text is None else [] for text in texts]
    values: list[str | None] = made["text"].to_pylist()
    return values


def span_lists(spans: list[list[Cell] | None]) -> pa.Array:
    """Return spans of (kind, start, stop) as a column."""
    keys = ("kind", "start", "stop")
    cells = [s and [c and dict(zip(keys, c, strict=True)) for c in s] for s in spans]
    return pa.array(cells, pa.large_list(SPAN))


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


# ---------------------------------------------------------------- one finder after another


def marked(
    stage: RepeatStage, rows: list[Row], spans: list[list[Cell] | None], folder: Path, size: int
) -> list[tuple[Any, Any]]:
    """Return what a stage marks in rows that have marks, in batches of a size."""
    [batch] = batches_of(rows, size=len(rows))
    batch = batch.append_column("repeat_spans", span_lists(spans))
    parts = [batch.slice(at, size) for at in range(0, len(rows), size)]
    made = pa.Table.from_batches(stage.reduce(MemoryRows(parts, folder)), stage.writes)
    made.validate(full=True)
    lists = [v and [tuple(c.values()) for c in v] for v in made["repeat_spans"].to_pylist()]
    return list(zip(lists, made["repeat_char_frac"].to_pylist(), strict=True))


FINDERS = [
    LineDuplicates(memory_bytes=1),
    LineDuplicates(unit="paragraph", method="bloom", memory_bytes=1 << 16),
    SubstringDuplicates(min_words=3, memory_bytes=1),
]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.none() | some_lines, st.none() | st.lists(cells, max_size=4)),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(FINDERS),
    st.integers(1, 4),
)
def test_marks_of_an_earlier_step_stay_and_each_byte_counts_once(
    tmp_path_factory: pytest.TempPathFactory,
    table: list[tuple[str | None, list[Cell] | None]],
    stage: RepeatStage,
    size: int,
) -> None:
    """What two steps have both marked would count twice, and what one has marked go unremoved."""
    folder = tmp_path_factory.mktemp("scratch")
    rows = [Row(f"{n}", text) for n, (text, _) in enumerate(table)]
    alone = marked(stage, rows, [None] * len(rows), folder, size)
    both = marked(stage, rows, [spans for _, spans in table], folder, size)
    for row, (_, handed), (own, share), (spans, union) in zip(
        rows, table, alone, both, strict=True
    ):
        if row.text is None:
            assert (spans, union) == (own, share) == (None, None)
            continue
        length = len(row.text.encode())
        known: list[Any] = [cell for cell in handed or [] if cell and None not in cell[1:]]
        cut = [(kind, start, min(stop, length)) for kind, start, stop in known]
        wanted = [cell for cell in cut if cell[1] < cell[2]] + own
        assert spans == sorted(wanted, key=lambda cell: cell[1:])
        covered = {byte for _, start, stop in wanted for byte in range(start, stop)}
        assert union == np.float32(len(covered) / max(length, 1))


def test_marks_find_their_rows_where_work_is_done_in_other_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Marks of one row would be cut out of another; a span in another one would count twice."""
    monkeypatch.setattr("curation.dedup.substring._PIECE_BYTES", 1)  # each row is a piece
    rows = [Row(f"{n}", f"{n:09}") for n in range(300)]
    spans: list[list[Cell] | None] = [
        [(f"{n}", 0, 8), ("x", 1, 2), (None, 3, 2**64 - 1), ("x", 2**63, 2**64 - 1), ("x", 5, 5)]
        if n % 3 == 0
        else None
        for n in range(300)
    ]
    wanted = [
        ([(f"{n}", 0, 8), ("x", 1, 2), (None, 3, 9)], 1.0) if n % 3 == 0 else ([], 0.0)
        for n in range(300)
    ]
    stage = SubstringDuplicates(memory_bytes=1)
    for size in (300, 70, 1):
        assert marked(stage, rows, spans, tmp_path, size) == wanted
    short = [[("x", 0, 8), ("x", 1, 2), ("x", 3, 4)]]
    [(_, share)] = marked(stage, rows[:1], short, tmp_path, 1)  # type: ignore[arg-type]
    assert share == np.float32(8 / 9)


def test_spans_beneath_a_null_list_belong_to_no_row(tmp_path: Path) -> None:
    """Arrow lets a null cover values; they would be marks of the next row, or crash."""
    spans = span_lists([[("line", 0, 1)], [("line", 1, 2)]])
    hidden = pa.LargeListArray.from_arrays([0, 1, 2], spans.values, mask=pa.array([True, False]))
    hidden = hidden.cast(pa.large_list(SPAN))
    columns_ = [pa.array(v, pa.large_string()) for v in (["a", "b"], ["abc", "abc"])]
    batch = pa.record_batch([*columns_, hidden], ["id", "text", "repeat_spans"])
    assert RemoveRepeats().annotate(batch)["text"].to_pylist() == ["abc", "ac"]
    [made] = LineDuplicates().reduce(MemoryRows([batch], tmp_path))
    assert made["repeat_spans"].to_pylist() == [[], [{"kind": "line", "start": 1, "stop": 2}]]


MENU = "Home News About"
STORY = "a story of the sea and of the ships that sail it"


def texts_after(steps: list[Stage], folder: Path) -> list[tuple[str, list[str], float]]:
    """Run steps on two pages; return the longest first: text, kinds of spans, share."""
    pages = [f"{MENU}\nOnce {STORY}, at last.\n", f"{MENU}\nWe know {STORY}!\n"]
    write_jsonl(folder / "pages.jsonl", [{"text": text} for text in pages])
    recipe = Recipe(source=Jsonl(f"{folder}/*.jsonl"), steps=steps)
    build = recipe.run(store=folder / "store", workers=0)
    shown = build.documents(columns=["text", "repeat_spans", "repeat_char_frac"]).collect()
    made = [
        (row["text"], [span["kind"] for span in row["repeat_spans"]], row["repeat_char_frac"])
        for row in shown.iter_rows(named=True)
    ]
    return sorted(made, key=lambda row: -row[2])


def finders(unit: str = "line") -> list[RepeatStage]:
    lines = LineDuplicates(method="bloom" if unit == "line" else "exact", memory_bytes=1 << 16)
    return [lines, SubstringDuplicates(min_words=6, memory_bytes=1 << 16)]


def test_a_recipe_marks_lines_and_passages_and_removes_both(tmp_path: Path) -> None:
    """The two would exclude each other, or the second would forget what the first has marked."""
    (tmp_path / "marked").mkdir()
    rows = texts_after(list(finders()), tmp_path / "marked")
    size = len(rows[0][0].encode())
    assert [kinds for _, kinds, _ in rows] == [["line", "substring"], []]
    assert rows[0][2] == pytest.approx((len(MENU) + len(STORY)) / size)
    (tmp_path / "removed").mkdir()
    rows = texts_after([*finders(), RemoveRepeats()], tmp_path / "removed")
    assert [kinds for _, kinds, _ in rows] == [[], []]
    assert rows[0][0] in ("Once , at last.\n", "We know !\n")
    assert all(piece in rows[1][0] for piece in (MENU, STORY))


def test_a_recipe_removes_lines_and_then_passages_of_what_is_left(tmp_path: Path) -> None:
    """Places in the old text would be cut out of the new one, in the middle of words."""
    line, passage = finders("exact")
    rows = texts_after([line, RemoveRepeats(), passage, RemoveRepeats()], tmp_path)
    assert [kinds for _, kinds, _ in rows] == [[], []]
    assert rows[0][0] in ("Once , at last.\n", "We know !\n")
    assert all(piece in rows[1][0] for piece in (MENU, STORY))
    assert rows[0][2] == pytest.approx(len(STORY) / (len(rows[0][0]) + len(STORY)))


@pytest.mark.parametrize("kind", [ExactDuplicates, NearDuplicates])
def test_no_step_compares_rows_within_a_column_without_a_text_form(
    tmp_path: Path, kind: type[ExactDuplicates | NearDuplicates]
) -> None:
    """An error of Arrow's would name no column and no remedy."""
    stage = kind(within=("repeat_spans",))
    batch = pa.RecordBatch.from_pylist([{"id": "a"}], schema=columns(*stage.reads))
    with pytest.raises(RecipeError, match="within 'repeat_spans'"):
        list(stage.reduce(MemoryRows([batch], tmp_path)))
    binary = kind(within=("sketch",))
    batch = pa.RecordBatch.from_pylist([{"id": "a"}], schema=columns(*binary.reads))
    assert sum(len(made) for made in binary.reduce(MemoryRows([batch], tmp_path))) == 1


# ---------------------------------------------------------------- places


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
