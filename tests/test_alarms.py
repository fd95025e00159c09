"""The hints of a finished build: each kind where it belongs, and nothing where all is well."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from curation import (
    Build,
    Chunk,
    ExactDuplicates,
    ExtractHtml,
    MinHashSketch,
    NearDuplicates,
    Normalize,
    Recipe,
    TextFiles,
    TextHash,
    TextSize,
    annotator,
    col,
    keep,
    keep_best,
    row_annotator,
    sample,
)
from curation.alarms import ALARM_MIN_ROWS, Alarm, summarize
from curation.recipe import Step
from curation.stage import Source
from tests.conftest import Files, curation, snapshot, write_jsonl

COLUMNS = (("n", "int64"), ("site", "string"))
Made = Callable[..., Build]


def rows(count: int, start: int = 0, **more: object) -> list[dict[str, Any]]:
    """Return rows whose n counts through and whose text grows with it."""
    return [{"text": "x" * (n + 1), "n": n, **more} for n in range(start, start + count)]


@pytest.fixture
def made(tmp_path: Path, store: Path) -> Made:
    """Build steps over files of rows, each file a shard, in this process."""

    def build(files: Iterable[Iterable[Mapping[str, Any]]], *steps: Step, **more: Any) -> Build:
        for index, one in enumerate(files):
            write_jsonl(tmp_path / "in" / f"f{index}.jsonl", one)
        source = Files(str(tmp_path / "in" / "*.jsonl"), columns=COLUMNS, source_field="site")
        recipe = Recipe(source=source, steps=steps, max_error_frac=1.0, **more)
        return recipe.run(store=store, workers=0)

    return build


def of(build: Build, *kinds: str) -> list[Alarm]:
    return [alarm for alarm in build.alarms() if alarm.kind in kinds]


# ---------------------------------------------------------------- rules


@pytest.mark.parametrize(
    ("rule", "shown"),
    [
        (keep(col("n") >= 0, because="negative"), 'keep n >= 0, "negative",'),
        (
            keep_best("n", documents=120, because="over budget"),
            'keep_best 120 documents with the highest n, "over budget",',
        ),
        (sample(documents=500), 'sample 500 rows, seed 0, "not sampled",'),
    ],
)
def test_a_rule_that_drops_nothing_is_told(made: Made, rule: Step, shown: str) -> None:
    """A threshold in the wrong unit lets everything through, and nobody is told."""
    [alarm] = made([rows(60), rows(60, 60)], rule).alarms()
    assert (alarm.kind, alarm.step, alarm.stage, alarm.shard) == ("drops nothing", 1, shown, "")
    assert str(alarm) == f"warning: step 1 {shown} drops none of the 120 rows"


def test_a_rule_that_drops_nearly_everything_is_told_with_its_share(made: Made) -> None:
    """A corpus would all but vanish at one step."""
    build = made([rows(60), rows(60, 60)], keep(col("n") >= 115, because="small"))
    [alarm] = build.alarms()
    assert alarm.kind == "drops nearly all"
    assert alarm.shard in alarm.message
    assert alarm.message.startswith("drops 95.8 % of the 120 rows, most of them in shard ")
    none = made([rows(60), rows(60, 60)], keep(col("n") > 999, because="small"))
    [alarm] = none.alarms()
    assert alarm.message.startswith("drops 100 % of the 120 rows, most of them in shard ")


def test_a_share_is_not_rounded_up_to_all(made: Made) -> None:
    """A person would look for rows in an empty corpus that is not empty."""
    build = made([rows(3000)], keep(col("n") < 1, because="large"))
    assert build.alarms()[0].message.startswith("drops 99.9 % of the 3,000 rows, most of them in ")


@pytest.mark.parametrize(("least", "alarms"), [(114, 0), (115, 1)])
def test_the_share_that_is_too_much_is_95_percent(made: Made, least: int, alarms: int) -> None:
    """A rule on the edge would be told today and not tomorrow."""
    build = made([rows(120)], keep(col("n") >= least, because="small"))
    assert len(build.alarms()) == alarms


def test_a_rule_is_judged_by_the_rows_that_reach_it(made: Made) -> None:
    """Behind a strict rule, every later one would seem strict too."""
    first, second = keep(col("n") >= 100, because="a"), keep(col("n") >= 150, because="b")
    assert made([rows(250)], first, second).alarms() == []
    [alarm] = made([rows(250)], first, keep(col("n") >= 99, because="c")).alarms()
    assert alarm.message == "drops none of the 150 rows"


def test_single_shards_are_told_where_the_whole_hides_them(made: Made) -> None:
    """One broken input file would pass for a slightly stricter rule."""
    files = [rows(100, 100), rows(104), rows(100, 100), rows(100, 100), rows(100)]
    build = made(files, keep(col("n") >= 100, because="small"))
    [alarm] = build.alarms()
    keys = [shard.key for shard in build.shards]
    assert (alarm.kind, alarm.shard) == ("drops nearly all", keys[4])
    assert alarm.message == (
        "drops over 95 % in 2 of 5 shards, not over all: "
        f"100 % of 100 rows in shard {keys[4]} (f4.jsonl), "
        f"96.1 % of 104 rows in shard {keys[1]} (f1.jsonl)"
    )


def test_only_a_few_shards_are_listed(made: Made) -> None:
    """A thousand shards would scroll the funnel off the screen."""
    build = made([rows(100)] * 5 + [rows(400, 100)], keep(col("n") >= 100, because="small"))
    [alarm] = build.alarms()
    assert "in 5 of 6 shards" in alarm.message
    assert alarm.message.count(".jsonl") == 3
    assert alarm.message.endswith("(f2.jsonl), and 2 more")


def test_a_shard_of_few_rows_or_without_a_loss_is_normal(made: Made) -> None:
    """Every build would warn, and warnings would no longer be read."""
    files = [rows(99), rows(100, 100), rows(150, 50)]
    assert made(files, keep(col("n") >= 100, because="small")).alarms() == []


def test_a_sample_that_takes_the_share_it_was_told_to_is_no_news(made: Made) -> None:
    """Everybody who samples one percent would be warned of it."""
    assert made([rows(500)], sample(frac=0.01)).alarms() == []


def test_a_rule_behind_a_rewriter_is_judged_by_the_new_rows(made: Made) -> None:
    """Recipes that cut texts into pieces would be judged by rows that no rule saw."""
    texts = [{"text": "word " * 200, "n": n} for n in range(60)]
    build = made([texts], Chunk(max_chars=500), keep(col("parent_id") != "", because="no parent"))
    found = of(build, "drops nothing")
    assert [(alarm.step, alarm.message) for alarm in found] == [(2, "drops none of the 120 rows")]


def test_small_builds_have_no_alarms(made: Made) -> None:
    """Whoever tries a recipe on a handful of rows would be drowned in warnings."""
    steps = [Normalize(), TextSize(), keep(col("n") >= 0, because="a"), TextHash()]
    small = [{"text": "same", "n": 1} for _ in range(ALARM_MIN_ROWS - 1)]
    rule = keep(col("duplicate_of").is_null(), because="twin")
    assert made([small], *steps, ExactDuplicates(), rule).alarms() == []
    assert made([small[:3]], extracted, *steps[1:]).alarms() == []
    assert made([[]]).alarms() == []


# ---------------------------------------------------------------- steps that make text


@row_annotator(writes={"text": pa.large_string()})
def extracted(text: str, site: str | None, n: int) -> str | None:
    """Yield nothing for some sites, each in its own way."""
    if site == "broken":
        raise ValueError("broken")
    if site == "rare":
        return text if n == 40 else ""
    return {"empty": "", "null": None}.get((site or "").split("-")[0], text)


@pytest.mark.parametrize("site", ["empty", "null", "broken"])
def test_a_source_without_any_text_is_told(made: Made, site: str) -> None:
    """A site whose pages the extractor cannot read would be missing from the corpus."""
    files = [rows(30), [*rows(15, site=site), *rows(10)], rows(10, site=site)]
    build = made(files, extracted, Normalize())
    [alarm] = of(build, "yields no text")
    key = build.shards[1].key
    assert (alarm.step, alarm.stage, alarm.column) == (1, "extracted", "text")
    assert alarm.shard == key
    assert alarm.message == (
        f"yields no text for the source '{site}' (25 rows, such as in shard {key} (f1.jsonl))"
    )


@pytest.mark.parametrize("with_it", [0, 1, 2])
def test_one_text_is_enough_for_a_source(made: Made, with_it: int) -> None:
    """A source of many empty pages would be taken for one that cannot be read."""
    files = [[*rows(15, site="rare"), *rows(10, site="well")] for _ in range(3)]
    [alarm] = of(made(files, extracted), "yields no text")
    assert alarm.message.startswith("yields no text for the source 'rare' (45 rows, ")
    files[with_it][3]["n"] = 40
    assert of(made(files, extracted), "yields no text") == []


def test_several_sources_share_a_line_and_the_largest_comes_first(made: Made) -> None:
    """A crawl of a thousand sites would have a thousand lines."""
    files = [rows(20 + n, site=f"empty-{n}") for n in range(5)]
    build = made([*files, rows(50, site="well")], extracted)
    [alarm] = of(build, "yields no text")
    assert alarm.message.startswith("yields no text for the 5 sources: 'empty-4' (24 rows, ")
    assert alarm.message.endswith("and 2 more")


def test_a_source_of_few_rows_is_not_told(made: Made) -> None:
    """Twenty rows are the least that say something about a source."""
    build = made([rows(19, site="empty"), rows(20, site="null")], extracted)
    [alarm] = of(build, "yields no text")
    assert "'null'" in alarm.message
    assert "'empty'" not in alarm.message


def test_a_shard_without_any_text_is_told_where_its_source_has_some(made: Made) -> None:
    """A damaged file would vanish in a source that is well."""
    well, ill = rows(30), [{"text": "", "n": n} for n in range(25)]
    build = made([well, ill, well[:10]], extracted, Normalize())
    [alarm] = of(build, "yields no text")
    key = build.shards[1].key
    assert (alarm.step, alarm.shard) == (1, key)
    assert alarm.message == (f"yields no text in 1 of 3 shards: 25 rows in shard {key} (f1.jsonl)")


def test_the_step_that_loses_the_text_is_told_and_no_later_one(made: Made) -> None:
    """A person would mend the wrong step."""
    build = made([rows(30), rows(30, site="empty")], Normalize(), extracted, Normalize())
    assert [alarm.step for alarm in of(build, "yields no text")] == [2]


def test_a_source_without_the_payload_of_an_extractor_is_not_its_fault(
    tmp_path: Path, store: Path
) -> None:
    """ExtractHtml would be blamed for JSON lines that hold no text."""
    write_jsonl(tmp_path / "a.jsonl", [{"text": "", "n": n} for n in range(30)])
    (tmp_path / "pages").mkdir()
    for n in range(30):
        (tmp_path / "pages" / f"{n}.html").write_bytes(b"\x00\x01\x02" * 30)
    sources: list[Source] = [
        Files(str(tmp_path / "a.jsonl")),
        TextFiles(str(tmp_path / "pages" / "*.html"), name="pages"),
    ]
    steps = [ExtractHtml(), Normalize()]
    build = Recipe(source=sources, steps=steps, max_error_frac=0.9).run(store=store, workers=0)
    found = of(build, "yields no text")
    assert [(alarm.step, alarm.stage) for alarm in found] == [(1, "ExtractHtml"), (2, "Normalize")]
    assert "'pages' (30 rows" in found[0].message
    assert "'pages'" not in found[1].message


# ---------------------------------------------------------------- groups


def template_rows(source: str, same: int, other: int) -> list[dict[str, Any]]:
    page = [{"text": "the same page", "site": source} for _ in range(same)]
    return page + [{"text": f"page {n} of {source}", "site": source} for n in range(other)]


def test_a_source_that_loses_most_rows_to_one_group_is_named(made: Made) -> None:
    """A site whose error page has status 200 would vanish, and nobody would ask why."""
    files = [template_rows("a.org", 70, 60), template_rows("a.org", 30, 10)]
    files += [template_rows("b.org", 40, 80), template_rows("small.org", 9, 0)]
    build = made(files, TextHash(), ExactDuplicates())
    [alarm] = of(build, "one group")
    assert str(alarm) == (
        "warning: step 2 ExactDuplicates finds more than half of the source 'a.org' "
        "(99 of 170 rows repeat f0.jsonl#0) in one group"
    )


def test_a_source_that_repeats_one_row_of_an_earlier_build_is_named(
    made: Made, tmp_path: Path
) -> None:
    """Last month's error page is this month's too, and takes the site away again."""
    page = " ".join(f"word{n}" for n in range(30))
    write_jsonl(tmp_path / "may.jsonl", [{"text": page}])
    source = Files(str(tmp_path / "may.jsonl"))
    first = Recipe(source=source, steps=[MinHashSketch()])
    first.run(store=tmp_path / "may", workers=0).write_index()
    rows = [{"text": page, "site": "a.org"} for _ in range(80)]
    rows += [{"text": f"page {n} by itself it is", "site": "a.org"} for n in range(40)]
    near = NearDuplicates(against=(str(tmp_path / "may"),))
    [alarm] = of(made([rows], MinHashSketch(), near), "one group")
    assert "'a.org' (80 of 120 rows repeat may.jsonl#0)" in str(alarm)


def test_a_source_of_many_small_groups_is_not_named(made: Made) -> None:
    """Half of a site can well be copies, if they are copies of many pages."""
    files = [[{"text": f"page {n // 2}", "site": "a.org"} for n in range(400)]]
    assert of(made(files, TextHash(), ExactDuplicates()), "one group") == []


def test_only_rows_that_the_step_saw_are_counted(made: Made) -> None:
    """Rows that an earlier rule dropped are no part of what a source had to lose."""
    files = [[*template_rows("a.org", 80, 60), *template_rows("a.org", 0, 100)]]
    seen = keep(col("text").str.len_chars() < 16, because="long")
    [alarm] = of(made(files, seen, TextHash(), ExactDuplicates()), "one group")
    assert "(79 of " in str(alarm)


# ---------------------------------------------------------------- scores


def constant(value: Any, kind: pa.DataType, every: int = 1) -> Step:
    """Return a stage that writes one value for every n-th row, and another for the others."""

    @annotator(writes={"score": kind})
    def scored(n: pa.Int64Array) -> pa.Array:
        other = pa.scalar({"large_string": "other", "bool": True}.get(str(kind), 7), kind)
        is_value = pa.array([v % every == 0 for v in n.to_pylist()])
        return pc.if_else(is_value, pa.scalar(value, kind), other)

    return scored


VALUES = [
    (0, pa.uint8(), "0"),
    (-3, pa.int64(), "-3"),
    (0.25, pa.float32(), "0.25"),
    (float("nan"), pa.float32(), "NaN"),
    (float("nan"), pa.float64(), "NaN"),
    (None, pa.float32(), "null"),
    (None, pa.uint32(), "null"),
    (None, pa.large_string(), "null"),
    ("en", pa.large_string(), "'en'"),
    ("", pa.large_string(), "''"),
    (False, pa.bool_(), "False"),
    (None, pa.bool_(), "null"),
]


@pytest.mark.parametrize(("value", "kind", "shown"), VALUES)
def test_a_score_that_never_varies_is_told(
    made: Made, value: Any, kind: pa.DataType, shown: str
) -> None:
    """A model that did not load, or a wrong column, gives every row the same score."""
    [alarm] = made([rows(60), rows(60, 60)], constant(value, kind)).alarms()
    assert (alarm.kind, alarm.column, alarm.step) == ("constant", "score", 1)
    assert str(alarm).startswith(
        f"warning: step 1 scored writes score: {shown} for all 120 rows scored, "
    )


@pytest.mark.parametrize(("value", "kind", "shown"), VALUES)
@pytest.mark.parametrize("every", [2, 119])
def test_a_score_that_varies_at_all_is_not_told(
    made: Made, value: Any, kind: pa.DataType, shown: str, every: int
) -> None:
    """A rare value is the whole point of many scores; nulls and NaN count as values."""
    assert made([rows(60), rows(60, 60)], constant(value, kind, every)).alarms() == []


def test_shards_that_are_constant_each_in_its_own_way_vary(made: Made) -> None:
    """Files of one language each would look like one language."""
    files = [rows(60), [{**row, "n": 5} for row in rows(60)]]

    @annotator(writes={"word": pa.large_string(), "half": pa.float32()})
    def half(n: pa.Int64Array) -> dict[str, pa.Array]:
        one = pc.equal(n, 5) if pc.min(n).as_py() == 5 else pa.array([False] * len(n))
        return {"word": pc.if_else(one, "a", "b"), "half": pc.if_else(one, 1.0, 2.0)}

    assert made(files, half).alarms() == []


def test_a_score_is_judged_by_the_rows_that_were_scored(made: Made) -> None:
    """Rows that an earlier rule dropped have no score, and one in error has none either."""

    @row_annotator(writes={"one": pa.int64()})
    def one(n: int) -> int:
        if n % 10 == 0:
            raise ValueError("ten")
        return 1

    build = made([rows(250)], keep(col("n") >= 100, because="small"), one)
    [alarm] = of(build, "constant")
    assert (alarm.step, alarm.column) == (2, "one")
    assert "1 for all 135 rows scored" in alarm.message
    assert of(made([rows(210)], keep(col("n") >= 100, because="small"), one), "constant") == []


def test_a_reducer_that_marks_no_row_is_told_for_each_of_its_columns(made: Made) -> None:
    """A sketch that never finds a duplicate looks like a clean corpus."""
    steps = [TextHash(), ExactDuplicates()]
    found = made([rows(60), rows(60, 60)], *steps).alarms()
    assert [alarm.column for alarm in found] == ["duplicate_of", "group_size"]
    assert found[0].message.endswith("null for all 120 rows scored, so it marks no row")
    assert found[1].message.endswith("1 for all 120 rows scored, so it tells none from another")
    assert made([rows(60), rows(61)], *steps).alarms() == []


# ---------------------------------------------------------------- the record and the command


def test_alarms_are_the_same_at_any_number_of_workers(made: Made, tmp_path: Path) -> None:
    """A run could not be compared with another by its record."""
    files = [rows(120, site="empty"), rows(110), rows(300, 105)]
    steps = [extracted, TextSize(), keep(col("n") > 108, because="small"), TextHash()]
    here = made(files, *steps, ExactDuplicates(), on_error="keep")
    assert {alarm.kind for alarm in here.alarms()} == {
        "yields no text",
        "drops nearly all",
    }
    source = Files(str(tmp_path / "in" / "*.jsonl"), columns=COLUMNS, source_field="site")
    recipe = Recipe(
        source=source, steps=[*steps, ExactDuplicates()], max_error_frac=1.0, on_error="keep"
    )
    there = recipe.run(store=tmp_path / "there", workers=2)
    assert there.alarms() == here.alarms()
    alone, together = snapshot(here.store.path), snapshot(tmp_path / "there")
    record = f"builds/{here.fingerprint}/build.json"
    assert alone.pop(record)  # it names the line of the recipe
    assert together.pop(record)
    assert alone == together


def test_a_build_of_an_older_version_opens_without_alarms(made: Made) -> None:
    """Everybody's finished builds would be lost at an update."""
    build = made([rows(120)], keep(col("n") >= 0, because="negative"))
    path = build.store.build_folder(build.fingerprint) / "build.json"
    facts = json.loads(path.read_text())
    del facts["alarms"]
    path.write_text(json.dumps(facts))
    opened = Build.open(build.store.path)
    assert opened.alarms() == []
    assert opened.ledger().balances


def test_hostile_names_stay_on_one_line(made: Made, tmp_path: Path) -> None:
    """A file name with a line end could write lines of its own into a log."""
    site = "empty-\n\x1b[31m" + "long" * 100
    (tmp_path / "in").mkdir()
    write_jsonl(tmp_path / "in" / "a\nb.jsonl", rows(120, site=site))
    build = made([], extracted, keep(col("n") >= 0, because="a\nb"))
    lines = [str(alarm) for alarm in build.alarms()]
    assert len(lines) == 2
    assert all(line.isprintable() and len(line) < 400 for line in lines)


RECIPE = '''
from curation import *

def pages(*, paths: str, least: int = 0) -> Recipe:
    """Numbers."""
    source = Jsonl(paths, columns=(("n", "int64"),))
    more = [keep(col("n") >= -k, because=f"below {k}") for k in range(12)]
    steps = [keep(col("n") >= least, because="small")]
    return Recipe(source=source, steps=[*steps, *(more if least == 0 else [])])
'''


def test_run_and_show_print_the_alarms_under_the_funnel(tmp_path: Path) -> None:
    """Nobody looks at what is not on the screen; nobody reads a screen full of warnings."""
    (tmp_path / "recipe.py").write_text(RECIPE)
    write_jsonl(tmp_path / "a.jsonl", rows(120))
    command = ["run", "recipe.py", "--paths", "a.jsonl", "--workers", "0"]
    ran = curation(*command, "--least", "118", cwd=tmp_path).stdout.splitlines()
    warning = 'warning: step 1 keep n >= 118, "small", drops 98.3 % of the 120 rows, '
    build = next(index for index, line in enumerate(ran) if line.startswith("build "))
    assert ran[build + 1].startswith(warning)
    assert ran[build + 1].endswith("(a.jsonl)")
    assert curation("show", cwd=tmp_path).stdout.splitlines()[-1] == ran[build + 1]
    many = curation(*command, cwd=tmp_path).stdout
    assert many.count("warning: ") == 1
    [line] = [line for line in many.splitlines() if line.startswith("warning: ")]
    assert line.startswith('warning: 13 rules drop nothing: step 1 keep n >= 0, "small"; step 2 ')
    assert line.count("; ") == 12


def test_likes_share_a_line_and_what_looks_wrong_comes_first() -> None:
    """A stage with four empty columns would push the rule that drops everything off the screen."""

    def constant(column: str, value: str) -> Alarm:
        message = f"writes {column}: {value}"
        return Alarm(kind="constant", step=1, stage="S", message=message, column=column)

    lost = Alarm(kind="drops nearly all", step=3, stage="keep x", message="drops 99 %")
    given = [constant("a", "0"), constant("b", "0"), constant("c", "1"), lost]
    assert summarize(given) == [
        "warning: step 3 keep x drops 99 %",
        "warning: step 1 S writes a, b: 0",
        "warning: step 1 S writes c: 1",
    ]


def test_half_of_a_source_in_one_group_is_not_more_than_half(made: Made) -> None:
    """A rule on the edge would be told today and not tomorrow."""
    for lost, told in ((50, 0), (51, 1)):
        build = made(
            [template_rows("a.org", lost + 1, 99 - lost)],
            TextHash(),
            ExactDuplicates(),
            keep(col("group_size") > 0, because=f"{lost}"),
        )
        assert len(of(build, "one group")) == told, "of 100 rows"


def test_the_source_that_loses_most_to_one_group_comes_first(made: Made) -> None:
    """Of a thousand sites three are shown."""
    copies = {"a": 95, "b": 150, "c": 120}
    files = [template_rows(f"{name}.org", same, 9) for name, same in copies.items()]
    files = [[{**row, "text": f"{row['site']} {row['text']}"} for row in one] for one in files]
    [alarm] = of(made(files, TextHash(), ExactDuplicates()), "one group")
    places = [alarm.message.index(f"'{name}.org'") for name in "bca"]
    assert places == sorted(places)
