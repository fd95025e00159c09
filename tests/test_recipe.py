"""A recipe that cannot run says so before a byte of data is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import polars as pl
import pyarrow as pa
import pytest

from curation import ExactDuplicates, Jsonl, TextHash, TextSize, annotator, row_annotator
from curation.columns import columns
from curation.errors import RecipeError
from curation.recipe import Recipe, col, keep, keep_best, sample, show_rule
from curation.stage import Annotator
from curation.testing import check_stage

#: Nothing is there: a recipe that opened it would fail in another way.
NOWHERE = Jsonl("/nowhere/*.jsonl")


def recipe(*steps: Any, **more: Any) -> Recipe:
    return Recipe(source=more.pop("source", NOWHERE), steps=list(steps), **more)


def refused(*steps: Any, **more: Any) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        recipe(*steps, **more)
    return caught.value


@annotator(writes={"shout_frac": pa.float32()})
def shout_frac(text: pa.LargeStringArray) -> Any:
    return pa.array([0.0] * len(text), pa.float32())


@dataclass(frozen=True, kw_only=True)
class Settings(Annotator):
    """A stage with a setting of every kind."""

    reads: ClassVar[tuple[str, ...]] = ("text",)
    writes: ClassVar[pa.Schema] = columns("title")

    count: int = 1
    share: float = 0.5
    mode: Literal["fast", "slow"] = "fast"
    name: str | None = None
    names: tuple[str, ...] = ()
    strict: bool = False


def test_a_missing_column_is_named_with_the_step_that_would_write_it() -> None:
    """A user who forgot a step would otherwise learn it after hours of reading."""
    error = refused(TextSize(), ExactDuplicates())
    assert error.headline == (
        "step 2 ExactDuplicates reads 'text_hash', which no earlier step writes."
    )
    assert error.facts["remedy"] == "add TextHash() before step 2 (it writes 'text_hash')"
    assert error.facts["present"].startswith("id, source, url, license, date, file, offset, length")
    assert "text_bytes, text_chars, word_count" in error.facts["present"]
    assert error.facts["recipe"].endswith(", step 2 of 2")
    assert "test_recipe.py:recipe" in error.facts["recipe"]
    assert list(error.facts)[-1] == "remedy"


def test_a_mistyped_column_suggests_the_nearest() -> None:
    """A user with a typing error in a rule would search the whole recipe for it."""
    error = refused(TextSize(), keep(col("word_cuont") >= 5, because="short"))
    assert "step 2 keep reads 'word_cuont'" in error.headline
    assert error.facts["remedy"] == "did you mean 'word_count'?"


def test_a_column_written_later_does_not_count() -> None:
    """A recipe in the wrong order would read nulls, or columns of an older store."""
    rule = keep(col("text_hash").is_not_null(), because="x")
    assert recipe(TextHash(), rule)
    assert "which no earlier step writes" in refused(rule, TextHash()).headline


def test_a_registered_column_keeps_its_type() -> None:
    """Every later stage reads word_count as uint32 and would break in the middle of a run."""

    @row_annotator(writes={"word_count": pa.int64()})
    def count(text: str) -> int:
        return len(text)

    error = refused(count)
    assert (
        error.headline == "step 1 count writes 'word_count' as int64, "
        "and that name stands for uint32."
    )


def test_a_column_is_not_hidden_by_a_second_of_its_name() -> None:
    """A rule would look at the values of another stage than its author meant."""
    error = refused(TextSize(), TextSize())
    assert error.headline == "step 2 TextSize writes 'text_bytes', which is there already."
    assert "rename the column" in error.facts["remedy"]


def test_a_stage_that_reads_a_column_may_replace_it() -> None:
    """Normalize could not write text."""

    @row_annotator(writes={"text": pa.large_string()})
    def lower(text: str) -> str:
        return text.lower()

    assert recipe(lower, TextSize()).schemas()[-1].names[-3:] == [
        "text_bytes",
        "text_chars",
        "word_count",
    ]


@pytest.mark.parametrize("name", ["id", "file", "error", "scored", "kept", "because", "parent_id"])
def test_the_engines_own_columns_are_not_written_by_stages(name: str) -> None:
    """A stage that wrote 'id' would break every place, and 'error' would hide failures."""
    kind = pa.large_string()

    def function(text: str) -> str:
        return text

    stage = row_annotator(writes={name: kind})(function)
    assert f"writes '{name}', which" in refused(stage).headline


def test_a_rule_is_true_or_false() -> None:
    """A rule of numbers would keep every row that is not zero, or none."""
    error = refused(TextSize(), keep(col("word_count") + 5, because="short"))
    assert error.headline == "step 2: a rule is true or false for a row, and this one is not."
    assert error.facts["rule"] == "word_count + 5"
    assert error.facts["found"] == "UInt32"


def test_a_rule_that_compares_text_with_a_number_is_refused() -> None:
    """Polars would raise in the first worker, after the pages had been extracted."""
    error = refused(keep(col("text") > 5, because="x"))
    assert error.headline == "step 1: the rule does not fit its columns."
    assert error.facts["types"] == "text large_string"


@pytest.mark.parametrize(
    "rule",
    [
        col("word_count") > col("word_count").mean(),
        col("word_count").cum_sum() < 1000,
        col("word_count").rank() < 10,
        col("word_count").shift(1) == 3,
        col("word_count").sum().over("text") > 3,
        (col("word_count") > 3) & (col("word_count") > col("word_count").mean()),
        pl.when(col("word_count") > 3).then(col("word_count").max() > 1).otherwise(False),
        col("text").is_duplicated(),
        col("text").is_first_distinct(),
    ],
)
def test_a_rule_that_looks_at_other_rows_is_refused(rule: pl.Expr) -> None:
    """It would be computed a batch at a time, and which rows stay would depend on the batches."""
    with pytest.raises(RecipeError, match="one row at a time") as caught:
        keep(rule, because="x")
    assert "keep_best" in caught.value.facts["remedy"]


@pytest.mark.parametrize(
    "rule",
    [
        col("text").map_elements(len, return_dtype=pl.Int64) > 3,
        col("text").map_batches(lambda series: series.is_null(), return_dtype=pl.Boolean),
        (col("word_count") > 3) & col("text").map_elements(bool, return_dtype=pl.Boolean),
    ],
)
def test_a_rule_calls_no_python_function(rule: pl.Expr) -> None:
    """Such a rule can neither be shown nor compared, and its change would go unnoticed."""
    with pytest.raises(RecipeError, match="calls a Python function") as caught:
        keep(rule, because="x")
    assert "@annotator" in caught.value.facts["remedy"]


@pytest.mark.parametrize("rule", [True, "word_count > 3", None, lambda row: True])
def test_a_rule_is_an_expression(rule: Any) -> None:
    """keep(True) would look like a filter and be none."""
    with pytest.raises(RecipeError, match="takes a rule made with col"):
        keep(rule, because="x")


def test_a_rule_looks_at_a_column() -> None:
    """keep(lit(True)) would drop or keep everything with nobody seeing why."""
    with pytest.raises(RecipeError, match="a rule over columns"):
        keep(pl.lit(True), because="x")


@pytest.mark.parametrize("because", ["", "   ", None, 3])
def test_a_selection_needs_a_reason(because: Any) -> None:
    """Rows would go without a trace."""
    for make in (
        lambda: keep(col("text").is_null(), because=because),
        lambda: keep_best("x", documents=3, because=because),
        lambda: sample(frac=0.5, because=because),
    ):
        with pytest.raises(RecipeError, match="needs a reason"):
            make()


def test_keep_without_because_is_no_call_at_all() -> None:
    """A filter without a reason must not slip in by a default."""
    with pytest.raises(TypeError, match="because"):
        keep(col("text").is_null())  # type: ignore[call-arg]


@pytest.mark.parametrize("budget", [{}, {"tokens": 1, "documents": 2}, {"words": -1}])
def test_keep_best_takes_exactly_one_budget(budget: dict[str, int]) -> None:
    """With two budgets nobody could say which of them ended the selection."""
    with pytest.raises(RecipeError, match="exactly one budget") as caught:
        keep_best("score", because="budget", **budget)
    assert caught.value.facts["remedy"] == "one of tokens, text_bytes, words, documents"


def test_keep_best_reads_what_it_ranks_and_what_it_sums() -> None:
    """A budget in words over a corpus without word counts would keep nothing."""
    error = refused(shout_frac, keep_best("shout_frac", words=3, because="budget"))
    assert "keep_best reads 'word_count'" in error.headline
    assert error.facts["remedy"].startswith("add TextSize() before step 2")
    error = refused(keep_best("url", documents=3, because="budget"))
    assert "ranks and sums numbers, 'url' is large_string" in error.headline


@pytest.mark.parametrize(
    "given",
    [{}, {"frac": 0.5, "documents": 3}, {"frac": -0.1}, {"frac": 1.1}, {"documents": -1}],
)
def test_a_sample_is_a_share_or_a_number(given: dict[str, Any]) -> None:
    """sample(frac=10), meant as a per cent, would keep everything."""
    with pytest.raises(RecipeError, match="sample takes"):
        sample(**given)


@pytest.mark.parametrize("given", [{"frac": 0}, {"frac": 1}, {"documents": 0}])
def test_the_bounds_of_a_sample_are_samples(given: dict[str, Any]) -> None:
    """A script that sweeps shares from 0 to 1 would break at its ends."""
    assert recipe(sample(**given))


@pytest.mark.parametrize(
    "settings",
    [
        {"count": "5"},
        {"count": 1.5},
        {"count": True},
        {"share": "high"},
        {"mode": "medium"},
        {"name": 3},
        {"names": ["a"]},
        {"names": ("a", 3)},
        {"strict": 1},
    ],
)
def test_a_setting_of_the_wrong_type_is_refused_at_once(settings: dict[str, Any]) -> None:
    """A mistyped setting would silently become something else, or fail in a worker."""
    [name] = settings
    with pytest.raises(RecipeError, match=f"Settings takes no such {name}") as caught:
        Settings(**settings)
    assert repr(settings[name]) in caught.value.facts["found"]


def test_settings_of_the_right_type_are_taken() -> None:
    """An integer where a float is wanted is what everybody writes."""
    stage = Settings(count=3, share=1, mode="slow", name="n", names=("a", "b"), strict=True)
    assert str(stage) == (
        "Settings(count=3, share=1, mode='slow', name='n', names=('a', 'b'), strict=True)"
    )


@pytest.mark.parametrize("step", [TextSize, "TextSize", None, col("text") == "", NOWHERE, len])
def test_a_step_is_a_stage_or_a_selection(step: Any) -> None:
    """TextSize without its brackets is the commonest slip."""
    assert "step 2 is neither a stage nor a selection." in refused(TextSize(), step).headline


@pytest.mark.parametrize("source", ["data/*.gz", None, [], [NOWHERE, "x"]])
def test_a_source_is_a_source(source: Any) -> None:
    """A path in place of a source would be iterated letter by letter."""
    assert "a recipe's source is a Source, or a list of them." in refused(source=source).headline


@pytest.mark.parametrize("more", [{"on_error": "ignore"}, {"max_error_frac": 1.5}])
def test_the_recipes_own_settings_are_checked(more: dict[str, Any]) -> None:
    """on_error='ignore' would otherwise behave as one of the two in silence."""
    [name] = more
    assert refused(**more).headline.startswith(name)


def test_a_path_that_matches_nothing_is_told_before_anything_is_read(tmp_path: Any) -> None:
    """A run over no files would end well with an empty corpus."""
    (tmp_path / "a.jsonl.gz").touch()
    with pytest.raises(RecipeError, match="match") as caught:
        recipe(TextSize(), source=Jsonl(f"{tmp_path}/*.jsnl")).plan()
    assert "a.jsonl.gz" in str(caught.value)
    with pytest.raises(RecipeError):
        recipe(source=Jsonl(f"{tmp_path}/*.jsnl")).run(store=tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_schemas_are_the_columns_before_each_step_and_after_the_last() -> None:
    """Everything that checks a recipe stands on this list."""
    schemas = recipe(TextSize(), keep(col("word_count") > 3, because="short"), shout_frac).schemas()
    sizes = ["text_bytes", "text_chars", "word_count"]
    new = [[n for n in schema.names if n not in schemas[0].names] for schema in schemas]
    assert new == [[], sizes, sizes, [*sizes, "shout_frac"]]


def test_a_function_becomes_a_stage_that_can_still_be_called() -> None:
    """A user's own filter could not be tried in a notebook."""

    @row_annotator(writes={"cve_count": pa.uint32()}, version=3)
    def cve_count(text: str) -> int:
        return text.count("CVE-")

    assert cve_count("CVE-1 CVE-2") == 2
    assert (cve_count.reads, cve_count.writes.names, cve_count.version) == (
        ("text",),
        ["cve_count"],
        3,
    )
    assert str(cve_count) == "cve_count"
    check_stage(cve_count)
    check_stage(shout_frac)


def test_a_functions_parameters_name_its_columns() -> None:
    """A function of **columns would read nothing."""
    for function in (lambda *texts: texts, lambda **texts: texts, lambda *, text: text):
        with pytest.raises(RecipeError, match="its parameters must name the columns"):
            annotator(writes={"x": pa.int64()})(function)


@pytest.mark.parametrize(
    ("rule", "shown"),
    [
        (col("word_count") >= 50, "word_count >= 50"),
        (col("a") > 0.25, "a > 0.25"),
        (col("language") == "en", 'language == "en"'),
        (col("a").is_null(), "a.is_null()"),
        ((col("a") > 1) & (col("b") < 2), "(a > 1) & (b < 2)"),
    ],
)
def test_a_rule_is_shown_as_a_person_would_write_it(rule: pl.Expr, shown: str) -> None:
    """The funnel and why are read by people who did not write the recipe."""
    assert show_rule(rule) == shown
