from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from curation import DomainEstimate, Jsonl, Recipe, label_pages
from curation.ablate.correlations import read_correlation_tables
from curation.errors import RecipeError, ResourceError
from curation.score.domains import (
    CorrelationSettings,
    correlated_domains,
    counted,
    measured_models,
    read_domain_table,
    read_token_counts,
)
from curation.score.heldout import leave_one_out
from curation.testing import check_stage
from tests.conftest import ROOT, curation, write_jsonl

TABLES = ROOT.parent / "shared" / "data" / "tables" / "perplexity-correlations"
MODELS = [f"m{n}" for n in range(6)]
ERRORS = [0.9, 0.7, 0.6, 0.4, 0.3, 0.1]


def losses(**domains: list[float | None]) -> pl.DataFrame:
    columns = {m: [row[n] for row in domains.values()] for n, m in enumerate(MODELS)}
    return pl.DataFrame({"id": list(domains), **columns})


def errors(**benchmarks: list[float | None]) -> pl.DataFrame:
    columns = {m: [row[n] for row in benchmarks.values()] for n, m in enumerate(MODELS)}
    return pl.DataFrame({"benchmark": list(benchmarks), **columns})


def with_error(rising: bool) -> list[float | None]:
    return [1 + (e if rising else 1 - e) for e in ERRORS]


LOSSES = losses(
    good=with_error(True), bad=with_error(False), flat=[1.0] * 6, gap=[1, 2, 3, 4, 5, None]
)
ALL = errors(exam=ERRORS, quiz=[*ERRORS[:5], None], same=[0.5] * 6)


def chosen(keep: float = 0.5, **settings: Any) -> pl.DataFrame:
    measured = measured_models(LOSSES, ALL, ["exam"])
    return correlated_domains(measured, CorrelationSettings(keep=keep, **settings)).table


def test_a_domain_that_is_easy_for_good_models_is_included() -> None:
    """The sign turned round would train on what goes with failure."""
    table = chosen()
    assert table["domain"].to_list() == ["good", "flat", "bad"]
    assert table["estimate"].to_list() == pytest.approx([1, 0, -1])
    assert table["weight"].to_list() == pytest.approx([2 / 3, 1 / 3, 0])
    assert table["label"].to_list() == ["include", "include", "exclude"]
    assert table["cap"].to_list() == pytest.approx([2 / 3] * 3)
    for projection in ("linear", "l2"):
        for ties in ("average", "ordinal"):
            table = chosen(keep=1 / 3, projection=projection, ties=ties)
            assert table["domain"][0] == "good"
            assert table["weight"].sum() == pytest.approx(1, abs=1e-6)


def test_models_and_domains_with_gaps_are_left_out_and_counted() -> None:
    """One model that failed on one benchmark would void every domain."""
    measured = measured_models(LOSSES, ALL, ["exam"])
    assert measured.domains == ("good", "bad", "flat")
    assert (measured.left_out_domains, measured.left_out_models) == (1, 0)
    measured = measured_models(LOSSES, ALL, ["exam", "quiz"])
    assert measured.models == tuple(MODELS[:5])
    assert measured.domains == ("good", "bad", "flat", "gap")
    assert (measured.left_out_domains, measured.left_out_models) == (0, 1)
    turned = ALL.select("benchmark", *reversed(MODELS))
    assert measured_models(LOSSES, turned, ["exam"]).error_N.tolist() == ERRORS


def test_the_mean_error_of_several_benchmarks_counts() -> None:
    """A group of benchmarks would be chosen for by its first."""
    table = errors(one=ERRORS, two=[1, 0, 1, 0, 1, 0])
    measured = measured_models(LOSSES, table, ["one", "two"])
    assert measured.error_N == pytest.approx([(e + 1 - n % 2) / 2 for n, e in enumerate(ERRORS)])


def test_what_cannot_be_correlated_is_refused() -> None:
    """Labels would come out all the same, of nothing."""
    with pytest.raises(RecipeError, match="no benchmark 'exem'") as error:
        measured_models(LOSSES, ALL, ["exem"])
    assert "did you mean 'exam'?" in str(error.value)
    with pytest.raises(RecipeError, match="name a benchmark"):
        measured_models(LOSSES, ALL, [])
    with pytest.raises(RecipeError, match="the same error on same"):
        measured_models(LOSSES, ALL, ["same"])
    with pytest.raises(RecipeError, match="fewer than two models"):
        measured_models(LOSSES, ALL.select("benchmark", "m0"), ["exam"])
    with pytest.raises(RecipeError, match="no domain that every model"):
        measured_models(losses(gap=[None, *[1.0] * 5]), ALL, ["exam"])
    for settings in ({"estimator": "x"}, {"projection": "x"}, {"ties": "x"}, {"keep": 0}):
        with pytest.raises(RecipeError):
            CorrelationSettings(**settings)  # type: ignore[arg-type]


def test_the_order_of_domains_does_not_show_in_labels() -> None:
    """Where many domains tie, which of them are trained on would be that of the file."""
    rng = np.random.default_rng(0)
    rows = {f"d{n}": list(rng.permutation(6) + 0.5) for n in range(200)}
    names = list(rows)
    rng.shuffle(names)
    found = [
        correlated_domains(measured_models(table, ALL, ["exam"]), CorrelationSettings())
        for table in (losses(**rows), losses(**{name: rows[name] for name in names}))
    ]
    assert sorted(found[0].included()) == sorted(found[1].included())
    assert len(found[0].included()) == 20


def test_tokens_bound_how_much_of_a_domain_is_taken(tmp_path: Path) -> None:
    """The best domain, of a hundred words, would be all that is trained on."""
    path = tmp_path / "counts.csv"
    path.write_text("domain,tokens\ngood,10\nbad,80\nother,5\n")
    measured = measured_models(LOSSES, ALL, ["exam"])
    tokens = read_token_counts(path)
    some, counts = counted(measured, tokens)
    assert (some.domains, counts, some.left_out_domains) == (("good", "bad"), [10, 80], 2)
    table = correlated_domains(measured, CorrelationSettings(keep=0.5), tokens).table
    assert table["weight"].to_list() == pytest.approx([20 / 90, 70 / 90])
    with pytest.raises(RecipeError, match="no domain has a number of tokens"):
        counted(measured, {"x": 1})
    for content, what in (("a,b\n1,2\n", "columns domain and"), ("id,tokens\na,x\n", "no whole")):
        path.write_text(content)
        with pytest.raises(ResourceError, match=what):
            read_token_counts(path)
    with pytest.raises(ResourceError, match="no file of token counts"):
        read_token_counts(tmp_path / "none.csv")


# ---------------------------------------------------------------- tables and pages


@pytest.fixture(params=["labels.csv", "labels.parquet"])
def labels(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    measured = measured_models(LOSSES, ALL, ["exam"])
    table = correlated_domains(measured, CorrelationSettings(keep=1 / 3))
    table.write(tmp_path / request.param)
    return tmp_path / request.param


def test_a_table_comes_back_as_it_was_written(labels: Path) -> None:
    """Estimates rounded on the way would rank domains otherwise."""
    wanted = chosen(keep=1 / 3)
    assert read_domain_table(labels).equals(wanted.select("domain", "estimate", "weight", "label"))
    assert [path.name for path in labels.parent.iterdir()] == [labels.name]


def test_pages_get_the_estimate_of_their_domain(labels: Path) -> None:
    """Every page would be scored as another site's."""
    stage = DomainEstimate(table=str(labels))
    batch = pa.record_batch({"url_domain": pa.array(["bad", None, "unknown", "good"])})
    assert stage.annotate(batch)["correlation_score"].to_pylist() == [-1, None, None, 1]
    check_stage(stage)
    check_stage(DomainEstimate(table=str(labels), key="source"))
    assert stage.model_files() == (str(labels),)


def test_a_table_of_another_form_is_refused(tmp_path: Path) -> None:
    """A run would end in its first batch, or score nothing."""
    with pytest.raises(ResourceError, match="no table of domains") as error:
        DomainEstimate(table=str(tmp_path / "none.csv"))
    assert "curation correlate" in str(error.value)
    path = tmp_path / "bad.csv"
    path.write_text("domain,label\na,include\n")
    with pytest.raises(ResourceError, match="has the columns"):
        DomainEstimate(table=str(path))
    path.write_text("domain,estimate,weight,label\na,1,1,include\na,0,0,exclude\n")
    with pytest.raises(ResourceError, match="stands twice"):
        DomainEstimate(table=str(path))


def pages(count: int = 40) -> pl.DataFrame:
    sites = ["good", "bad", "elsewhere", None]
    return pl.DataFrame(
        {
            "id": [f"p{n}" for n in range(count)],
            "source": [sites[n % 4] for n in range(count)],
            "text": [None if n == 0 else "" if n == 1 else f'page "{n}"\n' for n in range(count)],
        }
    )


def test_pages_are_labelled_by_their_domain(labels: Path, tmp_path: Path) -> None:
    """A classifier would learn from pages of unknown domains, or from empty ones."""
    out = tmp_path / "pages.jsonl"
    found = label_pages(pages(), read_domain_table(labels), out, key="source")
    assert found == {"exclude": 9, "include": 9}
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert rows[0] == {"text": 'page "4"\n', "label": "include"}
    assert rows[1] == {"text": 'page "5"\n', "label": "exclude"}
    assert len(rows) == 18
    with pytest.raises(RecipeError, match="no page is of a domain"):
        label_pages(pages(), read_domain_table(labels), out, key="id")


def test_the_pages_of_each_label_can_be_limited(labels: Path, tmp_path: Path) -> None:
    """Nine tenths are excluded; a classifier that sees them all learns to say no."""
    table, written = read_domain_table(labels), []
    for n, frame in enumerate((pages(), pages().reverse())):
        out = tmp_path / f"{n}.jsonl"
        assert label_pages(frame.lazy(), table, out, key="source", most=4) == {
            "exclude": 4,
            "include": 4,
        }
        written.append(sorted(out.read_text().splitlines()))
    assert written[0] == written[1]


def test_pages_of_a_build_are_labelled(labels: Path, tmp_path: Path) -> None:
    """The way from a crawl to a classifier would end before its first step."""
    rows = [{"text": "a page", "source": site} for site in ("good", "bad", "good", "none")]
    path = write_jsonl(tmp_path / "in.jsonl", rows)
    steps = [DomainEstimate(table=str(labels), key="source")]
    recipe = Recipe(source=Jsonl(str(path), source_field="source"), steps=steps)
    build = recipe.run(store=tmp_path / "store", workers=0)
    found = build.documents(columns=["correlation_score"]).collect()["correlation_score"]
    assert found.to_list() == [1, -1, 1, None]
    out = tmp_path / "pages.jsonl"
    assert label_pages(build, read_domain_table(labels), out, key="source") == {
        "exclude": 1,
        "include": 2,
    }


# ---------------------------------------------------------------- held-out models


def test_a_model_is_foretold_from_the_others() -> None:
    """An estimate that foretells nothing would be trusted all the same."""
    measured = measured_models(LOSSES, ALL, ["exam"])
    told = leave_one_out(measured, CorrelationSettings(keep=1 / 3))
    assert told.spearman == pytest.approx(1)
    assert told.table["model"].to_list() == MODELS
    assert told.table["foretold_rank"].to_list() == told.table["rank"].to_list()
    assert told.table["foretold_error"][2] == pytest.approx((0.7 + 0.4) / 2, abs=0.2)
    assert told.mean_error_gap < told.mean_error_spread


def test_the_error_of_a_model_that_is_foretold_is_not_used() -> None:
    """What foretells itself is always right."""
    measured = measured_models(LOSSES, ALL, ["exam"])
    first = leave_one_out(measured, CorrelationSettings())
    wrong = [0.0, *ERRORS[1:]]
    other = measured_models(LOSSES, errors(exam=wrong), ["exam"])
    second = leave_one_out(other, CorrelationSettings())
    assert first.table["foretold_error"][0] == second.table["foretold_error"][0]


@pytest.mark.skipif(not TABLES.is_dir(), reason="the published tables are not here")
def test_ninety_published_models_are_foretold() -> None:
    """The paper's claim, on the part of its tables that is published."""
    tables = read_correlation_tables(
        TABLES / "chunked_synthetic_sample_bpb_id.csv", TABLES / "error.csv"
    )
    for benchmark, least in (("arc_easy", 0.95), ("sciq", 0.9), ("lambada_openai_mt_de", 0.8)):
        measured = measured_models(tables.losses, tables.errors, [benchmark])
        assert leave_one_out(measured, CorrelationSettings()).spearman > least


# ---------------------------------------------------------------- the command


def write_tables(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    LOSSES.write_csv(folder / "bpb.csv")
    ALL.write_csv(folder / "error.csv")
    return folder


def test_the_command_shows_domains_and_writes_labels(tmp_path: Path) -> None:
    """Nobody would find out which domains were chosen, or how well founded that is."""
    folder = write_tables(tmp_path / "tables")
    words = ("correlate", folder, "--benchmark", "exam", "--keep", 0.34, "--out", "l.csv")
    shown = curation(*words, cwd=tmp_path).stdout
    assert "exam, error 0.1 to 0.9" in shown
    assert "3, 1 more have gaps and are left out" in shown
    assert "rank correlation 1.000" in shown
    assert read_domain_table(tmp_path / "l.csv")["domain"].to_list() == ["good", "flat", "bad"]
    shown = curation(
        "correlate", folder, "--benchmark", "exam,quiz", "--no-held-out", cwd=tmp_path
    ).stdout
    assert "1 more have gaps" in shown
    assert "held out" not in shown


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--benchmark", "exem"), "did you mean 'exam'?"),
        (("--benchmark", "exam", "--estimator", "spearman"), "did you mean 'spearmanr'?"),
        (("--benchmark", "exam", "--keep", "0"), "0.1 to keep a tenth"),
        (("--benchmark", "exam", "--out", "labels.txt"), "--out FILE.csv"),
        (("--benchmark", "exam", "--tokens", "none.csv"), "no file of token counts"),
    ],
)
def test_the_command_says_what_is_wrong(words: tuple[str, ...], what: str, tmp_path: Path) -> None:
    """A mistyped word would cost a look into the code."""
    folder = write_tables(tmp_path / "tables")
    done = curation("correlate", folder, *words, cwd=tmp_path, check=1)
    assert what in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_without_tables_is_refused(tmp_path: Path) -> None:
    """An empty table of domains would be written."""
    done = curation("correlate", tmp_path, "--benchmark", "exam", cwd=tmp_path, check=1)
    assert "bpb.csv and error.csv" in done.stderr
    folder = write_tables(tmp_path / "tables")
    (folder / "bpb.csv").unlink()
    done = curation("correlate", folder, "--benchmark", "exam", cwd=tmp_path, check=1)
    assert "call it bpb.csv" in done.stderr
