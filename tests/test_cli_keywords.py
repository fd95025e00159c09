"""The command keywords: from text of a domain to a list of its words."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation.annotate.lists import read_list
from curation.cli import main
from tests.conftest import write_jsonl

RARE = "bradycardia and thrombocyte and bradycardia"


def run(*words: str) -> int:
    """Return the exit status of the command."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["curation", "keywords", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    return int(ended.value.code or 0)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_jsonl(tmp_path / "law.jsonl", [{"body": RARE}] * 5 + [{"body": "government"}] * 5)
    write_jsonl(tmp_path / "news.jsonl", [{"body": "the government has spoken"}] * 20)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_words_are_written_one_a_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A list that recipes cannot read would have to be mended by hand."""
    files = ("--domain", "law.jsonl", "--general", "news.jsonl", "--out", "words.txt")
    assert run(*files, "--text", "body") == 0
    assert read_list("words.txt").to_pylist() == ["bradycardia", "thrombocyte"]
    printed = capsys.readouterr().out
    assert "2 words of 3 that 5 documents hold; 30 words against 80 of general text" in printed
    assert "first: bradycardia, thrombocyte" in printed
    assert run(*files, "--text", "body", "--most", "1") == 0
    assert read_list("words.txt").to_pylist() == ["bradycardia"]


def test_a_file_that_is_not_there_is_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty list would make reading comprehension without its best tasks."""
    assert run("--domain", "law.json", "--general", "news.jsonl", "--out", "words.txt") != 0
    assert "law.json" in capsys.readouterr().err
    assert not (place / "words.txt").exists()
