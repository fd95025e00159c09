from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import Recipe
from curation.columns import columns
from curation.dedup.lines import LineDuplicates
from curation.dedup.repeats import RemoveRepeats, RepeatStage
from curation.errors import RecipeError
from curation.stage import Reducer
from curation.testing import MemoryRows, check_stage
from tests.conftest import Files, kept_ids, write_jsonl
from tests.oracles import repeats as oracle
from tests.oracles.repeats import Row

SMALL = 1 << 16  # bytes; a table of the default size takes most of a second to make
Spans = list[list[tuple[int, int]] | None]

#: Pieces of which lines repeat, in other case and spacing, and lie beside blank lines.
PIECES = ("a b c", "A  b c", "\u0416 b c", "\u0436 b\u3000c", "a b", "x", "\u0130 b c", "i b c")
PIECES += ("\n", "\n", "\n", "\n\n", "\r\n", " ", "\n \n", "\n\u2003\n", "\n\x1c\n", "\x85")
texts = st.none() | st.lists(st.sampled_from(PIECES), max_size=14).map("".join)
names = st.text(st.sampled_from("aZ0#\xe9"), min_size=1, max_size=3)
tables = st.dictionaries(names, st.tuples(texts, st.sampled_from([None, "", "x"])), max_size=6)


def batches_of(rows: list[Row], size: int = 3) -> list[pa.RecordBatch]:
    """Return rows as batches of id, text and source."""
    schema = columns("id", "text", "source")
    parts = [rows[at : at + size] for at in range(0, len(rows), size)]
    return [
        pa.record_batch([pa.array(c, pa.large_string()) for c in zip(*part, strict=True)], schema)
        for part in parts
    ]


def found(stage: Reducer, rows: list[Row], scratch: Path, size: int = 3) -> Spans:
    """Reduce; check kinds and shares; return the places of the spans."""
    made = list(stage.reduce(MemoryRows(batches_of(rows, size), scratch)))
    assert all(batch.schema == stage.writes for batch in made)
    spans = [v for batch in made for v in batch["repeat_spans"].to_pylist()]
    shares = [v for batch in made for v in batch["repeat_char_frac"].to_pylist()]
    places: Spans = []
    for row, cells, share in zip(rows, spans, shares, strict=True):
        if row.text is None:
            assert (cells, share) == (None, None)
            places.append(None)
            continue
        assert {cell["kind"] for cell in cells} <= {getattr(stage, "unit", "substring")}
        places.append([(cell["start"], cell["stop"]) for cell in cells])
        size_bytes = len(row.text.encode())
        wanted = sum(cell["stop"] - cell["start"] for cell in cells) / max(size_bytes, 1)
        assert share == pytest.approx(wanted, abs=1e-6)
    return places


def pieces(rows: list[Row], spans: Spans) -> list[list[str]]:
    """Return what the spans cover."""
    texts = [(row.text or "").encode() for row in rows]
    return [
        [data[a:b].decode() for a, b in places or []]
        for data, places in zip(texts, spans, strict=True)
    ]


def two_rows(*texts: str | None) -> list[Row]:
    """Return rows in the order of their ranks: the first one's units stay."""
    ids = sorted(
        (f"row-{n}" for n in range(len(texts))), key=lambda name: oracle.rank(Row(name, ""))
    )
    return [Row(name, text) for name, text in zip(ids, texts, strict=True)]


# ---------------------------------------------------------------- what is found


@settings(deadline=None)  # the first call compiles
@given(
    tables,
    st.sampled_from(["line", "paragraph"]),
    st.integers(1, 4),
    st.booleans(),
    st.sampled_from([1, 1 << 20]),
)
def test_repeats_are_those_of_a_dict(
    tmp_path_factory: pytest.TempPathFactory,
    cells: dict[str, tuple[str | None, str | None]],
    unit: Any,
    min_words: int,
    scoped: bool,
    memory_bytes: int,
) -> None:
    """A line that stands once would go from the corpus, and nobody would ever see it."""
    rows = [Row(name, *cell) for name, cell in cells.items()]
    within = ("source",) if scoped else ()
    stage = LineDuplicates(unit=unit, min_words=min_words, within=within, memory_bytes=memory_bytes)
    alike = rows if scoped else [row._replace(scope=None) for row in rows]
    wanted = oracle.line_repeats(alike, unit, min_words)
    assert found(stage, rows, tmp_path_factory.mktemp("scratch")) == wanted


def test_of_each_line_one_place_stays(tmp_path: Path) -> None:
    """What a person would expect to see, written out."""
    rows = two_rows(
        "Accept all cookies\nThe cat sat down.\naccept  ALL cookies",
        "ACCEPT ALL COOKIES\r\nThe dog ran off.\nthe cat sat down.\nThe end",
    )
    spans = found(LineDuplicates(), rows, tmp_path)
    assert pieces(rows, spans) == [
        ["accept  ALL cookies"],
        ["ACCEPT ALL COOKIES\r", "the cat sat down."],
    ]


def test_paragraphs_lie_between_blank_lines(tmp_path: Path) -> None:
    """A repeated line in a paragraph of its own is none of another paragraph."""
    rows = two_rows(
        "one two\nthree\n\n\nfour five six\n", " \none TWO\n three\n \t\nfour five\nsix x"
    )
    spans = found(LineDuplicates(unit="paragraph"), rows, tmp_path)
    assert pieces(rows, spans) == [[], ["one TWO\n three"]]


@pytest.mark.parametrize("method", ["exact", "bloom"])
def test_the_order_of_rows_changes_nothing(tmp_path: Path, method: Any) -> None:
    """A corpus must not change because its files were listed in another order."""
    rows = many_rows(60)
    stage = LineDuplicates(method=method, memory_bytes=SMALL)
    backwards = found(stage, rows[::-1], tmp_path, size=7)
    assert backwards[::-1] == found(stage, rows, tmp_path)


def many_rows(count: int, words: str = "of menu") -> list[Row]:
    """Rows of 12 lines: one that all have, some that a few have, some that stand once."""
    return [
        Row(
            f"f#{n * 7919 % 10_007}",
            "\n".join(
                f"line {max(n * k % 50 * (k % 3), k) if k < 9 else n} {words} {k}"
                for k in range(12)
            ),
        )
        for n in range(count)
    ]


# ---------------------------------------------------------------- scopes


def test_rows_are_compared_within_the_columns_named(tmp_path: Path) -> None:
    """A source that quotes another one's notice would lose it; null is a source of its own."""
    rows = [
        Row(f"{n}", "one two three", scope) for n, scope in enumerate(["x", "y", None, "", "x"])
    ]
    spans = found(LineDuplicates(within=("source",)), rows, tmp_path)
    assert sum(map(bool, spans)) == 1
    assert bool(spans[0]) != bool(spans[4])
    assert sum(map(bool, found(LineDuplicates(), rows, tmp_path))) == 4


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, 2, 1, None]),
        pa.array([True, False, True, None]),
        pa.array([datetime.datetime(2020, 1, d) if d else None for d in (1, 2, 1, 0)]),
        pa.array(["a", "b", "a", None]).dictionary_encode(),
        pa.array([b"\xff", b"\xfe", b"\xff", None], pa.binary()).dictionary_encode(),
        pa.array([b"\xff", b"\xfe", b"\xff", None], pa.binary()),
        pa.array([b"\xff", b"\xfe", b"\xff", None], pa.binary(1)),
    ],
)
def test_columns_of_many_types_part_rows(tmp_path: Path, values: pa.Array) -> None:
    """A snapshot may be a number, a day or a hash."""
    text = pa.array(["one two three"] * 4, pa.large_string())
    batch = pa.record_batch(
        {"id": pa.array(list("abcd"), pa.large_string()), "text": text, "snapshot": values}
    )
    stage = LineDuplicates(within=("snapshot",))
    [made] = stage.reduce(MemoryRows([batch], tmp_path))
    alone = [not spans for spans in made["repeat_spans"].to_pylist()]
    assert alone in ([True, True, False, True], [False, True, True, True])


def test_a_column_without_a_text_form_is_refused(tmp_path: Path) -> None:
    """Rows that are compared by nothing would all be one scope."""
    batch = batches_of([Row("a", "b")])[0].append_column("x", pa.array([[1]]))
    with pytest.raises(RecipeError, match="within 'x'"):
        list(LineDuplicates(within=("x",)).reduce(MemoryRows([batch], tmp_path)))


def test_a_recipe_knows_the_columns_that_a_stage_compares_within(tmp_path: Path) -> None:
    """A misspelt column would be found out after a day of reading."""
    stage = LineDuplicates(within=("sauce",))
    assert stage.reads == ("id", "text", "sauce")
    with pytest.raises(RecipeError, match="'sauce'"):
        Recipe(source=Files(f"{tmp_path}/*.jsonl"), steps=[stage])


def test_a_recipe_finds_and_removes_repeats_within_each_file(tmp_path: Path) -> None:
    """The stages must work in the engine, where a text is read again and replaced."""
    menu = "Home News About\n"
    for file in "ab":
        rows = [{"text": f"{menu}{file} has a story {n}.\n"} for n in range(3)]
        write_jsonl(tmp_path / f"{file}.jsonl", rows)
    recipe = Recipe(
        source=Files(f"{tmp_path}/*.jsonl"),
        steps=[LineDuplicates(within=("file",)), RemoveRepeats()],
    )
    build = recipe.run(store=tmp_path / "store", workers=0)
    assert len(kept_ids(build)) == 6
    made = list(build.documents(columns=["text"]).collect()["text"])
    assert sorted(text.replace(menu, "") for text in made) == [
        f"{file} has a story {n}.\n" for file in "ab" for n in range(3)
    ]
    assert sum(menu in text for text in made) == 2


# ---------------------------------------------------------------- Bloom filter


@settings(deadline=None)
@given(tables, st.sampled_from(["line", "paragraph"]))
def test_a_roomy_filter_finds_what_a_dict_finds(
    tmp_path_factory: pytest.TempPathFactory,
    cells: dict[str, tuple[str | None, str | None]],
    unit: Any,
) -> None:
    """The two methods must mean the same, mistakes aside."""
    rows = [Row(name, text) for name, (text, _) in cells.items()]
    stage = LineDuplicates(unit=unit, method="bloom", memory_bytes=SMALL)
    wanted = oracle.line_repeats(rows, unit, 3)
    assert found(stage, rows, tmp_path_factory.mktemp("scratch")) == wanted


def test_a_full_filter_misses_no_repeat(tmp_path: Path) -> None:
    """The filter may err on one side only."""
    rows = many_rows(200)
    exact = found(LineDuplicates(), rows, tmp_path)
    for memory_bytes in (4, 400, 4000):
        stage = LineDuplicates(method="bloom", memory_bytes=memory_bytes)
        for sure, likely in zip(exact, found(stage, rows, tmp_path), strict=True):
            assert {*(sure or [])} <= {*(likely or [])}


# ---------------------------------------------------------------- memory


@pytest.mark.parametrize("memory_bytes", [1, 40_000, 1 << 28])
def test_little_memory_gives_the_same_repeats(tmp_path: Path, memory_bytes: int) -> None:
    """The same corpus must lose the same lines on a small machine and on a large one."""
    rows = many_rows(400)
    made = found(LineDuplicates(memory_bytes=memory_bytes), rows, tmp_path, size=40)
    assert made == oracle.line_repeats(rows, "line", 3)


def test_little_memory_does_use_files_and_leaves_none(tmp_path: Path) -> None:
    """Without files memory grows with the corpus; with files left over the disk does."""
    made = LineDuplicates(memory_bytes=1).reduce(MemoryRows(batches_of(many_rows(400)), tmp_path))
    next(made)
    assert list(tmp_path.iterdir())
    list(made)
    assert not list(tmp_path.iterdir())


def test_much_memory_writes_no_file(tmp_path: Path) -> None:
    """A corpus that fits must not pay for the disk."""
    found(LineDuplicates(), many_rows(100), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_line_that_stands_everywhere_is_one_entry(tmp_path: Path) -> None:
    """Every page of a site has its footer; a file of copies can be split no further."""
    rows = [Row(f"{n}", "All rights reserved everywhere.\n" * 20) for n in range(1000)]
    spans = found(LineDuplicates(memory_bytes=1), rows, tmp_path, size=100)
    assert sum(len(places or []) for places in spans) == 20_000 - 1


# ---------------------------------------------------------------- contract and settings


@pytest.mark.parametrize(
    "stage",
    [
        LineDuplicates(),
        LineDuplicates(unit="paragraph", min_words=1, memory_bytes=1),
        LineDuplicates(method="bloom", memory_bytes=SMALL),
        LineDuplicates(within=("source", "offset")),
        LineDuplicates(within=("source",), method="bloom", memory_bytes=SMALL),
    ],
)
def test_the_contract_holds_whatever_the_settings(stage: RepeatStage) -> None:
    """Files, filters and scopes are other paths through the code; the law is the same."""
    check_stage(stage)


def test_memory_is_part_of_the_identity_where_the_result_depends_on_it() -> None:
    """More memory would mean doing everything anew, for the same result; or a stale one."""
    assert LineDuplicates(memory_bytes=SMALL).identity() == LineDuplicates().identity()
    small = LineDuplicates(method="bloom", memory_bytes=SMALL)
    assert small.identity() != LineDuplicates(method="bloom").identity()
    assert LineDuplicates(min_words=4).identity() != LineDuplicates().identity()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"memory_bytes": 0}, "no memory"),
        ({"memory_bytes": 3, "method": "bloom"}, "no room for one slot"),
        ({"min_words": 0}, "one word at least"),
        ({"within": ("text",)}, "other than id and text"),
        ({"within": ("date", "date")}, "each named once"),
        ({"within": ("repeat_char_frac",)}, "those it writes"),
        ({"unit": "sentence"}, "no such unit"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any], message: str) -> None:
    """A setting that cannot work is refused before a day of reading, not after it."""
    with pytest.raises(RecipeError, match=message):
        LineDuplicates(**wrong)
