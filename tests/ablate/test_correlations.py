from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.ablate.correlations import (
    CorrelationTables,
    correlation_tables,
    read_correlation_tables,
)
from curation.errors import RecipeError, ResourceError
from curation.evaluate.measures import Evaluation, Measure
from tests.conftest import ROOT

TABLES = ROOT.parent / "shared" / "data" / "tables" / "perplexity-correlations"
BITS = Measure(name="web/bits_per_byte", unit="bits per byte", better="lower")
SKILL = Measure(name="exam/accuracy", unit="accuracy", chance=0.25)


def evaluation(
    losses: dict[str, list[tuple[float, float]]], accuracy: list[float], *, text: str = "web"
) -> Evaluation:
    """An evaluation of domain → (bits, bytes) of its documents, and answers right or wrong."""
    name = f"{text}/bits_per_byte"
    rows = [
        (name, f"{source} {at}", source, bits, size)
        for source, documents in losses.items()
        for at, (bits, size) in enumerate(documents)
    ]
    rows += [(SKILL.name, str(at), "", right, 1.0) for at, right in enumerate(accuracy)]
    frame = pl.DataFrame(
        rows, schema=["measure", "item", "source", "value", "weight"], orient="row"
    )
    bits = Measure(name=name, unit="bits per byte", better="lower")
    measures = {name: bits, **({SKILL.name: SKILL} if accuracy else {})}
    return Evaluation(measures, frame, {}, {})


ONE = evaluation({"a.org": [(8.0, 4.0), (2.0, 6.0)], "b.com": [(9.0, 3.0)]}, [1, 0, 1, 1])
TWO = evaluation({"a.org": [(6.0, 4.0), (2.0, 6.0)], "b.com": [(6.0, 3.0)]}, [1, 1, 1, 1])


def test_a_domain_has_its_bits_over_its_bytes_and_a_benchmark_its_error() -> None:
    """Positive correlation would mean that a domain harms: the error must be lower when better."""
    tables = correlation_tables({"small": ONE, "large": TWO})
    assert tables.models == ["small", "large"]
    assert tables.losses.rows() == [("a.org", 1.0, 0.8), ("b.com", 3.0, 2.0)]
    assert tables.errors.rows() == [("exam/accuracy", 0.25, 0.0)]
    named = correlation_tables({"s": ONE, "l": TWO}, benchmarks=["web/bits_per_byte"])
    assert named.errors.rows()[0][0] == "web/bits_per_byte"
    assert named.errors.rows()[0][1] == pytest.approx(19 / 13)


def test_two_sets_of_text_keep_their_domains_apart() -> None:
    """Losses on two texts of one site would stand in one row."""

    def both(first: float, second: float) -> Evaluation:
        news = evaluation({"a.org": [(first, 1.0)], "": [(5.0, 1.0)]}, [1, 0])
        sources = {"a.org": [(second, 1.0)], "c.net": [(4.0, 1.0)], "web": [(7.0, 1.0)]}
        books = evaluation(sources, [], text="books")
        return Evaluation(
            {**news.measures, **books.measures}, pl.concat([news.items, books.items]), {}, {}
        )

    tables = correlation_tables({"x": both(1, 2), "y": both(2, 3)})
    losses = {row[0]: row[1:] for row in tables.losses.rows()}
    assert losses == {
        "web/a.org": (1.0, 2.0),
        "books/a.org": (2.0, 3.0),
        "web": (5.0, 5.0),
        "c.net": (4.0, 4.0),
        "books/web": (7.0, 7.0),
    }


@settings(max_examples=30, deadline=None)
@given(
    values=st.lists(st.floats(1e-12, 1e12), min_size=4, max_size=4),
    models=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1),
        min_size=2,
        max_size=2,
        unique=True,
    ),
    domain=st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1),
)
def test_tables_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, values: list[float], models: list[str], domain: str
) -> None:
    """Ranks would change in the last digit, or a name with a comma move every column."""
    if {"id", "benchmark"} & set(models):
        return
    folder = tmp_path_factory.mktemp("tables")
    losses = pl.DataFrame({"id": [domain], models[0]: values[:1], models[1]: values[1:2]})
    errors = pl.DataFrame({"benchmark": [domain], models[0]: values[2:3], models[1]: [None]})
    errors = errors.cast({models[1]: pl.Float64})
    CorrelationTables(losses, errors).write(folder)
    again = read_correlation_tables(folder / "bpb.csv", folder / "error.csv")
    assert again.losses.equals(losses)
    assert again.errors.equals(errors)
    assert sorted(path.name for path in folder.iterdir()) == ["bpb.csv", "error.csv"]


@pytest.mark.skipif(not TABLES.is_dir(), reason="the published tables are not here")
def test_the_published_tables_are_of_this_form(tmp_path: Path) -> None:
    """What we write could not be given to the published package, nor its tables to us."""
    tables = read_correlation_tables(
        TABLES / "chunked_synthetic_sample_bpb_id.csv", TABLES / "error.csv"
    )
    assert tables.losses.shape == (263, 91)
    assert tables.errors.shape == (9, 91)
    assert set(tables.models) == set(tables.errors.columns[1:])
    assert tables.losses.drop("id").null_count().sum_horizontal().item() == 0
    tables.write(tmp_path)
    again = read_correlation_tables(tmp_path / "bpb.csv", tmp_path / "error.csv")
    assert again.losses.equals(tables.losses)
    assert again.errors.equals(tables.errors)


def test_models_measured_on_different_texts_are_refused() -> None:
    """A model's rank would be that of the texts it happened to be measured on."""
    other = evaluation({"a.org": [(6.0, 4.0)], "c.com": [(6.0, 3.0)]}, [1, 1])
    with pytest.raises(RecipeError, match="same texts") as error:
        correlation_tables({"small": ONE, "large": other})
    assert "b.com, c.com" in str(error.value)


def test_tables_without_models_losses_or_benchmarks_are_refused() -> None:
    """An estimator would be given an empty table, and answer."""
    bare = evaluation({"a.org": [(6.0, 4.0)]}, [])
    with pytest.raises(RecipeError, match="two models"):
        correlation_tables({"small": ONE})
    with pytest.raises(RecipeError, match="on a benchmark"):
        correlation_tables({"small": bare, "large": bare})
    with pytest.raises(RecipeError, match="none of the benchmarks"):
        correlation_tables({"small": ONE, "large": TWO}, benchmarks=["exam/acuracy"])
    with pytest.raises(RecipeError, match="was not measured"):
        correlation_tables({"small": ONE, "large": TWO}, losses="nats")
    with pytest.raises(RecipeError, match="cannot be called"):
        correlation_tables({"id": ONE, "large": TWO})


def test_a_file_of_another_form_is_refused(tmp_path: Path) -> None:
    """The first model would be taken for the names of the domains."""
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text("id,m\na,1.5\n")
    with pytest.raises(ResourceError, match="is missing"):
        read_correlation_tables(good, tmp_path / "absent.csv")
    bad.write_text("model,m\na,1.5\n")
    with pytest.raises(ResourceError, match="first column is 'benchmark'"):
        read_correlation_tables(good, bad)
    bad.write_text("benchmark,m\na\n")
    with pytest.raises(ResourceError, match="no table"):
        read_correlation_tables(good, bad)
    bad.write_text("")
    with pytest.raises(ResourceError, match="no table"):
        read_correlation_tables(good, bad)
    bad.write_text("benchmark,m\na,much\n")
    with pytest.raises(ResourceError, match="no number"):
        read_correlation_tables(good, bad)
