from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from curation import (
    ASK_LLM,
    DATAMAN,
    Build,
    Choice,
    Grade,
    Jsonl,
    Judge,
    ModelServer,
    Recipe,
    Rubric,
    judge_costs,
    judged_rows,
    sample,
    write_judged,
)
from curation.annotate.judge import cut_text
from curation.annotate.judged import DATAMAN_FIELDS
from curation.annotate.model import Reply, Request
from curation.columns import COLUMNS
from curation.engine.plan import fingerprint
from curation.errors import DataError, RecipeError, ResourceError, RunStopped
from curation.recipe_file import load_recipe
from curation.testing import check_stage
from tests.conftest import ROOT, Files, wait_until, write_jsonl
from tests.rewrite.server import Stand, standing


@pytest.fixture
def stand() -> Iterator[Stand]:
    with standing() as found:
        yield found


def judge(stand: Stand, **settings: Any) -> Judge:
    server = ModelServer(model="m", base_url=stand.url, retries=0, timeout_s=5)
    return Judge(**{"model": server, **settings})


def told(stage: Judge, texts: Sequence[str | None]) -> list[dict[str, Any]]:
    batch = pa.record_batch({"text": pa.array(texts, pa.large_string())})
    rows: list[dict[str, Any]] = stage.annotate(batch).to_pylist()
    return rows


def pool(folder: Path, texts: Sequence[str], files: int = 1) -> Files:
    for n in range(files):
        write_jsonl(folder / f"{n}.jsonl", ({"text": text} for text in texts[n::files]))
    return Files(f"{folder}/*.jsonl")


@pytest.mark.parametrize(
    "settings",
    [{}, {"rubric": ASK_LLM}, {"rubric": DATAMAN, "keep_reply": True, "name": "dm"}],
    ids=["educational", "ask-llm", "dataman"],
)
def test_it_keeps_the_contract(stand: Stand, settings: dict[str, Any]) -> None:
    """A row's grade would depend on its neighbours."""
    check_stage(judge(stand, max_chars=500, **settings))


def test_every_column_under_the_usual_name_is_registered(stand: Stand) -> None:
    """One name would come to mean two things."""
    for rubric in (Judge.rubric, ASK_LLM, DATAMAN):
        for column in judge(stand, rubric=rubric, keep_reply=True).writes:
            assert COLUMNS[column.name][0] == column.type
    assert {*DATAMAN_FIELDS} <= {*judge(stand, rubric=DATAMAN).writes.names}


def test_texts_are_graded_and_what_was_spent_is_counted(stand: Stand) -> None:
    """The corpus would be sorted by something else than the model's judgement."""
    rows = told(judge(stand), ["good good", "bad", None, " \n", "good"])
    assert [row["judge_grade"] for row in rows] == [2, 0, None, None, 1]
    assert [row["judge_request_count"] for row in rows] == [1, 1, 0, 0, 1]
    assert rows[2]["judge_prompt_tokens"] == 0
    spent = sum(row["judge_prompt_tokens"] for row in rows)
    assert spent == sum(len(text.split()) for text in stand.texts())
    assert all(row["error"] is None for row in rows)
    assert len(stand.requests) == 3


def test_a_reply_that_cannot_be_read_is_asked_for_again_and_then_an_error(stand: Stand) -> None:
    """A model that stumbles once would cost a row, and one that always does would never end."""
    rows = told(judge(stand, keep_reply=True), ["GARBLEDONCE", "GARBLED", "HIGH", "LONG GARBLED"])
    assert rows[0]["judge_grade"] == 1
    assert (rows[0]["error"], rows[0]["judge_request_count"]) == (None, 2)
    assert rows[1]["judge_grade"] is None
    assert rows[1]["judge_request_count"] == 3
    assert "no grade found" in rows[1]["error"]
    assert "I would rather speak of the weather" in rows[1]["error"]
    assert rows[1]["judge_reply"].startswith("I would rather")
    assert "not from 0 to 5" in rows[2]["error"]
    assert "cut at max_tokens" in rows[3]["error"]
    assert {body["seed"] for body in stand.requests} == {0, 1, 2}
    assert told(judge(stand, retries=0), ["GARBLEDONCE"])[0]["judge_request_count"] == 1


def test_a_request_that_the_server_refuses_is_that_rows_error(stand: Stand) -> None:
    """One text that is too long would end the run."""
    rows = told(judge(stand), ["REFUSE", "good", "BROKEN", "NOTJSON"])
    assert [row["judge_grade"] for row in rows] == [None, 1, None, None]
    assert "context length" in rows[0]["error"]
    assert [row["judge_request_count"] for row in rows] == [1, 1, 1, 1]


def test_ask_llm_takes_probabilities_or_else_the_word(stand: Stand) -> None:
    """Nothing could be ranked, or nothing be asked of most servers."""
    stage = judge(stand, rubric=ASK_LLM)
    rows = told(stage, ["good", "bad", "NOLOGPROBS good", "NOLOGPROBS"])
    found = [row["judge_yes_prob"] for row in rows]
    assert found == pytest.approx([0.26, 0.1, 1.0, 0.0])
    assert stand.requests[0]["max_tokens"] == 4
    stand.logprobs = "refused"
    assert told(stage, ["good"])[0]["judge_yes_prob"] == 1


def test_a_rubric_of_ones_own_gives_its_own_columns(stand: Stand) -> None:
    """Only what we thought of could be judged."""
    rubric = Rubric(
        name="mine",
        prompt="name its domain: {text}",
        answers=(
            Choice("area", options=("Medicine", "Law"), pattern="domain"),
            Grade("x", "accuracy"),
        ),
    )
    (row,) = told(judge(stand, rubric=rubric, name="mine"), ["good good good"])
    assert (row["mine_area"], row["mine_x"]) == ("Medicine", 3)
    assert list(row)[2:5] == ["mine_request_count", "mine_prompt_tokens", "mine_completion_tokens"]


def test_long_texts_are_cut_as_the_rubric_says(stand: Stand) -> None:
    """A book would be paid for in full, or refused."""
    text = pa.array(["abcdefghij", "é" * 4, None, "", "abcde"], pa.large_string())
    assert cut_text(text, 5, "beginning").to_pylist() == ["abcde", "éééé", None, "", "abcde"]
    ends = cut_text(text, 5, "ends").to_pylist()
    assert ends == ["abc\n...\nij", "éééé", None, "", "abcde"]
    assert cut_text(text, 1, "ends").to_pylist()[0] == "a\n...\n"
    assert cut_text(text, 0, "ends").to_pylist() == text.to_pylist()
    assert cut_text(text.slice(1), 2, "ends").to_pylist()[0] == "é\n...\né"
    told(judge(stand, max_chars=3), ["abcdef"])
    assert "abc\n</excerpt>" in stand.texts()[0]


def test_only_what_decides_grades_is_part_of_the_identity(stand: Stand) -> None:
    """A new address, or a new price, would have everything asked a second time."""
    stage = judge(stand)
    moved = replace(stage, model=replace(stage.model, base_url="http://x/v1"), prices=(1.0, 2.0))
    assert fingerprint(moved.identity()) == fingerprint(stage.identity())
    server = stage.model
    for other in (
        {"model": replace(server, model="n")},
        {"model": replace(server, temperature=1.0)},
        {"rubric": replace(stage.rubric, prompt="{text}?")},
        {"max_chars": 10},
        {"retries": 0},
        {"name": "other"},
    ):
        assert fingerprint(replace(stage, **other).identity()) != fingerprint(stage.identity())
    assert str(stage) == "Judge(model=ModelServer('m'))"


@dataclass(frozen=True)
class Parrot:
    """A user's own model: it says a grade, and needs no server."""

    grade: int = 4

    def generate(self, requests: Sequence[Request]) -> list[Reply]:
        return [Reply(text=f"Educational score: {self.grade}") for _ in requests]

    def facts(self) -> dict[str, object]:
        return {"grade": self.grade}


def test_a_model_is_anything_with_the_two_methods() -> None:
    """Whoever has another library for models would have to change ours."""
    assert told(Judge(model=Parrot()), ["a"])[0]["judge_grade"] == 4
    with pytest.raises(RecipeError, match="no such model"):
        Judge(model="Qwen/Qwen3-8B")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "My judge"},
        {"max_chars": -1},
        {"retries": -1},
        {"prices": (1.0,)},
        {"prices": (-1.0, 0.0)},
        {"rubric": Rubric(name="a", prompt="{text}", answers=(Choice("grade", ("a", "b"), "x"),))},
    ],
)
def test_settings_that_make_no_sense_are_told(wrong: dict[str, Any]) -> None:
    """They would show when the first grade is written."""
    with pytest.raises(RecipeError, match="Judge"):
        Judge(model=Parrot(), **wrong)


# ---------------------------------------------------------------- in a run


def test_nothing_is_asked_twice_and_the_account_is_told(
    stand: Stand, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Money would be spent again with every change of the recipe."""
    texts = ["good"] * 10 + ["bad GARBLED"] * 2 + ["bad"] * 8
    source = pool(tmp_path / "pool", [f"{text} {n}" for n, text in enumerate(texts)])
    stage = judge(stand, prices=(2.0, 10.0))
    first = Recipe(source=source, steps=[sample(frac=1.0), stage])
    build = first.run(store=tmp_path / "store", workers=1)
    assert len(stand.requests) == 18 + 2 * 3
    assert build.ledger().rows_out == 18
    shown = capsys.readouterr().err
    (row,) = judge_costs(build, {"judge": (2.0, 10.0)}).iter_rows(named=True)
    words = sum(len(text.split()) for text in stand.texts())
    assert (row["rows"], row["requests"], row["prompt_tokens"]) == (20, 24, words)
    assert row["money"] == pytest.approx((2 * words + 10 * row["completion_tokens"]) / 1e6)
    assert f"20 rows, 24 requests, {words:,} + " in shown
    assert judge_costs(build)["money"].to_list() == [None]
    more = [sample(frac=1.0), stage, sample(frac=0.5, because="half")]
    Recipe(source=source, steps=more).run(store=tmp_path / "store", workers=0)
    first.run(store=tmp_path / "store", workers=0)
    assert len(stand.requests) == 24


def test_two_judges_share_a_recipe(stand: Stand, tmp_path: Path) -> None:
    """Models and rubrics could not be compared on one sample."""
    source = pool(tmp_path / "pool", ["good " * n for n in range(1, 6)])
    steps = [judge(stand, name="small"), judge(stand, rubric=ASK_LLM, name="ask")]
    build = Recipe(source=source, steps=steps).run(store=tmp_path / "store", workers=0)
    costs = judge_costs(build, {"ask": (1.0, 1.0)})
    assert costs["name"].to_list() == ["small", "ask"]
    assert costs["money"].is_null().to_list() == [True, False]
    found = build.documents(columns=["small_grade", "ask_yes_prob"]).collect()
    assert found["small_grade"].to_list() == [1, 2, 3, 4, 5]
    assert found["ask_yes_prob"].is_sorted()


def test_one_request_for_every_row_is_nothing_to_be_warned_of(tmp_path: Path) -> None:
    """A warning after every run would hide those that matter."""
    source = pool(tmp_path / "pool", [f"text {n}" for n in range(120)])
    build = Recipe(source=source, steps=[Judge(model=Parrot())]).run(
        store=tmp_path / "store", workers=0
    )
    assert [alarm.column for alarm in build.alarms()] == ["judge_grade"]  # the parrot's one grade


def test_a_server_that_goes_ends_the_run_and_finished_shards_stay(
    stand: Stand, tmp_path: Path
) -> None:
    """A server that restarts would leave error rows for ever, or the whole bill again."""
    source = pool(tmp_path / "pool", [f"good {n}" for n in range(8)], files=4)
    recipe = Recipe(source=source, steps=[judge(stand)])
    stand.failing = {401: 0}
    kept = replace_always(stand, after=5)
    with pytest.raises(ResourceError, match="another key"):
        recipe.run(store=tmp_path / "store", workers=0)
    kept()
    build = recipe.run(store=tmp_path / "store", workers=0)
    assert build.ledger().rows_out == 8
    assert build.errors().is_empty()
    assert len(stand.requests) <= 8 + 2


def replace_always(stand: Stand, after: int) -> Any:
    """Let the server refuse everybody after so many requests; return what undoes it."""

    class Counted(list[Any]):
        def append(self, body: Any) -> None:
            super().append(body)
            stand.always = 401 if len(self) > after else 0

    stand.requests = Counted()

    def undo() -> None:
        stand.always, stand.requests = 0, [*stand.requests]

    return undo


def test_too_many_unreadable_replies_end_the_run(stand: Stand, tmp_path: Path) -> None:
    """A prompt that the model does not understand would be paid for to the end."""
    source = pool(tmp_path / "pool", ["GARBLED"] * 5)
    with pytest.raises(DataError, match="rows are in error") as caught:
        Recipe(source=source, steps=[judge(stand, retries=0)]).run(
            store=tmp_path / "store", workers=0
        )
    assert "weather" in str(caught.value)


def test_ctrl_c_in_a_run_ends_its_requests(stand: Stand, tmp_path: Path) -> None:
    """Whoever stops a run would go on paying."""
    import signal
    import threading

    source = pool(tmp_path / "pool", ["SLOW"] * 200)
    stand.slow_s = 1.0

    def press() -> None:
        wait_until(lambda: stand.at_once > 0)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    pressing = threading.Thread(target=press)
    pressing.start()
    try:
        with pytest.raises(RunStopped):
            Recipe(source=source, steps=[judge(stand)]).run(store=tmp_path / "store", workers=1)
    finally:
        pressing.join()
        signal.signal(signal.SIGINT, before)
    wait_until(lambda: stand.at_once == 0)
    assert len(stand.requests) <= 32


# ---------------------------------------------------------------- what a classifier learns from


def judged(stand: Stand, tmp_path: Path, **settings: Any) -> Build:
    source = pool(tmp_path / "pool", ["good " * n for n in range(5)] + ["GARBLED", "REFUSE good"])
    recipe = Recipe(
        source=source, steps=[judge(stand, **settings)], on_error="keep", max_error_frac=1.0
    )
    return recipe.run(store=tmp_path / "store", workers=0)


def test_judged_rows_are_those_with_text_and_grade(stand: Stand, tmp_path: Path) -> None:
    """A classifier would learn that what could not be judged is worth nothing."""
    rows = judged_rows(judged(stand, tmp_path))
    assert rows.columns == ["id", "text", "judge_grade"]
    assert rows["judge_grade"].to_list() == [1, 2, 3, 4]
    for name in ("a.jsonl", "b.parquet"):
        path = write_judged(rows, tmp_path / "out" / name)
        again = pl.read_ndjson(path) if name == "a.jsonl" else pl.read_parquet(path)
        assert again["judge_grade"].to_list() == [1, 2, 3, 4]
        assert [p.name for p in path.parent.glob(".*")] == []
    with pytest.raises(RecipeError, match=r"jsonl or \.parquet"):
        write_judged(rows, tmp_path / "a.csv")
    with pytest.raises(ResourceError, match="cannot be written"):
        write_judged(rows, tmp_path / "out" / "a.jsonl" / "b.jsonl")


def test_grades_can_be_given_the_names_that_a_classifier_wants(
    stand: Stand, tmp_path: Path
) -> None:
    """DataMan's fifteen heads would have to be renamed by hand."""
    build = judged(stand, tmp_path, rubric=DATAMAN)
    rows = judged_rows(build, grades=DATAMAN_FIELDS)
    assert {"id", "text", "domain", "accuracy", "overall"} <= {*rows.columns}
    assert set(rows["domain"]) == {"medicine"}
    with pytest.raises(RecipeError, match="needs a grade"):
        judged_rows(build, grades=())
    with pytest.raises(ResourceError, match="no column 'judge_grade'"):
        judged_rows(build)


def test_a_build_in_which_nothing_could_be_judged_is_told(stand: Stand, tmp_path: Path) -> None:
    """An empty table would be found out by the classifier, three commands later."""
    recipe = Recipe(
        source=pool(tmp_path / "pool", ["GARBLED"]),
        steps=[judge(stand, retries=0)],
        on_error="keep",
        max_error_frac=1.0,
    )
    with pytest.raises(ResourceError, match="no judged row"):
        judged_rows(recipe.run(store=tmp_path / "store", workers=0))


@pytest.mark.parametrize("rubric", ["educational", "ask-llm", "dataman"])
def test_the_pipeline_judges_a_sample(stand: Stand, tmp_path: Path, rubric: str) -> None:
    """The first of the three commands in its header would not run."""
    text = "good words that go on and on, " * 10
    pool(tmp_path / "pool", [f"{text}{n}" for n in range(30)])
    flags = ["--files", f"{tmp_path}/pool/*.jsonl", "--model", "m", "--base-url", stand.url]
    flags += ["--documents", "7", "--rubric", rubric, "--reply"]
    recipe = load_recipe(str(ROOT / "pipelines" / "distill.py"), flags)
    build = recipe.run(store=tmp_path / "store", workers=0)
    assert build.ledger().rows_out == len(stand.requests) == 7
    assert isinstance(recipe.rows_source, Jsonl)
    assert "judge_reply" in build.outcomes[-1].columns
