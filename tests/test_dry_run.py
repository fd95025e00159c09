"""A dry run: what it counts, what it scales, and that it sends and stores nothing."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation import (
    ClusterBandit,
    Generate,
    Jsonl,
    Judge,
    Pairwise,
    Parquet,
    Recipe,
    TextSize,
    col,
    keep,
    keep_best,
    sample,
)
from curation.annotate.model import Reply, Request
from curation.dry_run import DryRun, dry_run, estimate_table
from curation.errors import RecipeError
from curation.rewrite import pool
from curation.rewrite.client import ModelServer
from curation.rewrite.journal import Journal, request_key
from curation.rewrite.prompts import prompt
from curation.stage import Source
from tests.conftest import curation, write_jsonl
from tests.rewrite.backend import FakeModel
from tests.rewrite.writers import Writer

TEXT = "The pressure was 120 mmHg at rest and rose to 180 mmHg under load. " * 3
DEAD = ModelServer(model="nobody/there", base_url="http://127.0.0.1:9/v1")


def lines(path: Path, count: int, every: int = 2) -> Path:
    """Write texts; each second is short."""
    return write_jsonl(path, [{"text": TEXT if n % every else "short"} for n in range(count)])


def steps(model: Any = DEAD) -> list[Any]:
    return [
        TextSize(),
        keep(col("word_count") > 5, because="short"),
        Judge(model=model, prices=(1.0, 2.0)),
        keep(col("judge_grade") >= 3, because="poor"),
        Generate(model=model, prompts=("qa", "summary")),
        keep(~col("reply_is_cut"), because="cut"),
        Judge(model=model, name="again"),
    ]


def run(source: Source, tmp_path: Path, more: list[Any] | None = None, **settings: Any) -> DryRun:
    recipe = Recipe(source=source, steps=more or steps())
    return dry_run(recipe, store=tmp_path / "store", **settings)


def test_every_step_that_asks_is_counted_and_nothing_is_sent_or_stored(tmp_path: Path) -> None:
    """A run that takes a month would be started for an afternoon; or the estimate would cost it."""
    lines(tmp_path / "a.jsonl", 40)
    found = run(Jsonl(str(tmp_path / "a.jsonl")), tmp_path)
    told = [(e.step, e.stage, e.asks_for, e.documents, e.requests) for e in found.estimates]
    assert told == [
        (3, "Judge", "judge", 20, 20),
        (5, "Generate", "qa@1", 20, 20),
        (5, "Generate", "summary@1", 20, 20),
        (7, "Judge", "again", 40, 40),
    ]
    assert (found.tried_rows, found.read_rows, found.read_frac) == (40, 40, 1.0)
    assert {e.model for e in found.estimates} == {"nobody/there"}
    assert not (tmp_path / "store").exists()
    assert [note.split(" (")[0] for note in found.notes[:2]] == ["step 4", "step 6"]


def test_tokens_are_those_that_a_run_sends(tmp_path: Path) -> None:
    """The account of the run would have nothing to do with the estimate."""
    path = lines(tmp_path / "a.jsonl", 20)
    writer = Writer()
    more = [Generate(model=writer, prompts=("qa", "summary"))]
    estimate = run(Jsonl(str(path)), tmp_path, more).estimates
    Recipe(source=Jsonl(str(path)), steps=more).run(store=tmp_path / "real", workers=0)
    for one in estimate:
        sent = [r for asked in writer.asked for r in asked if r.purpose == one.asks_for]
        chars = sum(len(content) for r in sent for _, content in r.messages)
        assert one.requests == len(sent) == 10
        assert one.prompt_tokens == round(chars / 4)
        assert one.tokens_by == "characters / 4"
        assert one.reply_tokens == 10 * prompt(one.asks_for[:-2]).typical_tokens
        assert one.replies_by == "the prompt's own"


def test_a_sample_is_scaled_to_the_input(tmp_path: Path) -> None:
    """An estimate from a thousand rows would be that of a thousand rows."""
    for n in range(4):
        lines(tmp_path / f"{n}.jsonl", 100)
    more = steps()[:3]
    full = run(Jsonl(str(tmp_path / "*.jsonl")), tmp_path, more).estimates[0]
    part = run(Jsonl(str(tmp_path / "*.jsonl")), tmp_path, more, sample=100)
    assert (full.requests, part.tried_rows) == (200, 100)
    assert part.estimates[0].requests == pytest.approx(200, rel=0.25)
    few = run(Jsonl(str(tmp_path / "*.jsonl")), tmp_path, more, limit=40)
    assert few.estimates[0].requests == 20


def test_more_than_is_read_is_told_by_the_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a large input the rows that were read would be taken for all."""
    monkeypatch.setattr("curation.dry_run._READ_ROWS", 50)
    path = lines(tmp_path / "a.jsonl", 400)
    packed = tmp_path / "b.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "c.parquet")
    for source in (Jsonl(str(path)), Jsonl(str(packed)), Parquet(str(tmp_path / "c.parquet"))):
        found = run(source, tmp_path, steps()[:3], sample=50)
        assert found.read_rows <= 56
        assert found.read_frac < 0.2
        assert found.estimates[0].requests == pytest.approx(200, rel=0.1)


def test_members_of_a_source_are_scaled_each_for_itself(tmp_path: Path) -> None:
    """A small member with many rows would speak for a large one with few."""
    lines(tmp_path / "a.jsonl", 300, every=100)
    write_jsonl(tmp_path / "b.jsonl", [{"text": TEXT * 20}] * 30)
    recipe = Recipe(
        source=[Jsonl(str(tmp_path / "a.jsonl")), Jsonl(str(tmp_path / "b.jsonl"))],
        steps=[Judge(model=DEAD)],
    )
    found = dry_run(recipe, store=tmp_path / "store", sample=30)
    assert found.estimates[0].requests == 330


def test_budgets_shrink_with_the_sample(tmp_path: Path) -> None:
    """A budget of ten thousand rows would keep all of a sample, and be scaled to all there is."""
    path = lines(tmp_path / "a.jsonl", 400, every=400)
    first = [TextSize(), keep_best("word_count", documents=100, because="budget")]
    for more in (first, [sample(documents=100)]):
        found = run(Jsonl(str(path)), tmp_path, [*more, Judge(model=DEAD)], sample=40)
        assert found.estimates[0].requests == 100


def test_hours_and_money_come_from_what_is_told_and_are_unknown_otherwise(tmp_path: Path) -> None:
    """An invented price is worse than none."""
    source = Jsonl(str(lines(tmp_path / "a.jsonl", 20)))
    bare = run(source, tmp_path).estimates
    assert [e.hours for e in bare] == [None] * 4
    assert bare[0].money == pytest.approx(
        (bare[0].prompt_tokens + 2 * bare[0].reply_tokens) / 1e6, rel=1e-3
    )
    assert bare[1].money is None
    told = run(source, tmp_path, tokens_per_second=100.0, prices=(3.0, 5.0)).estimates
    for one in told:
        assert one.hours == pytest.approx(one.reply_tokens / 100 / 3600)
        assert one.money == pytest.approx(
            (3 * one.prompt_tokens + 5 * one.reply_tokens) / 1e6, rel=1e-3
        )
    for wrong in ({"sample": 0}, {"tokens_per_second": -1.0}, {"prices": (-1.0, 0.0)}):
        with pytest.raises(RecipeError, match="a dry run takes"):
            run(source, tmp_path, **wrong)


def test_earlier_replies_tell_how_long_and_how_fast(tmp_path: Path) -> None:
    """The estimate would stay a guess when the first thousand documents are done."""
    source = Jsonl(str(lines(tmp_path / "a.jsonl", 20)))
    journal = Journal(str(tmp_path / "store" / "replies"))
    for n in range(40):
        key = request_key({}, Request(messages=(("user", f"{n}"),)))
        journal.add(key, "nobody/there", "qa@1", Reply(text="x", completion_tokens=77), 1.0)
    journal._file.execute(
        "update replies set asked_at = datetime('2026-01-01', '+' || (rowid_ / 2) || ' seconds') "
        "from (select key as k, row_number() over (order by key) as rowid_ from replies) "
        "where key = k"
    )
    before = sorted(path.name for path in (tmp_path / "store" / "replies").iterdir())
    found = {e.asks_for: e for e in run(source, tmp_path).estimates}
    assert (found["qa@1"].reply_tokens, found["qa@1"].replies_by) == (770, "earlier replies")
    assert found["summary@1"].replies_by == "the prompt's own"
    hours = found["qa@1"].hours
    assert hours is not None
    assert 770 / hours / 3600 == pytest.approx(2 * 77, rel=0.1)  # two replies a second
    assert sorted(path.name for path in (tmp_path / "store" / "replies").iterdir()) == before


def test_a_run_with_a_model_of_this_machine_is_known_to_a_dry_run(tmp_path: Path) -> None:
    """A folder's replies would be looked up by another name than they were kept under."""
    source, judge = graded(tmp_path, 20)
    Recipe(source=source, steps=[judge]).run(store=tmp_path / "store", workers=0)
    pool.close_all()
    (found,) = run(source, tmp_path, [judge]).estimates
    assert (found.model, found.replies_by) == ("model", "earlier replies")


def graded(tmp_path: Path, count: int) -> tuple[Jsonl, Judge]:
    """Return a source of so many texts, and a judge with a stand-in of its own process."""
    texts = [{"text": f"GRADED {n:04}"} for n in range(count)]
    (tmp_path / "model").mkdir(exist_ok=True)
    (tmp_path / "model" / "config.json").write_text("{}")
    judge = Judge(model=FakeModel(model=str(tmp_path / "model")), retries=0)
    return Jsonl(str(write_jsonl(tmp_path / "a.jsonl", texts))), judge


def state(folder: Path) -> dict[str, tuple[int, int]]:
    stats = {str(path): path.stat() for path in folder.rglob("*")}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}


def test_what_is_answered_is_not_counted_again(tmp_path: Path) -> None:
    """A run that was killed at nine tenths would look as if nothing had been paid."""
    source, judge = graded(tmp_path, 20)
    whole = run(source, tmp_path, [judge]).estimates[0]
    Recipe(source=source, steps=[judge]).run(store=tmp_path / "store", workers=0)
    pool.close_all()
    before = state(tmp_path / "store")
    found = run(source, tmp_path, [judge])
    (done,) = found.estimates
    assert (done.requests, done.answered) == (20, 20)
    assert (done.prompt_tokens, done.reply_tokens, done.hours, done.money) == (0, 0, 0.0, 0.0)
    assert "20 requests are answered already" in found.notes[0]
    source, judge = graded(tmp_path, 40)
    half = run(source, tmp_path, [judge], tokens_per_second=1.0, prices=(1.0, 0.0)).estimates[0]
    assert (half.requests, half.answered, half.reply_tokens) == (40, 20, 20 * 9)
    assert half.prompt_tokens == pytest.approx(whole.prompt_tokens, rel=0.01)
    assert half.hours == pytest.approx(20 * 9 / 3600)
    assert half.money == pytest.approx(half.prompt_tokens / 1e6, rel=0.01)
    other = Judge(model=replace(judge.model, seed=1), retries=0)  # another draw is not the same
    assert run(source, tmp_path, [other]).estimates[0].answered == 0
    assert state(tmp_path / "store") == before


def test_no_more_is_answered_than_there_are_replies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The beginning of a file, which is done, would speak for its end."""
    monkeypatch.setattr("curation.dry_run._READ_ROWS", 50)
    source, judge = graded(tmp_path, 400)
    Recipe(source=source, steps=[judge]).run(store=tmp_path / "store", workers=0, limit=100)
    pool.close_all()
    (found,) = run(source, tmp_path, [judge], sample=50).estimates
    assert found.requests == pytest.approx(400, rel=0.05)
    assert found.answered == 100


def test_a_step_that_only_a_models_words_can_satisfy_ends_the_count_there(tmp_path: Path) -> None:
    """A dry run would end with the error of a model that was never asked."""
    source = Jsonl(str(lines(tmp_path / "a.jsonl", 40)))
    more = [TextSize(), Pairwise(model=DEAD, pairs=5), Judge(model=DEAD)]
    found = run(source, tmp_path, more)
    asked = {e.stage: (e.documents, e.requests) for e in found.estimates}
    assert asked["Pairwise"] == (40, 2 * 5 * 4)
    assert "steps behind 2 are not counted" in found.notes[0]


def test_a_stage_inside_a_stage_is_counted(tmp_path: Path) -> None:
    """A bandit asks a judge, and its recipe would seem to ask nobody."""
    source = Jsonl(str(lines(tmp_path / "a.jsonl", 40)))
    judge = Judge(model=DEAD)
    bandit = ClusterBandit(scorer=judge, scorer_column="judge_grade", budget=9, by="source")
    assert run(source, tmp_path, [TextSize()]).estimates == ()
    found = run(source, tmp_path, [bandit])
    assert [(e.stage, e.model, e.requests) for e in found.estimates] == [
        ("ClusterBandit", "nobody/there", 9)
    ]


def test_the_command_prints_the_table_and_what_is_unknown(tmp_path: Path) -> None:
    """Whoever pays looks at the terminal."""
    lines(tmp_path / "a.jsonl", 40)
    (tmp_path / "recipe.py").write_text(
        "from curation import *\n\n\ndef two(*, paths: str) -> Recipe:\n    m = ModelServer("
        "model='nobody/there', base_url='http://127.0.0.1:9/v1')\n    return Recipe("
        "source=Jsonl(paths), steps=[Judge(model=m), Generate(model=m, prompts=('qa',))])\n"
    )
    words = ("run", "recipe.py", "--paths", "a.jsonl", "--dry-run")
    said = curation(*words, "--prices", "1", "2", "--sample", "30", cwd=tmp_path).stdout
    assert "qa@1" in said
    assert "from 30 of 40 rows, 100.00% of the input; nothing was sent" in said
    assert "hours are unknown: --tokens-per-second" in said
    assert "money is unknown" not in said
    assert not (tmp_path / "store").exists()
    wrong = curation(*words[:-1], "--sample", "30", cwd=tmp_path, check=1).stderr
    assert "add --dry-run" in wrong
    table = estimate_table(run(Jsonl(str(tmp_path / "a.jsonl")), tmp_path))
    assert table.row_count == 5
