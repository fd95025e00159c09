"""Models: presets, seeds, and folders that are read by others and refused when broken."""

from __future__ import annotations

import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, AutoTokenizer

from curation.errors import IntegrityError, RecipeError, ResourceError
from curation.mix.tokens import Tokenizer
from curation.train.model import (
    PRESETS,
    flops_per_token,
    new_model,
    open_checkpoint,
    open_model,
    parameter_count,
    save_checkpoint,
)
from tests.train.tiny import same, tiny_model, weights


@pytest.fixture
def tokenizer() -> Tokenizer:
    return Tokenizer.train(["a few words and a few more"], vocab_size=270)


@pytest.fixture
def checkpoint(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    model = new_model("0.5M", vocab_size=tokenizer.vocab_size, context=32, seed=0)
    save_checkpoint(model, tokenizer, tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


# ---------------------------------------------------------------- new models


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_as_large_as_its_name_says(name: str) -> None:
    """Every verdict names a size."""
    number = float(name[:-1]) * {"M": 1e6, "B": 1e9}[name[-1]]
    assert PRESETS[name].parameters == pytest.approx(number, rel=0.04)
    assert PRESETS[name].width % PRESETS[name].head_dim == 0


def test_a_preset_counts_its_parameters_as_the_model_does() -> None:
    """Laws of scale are fitted to this number."""
    model = new_model("1M", vocab_size=300, context=16, seed=0)
    assert parameter_count(model, embeddings=False) == PRESETS["1M"].parameters
    assert parameter_count(model) == PRESETS["1M"].parameters + 300 * PRESETS["1M"].width


def test_the_same_seed_makes_the_same_model_anywhere() -> None:
    """A base could not be made again on another machine."""
    one = new_model("0.5M", vocab_size=64, context=16, seed=5)
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.set_num_threads(2)
    torch.manual_seed(1)
    other = new_model("0.5M", vocab_size=64, context=16, seed=5)
    assert torch.equal(torch.rand(2), expected)
    layer = one.model.layers[0].self_attn
    assert not torch.equal(layer.q_proj.weight, layer.k_proj.weight)
    assert same(weights(one), weights(other))
    another = new_model("0.5M", vocab_size=64, context=16, seed=6)
    assert not same(weights(one), weights(another))
    first = one.model.embed_tokens.weight[0, :3].tolist()
    assert first == pytest.approx([-0.0683397, -0.11953547, -0.00361813], abs=1e-7)


def test_a_new_model_knows_nothing_yet() -> None:
    """A first loss far above that of a guess costs hundreds of steps."""
    model = new_model("0.5M", vocab_size=512, context=64, seed=0, end_id=3)
    token_BT1 = torch.randint(0, 512, (4, 65), generator=torch.Generator().manual_seed(0))
    logits_BTV = model(input_ids=token_BT1[:, :-1]).logits
    loss = functional.cross_entropy(logits_BTV.flatten(0, 1), token_BT1[:, 1:].flatten())
    assert loss.item() == pytest.approx(math.log(512), abs=0.35)
    assert model.config.eos_token_id == 3
    assert model.config.max_position_embeddings == 64
    std = model.model.layers[0].mlp.down_proj.weight.std().item()
    assert std == pytest.approx(math.sqrt(2 / (5 * 128) / 6), rel=0.05)


def test_an_unknown_preset_is_refused_with_the_nearest() -> None:
    """A typing error."""
    with pytest.raises(RecipeError) as caught:
        new_model("125m", vocab_size=10, context=8, seed=0)
    assert "125M" in caught.value.facts["remedy"]


@pytest.mark.parametrize("tied", [True, False])
def test_the_formula_counts_what_torch_counts(tied: bool) -> None:
    """A utilisation is only as right as the operations that it counts."""
    model = tiny_model(hidden_size=64, intermediate_size=96, num_hidden_layers=3)
    model.set_attn_implementation("eager")  # products that torch counts
    if not tied:
        model.config.tie_word_embeddings = False
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    token_BT = torch.zeros((2, 32), dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        logits_BTV = model(input_ids=token_BT).logits
        logits_BTV.sum().backward()
    vectors = sum(value.numel() for value in model.parameters() if value.ndim < 2)
    counted = counter.get_total_flops() / token_BT.numel()
    assert flops_per_token(model, 32) == counted + 6 * vectors


# ---------------------------------------------------------------- checkpoints


def test_transformers_reads_what_is_saved(checkpoint: Path, tokenizer: Tokenizer) -> None:
    """vLLM and the evaluation harness open checkpoints this way and no other."""
    model, words = open_checkpoint(checkpoint)
    theirs = AutoModelForCausalLM.from_pretrained(checkpoint)
    assert type(theirs).__name__ == "LlamaForCausalLM"
    assert same(weights(theirs), weights(model))
    config = json.loads((checkpoint / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert (checkpoint / "model.safetensors").exists()
    ids = AutoTokenizer.from_pretrained(checkpoint)("a few words")["input_ids"]
    assert ids == words.encode(["a few words"])[0].tolist()
    assert words.fingerprint == tokenizer.fingerprint


def test_any_architecture_of_transformers_is_opened(tmp_path: Path) -> None:
    """A base need not be a Llama."""
    from transformers import GPT2Config, GPT2LMHeadModel

    made = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=1, n_head=2, n_positions=8))
    save_checkpoint(made, None, tmp_path / "gpt2")
    found = open_model(tmp_path / "gpt2", precision="bfloat16")
    assert type(found).__name__ == "GPT2LMHeadModel"
    assert found.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda path: shutil.rmtree(path), "no checkpoint folder"),
        (lambda path: (path / "config.json").unlink(), "no config.json"),
        (lambda path: (path / "model.safetensors").unlink(), "no weights"),
    ],
)
def test_what_a_folder_lacks_is_named(checkpoint: Path, broken: Any, said: str) -> None:
    """transformers would look for it on the internet."""
    broken(checkpoint)
    for opened in (open_model, open_checkpoint):
        with pytest.raises(ResourceError, match=said) as caught:
            opened(checkpoint)
        assert caught.value.facts["remedy"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    """Somebody names the weights in place of the folder that they lie in."""
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ResourceError) as caught:
        open_model(tmp_path / "model.safetensors")
    assert caught.value.facts["found"] == "a file"


def test_a_checkpoint_without_a_tokenizer_wants_one(
    checkpoint: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """Text cannot be made into tokens with a vocabulary that is guessed."""
    (checkpoint / "tokenizer.json").unlink()
    open_model(checkpoint)
    with pytest.raises(ResourceError, match="has no tokenizer") as caught:
        open_checkpoint(checkpoint)
    assert "tokenizer=" in caught.value.facts["remedy"]
    tokenizer.save(tmp_path / "words")
    _, words = open_checkpoint(checkpoint, tokenizer=tmp_path / "words")
    assert words.fingerprint == tokenizer.fingerprint


def test_a_tokenizer_of_another_model_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    """Its ids would lie beyond the table of embeddings."""
    text = [" ".join(f"{n:x} word{n}" for n in range(900))]
    Tokenizer.train(text, vocab_size=400).save(tmp_path / "large")
    with pytest.raises(ResourceError, match="does not belong"):
        open_checkpoint(checkpoint, tokenizer=tmp_path / "large")


def test_weights_that_are_cut_off_are_refused(checkpoint: Path) -> None:
    """A copy that broke off."""
    path = checkpoint / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(IntegrityError, match="cannot be read"):
        open_model(checkpoint)


@pytest.mark.parametrize("fault", ["missing", "shape"])
def test_weights_of_another_model_are_refused(checkpoint: Path, fault: str) -> None:
    """transformers would draw what is missing at random, and say so in a line nobody reads."""
    tensors = load_file(checkpoint / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    value = tensors.pop(name)
    if fault == "shape":
        tensors[name] = value[:-1].clone()
    save_file(tensors, checkpoint / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(IntegrityError) as caught:
        open_model(checkpoint)
    assert "up_proj" in str(caught.value) or fault == "shape"


def test_saving_that_breaks_off_leaves_the_old_checkpoint(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk would take the last good model too."""
    before = weights(open_model(checkpoint))
    model = tiny_model()

    def full(*_: Any, **__: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(type(model), "save_pretrained", full)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(model, None, checkpoint)
    monkeypatch.undo()
    assert same(weights(open_model(checkpoint)), before)
    save_checkpoint(model, None, checkpoint)
    assert same(weights(open_model(checkpoint)), weights(model))
    assert not (checkpoint / "tokenizer.json").exists()
    assert os.listdir(checkpoint.parent) == ["checkpoint"]
