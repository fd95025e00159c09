"""The shipped pipelines on real input: they run, their books balance, and the text is the text."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import polars as pl
import pytest
import zstandard

from curation import Build
from curation.audit import count_reasons
from curation.errors import RecipeError, ResourceError
from curation.recipe_file import load_recipe
from tests.conftest import write_jsonl
from tests.rewrite.writers import writing

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="the real data (../shared/data) is not on this machine"
)


def run(pipeline: str, store: Path, *flags: str, limit: int | None = None) -> Build:
    """Run a pipeline as the command does; its ledger and its parts must agree."""
    recipe = load_recipe(str(ROOT / "pipelines" / pipeline), flags)
    build = recipe.run(store=store, workers=2, limit=limit)
    ledger = build.ledger()
    assert ledger.balances
    counted = count_reasons(build)
    assert counted.get("", 0) == ledger.rows_out
    for reason, rows in ledger.dropped.items():
        assert counted[reason] == rows
    return build


@needs_data
def test_all_sixteen_warcio_files_are_read_without_a_crash(store):
    """Whoever has an old or broken crawl is hurt if it fails."""
    build = run("web.py", store, "--paths", str(DATA / "warc" / "warcio" / "*arc*"))
    files = {span.name for shard in build.shards for span in shard.spans}
    assert len(files) == 16
    seen = {row_id.partition("#")[0] for row_id in ids(build)}
    assert seen == files


def ids(build: Build) -> list[str]:
    """Return the ids of all rows, kept or not."""
    frames = [build.documents(columns=["id"]), build.dropped().select("id")]
    return pl.concat(frames).collect()["id"].to_list()


@needs_data
def test_a_crawl_in_three_compressions_is_the_same_pages_once(store):
    """Whoever trusts deduplication across dumps is hurt if it fails."""
    build = run("web.py", store, "--paths", str(DATA / "warc" / "resiliparse" / "*"))
    assert build.ledger().rows_in == 3 * 16
    assert build.ledger().rows_out <= 16
    assert build.reasons()["exact duplicate"] >= 2 * build.ledger().rows_out


@needs_data
def test_a_wet_file_and_its_warc_give_the_text_of_one_page(store):
    """Whoever reads WET instead of WARC is hurt if it fails."""
    build = run("web.py", store, "--paths", str(DATA / "warc" / "whirlwind" / "*.w*t.gz"))
    assert build.ledger().rows_out >= 1
    text = build.documents(columns=["text"]).collect()["text"][0]
    assert len(text.split()) > 50


@needs_data
@pytest.mark.parametrize("extractor", ["resiliparse", "trafilatura-fast"])
def test_a_folder_of_pages_becomes_text_that_people_marked_as_main_content(store, extractor):
    """Whoever curates saved pages is hurt if it fails."""
    folder = DATA / "html" / "scrapinghub" / "html"
    build = run("web.py", store, "--paths", str(folder), "--extractor", extractor, limit=40)
    assert build.ledger().rows_in == 40
    gold = json.loads((folder.parent / "ground-truth.json").read_text())
    rows = build.documents(columns=["id", "text"]).collect()
    shares = []
    for row_id, text in rows.iter_rows():
        body = gold[row_id.partition(".")[0]]["articleBody"]
        wanted, found = set(re.findall(r"\w+", body.lower())), set(re.findall(r"\w+", text.lower()))
        shares.append(len(wanted & found) / max(1, len(wanted)))
    assert len(shares) > 30
    assert sum(shares) / len(shares) > 0.95


@needs_data
def test_pdf_and_markdown_of_one_book_go_side_by_side(store):
    """Whoever mixes formats in one folder is hurt if it fails."""
    folder = DATA / "pdf"
    build = run("documents.py", store, "--pdf", str(folder), "--text", str(folder / "**/*.md"))
    assert build.ledger().rows_in == 3 + 66
    rows = build.documents(columns=["id", "text", "page_count"]).collect()
    pdfs = rows.filter(pl.col("page_count").is_not_null())
    assert pdfs["id"].to_list() == [
        f"asvs-4.0.3-{language}.pdf#0" for language in ("de", "en", "fr")
    ]
    assert all("V2.1.1" in re.sub(r"(\d\.\d\.\d)", r"V\1", text) for text in pdfs["text"])
    assert build.why("asvs-4.0.3-en.pdf#0").kept


def test_documents_without_an_input_says_what_to_give(store):
    """A newcomer who leaves the flags out is hurt if it fails."""
    with pytest.raises(Exception, match="--pdf"):
        run("documents.py", store)


def test_the_quickstart_curates_the_documentation_of_what_is_installed(store):
    """Everybody's first contact with the project is hurt if it fails."""
    build = run("quickstart.py", store, limit=12_000)
    ledger = build.ledger()
    assert ledger.rows_in == 12_000
    assert 0 < ledger.rows_out < ledger.rows_in
    assert {"too short", "not scientific computing"} <= set(build.reasons())
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert build.documents(columns=["text"]).head(1).collect().height == 1, python


@needs_data
def test_fineweb_runs_end_to_end_on_pages_and_says_why_each_went(store):
    """The recipe that people will start from is hurt if it fails."""
    pages = DATA / "html" / "trafilatura" / "html" / "a*.gz"
    build = run("fineweb.py", store, "--paths", str(pages))
    reasons = build.reasons()
    assert reasons["another language"] > build.ledger().rows_in // 3
    assert any(reason.startswith("gopher: ") for reason in reasons)
    kept = build.documents(columns=["id", "text"]).collect()
    assert 0 < kept.height < build.ledger().rows_in
    assert not kept["text"].str.contains(r"[a-z]+@[a-z]+\.(?:com|org|de)\b").any()


@needs_data
def test_fineweb_for_french_reads_fineweb2s_table(store):
    """Whoever curates another language is hurt if it fails."""
    pages = DATA / "html" / "trafilatura" / "html" / "*.fr*.gz"
    table = DATA / "tables" / "fineweb2" / "configs"
    flags = ["--language", "fra_Latn", "--code", "fr", "--table", str(table)]
    build = run("fineweb.py", store, "--paths", str(pages), *flags)
    titles = build.funnel()["title"].to_list()
    assert "keep dup_line_frac <= 0.264" in titles
    assert not any("c4" in title for title in titles)


def test_fineweb_for_thai_wants_a_dictionary():
    """Single characters meet no published threshold: every document would go, without a word."""
    table = DATA / "tables" / "fineweb2" / "configs"
    flags = ["--paths", "x.html", "--language", "tha_Thai", "--code", "th", "--table", str(table)]
    with pytest.raises(RecipeError, match="--dictionary"):
        load_recipe(str(ROOT / "pipelines" / "fineweb.py"), flags)


def test_fineweb_takes_a_folder_of_lists_of_addresses(tmp_path, store):
    """Blocked sites would come through, though the list was named."""
    (tmp_path / "domains").write_text("bad.example\n")
    (tmp_path / "banned_words.txt").write_text("casino\n")
    (tmp_path / "page.html").write_text("<p>hello</p>")
    flags = ["--paths", str(tmp_path / "*.html"), "--url-lists", str(tmp_path)]
    recipe = load_recipe(str(ROOT / "pipelines" / "fineweb.py"), flags)
    rules = next(step for step in recipe.steps if type(step).__name__ == "UrlRules")
    assert rules.domains.endswith("domains")
    assert rules.banned_words.endswith("banned_words.txt")
    assert rules.soft_words == ""
    with pytest.raises(ResourceError, match="no list of addresses"):
        load_recipe(str(ROOT / "pipelines" / "fineweb.py"), [*flags[:3], "nowhere"])


def test_fineweb_wants_the_models_name_of_another_language():
    """Every document would go as 'another language', and the run would say nothing."""
    flags = ["--paths", "x.html", "--language", "fra_Latn"]
    with pytest.raises(RecipeError, match="--code fr"):
        load_recipe(str(ROOT / "pipelines" / "fineweb.py"), flags)


PAGE = "<html><body><main>{}</main></body></html>"
#: A page of enough words, in which an evaluation item can be planted.
STORY = " ".join(
    f"<p>In the {n}th year the council of the town met again and wrote {n * n} letters to the "
    "province about roads, bridges and the price of corn.</p>"
    for n in range(9)
)


def write_pages(folder: Path, *bodies: str) -> str:
    folder.mkdir()
    for number, body in enumerate(bodies):
        (folder / f"{number}.html").write_text(PAGE.format(body))
    return str(folder / "*.html")


def test_pages_that_hold_an_evaluation_item_go(tmp_path, store):
    """A model trained on its own examination is praised for nothing."""
    (tmp_path / "quiz.jsonl").write_text(
        '{"id": "q7", "question": "Which river did the surveyors of the second expedition follow '
        'from the northern pass down to the salt lake?", "answer": "the Arun"}\n'
    )
    leak = "Which river did the surveyors of the second expedition follow, from the Northern Pass "
    paths = write_pages(
        tmp_path / "in", STORY, f"<p>{leak}down to the salt lake? The Arun.</p>{STORY}"
    )
    build = run("web.py", store, "--paths", paths, "--evals", str(tmp_path / "quiz.jsonl"))
    gone = build.dropped(because="holds an evaluation item").collect()
    assert gone["contaminated_by"].to_list() == ["quiz#q7"]
    assert gone["id"].to_list() == ["1.html#0"]


def test_pages_that_an_earlier_build_kept_are_not_kept_again(tmp_path, store):
    """Every crawl holds most of the pages of the one before."""
    first = run("web.py", store, "--paths", write_pages(tmp_path / "may", STORY))
    first.write_index()
    paths = write_pages(
        tmp_path / "june", STORY.replace("corn", "wool", 1), STORY[: len(STORY) // 2]
    )
    build = run("web.py", tmp_path / "second", "--paths", paths, "--against", str(store))
    rows = build.dropped(because="near duplicate").collect()
    assert rows["duplicate_in"].to_list() == [first.fingerprint]
    assert build.ledger().rows_out == 1


MEDICINE, NEWS = DATA / "domains" / "medicine.jsonl.zst", DATA / "text" / "wikinews.jsonl.zst"


@needs_data
def test_medical_text_becomes_reading_comprehension_with_words_of_its_own(store):
    """Whoever reads the documents back, or looks for the domain's words, is hurt if it fails."""
    flags = ("--domain", str(MEDICINE), "--general", str(NEWS))
    build = run("reading_comprehension.py", store, *flags, limit=400)
    assert build.ledger().rows_out > 350
    words = build.notes()["DomainKeywords"]["first"]
    assert {"chemotherapy", "lymphoblastic"} & set(words)
    rows = build.documents(columns=["text", "parent_id", "word_task_count", "task_count"]).collect()
    assert rows["parent_id"].n_unique() == len(rows)
    assert rows["word_task_count"].sum() > 50
    assert rows["task_count"].sum() > len(rows)


@needs_data
@pytest.mark.parametrize(("unit", "ratio"), [("text_bytes", 0.5), ("documents", 2.0)])
def test_instructions_stand_beside_medical_text_at_the_ratio_asked_for(
    store, tmp_path, unit, ratio
):
    """Whoever trains on what was said to be 1:1 is hurt if it fails."""
    dialogues = [
        {"instruction": f"Name {n} fruits.", "input": "", "output": "An apple. " * (n % 50 + 1)}
        for n in range(4000)
    ]
    given = write_jsonl(tmp_path / "general.jsonl", [*dialogues, {"instruction": "No answer."}])
    with zstandard.open(MEDICINE, "rt") as lines:
        domain = write_jsonl(tmp_path / "domain.jsonl", [next(lines).strip() for _ in range(300)])
    flags = ("--domain", str(domain), "--instructions", str(given), "--min-words", "60")
    build = run("reading_comprehension.py", store, *flags, "--ratio", str(ratio), "--unit", unit)
    rows = build.documents(columns=["text", "rewriter", "is_dialogue", "text_bytes"]).collect()
    parts = {kind: part for (kind,), part in rows.group_by("is_dialogue")}
    assert parts[True]["rewriter"].null_count() == len(parts[True])
    assert parts[False]["rewriter"].null_count() == 0
    measured = {
        "text_bytes": parts[True]["text_bytes"].sum() / parts[False]["text_bytes"].sum(),
        "documents": len(parts[True]) / len(parts[False]),
    }
    assert ratio * 0.98 < measured[unit] <= ratio
    assert build.ledger().errors == 1


@needs_data
@pytest.mark.parametrize("beside", [False, True])
def test_a_model_writes_reading_comprehension_and_what_is_unfaithful_goes(store, tmp_path, beside):
    """Whoever pays for a model's tasks is hurt if invented ones stay, or dialogues go with them."""
    with writing() as desk:
        flags = ("--domain", str(MEDICINE), "--method", "llm", "--model", "stand-in")
        more = ("--base-url", desk.url, "--prompts", "qa", "--language", "")
        rows = [{"question": "Who?", "answer": "Nobody."}]
        given = ("--instructions", str(write_jsonl(tmp_path / "general.jsonl", rows)))
        build = run(
            "reading_comprehension.py", store, *flags, *more, *(given if beside else ()), limit=20
        )
        assert desk.bodies
    rows = build.documents().collect()
    written = rows.filter(pl.col("rewriter").is_not_null())
    assert len(written) >= 10
    assert set(written["prompt_id"]) == {"qa@1"}
    assert written["is_faithful"].all()
    assert len(rows) - len(written) == beside


def test_a_model_that_is_not_named_is_asked_for(store):
    """Whoever forgets the server would wait for the first request to find out."""
    with pytest.raises(RecipeError, match="none is named"):
        run("reading_comprehension.py", store, "--domain", "x.jsonl", "--method", "llm")
    words = ("--general", "news.jsonl", "--keywords", "words.txt")
    with pytest.raises(RecipeError, match="or read from a list"):
        run("reading_comprehension.py", store, "--domain", "x.jsonl", *words)
