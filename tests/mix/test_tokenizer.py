from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from curation.errors import RecipeError, ResourceError
from curation.mix.tokenizer import END, Tokenizer
from tests.mix.token_sets import TEXTS, byte_tokenizer, tokenizer
from tests.oracles.text import hard_text

MARKED = f"before {END} after"


@settings(deadline=None)  # the first call trains
@given(hard_text)
def test_every_text_comes_back(text: str) -> None:
    """Whoever reads what was trained on would read something else than the corpus."""
    [ids] = tokenizer().encode([text])
    assert ids.dtype == np.int32
    assert tokenizer().decode(ids) == text


@settings(deadline=None)  # the first call trains
@given(hard_text)
def test_without_merges_a_token_is_a_byte(text: str) -> None:
    """A byte that shares a token or has none could not be told from another."""
    [ids] = byte_tokenizer().encode([text])
    assert len(ids) == len(text.encode())
    assert not len(ids) or (ids.min() >= 1 and ids.max() < 257)


def test_the_end_mark_is_the_first_token_and_the_vocabulary_as_asked() -> None:
    """A model would have rows for tokens that never come, or none for one that does."""
    assert (tokenizer().end_id, tokenizer().vocab_size) == (0, 300)
    assert Tokenizer.train(["ab ab"], vocab_size=1000).vocab_size < 1000
    assert max(ids.max() for ids in tokenizer().encode(TEXTS)) < 300


def test_training_twice_gives_one_vocabulary() -> None:
    """Every cached token set and model would be made again, or two differ under one name."""
    again = Tokenizer.train(iter(TEXTS * 3), vocab_size=300)
    assert again.fingerprint == tokenizer().fingerprint
    other = Tokenizer.train(TEXTS, vocab_size=301)
    assert other.fingerprint != tokenizer().fingerprint


def test_a_page_cannot_end_its_own_document() -> None:
    """A page about language models would be cut in two where it spells the end mark."""
    [ids] = tokenizer().encode([MARKED])
    assert tokenizer().end_id not in ids
    assert tokenizer().decode(ids) == MARKED


def test_saved_and_opened_it_is_the_same(tmp_path: Path) -> None:
    """A checkpoint's tokenizer would not be the one that it was trained with."""
    tokenizer().save(tmp_path / "model")
    for path in (tmp_path / "model", tmp_path / "model" / "tokenizer.json"):
        opened = Tokenizer.open(path)
        assert opened.fingerprint == tokenizer().fingerprint
        assert opened.encode([MARKED])[0].tolist() == tokenizer().encode([MARKED])[0].tolist()
    opened.save(tmp_path / "again")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "again" / name).read_text() == (tmp_path / "model" / name).read_text()
    copy = pickle.loads(pickle.dumps(opened))
    assert copy.fingerprint == opened.fingerprint
    assert copy.encode([MARKED])[0].tolist() == opened.encode([MARKED])[0].tolist()


def test_transformers_reads_it_and_gives_the_same_ids(tmp_path: Path) -> None:
    """What a harness feeds the model would not be what it was trained on."""
    transformers = pytest.importorskip("transformers")
    tokenizer().save(tmp_path)
    transformers.LlamaConfig(vocab_size=300).save_pretrained(tmp_path)
    auto = transformers.AutoTokenizer.from_pretrained(tmp_path)
    texts = [*TEXTS, " two  spaces\n\n\ttab", "caf\xe9 \u4e16\u754c \U0001f600", "<s> </s>", ""]
    assert [auto(text)["input_ids"] for text in texts] == [
        ids.tolist() for ids in tokenizer().encode(texts)
    ]
    assert auto.eos_token_id == auto.bos_token_id == auto.pad_token_id == 0
    assert auto.decode(tokenizer().encode(TEXTS)[0]) == TEXTS[0]
    assert 0 in auto(MARKED)["input_ids"]  # theirs takes the spelling for the mark
    split = auto(MARKED, split_special_tokens=True)["input_ids"]
    assert split == tokenizer().encode([MARKED])[0].tolist()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer_config.json", {"eos_token": "z"}),
        ("tokenizer_config.json", {"eos_token": {"content": "z", "lstrip": False}}),
        ("special_tokens_map.json", {"eos_token": {"content": "z"}}),
        ("config.json", {"eos_token_id": [90, 5]}),
        ("generation_config.json", {"eos_token_id": 90}),
    ],
)
def test_a_checkpoint_says_what_ends_a_document(
    tmp_path: Path, name: str, content: dict[str, object]
) -> None:
    """A model that learned another mark would never end what it writes."""
    tokenizer().save(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    (tmp_path / name).write_text(json.dumps(content))
    opened = Tokenizer.open(tmp_path)
    [[z]] = tokenizer().encode(["z"])
    assert opened.end_id == z
    assert opened.fingerprint != tokenizer().fingerprint
    opened.save(tmp_path / "saved")
    assert Tokenizer.open(tmp_path / "saved").end_id == z


def test_what_ends_a_document_is_saved_where_it_was_not_said(tmp_path: Path) -> None:
    """A generation with the saved model would not know where to stop."""
    tokenizer().save(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"model_max_length": 64}')
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    (tmp_path / "config.json").write_text('{"eos_token_id": 90}')
    Tokenizer.open(tmp_path).save(tmp_path / "saved")
    assert Tokenizer.open(tmp_path / "saved").end_id == 90
    config = json.loads((tmp_path / "saved" / "tokenizer_config.json").read_text())
    assert config["eos_token"] == tokenizer().decode([90])
    assert config["model_max_length"] == 64
    assert (tmp_path / "saved" / "chat_template.jinja").read_text() == "{{ messages }}"


def test_truncation_in_a_checkpoint_cuts_nothing(tmp_path: Path) -> None:
    """Documents would end after so many tokens, without a word."""
    tokenizer().save(tmp_path)
    file = tmp_path / "tokenizer.json"
    facts = json.loads(file.read_text())
    facts["truncation"] = {
        "direction": "Right",
        "max_length": 2,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    file.write_text(json.dumps(facts))
    assert Tokenizer.open(tmp_path).decode(Tokenizer.open(tmp_path).encode(TEXTS)[0]) == TEXTS[0]
    assert Tokenizer.open(tmp_path).fingerprint == tokenizer().fingerprint


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody with a folder that lacks a file would look for it in a library's traceback."""
    with pytest.raises(ResourceError, match="no tokenizer at") as error:
        Tokenizer.open(tmp_path)
    assert "tokenizer.json" in error.value.facts["remedy"]
    with pytest.raises(ResourceError, match="no tokenizer at"):
        Tokenizer.open(tmp_path / "absent")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ResourceError, match="cannot be read"):
        Tokenizer.open(tmp_path)
    tokenizer().save(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "</s>"}')
    with pytest.raises(ResourceError, match="end mark"):
        Tokenizer.open(tmp_path)
    with pytest.raises(RecipeError, match="every byte"):
        Tokenizer.train(TEXTS, vocab_size=256)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ResourceError, match="not installed") as error:
        Tokenizer.train(TEXTS, vocab_size=300)
    assert "curation[train]" in error.value.facts["remedy"]
