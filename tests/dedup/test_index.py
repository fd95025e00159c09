from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curation import (
    Build,
    Jsonl,
    MinHashSketch,
    NearDuplicates,
    Recipe,
    RedactPii,
    TextSize,
    col,
    keep,
    row_annotator,
)
from curation.dedup.index import open_index
from curation.errors import IntegrityError, RecipeError, ResourceError
from tests.conftest import Files, curation, write_jsonl
from tests.oracles import near as oracle

PAGE = [f"word{n}" for n in range(60)]


def page(*places: int, tail: str = "") -> str:
    return " ".join("edit" if at in places else word for at, word in enumerate(PAGE)) + tail


def recipe(paths: Path, *, sketch: MinHashSketch | None = None, **settings: Any) -> Recipe:
    return Recipe(
        source=Jsonl(str(paths)),
        steps=[
            TextSize(),
            keep(col("word_count") >= 3, because="too short"),
            sketch or MinHashSketch(bands=50, rows=2),
            NearDuplicates(similarity=0.5, **settings),
            keep(col("duplicate_of").is_null(), because="near duplicate"),
        ],
    )


@pytest.fixture
def may(tmp_path: Path) -> Build:
    """Two pages in versions, one that is too short, one by itself."""
    texts = [page(), page(3), page(7), "too short", "quite another text altogether it is"]
    write_jsonl(tmp_path / "may.jsonl", ({"text": text} for text in texts))
    build = recipe(tmp_path / "may.jsonl").run(store=tmp_path / "may", workers=0)
    assert build.ledger().rows_out == 2
    return build


def june(may: Build, folder: Path, *texts: str, **settings: Any) -> Build:
    write_jsonl(folder / "june.jsonl", ({"text": text} for text in texts))
    made = recipe(folder / "june.jsonl", against=(str(may.store.path),), **settings)
    return made.run(store=folder / "june", workers=0)


def test_a_page_that_was_kept_last_month_is_not_kept_again(may: Build, tmp_path: Path) -> None:
    """A monthly crawl would publish the same page twelve times a year."""
    folder = may.write_index()
    assert may.write_index() == folder, "it is there already"
    texts = [page(5), page(5, 9), "nothing that has been said before in any month", "too short"]
    build = june(may, tmp_path, *texts)
    [kept] = (
        may.documents(columns=["id", "text"])
        .collect()
        .filter(col("text").str.contains("word1"))["id"]
    )
    rows = build.dropped(because="near duplicate").collect()
    assert rows["id"].to_list() == ["june.jsonl#0", f"june.jsonl#{_offset(tmp_path, 1)}"]
    assert set(rows["duplicate_of"]) == {kept}
    assert set(rows["duplicate_in"]) == {may.fingerprint}
    old = may.documents(columns=["id", "text"]).collect()
    text = dict(old.iter_rows())[kept]
    for found, new in zip(rows["similarity"], texts, strict=False):
        truth = oracle.jaccard(oracle.plain_shingles(new), oracle.plain_shingles(text))
        assert found == pytest.approx(truth, abs=1e-6)
    assert rows["group_id"].null_count() == 2
    shown = str(build.why("june.jsonl#0"))
    assert f"of {kept} in build {may.fingerprint}" in shown
    assert text[:60] in shown


def _offset(folder: Path, line: int) -> int:
    lines = (folder / "june.jsonl").read_text().splitlines(keepends=True)
    return len("".join(lines[:line]).encode())


def test_a_page_that_repeats_last_months_makes_no_other_go(may: Build, tmp_path: Path) -> None:
    """It has gone itself: what is like it alone must stay, or both would be lost."""
    may.write_index()
    near, far = page(*range(0, 60, 8)), page(*range(0, 60, 8), *range(3, 60, 16))
    sets = [oracle.plain_shingles(text) for text in (page(), near, far)]
    build = june(may, tmp_path, near, far)
    likely = [oracle.jaccard(a, b) for a, b in ((sets[0], sets[1]), (sets[1], sets[2]))]
    assert min(likely) < 0.5, "a chain, and not a group"
    assert build.ledger().rows_out >= 1


def test_the_index_needs_neither_the_store_nor_the_input(may: Build, tmp_path: Path) -> None:
    """Last month's crawl has been deleted; its index is what is left of it."""
    moved = tmp_path / "index-of-may"
    shutil.move(may.write_index(), moved)
    shutil.rmtree(may.store.path)
    (tmp_path / "may.jsonl").unlink()
    write_jsonl(tmp_path / "june.jsonl", [{"text": page(5)}])
    build = recipe(tmp_path / "june.jsonl", against=(str(moved),)).run(
        store=tmp_path / "june", workers=2
    )
    assert build.reasons() == {"near duplicate": 1}


def test_several_indexes_are_asked_and_the_likest_row_is_named(tmp_path: Path) -> None:
    """A year has twelve of them."""
    paths = []
    for month, text in (("april", page(1, 20, 40)), ("may", page(1)), ("june", page(1, 20))):
        write_jsonl(tmp_path / f"{month}.jsonl", [{"text": text}])
        build = recipe(tmp_path / f"{month}.jsonl", keep_index=True).run(
            store=tmp_path / month, workers=0
        )
        paths.append((build.fingerprint, str(tmp_path / month)))
    write_jsonl(tmp_path / "july.jsonl", [{"text": page(1)}])
    made = recipe(tmp_path / "july.jsonl", against=tuple(path for _, path in paths))
    [row] = made.run(store=tmp_path / "july", workers=0).dropped().collect().to_dicts()
    assert (row["duplicate_in"], row["similarity"]) == (paths[1][0], 1.0)


def test_what_a_rewriter_made_is_found_by_the_rows_that_it_took(tmp_path: Path) -> None:
    """The published pipelines end in a rewriter that hides personal data."""
    write_jsonl(tmp_path / "may.jsonl", [{"text": page(tail=" me@example.org")}])
    steps = [*recipe(tmp_path / "may.jsonl").steps, RedactPii()]
    build = Recipe(source=Jsonl(str(tmp_path / "may.jsonl")), steps=steps).run(
        store=tmp_path / "may", workers=0
    )
    assert open_index(str(build.write_index())).count == 1


# ---------------------------------------------------------------- what can be wrong with it


def test_no_index_is_told_before_anything_is_read(tmp_path: Path, may: Build) -> None:
    """A wrong path would mean that the whole of last month is published again."""
    for path in (tmp_path / "nowhere", tmp_path, may.store.path):
        with pytest.raises(ResourceError, match="no index"):
            NearDuplicates(against=(str(path),))


def test_an_index_of_other_sketches_is_refused(tmp_path: Path, may: Build) -> None:
    """Bands of other settings never meet: nothing would be found, and nobody would be told."""
    may.write_index()
    with pytest.raises(RecipeError, match="other settings") as caught:
        june(may, tmp_path, page(5), sketch=MinHashSketch())
    assert "bands: 50 there, 14 here" in str(caught.value)


@pytest.mark.parametrize(
    "damage", ["cut", "gone", "broken", "layout", "no manifest", "zeros", "ids"]
)
def test_a_damaged_index_is_told_and_how_to_mend_it(may: Build, damage: str) -> None:
    """Half an index finds half of the copies."""
    folder = may.write_index()
    manifest = folder / "index.json"
    if damage == "cut":
        (folder / "keys.bin").write_bytes(b"1234567")
    elif damage == "gone":
        (folder / "shingles.bin").unlink()
    elif damage == "broken":
        manifest.write_text("{")
    elif damage == "no manifest":
        manifest.write_text("[]")
    elif damage in ("zeros", "ids"):
        file = folder / ("ids.bin" if damage == "ids" else "shingles.bin")
        file.write_bytes(bytes(file.stat().st_size))
    else:
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "layout": 0}))
    with pytest.raises(IntegrityError, match="cannot be used"):
        open_index(str(folder))
    shutil.rmtree(folder)
    assert open_index(str(may.write_index())).count == 2


def test_what_a_killed_command_left_behind_is_swept_away(may: Build, tmp_path: Path) -> None:
    """A folder where only files were expected would end every later run of the store."""
    left = may.store.build_folder(may.fingerprint) / "index.tmp-1"
    left.mkdir()
    (left / "keys.bin").touch()
    may.write_index()
    assert not left.exists()


def test_an_index_is_not_written_while_a_run_holds_the_store(may: Build) -> None:
    """The run sweeps away what it does not know, half an index too."""
    with may.store.lock(), pytest.raises(ResourceError, match="another run"):
        Build.open(may.store.path).write_index()


def test_a_build_without_sketches_has_no_index(tmp_path: Path) -> None:
    """The remedy is one line of a recipe, and a message that says which."""
    write_jsonl(tmp_path / "a.jsonl", [{"text": "a"}])
    build = Recipe(source=Jsonl(str(tmp_path / "a.jsonl")), steps=[TextSize()]).run(
        store=tmp_path / "s", workers=0
    )
    with pytest.raises(RecipeError, match="no sketches"):
        build.write_index()


def test_an_empty_corpus_has_an_index_in_which_nothing_is_found(tmp_path: Path) -> None:
    """The first month of a new source may well be empty."""
    write_jsonl(tmp_path / "may.jsonl", [{"text": "short"}])
    recipe(tmp_path / "may.jsonl", keep_index=True).run(store=tmp_path / "may", workers=0)
    write_jsonl(tmp_path / "june.jsonl", [{"text": page()}])
    made = recipe(tmp_path / "june.jsonl", against=(str(tmp_path / "may"),))
    assert made.run(store=tmp_path / "june", workers=0).ledger().rows_out == 1


def test_the_index_is_part_of_what_the_stage_is(may: Build, tmp_path: Path) -> None:
    """A new index under the old path must not find the old answers in the store."""
    path = str(may.write_index())
    before = NearDuplicates(against=(path,)).identity()
    facts = json.loads((Path(path) / "index.json").read_text())
    (Path(path) / "index.json").write_text(json.dumps({**facts, "digest": "other"}))
    assert NearDuplicates(against=(path,)).identity() != before
    moved = tmp_path / "moved"
    (Path(path) / "index.json").write_text(json.dumps(facts))
    shutil.copytree(path, moved)
    assert NearDuplicates(against=(str(moved),)).identity() == before


def test_keys_ascend_and_belong_to_their_rows(may: Build) -> None:
    """They are searched by halves; one out of place hides all behind it."""
    index = open_index(str(may.write_index()))
    for band in range(50):
        keys, rows = index.band(band)
        assert (np.diff(keys.astype(np.float64)) >= 0).all()
        assert sorted(rows.tolist()) == [0, 1]


def test_the_commands_make_and_use_an_index(tmp_path: Path) -> None:
    """Most people never open Python."""
    (tmp_path / "near.py").write_text(
        "from curation import *\n"
        "def near(*, paths: str, against: str = '') -> Recipe:\n"
        "    return Recipe(source=Jsonl(paths), steps=duplicate_steps(against=against))\n"
    )
    for month in ("may", "june"):
        write_jsonl(tmp_path / f"{month}.jsonl", [{"text": page(tail=f" {month}")}])
    run = ("run", "near.py", "--paths")
    curation(*run, "may.jsonl", "--store", "may", cwd=tmp_path)
    told = curation("index", "--store", "may", cwd=tmp_path).stdout
    assert told.startswith("index of 1 rows")
    curation(*run, "june.jsonl", "--store", "june", "--against", "may", cwd=tmp_path)
    shown = curation("show", "--store", "june", cwd=tmp_path).stdout
    assert "0 out + 1 dropped" in shown
    wrong = curation(*run, "june.jsonl", "--against", "no", cwd=tmp_path, check=1)
    assert "ResourceError: there is no index at no." in wrong.stderr
    assert "curation index" in wrong.stderr


def test_check_reads_the_index_to_the_last_byte(may: Build, tmp_path: Path) -> None:
    """A glance cannot see one wrong byte among gigabytes; the command that looks must."""
    folder = may.write_index()
    clean = curation("check", "may", cwd=tmp_path).stdout
    assert clean.rstrip().endswith("0 wrong")
    data = bytearray((folder / "shingles.bin").read_bytes())
    data[3] ^= 1
    (folder / "shingles.bin").write_bytes(data)
    told = curation("check", "may", cwd=tmp_path, check=1).stdout
    assert f"index of build {may.fingerprint}" in told
    assert "shingles" in told


def test_a_run_is_not_compared_with_its_own_store(may: Build, tmp_path: Path) -> None:
    """Each run would drop what the run before it kept, and the next one bring it back."""
    may.write_index()
    made = recipe(tmp_path / "may.jsonl", against=(str(may.store.path),))
    with pytest.raises(RecipeError, match="very store"):
        made.run(store=may.store.path, workers=0)
    exact = str(may.store.build_folder(may.fingerprint) / "index")
    again = recipe(tmp_path / "may.jsonl", against=(exact,)).run(store=may.store.path, workers=0)
    assert again.ledger().rows_out == 0


def test_copies_are_found_however_crowded_their_template_is(tmp_path: Path) -> None:
    """Pages of one template fill the same buckets; a page that was kept must still be known."""
    texts = [" ".join([*PAGE, f"page{n}", f"number{n}", f"of{n}"]) for n in range(400)]
    write_jsonl(tmp_path / "may.jsonl", ({"text": text} for text in texts))

    def made(month: str, *against: str) -> Build:
        steps = [
            MinHashSketch(),
            NearDuplicates(similarity=0.97, against=against, keep_index=True),
            keep(col("duplicate_of").is_null(), because="near duplicate"),
        ]
        source = Jsonl(str(tmp_path / "may.jsonl"))
        return Recipe(source=source, steps=steps).run(store=tmp_path / month, workers=0)

    assert made("may").ledger().rows_out == 400
    june = made("june", str(tmp_path / "may"))
    assert june.ledger().rows_out == 0
    sizes = june.dropped().select("group_size").collect()["group_size"]
    assert set(sizes) == {1}, "the row that it repeats is in no group of this build"


def month(folder: Path, name: str, *texts: str, **settings: Any) -> Build:
    """Build a month's pages, with an index of what stays."""
    write_jsonl(folder / f"{name}.jsonl", ({"text": text} for text in texts))
    made = recipe(folder / f"{name}.jsonl", keep_index=True, **settings)
    return made.run(store=folder / name, workers=0)


def test_of_several_rows_of_an_index_the_likest_is_named(tmp_path: Path) -> None:
    """A person would be shown a page that is hardly like the one that went."""
    far = page(*range(0, 20, 2), tail=" one two three four five six")
    for name, texts in (("a", (page(), far)), ("b", (far, page()))):
        build = month(tmp_path, name, *texts)
        assert build.ledger().rows_out == 2
        write_jsonl(tmp_path / f"new-{name}.jsonl", [{"text": page(0, 2)}])
        made = recipe(tmp_path / f"new-{name}.jsonl", against=(str(tmp_path / name),))
        made = replace(made, steps=[*made.steps[:3], replace(made.steps[3], similarity=0.3)])
        [row] = made.run(store=tmp_path / f"s{name}", workers=0).documents().collect().to_dicts()
        old = dict(build.documents(columns=["id", "text"]).collect().iter_rows())
        assert old[row["duplicate_of"]] == page()


def test_of_several_indexes_with_the_same_page_the_first_is_named(tmp_path: Path) -> None:
    """The order of the list is the one thing that a person can set."""
    april, may = month(tmp_path, "april", page()), month(tmp_path, "may", page(), "not in april")
    write_jsonl(tmp_path / "june.jsonl", [{"text": page()}])
    for paths in (("april", "may"), ("may", "april")):
        made = recipe(tmp_path / "june.jsonl", against=tuple(str(tmp_path / p) for p in paths))
        [row] = made.run(store=tmp_path / "june", workers=0).dropped().collect().to_dicts()
        assert row["duplicate_in"] == {"april": april, "may": may}[paths[0]].fingerprint


def test_a_row_that_repeats_an_index_leaves_its_own_builds_groups_alone(
    may: Build, tmp_path: Path
) -> None:
    """Row 1 of May's would be taken for row 1 of June's, its sizes and names mixed with it."""
    may.write_index()
    more = [f"more{n}" for n in range(30)]
    near = " ".join([*PAGE[20:], *more])
    far = " ".join([*PAGE[40:], *more, *(f"tail{n}" for n in range(25))])
    texts = ["nothing that was said before", "nor was this said in any month", near, far, near]
    write_jsonl(tmp_path / "june.jsonl", ({"text": text} for text in texts))
    made = recipe(tmp_path / "june.jsonl", against=(str(may.store.path),))
    steps = [*made.steps[:3], replace(made.steps[3], similarity=0.3)]
    build = replace(made, steps=steps).run(store=tmp_path / "june", workers=0)
    rows = build.documents().collect()
    kept = may.documents(columns=["id", "text"]).collect()
    [twin] = kept.filter(col("text").str.contains("word1"))["id"]
    assert rows["duplicate_of"].to_list() == [None, None, twin, None, twin]
    assert rows["group_id"].to_list() == [None] * 5
    assert rows["group_size"].to_list() == [1] * 5
    texts = [dict(kept.iter_rows())[twin], near, far]
    old, one, other = map(oracle.plain_shingles, texts)
    alike = pytest.approx(oracle.jaccard(old, one))
    assert oracle.jaccard(old, one) < oracle.jaccard(one, other), (
        "its likest row is its own build's"
    )
    assert rows["similarity"].to_list() == [None, None, alike, None, alike]


def test_the_latest_index_of_a_store_is_taken(tmp_path: Path) -> None:
    """A store that is run every month would be compared with its first month for ever."""
    builds = [month(tmp_path, "store", page()), month(tmp_path, "store", page(), "and this too")]
    for place, build in enumerate(builds):
        manifest = build.write_index() / "index.json"
        os.utime(manifest, ns=(0, 10**18 + place))
    assert open_index(str(tmp_path / "store")).name == builds[1].fingerprint
    os.utime(builds[0].write_index() / "index.json", ns=(0, 2 * 10**18))
    assert open_index(str(tmp_path / "store")).name == builds[0].fingerprint


@pytest.mark.parametrize(
    "other",
    [
        {"rows": 3},
        {"ngram": 4},
        {"unit": "char"},
        {"bits": 64},
        {"seed": 2},
        {"bits": 64, "family": "mersenne"},
    ],
    ids=str,
)
def test_every_setting_of_a_sketch_has_to_be_the_indexes(may: Build, other: dict[str, Any]) -> None:
    """Bands of other settings never meet: nothing would be found, and nobody would be told."""
    index = open_index(str(may.write_index()))
    index.check_settings(MinHashSketch(bands=50, rows=2))
    with pytest.raises(RecipeError, match="other settings"):
        index.check_settings(MinHashSketch(**{"bands": 50, "rows": 2, **other}))


def test_an_index_of_many_shards_is_that_of_one(tmp_path: Path) -> None:
    """Every row behind the first shard would have the shingles and the id of another."""
    texts = [" ".join(f"{n}-{word}" for word in PAGE) for n in range(6)]
    for file in range(3):
        rows = ({"text": text} for text in texts[2 * file : 2 * file + 2])
        write_jsonl(tmp_path / "in" / f"f{file}.jsonl", rows)
    made = replace(recipe(tmp_path), source=Files(str(tmp_path / "in" / "*.jsonl")))
    build = made.run(store=tmp_path / "may", workers=0)
    index = open_index(str(build.write_index()))
    ids = build.documents(columns=["id"]).collect()["id"].to_list()
    assert index.ids(np.arange(6), np.ones(6, np.bool_)).to_pylist() == ids
    assert index.ids(np.array([5, 0]), np.array([True, False])).to_pylist() == [ids[5], None]
    assert [index.head_of(row) for row in ids] == [text[:200] for text in texts]
    write_jsonl(tmp_path / "june.jsonl", ({"text": text + " more"} for text in texts[::-1]))
    june = recipe(tmp_path / "june.jsonl", against=(str(tmp_path / "may"),))
    rows = june.run(store=tmp_path / "june", workers=0).dropped().collect()
    assert rows["duplicate_of"].to_list() == ids[::-1]
    assert rows["similarity"].min() > 0.9


def test_the_index_holds_the_shingles_of_the_text_that_was_sketched(tmp_path: Path) -> None:
    """A later step may change the text; similarities of another text are nobody's."""
    text = page(tail="\n\n\tend   of  it")
    write_jsonl(tmp_path / "may.jsonl", [{"text": text}])
    steps = [*recipe(tmp_path / "may.jsonl").steps, cut]
    build = Recipe(source=Jsonl(str(tmp_path / "may.jsonl")), steps=steps).run(
        store=tmp_path / "may", workers=0
    )
    assert build.documents(columns=["text"]).collect()["text"].to_list() == ["word0 word1"]
    index = open_index(str(build.write_index()))
    assert index.array("counts").tolist() == [len(oracle.plain_shingles(text))]


@row_annotator(writes={"text": pa.large_string()})
def cut(text: str) -> str:
    return text[:11]


def test_rows_without_a_sketch_are_kept_and_are_in_no_index(tmp_path: Path) -> None:
    """One page of dots would end the writing of an index, or shift all rows behind it."""
    build = month(tmp_path, "may", page(), "... ... ...", "quite another text altogether")
    assert build.ledger().rows_out == 3
    index = open_index(str(build.write_index()))
    ids = build.documents(columns=["id"]).collect()["id"].to_list()
    assert index.ids(np.arange(2), np.ones(2, np.bool_)).to_pylist() == [ids[0], ids[2]]
    assert [index.head_of(row) for row in ids] == [
        page()[:200],
        None,
        "quite another text altogether",
    ]
