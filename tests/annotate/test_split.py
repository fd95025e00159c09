from __future__ import annotations

import os
import threading
from pathlib import Path

import pyarrow as pa
import pytest

from curation import GopherQuality
from curation.annotate import split as module
from curation.annotate.split import KEPT_BYTES, Split, WordStage, split
from curation.errors import RecipeError, ResourceError
from tests.oracles.words import spelt


def texts(*values: str | None) -> pa.Array:
    return pa.array(values, pa.large_string())


def words(cut: Split, rule: module.Rule = "space", dictionary: str = "") -> list[list[str]]:
    return list(spelt(cut.data, cut.offset, cut.words(rule, dictionary)))


def test_a_batch_is_cut_once_for_all_the_stages_of_a_pass() -> None:
    """Cutting is the dearest thing they do; four stages would do it four times."""
    column = texts("a b", "c")
    first = split(column)
    again = split(pa.record_batch({"text": column})["text"])
    assert again is first
    assert again.words("space") is first.words("space")
    assert again.lines is first.lines


def test_another_batch_is_another_split() -> None:
    """A batch would be judged by the words of the batch before it."""
    column = texts("a b", "c d e", "f")
    first = split(column)
    assert words(first) == [["a", "b"], ["c", "d", "e"], ["f"]]
    for other, wanted in (
        (column[1:], [["c", "d", "e"], ["f"]]),
        (column[:2], [["a", "b"], ["c", "d", "e"]]),
        (texts("a b", "c d e", "g"), [["a", "b"], ["c", "d", "e"], ["g"]]),
        (texts(), []),
    ):
        assert words(split(other)) == wanted


def test_equal_places_with_other_nulls_are_another_split() -> None:
    """Rows that a rule has blanked share their memory with those that it left."""
    whole = texts("a b", "c")
    nulls = pa.py_buffer(bytes([0b10]))
    masked = pa.Array.from_buffers(pa.large_string(), 2, [nulls, *whole.buffers()[1:]])
    assert words(split(whole)) == [["a", "b"], ["c"]]
    assert words(split(masked)) == [[], ["c"]]


def test_each_rule_has_words_of_its_own() -> None:
    """A stage with another splitter would be given the words of the one before."""
    cut = split(texts("don't e-mail."))
    assert words(cut, "space") == [["don't", "e-mail."]]
    assert words(cut, "unicode") == [["don't", "e", "-", "mail", "."]]
    assert words(cut, "english") == [["do", "n't", "e", "-", "mail", "."]]
    assert words(cut, "space") == [["don't", "e-mail."]]


def test_memory_is_used_again_for_the_next_batch_and_given_back_where_it_is_great() -> None:
    """Fresh memory for each batch costs a third of the time; a huge document's would stay."""
    first = split(texts("a b c " * 1000))
    room = first.words("space").room
    second = split(texts("d e f"))
    assert second.words("space").room is room
    assert words(second) == [["d", "e", "f"]]
    rows = KEPT_BYTES // room.dtype.itemsize
    huge = Split(texts("a"), {})
    huge.words("space")
    huge._words[("space", "")] = huge.words("space")._replace(room=_empty_room(rows + 1))
    assert huge.rooms() == {}


def _empty_room(rows: int) -> object:
    import numpy as np

    from curation.kernels.words import WORD_TYPE

    return np.empty(rows, dtype=WORD_TYPE)


def test_threads_do_not_share_a_split() -> None:
    """One thread would write the next batch's words over those that another reads."""
    column = texts("a b")
    mine, found = split(column), []
    thread = threading.Thread(target=lambda: found.append(split(column)))
    thread.start()
    thread.join()
    assert found[0] is not mine
    assert split(column) is mine


def test_characters_are_counted_with_line_feeds() -> None:
    """Every share of characters has this number below the line."""
    assert split(texts("", "é\n\nb", None, "\n")).text_chars.tolist() == [0, 4, 0, 1]


# ---------------------------------------------------------------- dictionaries


def test_unspaced_scripts_are_cut_into_the_words_of_a_file(tmp_path: Path) -> None:
    """Thai without words is letters: every run of five repeats, and every page goes."""
    path = tmp_path / "thai.txt"
    path.write_text("ภาษา\n ไทย \n\n", encoding="utf-8")
    cut = split(texts("ภาษาไทย"))
    assert words(cut, "unicode", str(path)) == [["ภาษา", "ไทย"]]
    assert len(words(cut, "unicode")[0]) > 2
    made = GopherQuality(words="unicode", dictionary=str(path)).annotate(
        pa.record_batch({"text": texts("ภาษาไทย ab")})
    )
    assert made["split_word_count"].to_pylist() == [3]


def test_a_dictionary_that_changes_is_read_again(tmp_path: Path) -> None:
    """A worker that lives on would cut by the old file, and another by the new."""
    path = tmp_path / "words.txt"
    path.write_text("中文", encoding="utf-8")
    assert words(Split(texts("中文字")), "unicode", str(path)) == [["中文", "字"]]
    path.write_text("文字\n", encoding="utf-8")
    os.utime(path, ns=(1, 1))
    assert words(Split(texts("中文字")), "unicode", str(path)) == [["中", "文字"]]


def test_a_stage_is_told_of_a_wrong_dictionary_before_data_is_read(tmp_path: Path) -> None:
    """The run would die in a worker, an hour later."""
    path = tmp_path / "words.txt"
    path.write_text("a")
    with pytest.raises(ResourceError, match="no file of words"):
        GopherQuality(words="unicode", dictionary=str(tmp_path / "absent"))
    with pytest.raises(ResourceError, match="no file of words"):
        GopherQuality(words="unicode", dictionary=str(tmp_path))
    for rule in ("english", "space"):
        with pytest.raises(RecipeError, match="words='unicode'"):
            GopherQuality(words=rule, dictionary=str(path))
    with pytest.raises(RecipeError):
        GopherQuality(words="german")


def test_a_dictionarys_content_is_part_of_what_a_stage_is(tmp_path: Path) -> None:
    """Counts made with the old words would be taken for counts made with the new."""
    path = tmp_path / "words.txt"
    path.write_text("a")
    stage = GopherQuality(words="unicode", dictionary=str(path))
    before = stage.identity()
    path.write_text("b")
    assert stage.identity() != before
    assert WordStage().model_files() == ()


def test_a_dictionary_in_another_encoding_is_named(tmp_path: Path) -> None:
    """Every row of the run would be an error of its own."""
    path = tmp_path / "words.txt"
    path.write_bytes("ä\n".encode("latin-1"))
    with pytest.raises(ResourceError, match=r"words\.txt is no file of words in UTF-8"):
        GopherQuality(words="unicode", dictionary=str(path))
    path.write_bytes(b"abc\n" * 50_000 + b"\xe4\n")
    GopherQuality(words="unicode", dictionary=str(path))
    with pytest.raises(ResourceError, match=r"words\.txt is no file of words in UTF-8"):
        words(Split(texts("a")), "unicode", str(path))
