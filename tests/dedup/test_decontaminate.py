from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import zstandard

from curation.columns import COLUMNS
from curation.dedup.decontaminate import Decontaminate, RemoveContamination, overlaps
from curation.dedup.evalitems import read_items
from curation.dedup.evals import eval_files, task_names
from curation.errors import RecipeError, ResourceError
from curation.testing import check_stage
from tests.conftest import ROOT, write_jsonl

DATA = ROOT.parent / "shared" / "data"

LONG = "Which of the first seven rivers once carried more grain to the sea than any other road did"
CONTEXT = " ".join(f"fact{n} about river {n * n}" for n in range(20))
ITEMS: list[dict[str, Any]] = [
    {"id": "long", "question": LONG, "choices": ["the Oder", "the Elbe"], "answer": 1},
    {"id": "short", "question": "Where does it end?", "choices": ["Ulm", "Bonn"], "answer": "B"},
    {"id": "tiny", "question": "Why?", "answer": "rain"},
    {"id": "nothing", "question": "?!"},
    {"id": "passage", "context": CONTEXT, "question": "Why?", "answer": "rain"},
    {"text": "Ein Überfluss an Wörtern, so schön wie ihre Länder, führt stets zur Dürre im Geist."},
]
BEFORE, AFTER = "Nothing of the kind was said here.\n\n", "\n\nAnd nothing of the kind after it."


@pytest.fixture
def rivers(tmp_path: Path) -> str:
    """A small evaluation set."""
    return str(write_jsonl(tmp_path / "rivers.jsonl", ITEMS))


def found(stage: Decontaminate, *texts: str | None) -> list[dict[str, Any]]:
    batch = pa.record_batch({"text": pa.array(texts, pa.large_string())})
    made = stage.annotate(batch)
    assert made.schema == stage.writes
    made.validate(full=True)
    rows: list[dict[str, Any]] = made.to_pylist()
    return rows


def pieces(row: dict[str, Any], text: str) -> list[str]:
    spans = row["contamination_spans"]
    return [text.encode()[span["start"] : span["stop"]].decode() for span in spans]


# ---------------------------------------------------------------- what is found


@pytest.mark.parametrize(
    "leak",
    [
        LONG,
        LONG.upper(),
        LONG.replace(" ", ", ") + "?!",
        LONG.replace(" ", "\n"),
        LONG.replace(" ", " \u2013 \u00a0"),
        LONG.replace("e", "e\u0301"),
        LONG.replace("seven", "se\u00adven"),
        "\uff37" + LONG[1:],
        LONG.replace("fi", "\ufb01"),
    ],
)
def test_a_leak_is_found_however_it_is_set(rivers: str, leak: str) -> None:
    """A crawl gives an item with other line ends, capitals and marks than its file."""
    text = f"{BEFORE}{leak}{AFTER}"
    [row] = found(Decontaminate(evals=(rivers,)), text)
    assert row["contaminated_by"] == "rivers#long"
    assert row["contamination_rule"] == "13-gram: question"
    assert row["contamination_frac"] == 1.0
    assert {span["kind"] for span in row["contamination_spans"]} == {"rivers#long"}
    [piece] = pieces(row, text)
    assert piece == leak.removesuffix("?!").removesuffix(",")


@pytest.mark.parametrize("text", [LONG, f"{LONG} x", f"x {LONG}"])
def test_a_leak_at_the_very_end_is_found(rivers: str, text: str) -> None:
    """The walk must neither begin late nor stop early."""
    [row] = found(Decontaminate(evals=(rivers,)), text)
    assert pieces(row, text) == [LONG]


def test_twelve_words_of_thirteen_are_no_leak(rivers: str) -> None:
    """By GPT-3's rule it takes 13 words in a row; and with 12 no more than a phrase is shared."""
    words = LONG.split()
    thirteen, twelve = " ".join(words[2:15]), " ".join(words[2:14])
    spoilt = " ".join([*words[:6], "XX", *words[7:]])
    stage = Decontaminate(evals=(rivers,), rules=("13-gram",))
    rows = found(stage, thirteen, twelve, twelve + " XX", spoilt)
    assert [row["contaminated_by"] for row in rows] == ["rivers#long", None, None, None]


def test_coverage_begins_at_its_share(tmp_path: Path) -> None:
    """A leak of just 70 % counts by PaLM's rule, and one n-gram less does not."""
    words = [f"w{n}" for n in range(17)]  # ten 8-grams
    evals = write_jsonl(tmp_path / "a.jsonl", [{"question": " ".join(words)}])
    texts = [" ".join(words[:n]) for n in (14, 13)]  # seven of them, six of them
    rows = found(Decontaminate(evals=(str(evals),), rules=("8-gram coverage",)), *texts)
    assert rows[0]["contamination_rule"] == "8-gram coverage: question"
    assert rows[0]["contamination_frac"] == pytest.approx(0.7)
    assert pieces(rows[0], texts[0]) == [texts[0]]
    assert rows[1]["contaminated_by"] is None


def test_coverage_does_not_count_a_repeat_twice(tmp_path: Path) -> None:
    """A page that says one sentence of an item ten times does not hold the item."""
    words = [f"w{n}" for n in range(17)]
    evals = write_jsonl(tmp_path / "a.jsonl", [{"question": " ".join(words)}])
    again = f"{' '.join(words[:10])}. " * 9
    [row] = found(Decontaminate(evals=(str(evals),), rules=("8-gram coverage",)), again)
    assert row["contaminated_by"] is None


def test_a_short_question_is_found_with_its_answer_alone(rivers: str) -> None:
    """Half of a benchmark has fewer than 13 words; its questions alone are everyday phrases."""
    filler = "la " * 100
    texts = [
        f"{BEFORE}WHERE does\nit end: Ulm or (b) Bonn{AFTER}",
        "Answer: Bonn. Where does it end?",
        f"Where does it end? {filler}Bonn",
        f"Where does it end? la {filler}Bonn",
        f"Where does it end?{AFTER}",
        "Where does it all end? Bonn",
    ]
    rows = found(Decontaminate(evals=(rivers,)), *texts)
    assert [row["contaminated_by"] is not None for row in rows] == [True] * 3 + [False] * 3
    assert rows[0]["contamination_rule"] == "question and answer"
    assert rows[0]["contamination_frac"] == 1.0
    assert pieces(rows[0], texts[0]) == ["WHERE does\nit end", "Bonn"]


def test_items_without_enough_words_find_nothing(rivers: str) -> None:
    """An item of one word would drop every page that has the word."""
    stage = Decontaminate(evals=(rivers,))
    rows = found(stage, "Why? rain", "", "rain", None)
    assert [row["contaminated_by"] for row in rows] == [None] * 4
    assert [row["contamination_spans"] for row in rows] == [[], [], [], None]
    evals = stage.load()
    unchecked = np.flatnonzero(~evals.checkable)
    assert [evals.names[n] for n in unchecked] == ["rivers#tiny", "rivers#nothing"]


def test_text_of_other_letters_is_found_and_its_bytes_are_right(rivers: str) -> None:
    """Spans that count characters cut a text of umlauts in the middle of a letter."""
    text = f"Žluťoučký kůň. {ITEMS[5]['text'].upper()} Příliš."
    [row] = found(Decontaminate(evals=(rivers,)), text)
    assert row["contaminated_by"] == "rivers#6"  # an item without an id is its line
    assert pieces(row, text) == [ITEMS[5]["text"].upper().rstrip(".")]


def test_fields_not_asked_for_are_not_looked_for(rivers: str) -> None:
    """A public abstract is in a medical corpus by right, though an evaluation asks about it."""
    with_it = found(Decontaminate(evals=(rivers,)), CONTEXT)
    assert with_it[0]["contamination_rule"] == "13-gram: context"
    without = found(Decontaminate(evals=(rivers,), fields=("question", "answer")), CONTEXT)
    assert without[0]["contaminated_by"] is None


def test_rules_are_named_with_their_length(rivers: str) -> None:
    """A column that says 13-gram where 10 were asked for is a lie in somebody's paper."""
    [row] = found(Decontaminate(evals=(rivers,), ngram_words=10), LONG)
    assert row["contamination_rule"] == "10-gram: question"


def test_the_item_held_most_is_named(tmp_path: Path) -> None:
    """Who looks into a leak must be sent to the item that leaked."""
    other = f"{' '.join(LONG.split()[:13])} and then went on to say something else altogether"
    rows = [{"id": "other", "question": other}, {"id": "long", "question": LONG}]
    evals = write_jsonl(tmp_path / "a.jsonl", rows)
    [row] = found(Decontaminate(evals=(str(evals),)), f"{BEFORE}{LONG}{AFTER}")
    assert row["contaminated_by"] == "a#long"
    assert {span["kind"] for span in row["contamination_spans"]} == {"a#long", "a#other"}


def test_an_item_of_two_tasks_is_named_by_the_first_and_known_to_be_of_both(
    tmp_path: Path,
) -> None:
    """Benchmarks copy from each other; both are spoilt by one leak."""
    for name in ("b", "a"):
        write_jsonl(tmp_path / f"{name}.jsonl", [{"id": name, "question": LONG}])
    stage = Decontaminate(evals=(str(tmp_path),))
    [row] = found(stage, LONG)
    assert row["contaminated_by"] == "a#a"
    assert stage.load().items_E == ((0, 1),)


def test_what_all_items_of_a_template_share_is_no_leak(tmp_path: Path) -> None:
    """Every page with an exam's instructions would be dropped; a shared passage is no template."""
    template = "Read the passage with care and choose the one right answer out of these four: "
    rows = [{"question": f"{template} {n} {n} {n}"} for n in range(11)]
    rows += [{"context": CONTEXT, "question": f"Where is fact {n}?"} for n in range(40)]
    evals = write_jsonl(tmp_path / "a.jsonl", rows)
    made = found(Decontaminate(evals=(str(evals),)), template, CONTEXT)
    assert [row["contaminated_by"] for row in made] == [None, "a#12"]
    made = found(Decontaminate(evals=(str(evals),), most_fields=11), template)
    assert made[0]["contaminated_by"] == "a#1"


def test_a_question_with_many_answers_is_no_leak(tmp_path: Path) -> None:
    """Pages that ask for the most likely diagnosis are not all of one exam."""
    rows = [{"question": "What is the likely diagnosis?", "answer": f"d{n}"} for n in range(11)]
    many = write_jsonl(tmp_path / "many.jsonl", rows)
    few = write_jsonl(tmp_path / "few.jsonl", rows[:10])
    text = "What is the likely diagnosis? It is d3."
    for evals, wanted in ((many, None), (few, "few#4")):
        assert found(Decontaminate(evals=(str(evals),)), text)[0]["contaminated_by"] == wanted


def test_questions_that_begin_alike_are_looked_up_by_what_differs(tmp_path: Path) -> None:
    """Each "Which of the following is true" of a page would be compared with a whole exam."""
    rows = [{"question": f"Which is true of n{n} here?", "answer": "a"} for n in range(300)]
    evals = Decontaminate(evals=(str(write_jsonl(tmp_path / "a.jsonl", rows)),)).load()
    assert np.diff(evals.index.first_K)[evals.rule_K == 2].tolist() == [1] * 300


def test_a_page_of_nothing_but_copies_and_a_line_without_end_are_walked(rivers: str) -> None:
    """A page made to be slow must cost no more than its length."""
    copies = (LONG + " ") * 20_000
    [row, line] = found(Decontaminate(evals=(rivers,)), copies, "x" * 5_000_000)
    assert row["contamination_frac"] == 1.0
    assert len(row["contamination_spans"]) == 20_000
    assert line["contaminated_by"] is None


# ---------------------------------------------------------------- contract, settings, files


def test_the_stages_keep_their_contract(rivers: str, tmp_path: Path) -> None:
    """A stage that breaks it writes a corpus that nobody can make a second time."""
    fox = "The quick brown fox jumps over the lazy dog. It was not amused!"
    evals = write_jsonl(tmp_path / "fox.jsonl", [{"question": fox, "answer": "12345"}, *ITEMS])
    check_stage(Decontaminate(evals=(rivers, str(evals)), ngram_words=5))
    check_stage(RemoveContamination())
    check_stage(RemoveContamination(window_chars=0, least_piece_chars=0))


def test_the_content_of_the_evaluation_is_part_of_the_identity(rivers: str) -> None:
    """A corpus cleaned of last year's questions would pass for clean of this year's."""
    stage = Decontaminate(evals=(rivers,))
    before = stage.identity()
    write_jsonl(Path(rivers), [{"question": BEFORE + AFTER}])
    assert stage.identity()["files"] != before["files"]
    assert found(stage, LONG, BEFORE + AFTER)[1]["contaminated_by"] == "rivers#1"


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({"evals": ()}, "evals"),
        ({"rules": ()}, "rules"),
        ({"rules": ("13-gram", "13-gram")}, "rules"),
        ({"fields": ()}, "fields"),
        ({"ngram_words": 0}, "ngram_words"),
        ({"coverage_words": 0}, "coverage_words"),
        ({"coverage_frac": 0.0}, "coverage_frac"),
        ({"coverage_frac": 1.1}, "coverage_frac"),
        ({"coverage_least_words": -1}, "coverage_least_words"),
        ({"question_least_words": 0}, "question_least_words"),
        ({"answer_within_words": -1}, "answer_within_words"),
        ({"most_fields": 0}, "most_fields"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    rivers: str, settings: dict[str, Any], wrong: str
) -> None:
    """A rule that can find nothing would report a clean corpus."""
    with pytest.raises(RecipeError, match=wrong):
        Decontaminate(**{"evals": (rivers,), **settings})


def test_a_removal_that_makes_no_sense_is_refused() -> None:
    """A negative window would leave a piece of every leak."""
    with pytest.raises(RecipeError, match="window_chars"):
        RemoveContamination(window_chars=-1)


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b"", "has no item"),
        (b"\n\n", "has no item"),
        (b'{"riddle": "x", "label": 1}\n', "has no text"),
        (b'{"question": ""}\n', "has no text"),
        (b'{"question": "x"}\nnot json\n', "not JSON lines"),
        (b"[1]\n", "not JSON lines"),
        (b'{"question": "x"}\n{"a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}\n", "line 2"),
        (b'{"question": ' + b"[" * 700 + b"]" * 700 + b"}\n", "not JSON lines"),
        (b'{"question": "caf\xe9"}\n', "not JSON lines"),
    ],
)
def test_a_file_that_is_no_evaluation_set_is_told_at_once(
    tmp_path: Path, content: bytes, wrong: str
) -> None:
    """An empty set finds no leak, and the corpus would be called clean."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(ResourceError, match=wrong):
        Decontaminate(evals=(str(path),))


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
def test_a_damaged_file_is_told_at_once(tmp_path: Path, name: str) -> None:
    """Half a file is half a benchmark."""
    (tmp_path / name).write_bytes(b"no archive")
    with pytest.raises(ResourceError, match="cannot be read"):
        Decontaminate(evals=(str(tmp_path / name),))


def test_a_missing_file_is_told_at_once(tmp_path: Path) -> None:
    """A mistyped path would be a corpus without decontamination."""
    for place in ("no.jsonl", "*.jsonl", ""):
        with pytest.raises(ResourceError, match="no evaluation set"):
            Decontaminate(evals=(str(tmp_path / place),))


def test_files_are_found_by_path_folder_and_pattern(tmp_path: Path) -> None:
    """Which sets are checked must not depend on how they were named."""
    line = json.dumps({"question": LONG}).encode() + b"\n"
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "c.jsonl.zst").write_bytes(zstandard.compress(line))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(line))
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + line)
    (tmp_path / "notes.md").write_text("no set")
    files = eval_files((str(tmp_path),))
    assert task_names(files) == ["a", "b", "c"]
    assert eval_files((f"{tmp_path}/**/*.jsonl*", str(tmp_path / "a.jsonl"))) == files
    for file in files:
        assert found(Decontaminate(evals=(file,)), LONG)[0]["contaminated_by"] is not None


def test_tasks_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    """Every benchmark has a test.jsonl."""
    for name in ("mmlu", "arc"):
        write_jsonl(tmp_path / name / "test.jsonl", [{"question": f"{name} {LONG}"}])
    row = found(Decontaminate(evals=(str(tmp_path),)), f"mmlu {LONG}")[0]
    assert row["contaminated_by"] == "mmlu/test#1"
    write_jsonl(tmp_path / "x" / "mmlu" / "test.jsonl", [{"question": LONG}])
    with pytest.raises(ResourceError, match="two evaluation sets"):
        Decontaminate(evals=(str(tmp_path),))


@pytest.mark.parametrize(
    ("record", "answers"),
    [
        ({"choices": ["no", "yes"], "answer": 1}, ["yes"]),
        ({"choices": ["no", "yes"], "answer": "a"}, ["no"]),
        ({"choices": ["b", "a"], "answer": "a"}, ["a"]),
        ({"choices": ["no", "yes"], "answer": 2}, []),
        ({"choices": ["no", "yes"], "answer": -1}, []),
        ({"choices": ["no", "yes"], "answer": "E"}, []),
        ({"choices": [3, 4], "answer": 1}, ["4"]),
        ({"answer": 42}, ["42"]),
        ({"answer": ["Bonn", "the city of Bonn"]}, ["Bonn", "the city of Bonn"]),
        ({"answer": None}, []),
        ({"answer": {"text": "x"}}, ["x"]),
        ({"answer": {"because": "x"}}, []),
        ({"choices": ["no", "yes"], "answer": ["B", 0]}, ["yes", "no"]),
        ({"choices": {"text": ["no", "yes"], "label": ["1", "2"]}, "answerKey": "1"}, ["no"]),
        ({"choices": {"text": ["no", "yes"], "label": ["A", "B"]}, "answerKey": "B"}, ["yes"]),
        ({"choices": [{"text": "no", "label": "A"}, {"text": "yes"}], "answerKey": "A"}, ["no"]),
        ({"choices": {"text": ["2", "1"], "label": ["1", "2"]}, "answerKey": "1"}, ["2"]),
        ({"options": {"A": "no", "B": "yes"}, "answer": "b"}, ["yes"]),
        ({"choices": ["no", "yes"], "label": 1}, ["yes"]),
        ({"choices": "no", "answer": "B"}, ["B"]),
        ({"choices": {"label": ["A"]}, "answer": "A"}, ["A"]),
        ({"label": 1}, []),
        ({"answer": True}, []),
        ({"answer": "\ud800"}, ["?"]),
    ],
)
def test_the_right_answer_is_what_the_record_says(
    tmp_path: Path, record: dict[str, Any], answers: list[str]
) -> None:
    """With another choice taken for the answer, leaks are looked for that nobody cares about."""
    path = write_jsonl(tmp_path / "a.jsonl", [{"question": "Which?", **record}])
    [item] = read_items(str(path), "a")
    assert [text for name, text in item.fields if name == "answer"] == answers
    assert item.pairs == tuple(("Which?", answer) for answer in answers)


@pytest.mark.parametrize(
    ("record", "question", "answers"),
    [
        (
            {
                "question": {
                    "stem": LONG,
                    "choices": [{"text": "Ulm", "label": "A"}, {"text": "Bonn", "label": "B"}],
                },
                "answerKey": "B",
            },
            "question",
            ["Bonn"],
        ),
        ({"ctx": LONG, "endings": ["Ulm", "Bonn", "Rom"], "label": "1"}, "question", ["Bonn"]),
        ({"passage": CONTEXT, "question": LONG, "answer": True}, "question", []),
        ({"goal": LONG, "sol1": "Ulm", "sol2": "Bonn", "label": 1}, "question", ["Bonn"]),
        (
            {"sentence": LONG, "option1": "Ulm", "option2": "Bonn", "answer": "2"},
            "question",
            ["Bonn"],
        ),
        ({"premise": CONTEXT, "hypothesis": LONG, "label": 0}, "question", []),
        ({"input": LONG, "target": "Bonn"}, "prompt", ["Bonn"]),
        ({"prompt": LONG, "completion": "Bonn"}, "prompt", ["Bonn"]),
        ({"Question": LONG, "Answer": "Bonn"}, "question", ["Bonn"]),
        (
            {
                "context": CONTEXT,
                "question": LONG,
                "answers": {"text": ["Bonn"], "answer_start": [3]},
            },
            "question",
            ["Bonn"],
        ),
        (
            {
                "messages": [
                    {"role": "system", "content": "You are kind."},
                    {"role": "user", "content": [{"type": "text", "text": LONG}]},
                    {"role": "assistant", "content": "Bonn"},
                ]
            },
            "question",
            ["Bonn"],
        ),
    ],
)
def test_items_are_read_as_benchmarks_are_published(
    tmp_path: Path, record: dict[str, Any], question: str, answers: list[str]
) -> None:
    """A benchmark in its own form would be passed over, and the corpus called clean."""
    path = str(write_jsonl(tmp_path / "a.jsonl", [record]))
    [item] = read_items(path, "a")
    wanted = [(question, LONG), *(("answer", answer) for answer in answers)]
    assert [field for field in item.fields if field[0] != "context"] == wanted
    assert [text for name, text in item.fields if name == "context"] in ([], [CONTEXT])
    assert item.pairs == tuple((LONG, answer) for answer in answers)
    contexts = {"context", "passage", "premise"} & {*record}
    assert len(item.fields) == len(wanted) + len(contexts)
    assert found(Decontaminate(evals=(path,)), LONG)[0]["contaminated_by"] == "a#1"


def test_items_that_cannot_be_read_are_told_once(
    tmp_path: Path, rivers: str, recwarn: pytest.WarningsRecorder
) -> None:
    """Items passed over without a word are never found, and nobody knows that none was looked for.

    A file all of whose items have texts is not spoken of.
    """
    rows: list[dict[str, Any]] = [{"question": LONG}, {"riddle": LONG}, {"id": 7, "answer": "B"}]
    odd = str(write_jsonl(tmp_path / "odd.jsonl", rows))
    stage = Decontaminate(evals=(rivers, odd))
    found(stage, LONG)
    [told] = recwarn
    assert "no text in 2 items of odd, such as line 2" in str(told.message)
    assert told.filename == __file__


# ---------------------------------------------------------------- cutting out


def removed(text: str | None, spans: list[Any] | None, **settings: int) -> str | None:
    batch = pa.RecordBatch.from_arrays(
        [
            pa.array([text], pa.large_string()),
            pa.array([spans], Decontaminate.writes.field("contamination_spans").type),
        ],
        names=["text", "contamination_spans"],
    )
    made: str | None = RemoveContamination(**settings).annotate(batch)["text"].to_pylist()[0]
    return made


def test_a_leak_goes_with_its_surroundings(rivers: str) -> None:
    """What stands around a leak is its choices and its answer."""
    clean = "é" * 500
    text = f"{clean} {LONG} {clean}"
    [row] = found(Decontaminate(evals=(rivers,)), text)
    assert removed(text, row["contamination_spans"]) == f"{'é' * 301}\n\n{'é' * 301}"
    assert removed(text, row["contamination_spans"], window_chars=400) == ""


@pytest.mark.parametrize(("hits", "left"), [(9, 10), (10, 0)])
def test_a_text_in_more_than_ten_pieces_goes_whole(hits: int, left: int) -> None:
    """A dump of an evaluation set must not be left as crumbs."""
    part = "x" * 700
    text = part + f"LEAK{part}" * hits
    spans = [
        {"kind": "t#1", "start": start, "stop": start + 4} for start in range(700, len(text), 704)
    ]
    made = removed(text, spans)
    assert made is not None
    assert len(list(filter(None, made.split("\n\n")))) == left


def test_a_text_without_leak_stays_as_it_is() -> None:
    """A short clean text is no fragment."""
    assert removed("short", []) == "short"
    assert removed("short", None) == "short"
    assert removed(None, []) is None
    odd = [None, {"kind": None, "start": None, "stop": 3}, {"kind": "", "start": 4, "stop": 4}]
    assert removed("short", [*odd, {"kind": "", "start": 99, "stop": 2**64 - 1}]) == "short"


# ---------------------------------------------------------------- real sets


def real_sets() -> tuple[Decontaminate, list[str]]:
    """Return a stage over the real evaluation sets, and 5,000 news articles."""
    if not DATA.exists():
        pytest.skip(f"needs the real evaluation sets in {DATA}")
    with open(DATA / "text" / "wikinews.jsonl.zst", "rb") as file:
        reader = zstandard.ZstdDecompressor().stream_reader(file)
        lines = reader.read().splitlines()[:5000]
    return Decontaminate(evals=(str(DATA / "evals"),)), [json.loads(n)["text"] for n in lines]


def test_no_clean_document_is_flagged_and_every_leak_is() -> None:
    """The two promises that the stage makes about real text."""
    stage, news = real_sets()
    assert not any(row["contaminated_by"] for row in found(stage, *news))
    evals = stage.load()
    items = [
        item
        for file, task in zip(eval_files(stage.evals), evals.tasks, strict=True)
        for item in read_items(file, task)
    ]
    texts = []
    for number, item in enumerate(items):
        leak = "\n".join(text for _, text in item.fields)
        host = news[number % len(news)]
        texts.append(f"{host[: len(host) // 2]}\n\n{leak}\n\n{host[len(host) // 2 :]}")
    hits = overlaps(pa.array(texts, pa.large_string()), evals)
    matches = zip(hits.row_M.tolist(), hits.entry_M.tolist(), strict=True)
    known = {(row, item) for row, entry in matches for item in evals.items_E[entry]}
    missed = [n for n in np.flatnonzero(evals.checkable).tolist() if (n, n) not in known]
    assert missed == []
    assert evals.checkable.sum() > 3000


def test_what_lies_beneath_a_null_list_is_no_span() -> None:
    """Arrow may keep values that a null hides; they would be cut out of the rows behind it."""
    text = "keep all of this"
    span = {"kind": "t#1", "start": 0, "stop": len(text)}
    shown = pa.array([[span], [], [span]], COLUMNS["contamination_spans"][0])
    hidden = pa.LargeListArray.from_arrays(
        shown.offsets, shown.values, mask=pa.array([True, False, False])
    )
    batch = pa.record_batch(
        {"text": pa.array([text] * 3, pa.large_string()), "contamination_spans": hidden}
    )
    assert RemoveContamination().annotate(batch)["text"].to_pylist() == [text, text, ""]
