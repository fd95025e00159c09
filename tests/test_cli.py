"""The command line: what it prints, where, with which exit status, and that it does not change."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import typer

from curation.cli import app, main
from tests.conftest import command, curation, environment, parts, write_jsonl

Told = Callable[..., tuple[object, str, str]]
GOLDEN = Path(__file__).parent / "golden" / "cli.txt"
COMMANDS = (
    *("plan", "run", "show", "why", "diff", "index", "contamination", "check"),
    *(
        "train-classifier",
        "correlate",
        "costs",
        "keywords",
        "select",
        "tokenize",
        "train",
        "evaluate",
        "ablate",
        "verdict",
        "predict",
    ),
    *("train", "evaluate", "ablate", "verdict", "predict"),
    "train-classifier",
)

RECIPE = '''
from typing import Literal
from curation import *

def pages(
    *,
    paths: str,
    min_words: int = 3,
    share: float = 1.0,
    extra: tuple[str, ...] = (),
    hard: bool = False,
    mode: Literal["fast", "slow"] = "fast",
    least: int | None = None,
) -> Recipe:
    """Short texts go."""
    return Recipe(
        source=Jsonl((paths, *extra)),
        steps=[
            TextSize(),
            keep(col("word_count") >= (least or min_words), because="too short"),
            TextHash(),
            ExactDuplicates(),
            keep(col("duplicate_of").is_null(), because="exact duplicate"),
        ],
    )
'''
TEXTS = ["a b c d", "a", "A  b c\td", "one two three four five", "x y z"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a recipe, and a file of five texts and a broken line."""
    (tmp_path / "recipe.py").write_text(RECIPE)
    write_jsonl(tmp_path / "a.jsonl", [*({"text": text} for text in TEXTS), "broken"])
    return tmp_path


def run(place: Path, *more: str, check: int = 0) -> tuple[str, str]:
    done = curation(
        "run", "recipe.py", "--paths", "a.jsonl", "--workers", "0", *more, cwd=place, check=check
    )
    return done.stdout, done.stderr


@pytest.fixture
def told(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Told:
    """Run a command that fails in this process, which is faster; return status, out and err."""

    def call(*words: str) -> tuple[object, str, str]:
        monkeypatch.chdir(place)
        monkeypatch.setattr("sys.argv", ["curation", *words])
        with pytest.raises(SystemExit) as caught:
            main()
        return caught.value.code, *capsys.readouterr()

    return call


# ---------------------------------------------------------------- the frozen part


def described() -> str:
    """Return each command with its arguments and options, one a line."""
    lines: list[str] = []
    command = typer.main.get_command(app)
    for name, inner in sorted(command.commands.items()):  # type: ignore[attr-defined]
        lines.append(name)
        for parameter in inner.params:
            names = ", ".join(parameter.opts)
            default = "required" if parameter.required else f"default {parameter.default!s}"
            lines.append(f"  {names}  {default}")
    return "\n".join(lines) + "\n"


def test_the_command_line_is_what_it_was() -> None:
    """Scripts and notes that other people have written would stop working.

    After a change that is meant, review the difference and write the new text to the file.
    """
    assert described() == GOLDEN.read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_helps_by_an_example(place: Path, name: str) -> None:
    """A person in front of a new tool copies the example first."""
    told = curation(name, "-h", cwd=place).stdout
    assert f"Example: curation {name} " in " ".join(told.split())


def test_the_help_names_every_command(place: Path) -> None:
    """A command that nobody finds does not exist."""
    told = curation("--help", cwd=place).stdout
    assert all(f"\n  {name} " in told for name in COMMANDS)


def test_the_help_of_a_recipe_lists_its_flags(place: Path) -> None:
    """The flags of a recipe are its own, and nobody could know them."""
    told = curation("run", "recipe.py", "--help", cwd=place).stdout
    assert "Short texts go." in told
    for line in (
        "--paths STR  required",
        "--min-words INT  default 3",
        "--share FLOAT  default 1.0",
        "--mode FAST|SLOW  default 'fast'",
        "--hard BOOL  default False",
    ):
        assert line in told


# ---------------------------------------------------------------- run and show


def test_a_run_prints_its_funnel_and_says_what_next(place: Path) -> None:
    """The main job of the package, seen from outside."""
    out, err = run(place)
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == "step what rows documents bytes gone because"
    assert "2 keep word_count >= 3 4 4 43 B 1 too short" in lines
    assert "5 keep duplicate_of.is_null() 3 3 35 B 1 exact duplicate" in lines
    assert "6 rows in = 3 out + 2 dropped + 1 in error: the ledger balances" in lines
    assert "Build.open('store').documents()" in out
    assert err.startswith("read → TextSize → keep → TextHash: 1 shard\n")
    shown = curation("show", cwd=place)
    assert shown.stdout.splitlines()[: len(lines) - 1] == out.splitlines()[:-1]
    assert shown.stderr == ""


def test_output_that_is_no_terminal_is_plain(place: Path) -> None:
    """Logs of a cluster would be full of escape codes and of a thousand redrawn bars."""
    for out, err in (run(place), run(place, "--limit", "2")):
        assert "\x1b" not in out + err
        assert "\r" not in out + err


def test_a_limit_reads_the_first_rows_only(place: Path) -> None:
    """A quick look at a crawl would take as long as the crawl."""
    out, _ = run(place, "--limit", "2")
    assert "2 rows in = 1 out + 1 dropped + 0 in error: the ledger balances" in out


def test_a_run_writes_the_corpus_where_it_is_told(place: Path) -> None:
    """A person who knows no Python gets files."""
    out, _ = run(place, "--out", "corpus")
    assert "wrote 3 rows, 35 B of text, to corpus (files: 1)" in out
    assert pl.read_parquet(place / "corpus" / "*.parquet")["text"].to_list() == [
        TEXTS[0],
        TEXTS[3],
        TEXTS[4],
    ]
    run(place, "--out", "lines", "--format", "jsonl", "--columns", "text, word_count")
    found = pl.read_ndjson(next((place / "lines").glob("*.jsonl.zst")))
    assert found.columns == ["text", "word_count"]
    _, err = run(place, "--out", "x", "--format", "parket", check=1)
    assert "there is no format 'parket'" in err
    assert "did you mean 'parquet'?" in err


def test_a_plan_tells_what_is_done_and_does_nothing(place: Path) -> None:
    """Nobody would dare to start a run that may take a week."""
    before = curation("plan", "recipe.py", "--paths", "a.jsonl", cwd=place).stdout
    assert "input   1 files," in before
    assert "  step  2  keep word_count >= 3  [0 of 1 shards]" in before
    assert not (place / "store").exists()
    run(place)
    parts_before = parts(place / "store")
    after = curation("plan", "recipe.py", "--paths", "a.jsonl", cwd=place).stdout
    assert after.count("[done]") == 5
    changed = curation("plan", "recipe.py", "--paths", "a.jsonl", "--min-words", "2", cwd=place)
    assert "step  1  TextSize()  [0 of 1 shards, 1 scored before]" in changed.stdout
    assert parts(place / "store") == parts_before


def test_flags_of_a_recipe_are_its_keywords(place: Path) -> None:
    """Every keyword by its type, as it is in Python."""
    write_jsonl(place / "b.jsonl", [{"text": "one more text of six words"}])
    out, _ = run(place, "--min-words=4", "--extra", "b.jsonl", "--hard", "--mode", "slow")
    assert "7 rows in = 3 out" in out
    out, _ = run(place, "--least", "5", "--share", "0.5", "--hard=no")
    assert "6 rows in = 1 out" in out


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["--min-word", "3"], "did you mean '--min-words'?"),
        (["--min-words", "many"], "--min-words takes int."),
        (["--mode", "quick"], "--mode takes fast|slow."),
        (["--hard=perhaps"], "--hard takes bool."),
        (["--min-words", "3", "--min-words", "4"], "--min-words is given 2 times."),
        (["--min-words"], "--min-words needs a value."),
        (["b.jsonl"], "recipe.py takes no 'b.jsonl'."),
    ],
)
def test_a_wrong_flag_is_told_with_the_right_one(
    place: Path, told: Told, words: list[str], remedy: str
) -> None:
    """A mistyped flag would silently leave the default in force."""
    status, out, err = told("run", "recipe.py", "--paths", "a.jsonl", *words)
    assert (status, out) == (1, "")
    assert err.startswith("RecipeError: ")
    assert remedy in err
    assert not (place / "store").exists()


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["run", "recpie.py", "--paths", "x"], 1, "did you mean 'recipe.py'?"),
        (["run", "recipe.py"], 1, "recipe.py needs --paths."),
        (["run", "recipe.py:page", "--paths", "x"], 1, "did you mean 'pages'?"),
        (["run", "no.such.module"], 1, "there is no recipe 'no.such.module'"),
        (["run", "recipe.py", "--paths", "*.gz"], 1, "*.gz"),
        (["run"], 2, "RECIPE"),
        (["rnu", "recipe.py"], 2, "rnu"),
        (["run", "recipe.py", "--workers", "-1", "--paths", "x"], 2, "--workers"),
        (["show", "--store", "nowhere"], 1, "holds no finished build"),
        (["why", "a.jsonl#0", "--store", "nowhere"], 1, "holds no finished build"),
        (["diff", "aa", "bb"], 1, "holds no single build aa"),
        (["check", "sub"], 1, "is not a store"),
    ],
)
def test_a_wrong_command_is_a_message_and_an_exit_status(
    place: Path, told: Told, words: list[str], status: int, message: str
) -> None:
    """A script could not tell success from failure, nor a person what to do."""
    (place / "sub").mkdir()
    found, out, err = told(*words)
    assert (found, out) == (status, "")
    assert message in err


def test_a_file_without_a_recipe_says_what_it_holds(place: Path, told: Told) -> None:
    """Two recipes in one file, or none, would be a guess."""
    (place / "none.py").write_text("def f(): pass\n")
    (place / "two.py").write_text(RECIPE + RECIPE.replace("def pages", "def more"))
    (place / "other.py").write_text(
        "from curation import Recipe\ndef f() -> Recipe:\n    return 3\n"
    )
    for file, message in (
        ("none.py", "none.py has no functions that return a Recipe."),
        ("two.py", "two.py has 2 functions that return a Recipe."),
        ("other.py", "other.py did not return a Recipe."),
    ):
        assert message in told("run", file)[2]


def test_a_file_for_an_experiment_is_found_by_what_it_returns(place: Path, told: Told) -> None:
    """A recipe would be trained, or an ablation be curated, and fail deep inside."""
    (place / "experiment.py").write_text(
        "from curation import Ablation, Base\n"
        "def model(*, preset: str = '1M') -> Base:\n"
        '    """A base."""\n'
        "    return Base()\n"
        "def arms() -> Ablation:\n    return 3\n"
    )
    assert "needs text and training settings" in told("train", "experiment.py")[2]
    assert "did not return an Ablation" in told("ablate", "experiment.py")[2]
    assert "no functions that return a Base" in told("train", "recipe.py")[2]
    shown = curation("train", "experiment.py", "-h", cwd=place).stdout
    assert "--preset STR  default '1M'" in shown
    assert "experiment.py takes no '--prest'" in told("train", "experiment.py", "--prest", "2")[2]


def test_commands_over_results_say_what_is_missing(place: Path, told: Told) -> None:
    """A newcomer would see a traceback in place of the command that comes first."""
    (place / "empty").mkdir()
    for words in (["verdict"], ["predict"], ["predict", "--tables", "here"]):
        assert "curation ablate" in told(*words, "--store", "empty")[2]
    assert "nothing to measure" in told("evaluate", "empty")[2]
    assert "no checkpoint" in told("evaluate", "nowhere", "--texts", "a.jsonl")[2]


# ---------------------------------------------------------------- why, diff, check


def test_why_prints_the_path_of_a_row(place: Path) -> None:
    """The question that is asked of every corpus."""
    run(place)
    place_of_short = len(json.dumps({"text": TEXTS[0]})) + 1
    told = curation("why", f"a.jsonl#{place_of_short}", cwd=place).stdout
    assert told.splitlines()[:2] == [f"a.jsonl#{place_of_short}", "  dropped: too short"]
    assert "step  2  keep word_count >= 3  →  word_count 1 · dropped here" in told
    assert curation("why", "--because", "too short", cwd=place).stdout == told
    assert "example a.jsonl#0" in curation("why", "a.jsonl#1", cwd=place, check=1).stderr
    assert "too short" in curation("why", cwd=place, check=1).stderr


def test_diff_prints_what_a_threshold_changed(place: Path) -> None:
    """Two builds of 10,000 rows each look alike."""
    run(place)
    run(place, "--min-words", "4", "--store", "other")
    told = curation("diff", "store", "other", cwd=place).stdout.splitlines()
    assert told[0].strip() == "1 only in the first; in the second: too short"
    assert told[1].split()[0] == "first"
    assert len(told) == 2
    counts = curation("diff", "store", "other", "--rows", "0", cwd=place).stdout.splitlines()
    assert counts == told[:1]
    run(place, "--min-words", "4")
    builds = [p.name for p in (place / "store" / "builds").iterdir()]
    assert "only in the" in curation("diff", *builds, cwd=place).stdout
    assert "hold the same rows" in curation("diff", "store", "other", cwd=place).stdout


def test_check_finds_the_damaged_part_of_a_store(place: Path) -> None:
    """A backup would be made of a store that has rotted."""
    run(place)
    sound = curation("check", "store", cwd=place)
    assert "checked, 0 wrong" in sound.stdout
    part = place / "store" / sorted(parts(place / "store"))[0]
    data = part.read_bytes()
    part.write_bytes(data[:-1])
    told = curation("check", "store", cwd=place, check=1)
    assert f"group {part.parent.name}: it has {len(data) - 1:,} bytes" in told.stdout
    _, err = run(place, check=1)
    assert err.startswith("IntegrityError: ")
    assert f"delete the folder store/{part.parent.name}" in err


def test_check_of_a_recipe_checks_its_stages(place: Path) -> None:
    """A user's own stage would be found broken in the middle of a run."""
    told = curation("check", "recipe.py", "--paths", "a.jsonl", cwd=place).stdout
    assert "step  1  TextSize: columns and types fit, contract kept" in told
    (place / "bad.py").write_text(
        RECIPE.replace(
            "def pages(",
            '@row_annotator(writes={"luck": pa.float64()})\n'
            "def luck(text):\n    return random.random()\n\ndef pages(",
        )
        .replace("TextSize(),", "TextSize(), luck,")
        .replace("from curation", "import random\nimport pyarrow as pa\nfrom curation", 1)
    )
    told = curation("check", "bad.py", "--paths", "a.jsonl", cwd=place, check=1).stdout
    assert "step  2  luck: contract broken: " in told


def test_a_reader_that_closes_the_pipe_is_no_error(place: Path) -> None:
    """``curation show | head`` would end in a traceback."""
    run(place)
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing) as closed:
        done = subprocess.run(
            command("show"),
            cwd=place,
            env=environment(),
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.stderr == ""


def test_contamination_reports_by_task_what_a_corpus_holds(place: Path) -> None:
    """Whoever publishes a score has to know whether its questions were in the corpus."""
    text = "what is the name of the harbour in which the third fleet was refitted in that winter"
    write_jsonl(place / "leaky.jsonl", [{"text": f"They asked {text}, and nobody knew."}])
    (place / "evals").mkdir()
    write_jsonl(place / "evals" / "quiz.jsonl", [{"id": "q1", "question": text}])
    write_jsonl(place / "evals" / "other.jsonl", [{"id": "o1", "question": "ships " * 20}])
    (place / "leaky.py").write_text(
        "from curation import *\n"
        "def leaky(*, paths: str) -> Recipe:\n"
        "    return Recipe(source=Jsonl(paths), steps=[TextSize()])\n"
    )
    curation("run", "leaky.py", "--paths", "leaky.jsonl", "--store", "leaky", cwd=place)
    told = curation("contamination", "evals", "leaky", cwd=place).stdout
    rows = {line.split()[0]: line.split() for line in told.splitlines() if line.strip()}
    assert rows["quiz"][1:4] == ["1", "0", "1"]
    assert rows["quiz"][-2:] == ["quiz#q1", "leaky.jsonl#0"]
    assert rows["other"][3] == "0"
    wrong = curation("contamination", "nowhere", "leaky", cwd=place, check=1)
    assert "no evaluation set at nowhere" in wrong.stderr
