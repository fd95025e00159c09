from __future__ import annotations

import random
import warnings
from collections import Counter
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.dedup.contamination import report_rows
from curation.dedup.decontaminate import Decontaminate
from curation.dedup.evalitems import read_items
from curation.errors import RecipeError
from curation.evaluate.probe import Probe, ProbeSettings, make_probe, write_task
from curation.evaluate.tasks import TaskItem, read_task
from curation.evaluate.terms import (
    TermRules,
    kind_of,
)
from curation.evaluate.titles import (
    stems_of,
)
from tests.conftest import ROOT

MEDICINE = ROOT.parent / "shared" / "data" / "domains" / "medicine.jsonl.zst"
SETTINGS = ProbeSettings(most_term_frac=0.4, per_document=2, per_term=4)
RULES = TermRules(SETTINGS.kinds, 2, 0.4, 3.0, 8.0, 8)
SMALL = "abcdefghijklmnopqrstuvwxyz"


def word(draw: random.Random, size: int) -> str:
    return "".join(draw.choice(SMALL) for _ in range(size))


def corpus(topics: int = 12, each: int = 4, seed: int = 0) -> pl.DataFrame:
    """Documents of topics: those of one topic share words, an identifier and a name."""
    draw = random.Random(seed)
    plain = [word(draw, draw.randint(3, 4)) for _ in range(40)]
    rows = []
    for topic in range(topics):
        own = [word(draw, 8) for _ in range(6)]
        own += [word(draw, 7).capitalize() for _ in range(2)] + [f"T{draw.randint(1000, 9999)}"]
        subject = word(draw, 6)
        for number in range(each):
            sentences = []
            for _ in range(12):
                words = [draw.choice(plain) for _ in range(12)]
                for place in (6, 8, 10):
                    words[place] = draw.choice(own)
                sentences.append(f"{' '.join(words).capitalize()}.")
            title = f"{subject} {word(draw, 6)}".title()
            rows.append((f"d{topic}/{number}", f"s{topic % 2}", title, " ".join(sentences)))
    return pl.DataFrame(rows, schema=["id", "source", "title", "text"], orient="row")


CORPUS = corpus()


def probe_of(rows: pl.DataFrame = CORPUS, **given: object) -> Probe:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make_probe(rows, name="p", **{"settings": SETTINGS, "items": 30, **given})  # type: ignore[arg-type]


def training(*texts: str | None) -> list[list[pa.RecordBatch]]:
    column = pa.array(texts, pa.large_string())
    return [[pa.RecordBatch.from_arrays([column], names=["text"])]]


def right(item: TaskItem) -> str:
    return item.choices[item.answer]


def wrong(item: TaskItem) -> list[str]:
    return [text for n, text in enumerate(item.choices) if n != item.answer]


# ---------------------------------------------------------------- items


def test_every_item_keeps_its_promises() -> None:
    """A model would be credited for matching letters, or blamed for a choice that is right too."""
    titles, terms = probe_of().tasks
    rows = {row["id"]: row for row in CORPUS.iter_rows(named=True)}
    texts = "\n".join(CORPUS["text"])
    assert len(titles.items) == len(terms.items) == 30
    for item in titles.items:
        row = rows[item.id]
        assert item.context == f"{row['title']}:"
        assert right(item) in row["text"]
        assert item.source == row["source"]
        assert not any(stems_of(row["title"]) & stems_of(choice) for choice in item.choices)
        of = [[r for r in rows.values() if choice in r["text"]] for choice in item.choices]
        assert [len(found) for found in of] == [1] * 4
        assert len({found[0]["id"] for found in of}) == 4
        assert {found[0]["source"] for found in of} == {row["source"]}
        sizes = sorted(map(len, item.choices))
        assert min(sizes) >= 0.6 * max(sizes)
        assert SETTINGS.passage_chars / 3 <= sizes[0] <= sizes[-1] <= SETTINGS.passage_chars
    for item in terms.items:
        row = rows[item.id.rsplit(":", 2)[0]]
        title, shown = item.context.split("\n")
        assert title == row["title"]
        assert f"{shown} {right(item)}" in row["text"]
        assert right(item).lower() not in item.context.lower()
        assert {kind_of(choice) for choice in wrong(item)} <= {kind_of(right(item))}
        assert not any(choice in row["text"] for choice in wrong(item))
        assert len(set(item.choices)) == 4
        counts = [texts.count(choice) for choice in item.choices]
        assert max(counts) <= 4 * min(counts)


def test_answers_stand_in_each_place_equally_often() -> None:
    """A model that always says the first would be above or below chance."""
    for task in probe_of(items=30).tasks:
        places = Counter(item.answer for item in task.items)
        assert sorted(places.values()) == [7, 7, 8, 8]


def test_the_counts_account_for_every_document() -> None:
    """Nobody could tell whether a short probe is short of documents or of terms."""
    text = "Nothing here."
    odd = pl.DataFrame(
        [("n1", "s0", "A Null", None), ("n2", "s0", "Xylophone", text), ("n3", "s0", "", text)],
        schema=CORPUS.schema,
        orient="row",
    )
    rows = pl.concat([CORPUS, odd])
    probe = probe_of(rows, items=10, settings=ProbeSettings(most_term_frac=0.4, most_documents=49))
    for counts in probe.counts.values():
        assert sum(counts.values()) == len(rows)
        assert counts["no text"] == 1
        assert counts["beyond most_documents"] == 1
        assert counts["used"] == 10
        assert counts["not needed"] > 0
    probe = probe_of(rows, items=10)
    assert probe.counts["title_to_text"]["no title"] == 1
    assert probe.counts["title_to_text"]["no passage without words of its title"] == 1
    assert probe.counts["masked_term"]["no term"] == 2


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(len(CORPUS))), st.integers(0, 3))
def test_the_order_of_documents_changes_nothing(order: list[int], seed: int) -> None:
    """Two people with the same documents would measure with different questions."""
    assert probe_of(CORPUS[order], seed=seed) == probe_of(seed=seed)


def test_another_seed_makes_other_items() -> None:
    """Draws of a probe could not be told from one another, and its noise not be measured."""
    one, other = probe_of(seed=1, items=10), probe_of(seed=2, items=10)
    for a, b in zip(one.tasks, other.tasks, strict=True):
        assert {item.id for item in a.items} != {item.id for item in b.items}


def test_no_document_and_no_term_takes_over() -> None:
    """One long document or one frequent word would be what the probe measures."""
    (terms,) = probe_of(items=200, settings=ProbeSettings(
        tasks=("masked_term",), most_term_frac=0.4, per_document=3, per_term=2)).tasks  # fmt: skip
    documents = Counter(item.id.rsplit(":", 2)[0] for item in terms.items)
    assert max(documents.values()) <= 3
    assert max(Counter(map(right, terms.items)).values()) == 2
    sentences = Counter(item.id.rsplit(":", 1)[0] for item in terms.items)
    assert max(sentences.values()) == 1
    few = probe_of(items=30, settings=ProbeSettings(tasks=("masked_term",), most_term_frac=0.4))
    assert len({item.id.rsplit(":", 2)[0] for item in few.tasks[0].items}) == 30


def test_titles_can_be_asked_for_too() -> None:
    """A setting would be taken and ignored."""
    ways = ProbeSettings(tasks=("title_to_text", "text_to_title"))
    to_text, to_title = probe_of(settings=ways, items=8).tasks
    assert to_title.name == "p_text_to_title"
    for there, back in zip(to_text.items, to_title.items, strict=True):
        assert back.context == f"{right(there)}\nTitle:"
        assert there.context == f"{right(back)}:"


# ---------------------------------------------------------------- training


def test_what_stands_in_training_is_in_no_item() -> None:
    """A probe would measure what a model has learnt by heart."""
    before = probe_of()
    learnt = {item.id.rsplit(":", 2)[0] for task in before.tasks for item in task.items[:5]}
    rows = CORPUS.filter(pl.col("id").is_in(learnt))
    texts = [text.upper().replace(".", " !") for text in rows["text"]]
    probe = probe_of(training=training("of something else", None, *texts))
    for task in probe.tasks:
        used = {item.id.rsplit(":", 2)[0] for item in task.items}
        assert used
        assert not used & learnt
        assert probe.counts[task.name.removeprefix("p_")]["in training"] in range(
            5, len(learnt) + 1
        )
    choices = [choice for item in probe.tasks[0].items for choice in item.choices]
    assert not any(choice in text for choice in choices for text in rows["text"])
    assert before == probe_of(training=training("of something else"))


def test_contamination_finds_nothing_left_of_a_probe(tmp_path: Path) -> None:
    """The project's own report would call its own probe contaminated."""
    train = CORPUS.filter(pl.int_range(pl.len()) % 3 == 0)
    batch = pa.RecordBatch.from_arrays(
        [pa.array(train[name].to_list(), pa.large_string()) for name in ("id", "text")],
        names=["id", "text"],
    )
    probe = probe_of(training=[[batch]])
    files = [str(write_task(task, tmp_path / f"{task.name}.jsonl")) for task in probe.tasks]
    clean = report_rows([batch], Decontaminate(evals=tuple(files)))
    assert clean["contaminated"].to_list() == [0, 0]
    assert clean["items"].to_list() == [len(task.items) for task in probe.tasks]
    leaking = probe_of()
    for task in leaking.tasks:
        write_task(task, tmp_path / f"{task.name}.jsonl")
    found = report_rows([batch], Decontaminate(evals=tuple(files)))
    assert found["contaminated"].sum() > 0


# ---------------------------------------------------------------- files


def test_a_written_task_is_read_again(tmp_path: Path) -> None:
    """The items that were scored would not be those that were made."""
    for task in probe_of(items=9).tasks:
        read = read_task(write_task(task, tmp_path / "deep" / f"{task.name}.jsonl"))
        assert (read.name, read.kind) == (task.name, "choice")
        for number, (item, again) in enumerate(zip(task.items, read.items, strict=True), 1):
            assert again == TaskItem(**{**vars(item), "line": number})
        texts = read_items(str(tmp_path / "deep" / f"{task.name}.jsonl"), "t")
        for item, checked in zip(task.items, texts, strict=True):
            assert dict(checked.fields) == {"context": item.context, "answer": right(item)}
    assert [path.suffix for path in (tmp_path / "deep").iterdir()] == [".jsonl"] * 2


# ---------------------------------------------------------------- bad input


def test_too_few_documents_are_said(recwarn: pytest.WarningsRecorder) -> None:
    """A probe of nine items would be taken for one of five hundred."""
    probe = make_probe(CORPUS, name="p", items=5000, settings=SETTINGS)
    assert len(recwarn) == 2
    said = str(recwarn[0].message)
    made = len(probe.tasks[0].items)
    assert said.startswith(f"p_title_to_text has {made} items and not 5,000; documents: ")
    assert f"{probe.counts['title_to_text']['used']} used" in said
    with pytest.raises(RecipeError, match="no item can be made for p_title_to_text") as error:
        make_probe(CORPUS[:2], name="p", settings=SETTINGS)
    assert "2 too few distractors" in str(error.value)
    with pytest.raises(RecipeError, match="no item can be made for p_masked_term"):
        make_probe(CORPUS[:1], name="p", settings=ProbeSettings(tasks=("masked_term",)))
    with pytest.raises(RecipeError, match="no item"):
        make_probe(CORPUS[:0], name="p")


def test_bad_settings_and_rows_are_refused() -> None:
    """An hour of training would end at a typing error."""
    for wrong_one in (
        {"tasks": ("cloze",)}, {"tasks": ()}, {"kinds": ("word", "word")}, {"choices": 1},
        {"per_document": 0}, {"most_term_frac": 0.0}, {"context_chars": -1},
        {"most_title_frac": 1.5},
    ):  # fmt: skip
        with pytest.raises(RecipeError, match="ProbeSettings"):
            ProbeSettings(**wrong_one)  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="one item"):
        make_probe(CORPUS, name="p", items=0)
    with pytest.raises(RecipeError, match="'text'"):
        make_probe(CORPUS.drop("text"), name="p")
    twice = pl.concat([CORPUS, CORPUS[:1]])
    with pytest.raises(RecipeError, match="not distinct"):
        make_probe(twice, name="p")
    with pytest.raises(RecipeError, match="not distinct"):
        make_probe(CORPUS.with_columns(id=pl.lit(None, pl.String)), name="p")


def test_arrow_tables_without_title_and_source_will_do() -> None:
    """A corpus of plain texts, which is the usual one, would have no probe."""
    rows = CORPUS.select("id", text="# " + pl.col("title") + "\n\n" + pl.col("text"))
    table = probe_of(pa.table({n: rows[n].to_list() for n in rows.columns}))  # type: ignore[arg-type]
    titles = set(CORPUS["title"])
    for task in table.tasks:
        assert task.items
        assert all(item.source == "" for item in task.items)
    assert {item.context.removesuffix(":") for item in table.tasks[0].items} <= titles


# ---------------------------------------------------------------- real text


@pytest.mark.skipif(not MEDICINE.exists(), reason="no ../shared/data")
def test_a_probe_of_medicine_keeps_its_promises() -> None:
    """What holds for made-up words would not hold for text that people wrote."""
    rows = pl.read_ndjson(MEDICINE)[::25].with_row_index("n")
    rows = rows.with_columns(id=pl.format("{}/{}", "id", "n")).select(CORPUS.columns)
    probe = probe_of(rows, items=60, settings=ProbeSettings())
    texts = {row["id"]: row["text"] for row in rows.iter_rows(named=True)}
    for counts in probe.counts.values():
        assert sum(counts.values()) == len(rows)
    titles, terms = probe.tasks
    assert len(titles.items) == len(terms.items) == 60
    for item in terms.items:
        text = texts[item.id.rsplit(":", 2)[0]].lower()
        assert right(item).lower() in text
        assert not any(choice.lower() in text for choice in wrong(item))
        assert right(item).lower() not in item.context.lower()
