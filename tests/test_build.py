"""What a notebook user does with a finished build: rows, reasons, one row's path, files."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from curation import (
    Build,
    ExactDuplicates,
    JsonlFiles,
    ParquetFiles,
    Recipe,
    TextHash,
    TextSize,
    col,
    keep,
    row_annotator,
)
from curation.audit import diff
from curation.errors import CurationError, RecipeError, ResourceError
from curation.writers import Written
from tests.conftest import Files, kept_ids, write_jsonl

TEXTS = [
    "one two three",
    "one",
    "One  two\nthree",
    "it breaks here now",
    "six words are in this text",
]
FAR = "seven of nine, 北京 \u2028 x"


@row_annotator(writes={"first_letter": pa.large_string()})
def first_letter(text: str) -> str:
    if "breaks" in text:
        raise ValueError("it broke")
    return text[0]


def recipe(folder: Path, least: int = 2) -> Recipe:
    return Recipe(
        source=Files(f"{folder}/*.jsonl", license="CC0"),
        steps=[
            TextSize(),
            keep(col("word_count") >= least, because="too short"),
            first_letter,
            TextHash(),
            ExactDuplicates(),
            keep(col("duplicate_of").is_null(), because="exact duplicate"),
        ],
    )


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """Two files of the texts, the second with a broken line and other words."""
    rows = [{"text": text, "url": f"http://a/{n}"} for n, text in enumerate(TEXTS)]
    write_jsonl(tmp_path / "pages" / "a.jsonl", rows)
    write_jsonl(tmp_path / "pages" / "b.jsonl", ["broken", {"text": FAR}])
    return tmp_path / "pages"


@pytest.fixture
def build(pages: Path, store: Path) -> Build:
    """The finished build of the two files."""
    return recipe(pages).run(store=store, workers=0)


def id_of(build: Build, text: str) -> str:
    everything = pl.concat([build.documents(), build.dropped()], how="diagonal").collect()
    found: str = everything.filter(pl.col("text") == text)["id"].item()
    return found


# ---------------------------------------------------------------- rows


def test_documents_are_the_rows_that_stayed(build: Build) -> None:
    """Everything that anybody does with a corpus begins here."""
    found = build.documents().collect()
    assert found["text"].to_list() == [TEXTS[0], TEXTS[4], FAR]
    assert found["word_count"].to_list() == [3, 6, 5]
    assert found["group_size"].to_list() == [2, 1, 1]
    assert set(found["license"]) == {"CC0"}
    assert repr(build).endswith("3 rows of 7")


def test_documents_can_be_queried_like_any_frame(build: Build) -> None:
    """Projections, filters and heads are pushed into the reader, and must change no answer."""
    lazy, eager = build.documents(), build.documents().collect()
    assert lazy.collect_schema() == eager.schema
    queries: list[Any] = [
        lambda f: f.select("id"),
        lambda f: f.select(pl.col("word_count") * 2),
        lambda f: f.filter(pl.col("word_count") > 3).select("text"),
        lambda f: f.head(2),
        lambda f: f.head(2).filter(pl.col("word_count") > 3),
        lambda f: f.filter(pl.col("word_count") > 3).head(1),
        lambda f: f.tail(1).select("url"),
        lambda f: f.select(pl.len()),
        lambda f: f.group_by("license").agg(pl.col("word_count").sum()),
        lambda f: f.slice(1, 1).select("text"),
        lambda f: f.filter(pl.col("text").str.contains("nine")),
    ]
    for query in queries:
        assert query(lazy).collect().equals(query(eager.lazy()).collect())


def test_only_what_a_query_uses_is_read(build: Build, pages: Path) -> None:
    """Counting words would read a terabyte of text again."""
    for path in pages.iterdir():
        path.unlink()
    assert build.documents().select(pl.col("word_count").sum()).collect().item() == 14
    assert build.documents(columns=["id", "first_letter"]).collect().columns == [
        "id",
        "first_letter",
    ]


def test_an_unknown_column_suggests_the_nearest(build: Build) -> None:
    """Polars' own message would not know the columns of the build."""
    with pytest.raises(ResourceError, match="no column 'word_cuont'") as caught:
        build.documents(columns=["id", "word_cuont"])
    assert caught.value.facts["remedy"] == "did you mean 'word_count'?"
    assert "text" in caught.value.facts["present"]


def test_dropped_rows_say_why_and_where(build: Build) -> None:
    """A person who tunes a threshold looks at what it takes away."""
    gone = build.dropped().select("text", "step", "because").collect()
    assert gone.rows() == [
        (TEXTS[1], 2, "too short"),
        (TEXTS[2], 6, "exact duplicate"),
        (TEXTS[3], 3, "error in first_letter"),
        (None, 0, "error in Files"),
    ]
    for reason, count in build.reasons().items():
        found = build.dropped(because=reason).collect()
        assert found["because"].to_list() == [reason] * count
    assert build.dropped(because="too short").select(pl.len()).collect().item() == 1
    with pytest.raises(ResourceError, match="no row was dropped because of 'to short'") as caught:
        build.dropped(because="to short")
    assert caught.value.facts["remedy"] == "did you mean 'too short'?"


def test_errors_name_row_step_stage_and_reason(build: Build) -> None:
    """Bad input can only be mended where somebody says which and why."""
    found = build.errors()
    assert found.columns == ["id", "step", "stage", "reason"]
    assert found.rows()[0] == (id_of(build, TEXTS[3]), 3, "first_letter", "ValueError: it broke")
    assert found.rows()[1][:3] == ("b.jsonl#0", 0, "Files")
    assert "not JSON" in found["reason"][1]


def test_the_funnel_counts_every_step(build: Build) -> None:
    """The first table of every report."""
    funnel = build.funnel()
    assert funnel["name"].to_list() == [
        "Files",
        "TextSize",
        "keep",
        "first_letter",
        "TextHash",
        "ExactDuplicates",
        "keep",
    ]
    assert funnel["rows"].to_list() == [6, 6, 5, 4, 4, 4, 3]
    assert funnel["documents"].to_list() == funnel["rows"].to_list()
    assert funnel["dropped"].to_list() == [0, 0, 1, 0, 0, 0, 1]
    assert funnel["errors"].to_list() == [1, 0, 0, 1, 0, 0, 0]
    assert funnel["title"][2] == "keep word_count >= 2"
    sizes = [len(text.encode()) for text in (*TEXTS, FAR)]
    assert funnel["bytes"][0] == sum(sizes)
    ledger = build.ledger()
    assert (ledger.rows_in, ledger.rows_out, ledger.errors, ledger.made) == (7, 3, 2, 0)
    assert ledger.dropped == {"too short": 1, "exact duplicate": 1}
    assert ledger.balances


# ---------------------------------------------------------------- why


def test_why_tells_the_whole_path_of_a_row(build: Build) -> None:
    """The promise of the package: a reason for every document."""
    twin, row = id_of(build, TEXTS[0]), id_of(build, TEXTS[2])
    why = build.why(row)
    assert str(why) == "\n".join(
        [
            row,
            "  dropped: exact duplicate",
            "",
            "  source    pages",
            "  url       http://a/2",
            "  license   CC0",
            "  file      a.jsonl",
            f"  offset    {row.partition('#')[2]}",
            *([f"  length    {why.place['length']}"] if why.place["length"] else []),
            "",
            "  step  1  TextSize()  →  text_bytes 14, text_chars 14, word_count 3",
            "  step  2  keep word_count >= 2  →  word_count 3",
            "  step  3  first_letter  →  first_letter O",
            f"  step  4  TextHash()  →  text_hash {why.path[3].values['text_hash'].hex()}",
            f"  step  5  ExactDuplicates()  →  duplicate_of {twin}, group_size 2",
            f"  step  6  keep duplicate_of.is_null()  →  duplicate_of {twin} · dropped here",
            "",
            f"  duplicate of {twin}",
            "    | one two three",
            "",
            "  text",
            "    | One  two",
            "    | three",
        ]
    )
    assert repr(why) == str(why)


def test_why_ends_where_the_row_went(build: Build) -> None:
    """Values of steps that never saw the row would be shown as if they had counted."""
    short = build.why(id_of(build, TEXTS[1]))
    assert [step.step for step in short.path] == [1, 2]
    assert (short.kept, short.because) == (False, "too short")
    bad = build.why(id_of(build, TEXTS[3]))
    assert bad.because == "error in first_letter: ValueError: it broke"
    assert [step.step for step in bad.path] == [1, 2, 3]
    broken = build.why("b.jsonl#0")
    assert broken.because.startswith("error in Files: the line is no")
    assert broken.path == []
    kept = build.why(id_of(build, TEXTS[4]))
    assert kept.kept
    assert "\n  kept\n" in str(kept)
    assert len(kept.path) == 6


def test_an_unknown_row_is_answered_with_an_example(build: Build) -> None:
    """A person who mistyped an id would not know what an id looks like."""
    with pytest.raises(ResourceError, match=r"called 'a.jsonl#99'") as caught:
        build.why("a.jsonl#99")
    assert caught.value.facts["example"] == "a.jsonl#0"


def test_two_builds_are_compared_row_by_row(build: Build, pages: Path, store: Path) -> None:
    """Nobody could say what a changed threshold did."""
    stricter = recipe(pages, least=5).run(store=store, workers=0)
    found = diff(build, stricter)
    assert found.rows() == [(id_of(build, TEXTS[0]), "first", 2, "too short")]
    assert diff(stricter, build)["only_in"].to_list() == ["second"]
    assert diff(build, build).is_empty()


# ---------------------------------------------------------------- files


@pytest.fixture
def numbers_build(numbers: str, store: Path) -> Build:
    """A hundred texts of 0 to 99 letters, those of ten or more kept."""
    steps = [TextSize(), keep(col("text_bytes") >= 10, because="short")]
    return Recipe(source=Files(numbers), steps=steps).run(store=store, workers=0)


def contents(written: Written) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in written.paths}


@pytest.mark.parametrize("kind", [ParquetFiles, JsonlFiles])
def test_a_corpus_is_written_in_files_of_the_size_asked_for(
    numbers_build: Build, tmp_path: Path, kind: Any
) -> None:
    """A trainer that streams files by turns needs them of one size, and none lost between them."""
    written = numbers_build.write(kind(tmp_path / "out", shard_bytes=1000))
    assert (written.rows, written.text_bytes) == (90, sum(range(10, 100)))
    texts = [table["text"].to_list() for table in map(read_file, written.paths)]
    assert [len(t) for file in texts for t in file] == list(range(10, 100))
    sizes = [[len(t) for t in file] for file in texts]
    assert all(sum(file) >= 1000 > sum(file[:-1]) for file in sizes[:-1])
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(contents(written))


def read_file(path: Path) -> pl.DataFrame:
    return pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_ndjson(path)


@pytest.mark.parametrize("kind", [ParquetFiles, JsonlFiles])
def test_a_corpus_is_the_same_files_each_time(
    numbers_build: Build, tmp_path: Path, kind: Any
) -> None:
    """A corpus could not be told by its checksum."""
    one = numbers_build.write(kind(tmp_path / "one", shard_bytes=700))
    two = numbers_build.write(kind(tmp_path / "two", shard_bytes=700))
    assert contents(one) == contents(two)
    before = {path: path.stat().st_mtime_ns for path in one.paths}
    again = numbers_build.write(kind(tmp_path / "one", shard_bytes=700))
    assert {path: path.stat().st_mtime_ns for path in again.paths} == before
    (tmp_path / "one" / "part-99999.parquet").touch()  # of an earlier, interrupted writing
    fewer = numbers_build.write(kind(tmp_path / "one", shard_bytes=10**6))
    assert len(fewer.paths) == 1
    assert [p.name for p in (tmp_path / "one").iterdir()] == [fewer.paths[0].name]


def test_the_usual_columns_are_written_or_those_asked_for(build: Build, tmp_path: Path) -> None:
    """Scores would leak into a training set, or be missing from an analysis."""
    usual = build.write(ParquetFiles(tmp_path / "usual"))
    names = ["id", "source", "url", "license", "date", "text"]
    assert pq.read_schema(usual.paths[0]).names == names
    chosen = build.write(ParquetFiles(tmp_path / "chosen", columns=("text", "word_count")))
    assert pq.read_schema(chosen.paths[0]).names == ["text", "word_count"]
    with pytest.raises(RecipeError, match="cannot have a column 'txet'") as caught:
        build.write(ParquetFiles(tmp_path / "wrong", columns=("txet",)))
    assert caught.value.facts["remedy"] == "did you mean 'text'?"
    assert not (tmp_path / "wrong").exists()


@pytest.mark.parametrize("kind", [ParquetFiles, JsonlFiles])
def test_a_folder_of_other_files_is_left_alone(build: Build, tmp_path: Path, kind: Any) -> None:
    """A mistyped --out would empty somebody's home folder."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "thesis.tex").write_text("ten years of work")
    with pytest.raises(ResourceError, match="holds files that are not a corpus") as caught:
        build.write(kind(folder))
    assert caught.value.facts["found"] == "thesis.tex"
    assert (folder / "thesis.tex").read_text() == "ten years of work"


def test_parts_of_somebody_else_are_left_alone(build: Build, tmp_path: Path) -> None:
    """Whoever points --out at another tool's output would lose it."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "part-00000.parquet").write_bytes(b"precious")
    with pytest.raises(ResourceError, match="not a corpus"):
        build.write(ParquetFiles(tmp_path / "out"))
    assert (tmp_path / "out" / "part-00000.parquet").read_bytes() == b"precious"


def test_a_corpus_that_was_cut_short_is_written_again(build: Build, tmp_path: Path) -> None:
    """A run killed while it wrote, or a file deleted since, would pass for a corpus."""
    written = build.write(ParquetFiles(tmp_path / "out"))
    before = contents(written)
    written.paths[0].unlink()
    (tmp_path / "out" / "part-00009.parquet.tmp").write_bytes(b"half")
    assert contents(build.write(ParquetFiles(tmp_path / "out"))) == before
    assert [path.name for path in (tmp_path / "out").iterdir()] == [p.name for p in written.paths]


def test_a_written_corpus_opens_everywhere(build: Build, tmp_path: Path) -> None:
    """The corpus would need us to be read."""
    written = build.write(ParquetFiles(tmp_path / "out", shard_bytes=20))
    assert len(written.paths) == 2
    texts = build.documents().collect()["text"].to_list()
    pattern = f"{tmp_path}/out/*.parquet"
    assert pl.read_parquet(f"{tmp_path}/out")["text"].to_list() == texts
    assert pd.read_parquet(tmp_path / "out")["text"].tolist() == texts
    assert [row[0] for row in duckdb.sql(f"select text from '{pattern}'").fetchall()] == texts
    assert build.dataset().to_table(["text"])["text"].to_pylist() == texts
    assert load("parquet", pattern, tmp_path)["text"] == texts


def test_written_json_lines_open_everywhere(build: Build, tmp_path: Path) -> None:
    """The same, for those who have no Parquet reader."""
    build.write(JsonlFiles(tmp_path / "out", shard_bytes=20))
    texts = build.documents().collect()["text"].to_list()
    pattern = f"{tmp_path}/out/*.jsonl.zst"
    assert load("json", pattern, tmp_path)["text"] == texts
    assert [row[0] for row in duckdb.sql(f"select text from '{pattern}'").fetchall()] == texts
    rows = []
    for path in sorted((tmp_path / "out").iterdir()):
        with zstandard.open(path, "rb") as file:
            rows += [json.loads(line) for line in io.BytesIO(file.read())]
        assert pd.read_json(path, lines=True)["text"].tolist()
    assert [row["text"] for row in rows] == texts
    assert list(rows[0]) == ["id", "source", "url", "license", "date", "text"]


def load(kind: str, pattern: str, tmp_path: Path) -> Any:
    datasets = pytest.importorskip("datasets")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        cache = str(tmp_path / f"cache-{kind}")
        loaded = datasets.load_dataset(kind, data_files=pattern, split="train", cache_dir=cache)
    return loaded.to_dict()


def test_a_corpus_without_a_row_can_be_opened(pages: Path, store: Path, tmp_path: Path) -> None:
    """A script over many thresholds would break at the last."""
    build = recipe(pages, least=1000).run(store=store, workers=0)
    assert build.documents().collect().is_empty()
    assert build.dataset().count_rows() == 0
    assert build.write(ParquetFiles(tmp_path / "out")).rows == 0
    assert list(pl.read_parquet(tmp_path / "out").columns) == list(
        pd.read_parquet(tmp_path / "out")
    )
    assert "text" in pl.read_parquet(tmp_path / "out").columns
    assert build.ledger().balances


# ---------------------------------------------------------------- the layout is public


def test_any_column_group_opens_as_it_is_and_rows_are_aligned(build: Build, store: Path) -> None:
    """Whoever works on a store with other tools would pair values of different rows."""
    columns = build.outcomes[-1].columns
    for shard in build.shards:
        paths = {name: store / columns[name] / f"part-{shard.key}.parquet" for name in columns}
        ids, counts = str(paths["id"]), str(paths["word_count"])
        selection = str(store / build.outcomes[-1].selection / f"part-{shard.key}.parquet")
        polars = pl.concat(
            [pl.read_parquet(p).drop("error", "scored", strict=False) for p in (ids, counts)]
            + [pl.read_parquet(selection)],
            how="horizontal",
        ).filter("kept")
        wanted = build.documents(columns=["id", "word_count", "file"]).collect()
        wanted = wanted.filter(pl.col("file") == shard.spans[0].name)
        assert polars.select("id", "word_count").rows() == wanted.select("id", "word_count").rows()
        pandas = pd.concat([pd.read_parquet(p) for p in (ids, counts, selection)], axis=1)
        assert pandas[pandas["kept"]]["id"].tolist() == wanted["id"].to_list()
        query = f"select a.id, b.word_count from '{ids}' a positional join '{counts}' b "
        found = duckdb.sql(query + f"positional join '{selection}' s where s.kept").fetchall()
        assert found == wanted.select("id", "word_count").rows()


def test_a_build_opens_where_its_source_is_not_known(build: Build, store: Path) -> None:
    """A store that was made by a recipe file could not be opened in a notebook."""
    path = store / "builds" / build.fingerprint / "build.json"
    facts = json.loads(path.read_text())
    facts["source"]["module"] = "recipe_of_somebody"
    path.write_text(json.dumps(facts))
    opened = Build.open(store)
    with pytest.warns(UserWarning, match="no stage stored it"):
        assert "text" not in opened.documents().collect_schema()
    assert kept_ids(opened) == kept_ids(build)
    assert opened.why(kept_ids(build)[0]).kept
    with pytest.raises(CurationError, match="cannot be imported"):
        opened.documents(columns=["text"]).collect()
