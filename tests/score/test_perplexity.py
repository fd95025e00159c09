from __future__ import annotations

import io
import json
import math
import pickle
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
import torch

from curation import BitsPerByte, Jsonl, Recipe, TextSize, domain_bits_per_byte
from curation.errors import RecipeError, ResourceError
from curation.mix.tokenizer import END, Tokenizer
from curation.score import perplexity
from curation.score.perplexity import loss_table
from curation.train.model import save_checkpoint
from tests.conftest import write_jsonl
from tests.oracles import bits as oracle
from tests.oracles.bits import small_model

TEXTS = [
    "The spot on Jupiter is a storm that has been seen for centuries.",
    "x",
    None,
    "",
    "Vénus tourne lentement 金星.",
    "Planets and moons and rings and storms. " * 6,
    f"A page that spells {END} in its text.",
]
ASKED = [n for n, text in enumerate(TEXTS) if text]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a random Llama that reads 96 tokens."""
    tokenizer = Tokenizer.train([text for text in TEXTS if text] * 3, vocab_size=320)
    path = tmp_path_factory.mktemp("model") / "small"
    save_checkpoint(small_model("llama", tokenizer.vocab_size, 96), tokenizer, path)
    return path


def batch(*texts: str | None) -> pa.RecordBatch:
    return pa.record_batch({"text": pa.array(texts, pa.large_string())})


def directly(folder: Path, text: str, context: int, stride: int) -> float:
    """Return the nats of a text by transformers alone, one token after another."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    words = AutoTokenizer.from_pretrained(folder)
    ids = words(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return oracle.document_nats(model, words.eos_token_id, ids, context, stride)


@pytest.mark.parametrize(
    ("context", "stride", "batch_tokens"), [(0, 0, 0), (96, 0, 100), (16, 16, 1), (16, 5, 64)]
)
def test_bits_are_those_of_transformers_one_token_at_a_time(
    context: int, stride: int, batch_tokens: int, folder: Path
) -> None:
    """Padding or windows that leak into a value would choose documents by their length."""
    stage = BitsPerByte(
        model=str(folder), context=context, stride=stride, batch_tokens=batch_tokens, device="cpu"
    )
    made = stage.annotate(batch(*TEXTS))
    assert made.schema == stage.writes
    context = context or 96
    nats = [directly(folder, TEXTS[n] or "", context, stride or context // 2) for n in ASKED]
    sizes = [len((TEXTS[n] or "").encode()) for n in ASKED]
    found = [made["lm_bits_per_byte"][n].as_py() for n in ASKED]
    wanted = [total / math.log(2) / size for total, size in zip(nats, sizes, strict=True)]
    assert found == pytest.approx(wanted, rel=1e-5)
    totals = [made["lm_loss"][n].as_py() * made["lm_tokens"][n].as_py() for n in ASKED]
    assert totals == pytest.approx(nats, rel=1e-5)


def test_a_text_without_bytes_has_no_value_and_one_alone_has_the_same(folder: Path) -> None:
    """An empty page would be the likeliest of all; company in a batch would change a score."""
    stage = BitsPerByte(model=str(folder), device="cpu")
    whole = stage.annotate(batch(*TEXTS))
    for name in stage.writes.names:
        assert [value is None for value in whole[name].to_pylist()] == [not t for t in TEXTS]
    for n in ASKED:
        alone = stage.annotate(batch(TEXTS[n]))
        assert alone["lm_loss"][0].as_py() == pytest.approx(whole["lm_loss"][n].as_py(), rel=1e-5)
    assert len(stage.annotate(batch())) == 0
    assert stage.annotate(batch(None, ""))["lm_loss"].null_count == 2


def test_pieces_hold_every_row_with_text_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch larger than a piece would lose rows, or write one row's value to another."""
    texts = [*TEXTS, *(f"page {n} " * (n % 7) for n in range(40))]
    stage = BitsPerByte(model=str(folder), device="cpu")
    whole = stage.annotate(batch(*texts))
    monkeypatch.setattr(perplexity, "_PIECE_BYTES", 100)
    text = batch(*texts)["text"]
    rows = [row for piece in perplexity._pieces(text) for row in piece.tolist()]
    assert sorted(rows) == [n for n, text in enumerate(texts) if text]
    again = stage.annotate(batch(*texts))
    assert again["lm_tokens"].equals(whole["lm_tokens"])
    losses = [made["lm_loss"].drop_null().to_pylist() for made in (again, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_folder_without_a_part_is_refused_before_the_run(folder: Path, tmp_path: Path) -> None:
    """A missing tokenizer found in the tenth hour costs ten hours."""
    with pytest.raises(ResourceError, match="no folder with a language model"):
        BitsPerByte(model=str(tmp_path / "none"))
    for absent in ("config.json", "tokenizer.json"):
        part = tmp_path / absent.partition(".")[0]
        part.mkdir()
        for path in folder.iterdir():
            if path.name != absent:
                (part / path.name).write_bytes(path.read_bytes())
        with pytest.raises(ResourceError, match=f"no {absent}"):
            BitsPerByte(model=str(part))
    (part / "config.json").write_text("{")
    (part / "tokenizer.json").write_text("{}")
    with pytest.raises(ResourceError, match="cannot be read"):
        BitsPerByte(model=str(part))


class _Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("trap-was-sprung"),))


def saved(value: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(pickle.dumps(_Trap(), 2), id="code"),
        pytest.param(pickle.dumps({"weight": _Trap()}, 2), id="code inside"),
        pytest.param(b"", id="empty"),
        pytest.param(b"hello, world", id="text"),
        pytest.param(b"\x80", id="a byte"),
        pytest.param(saved([1, 2]), id="a list"),
    ],
)
def test_weights_that_hold_code_or_are_damaged_are_refused(
    data: bytes, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sends a model would run their code, or the run would end in torch's traceback."""
    monkeypatch.chdir(tmp_path)
    bad = tmp_path / "bad"
    bad.mkdir()
    for path in folder.iterdir():
        if path.suffix != ".safetensors":
            (bad / path.name).write_bytes(path.read_bytes())
    (bad / "pytorch_model.bin").write_bytes(data)
    with pytest.raises(ResourceError, match="weights of a language model cannot be read") as told:
        BitsPerByte(model=str(bad), device="cpu").annotate(batch("a text"))
    assert told.value.facts["path"] == str(bad)
    assert "safetensors" in told.value.facts["remedy"]
    assert not (tmp_path / "trap-was-sprung").exists()


def test_faults_that_are_not_of_the_weights_are_not_laid_on_them(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug would be taken for a bad download."""
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)

    def failing(*_: Any, **__: Any) -> None:
        raise TypeError("a bug")

    monkeypatch.setattr("curation.train.model.open_checkpoint", failing)
    with pytest.raises(TypeError, match="a bug"):
        BitsPerByte(model=str(copy), device="cpu").annotate(batch("a text"))


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"context": -1}, "0 tokens or more"),
        ({"context": 97}, "longer than the model's own"),
        ({"context": 8, "stride": 9}, "beyond the context"),
        ({"precision": "float8"}, "precision|bfloat16"),
        ({"device": "gpu"}, "device"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    settings: dict[str, Any], what: str, folder: Path
) -> None:
    """The run would end at its first document."""
    with pytest.raises(RecipeError, match=what):
        BitsPerByte(model=str(folder), **settings)


def test_where_it_is_computed_is_no_part_of_what_it_is(folder: Path, tmp_path: Path) -> None:
    """A corpus scored on one machine would be scored again on the next; a new model would not."""
    one = BitsPerByte(model=str(folder), device="cpu", batch_tokens=7).identity()
    assert one == BitsPerByte(model=str(folder)).identity()
    assert one != BitsPerByte(model=str(folder), context=20).identity()
    assert BitsPerByte(model=str(folder)).model_files() == (str(folder),)


# ---------------------------------------------------------------- domains

ROWS = pl.DataFrame(
    {
        "source": ["a", "a", "b", None, "a"],
        "lm_loss": [2.0, 4.0, 1.0, 9.0, None],
        "lm_tokens": pl.Series([10, 30, 5, 1, None], dtype=pl.UInt64),
        "text_bytes": pl.Series([40, 60, 10, 9, 0], dtype=pl.UInt64),
    }
)


def test_a_domain_is_weighed_by_its_tokens() -> None:
    """A mean of documents' values would let a menu of ten words count as much as an article."""
    found = domain_bits_per_byte(ROWS, "source")
    assert found["domain"].to_list() == ["a", "b"]
    assert found["documents"].to_list() == [2, 1]
    assert found["tokens"].to_list() == [40, 5]
    assert found["bytes"].to_list() == [100, 10]
    assert found["bits_per_byte"].to_list() == pytest.approx(
        [140 / 100 / math.log(2), 5 / 10 / math.log(2)]
    )


def test_the_published_weights_count_the_mark_before_a_document() -> None:
    """Values would not be those that the published package makes of the same losses."""
    # domain loss = sum(T loss) / sum(T); value = sum(T) / bytes * loss / ln 2, T with the mark
    found = domain_bits_per_byte(ROWS.lazy(), "source", published=True)
    tokens, losses = [11, 31], [2.0, 4.0]
    loss = sum(t * n for t, n in zip(tokens, losses, strict=True)) / sum(tokens)
    assert found["bits_per_byte"][0] == pytest.approx(sum(tokens) / 100 * loss / math.log(2))


def test_the_order_of_rows_does_not_show_in_a_domain() -> None:
    """Two shardings of one corpus would choose different domains."""
    rows = pl.DataFrame(
        {
            "source": ["a", "b"] * 500,
            "lm_loss": [n**0.5 for n in range(1000)],
            "lm_tokens": list(range(1, 1001)),
            "text_bytes": [n % 97 + 1 for n in range(1000)],
        }
    )
    shuffled = rows.sample(fraction=1, shuffle=True, seed=1)
    assert domain_bits_per_byte(rows, "source").equals(domain_bits_per_byte(shuffled, "source"))


def test_models_and_domains_become_a_table() -> None:
    """A domain that one model did not read would take another domain's loss."""
    one = domain_bits_per_byte(ROWS, "source")
    table = loss_table({"small": one, "large": one.filter(pl.col("domain") == "b")})
    assert table.columns == ["id", "small", "large"]
    assert table["id"].to_list() == ["a", "b"]
    assert table["large"].to_list() == [None, one["bits_per_byte"][1]]
    with pytest.raises(RecipeError, match="needs a model"):
        loss_table({})


def test_a_build_gives_values_of_its_domains(folder: Path, tmp_path: Path) -> None:
    """The whole way: documents, a model, domains."""
    texts = [(str(n % 2), text) for n, text in enumerate(TEXTS) if text]
    path = write_jsonl(tmp_path / "in.jsonl", [{"text": t, "source": s} for s, t in texts])
    steps = [TextSize(), BitsPerByte(model=str(folder), device="cpu")]
    recipe = Recipe(source=Jsonl(str(path), source_field="source"), steps=steps)
    build = recipe.run(store=tmp_path / "store", workers=0)
    found = domain_bits_per_byte(build, "source")
    assert found["domain"].to_list() == ["0", "1"]
    for domain, value in found.select("domain", "bits_per_byte").rows():
        mine = [text for source, text in texts if source == domain]
        nats = sum(directly(folder, text, 96, 48) for text in mine)
        size = sum(len(text.encode()) for text in mine)
        assert value == pytest.approx(nats / math.log(2) / size, rel=1e-5)
    with pytest.raises(RecipeError, match="'text_bytes'"):
        domain_bits_per_byte(ROWS.drop("text_bytes"), "source")
    assert json.loads((folder / "config.json").read_text())["max_position_embeddings"] == 96
