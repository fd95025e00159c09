"""The published rules: their numbers, their tables, and what they say of a file that is not one."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from curation import (
    Thresholds,
    c4_rules,
    dsir_rules,
    fineweb_rules,
    gopher_quality_rules,
    gopher_repetition_rules,
    gopher_rules,
    language_rules,
    page_rules,
    thresholds,
)
from curation.columns import COLUMNS
from curation.errors import RecipeError, ResourceError
from curation.recipe import Keep

TABLE = Path(__file__).resolve().parents[2] / "shared" / "data" / "tables" / "fineweb2" / "configs"
needs_table = pytest.mark.skipif(
    not TABLE.is_dir(), reason="the real data (../shared/data) is not on this machine"
)


def bounds(rules: list[Keep]) -> list[str]:
    """Return the rules as people read them."""
    return [str(rule).removeprefix("keep ") for rule in rules]


def test_gophers_bounds_are_those_of_the_paper() -> None:
    """Whoever cites Gopher would be citing other numbers."""
    assert bounds(gopher_quality_rules()) == [
        "nonsymbol_word_count >= 50",
        "nonsymbol_word_count <= 100000",
        "mean_word_chars >= 3",
        "mean_word_chars <= 10",
        "hash_word_ratio <= 0.1",
        "ellipsis_word_ratio <= 0.1",
        "bullet_line_frac <= 0.9",
        "ellipsis_line_frac <= 0.3",
        "alpha_word_frac >= 0.8",
        "stop_word_count >= 2",
    ]
    assert bounds(gopher_repetition_rules()) == [
        "dup_para_frac <= 0.3",
        "dup_para_char_frac <= 0.2",
        "dup_line_frac <= 0.3",
        "dup_line_char_frac <= 0.2",
        "top_2gram_char_frac <= 0.2",
        "top_3gram_char_frac <= 0.18",
        "top_4gram_char_frac <= 0.16",
        "dup_5gram_char_frac <= 0.15",
        "dup_6gram_char_frac <= 0.14",
        "dup_7gram_char_frac <= 0.13",
        "dup_8gram_char_frac <= 0.12",
        "dup_9gram_char_frac <= 0.11",
        "dup_10gram_char_frac <= 0.1",
    ]
    assert bounds(gopher_rules()) == [
        *bounds(gopher_repetition_rules()),
        *bounds(gopher_quality_rules()),
    ]


def test_the_bounds_of_fineweb_c4_and_dsir_are_those_of_their_papers() -> None:
    """Whoever reproduces FineWeb would get another corpus."""
    assert bounds(fineweb_rules()) == [
        "terminal_line_frac >= 0.12",
        "short_line_frac <= 0.67",
        "fineweb_dup_char_frac <= 0.01",
        "newline_word_ratio <= 0.3",
    ]
    assert bounds(c4_rules()) == [
        "c4_lorem_line_count == 0",
        "c4_curly_line_count == 0",
        "c4_sentence_count >= 5",
    ]
    assert bounds(c4_rules(blocked_words=True))[3:] == ["blocked_word_count == 0"]
    assert len(dsir_rules()) == 4
    assert bounds(language_rules()) == ['language == "en"', "language_prob >= 0.65"]


@pytest.mark.parametrize(
    ("column", "value", "stays"),
    [
        ("dup_line_frac", 0.3, True),
        ("dup_line_frac", 0.30001, False),
        ("top_2gram_char_frac", 0.2, True),
        ("hash_word_ratio", 0.1, True),
        ("terminal_line_frac", 0.12, True),
        ("terminal_line_frac", 0.1199, False),
        ("fineweb_dup_char_frac", 0.01, True),
        ("alpha_word_frac", 0.8, True),
    ],
)
def test_a_share_on_the_bound_stays_though_columns_are_float32(
    column: str, value: float, stays: bool
) -> None:
    """0.3 in 32 bits is above 0.3: documents on a bound would go, where datatrove's stay."""
    [rule] = [r for r in [*gopher_rules(), *fineweb_rules()] if r.reads == (column,)]
    frame = pl.DataFrame({column: pl.Series([value], dtype=pl.Float32)})
    assert frame.select(rule.rule).item() is stays


def test_every_rule_reads_registered_columns_and_says_why() -> None:
    """A preset would fail in the recipe of whoever uses it."""
    rules = [*gopher_rules(), *c4_rules(blocked_words=True), *fineweb_rules(), *dsir_rules()]
    for rule in [*rules, *language_rules(), *page_rules()]:
        assert set(rule.reads) <= set(COLUMNS)
        assert rule.because
    reasons = [rule.because for rule in rules]
    assert len(set(reasons)) == len(reasons)


@needs_table
def test_the_published_tables_of_fineweb2_load_as_they_are() -> None:
    """Whoever curates another language than English would have to write the numbers down again."""
    names = sorted(path.stem for path in TABLE.glob("*.yml"))
    assert len(names) == 15
    for name in names:
        found = thresholds(name, str(TABLE))
        assert found.stop_words
        assert found.stop_words != Thresholds().stop_words
        assert len(gopher_rules(name, str(TABLE))) == 20
        assert len(fineweb_rules(name, str(TABLE))) == 3
    french = thresholds("fra_Latn", str(TABLE))
    assert french.language_prob == 0.824
    assert french.max_dup_line_frac == 0.264
    assert french.max_top_ngram_char_frac == ((2, 0.161), (3, 0.149), (4, 0.134))
    assert french.max_dup_ngram_char_frac[0] == (5, 0.15)
    assert (french.min_mean_word_chars, french.max_mean_word_chars) == (2, 11)
    assert french.min_alpha_word_frac == 0.812
    assert french.max_newline_word_ratio == 0.185
    assert french.max_dup_char_frac == 0.1


def test_a_language_without_a_table_is_told_which_there_are(tmp_path: Path) -> None:
    """A mistyped name would silently be judged by English thresholds."""
    (tmp_path / "fra_Latn.yml").write_text("line_punct_thr: 0.1\n")
    with pytest.raises(ResourceError, match="did you mean 'fra_Latn'"):
        fineweb_rules("fra_Lat", str(tmp_path))
    with pytest.raises(ResourceError, match="fra_Latn"):
        gopher_rules("fra_Latn")


@pytest.mark.parametrize(
    "text",
    [
        "line_punct: 0.1",
        "line_punct_thr: high",
        "stopwords: [1, 2]",
        "top_n_grams: [[2, 0.1, 3]]",
        "dup_n_grams: [[1, 0.1]]",
        "- 1",
        "{",
        "",
        "line_punct_thr: true",
        "line_punct_thr: .nan",
        "max_avg_word_length: .inf",
        "max_avg_word_length: -1",
        "dup_line_frac: 30",
        "dup_n_grams: [[5, true]]",
        "dup_n_grams: [[5, 1.5]]",
        "dup_n_grams: [[5, .1], [5, .2]]",
        "[" * 5000,
    ],
)
def test_a_broken_table_is_an_error_that_names_the_file(tmp_path: Path, text: str) -> None:
    """A key that is spelt wrong would leave the English bound in force, and nobody would know."""
    (tmp_path / "xxx_Latn.yml").write_text(text)
    with pytest.raises(RecipeError, match="xxx_Latn"):
        thresholds("xxx_Latn", str(tmp_path))


@pytest.mark.parametrize(("language", "table"), [("fra_Latn", None), (None, "")])
def test_what_names_no_language_or_folder_is_an_error(language: object, table: object) -> None:
    """A TypeError from inside says nothing of the recipe."""
    with pytest.raises(RecipeError, match="folder"):
        thresholds(language, table)  # type: ignore[arg-type]
