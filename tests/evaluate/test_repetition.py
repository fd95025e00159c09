from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from curation.errors import RecipeError
from curation.evaluate.repetition import continuations, repeated_shares, repetition

VOCABULARY = 64


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """So small a model only waits for its threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Letters:
    """A token for each letter; the end mark is 0."""

    end_id = 0

    def encode(self, texts: Sequence[str]) -> list[np.ndarray[Any, Any]]:
        return [np.array([ord(c) % 60 + 1 for c in text], dtype=np.int32) for text in texts]


def llama(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        max_position_embeddings=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
    )
    config.initializer_range = 0.5
    return LlamaForCausalLM(config)


def gpt2() -> Any:
    torch.manual_seed(1)
    config = GPT2Config(vocab_size=VOCABULARY, n_positions=64, n_embd=32, n_layer=2, n_head=2)
    config.initializer_range = 0.5
    return GPT2LMHeadModel(config)


def slow(model: Any, prompt: Sequence[int], new_tokens: int) -> tuple[int, ...]:
    """Return the likeliest tokens, the whole text read anew for each."""
    tokens, made = list(prompt), list[int]()
    model.eval()
    for _ in range(new_tokens):
        with torch.no_grad():
            made.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
        if made[-1] == 0:
            return tuple(made[:-1])
        tokens.append(made[-1])
    return tuple(made)


PROMPTS = [(0,), (0, 5, 9, 7), (0, 1), (0, *range(3, 23)), (0, 8, 8, 8, 2, 2), (0, 44)]


@pytest.mark.parametrize("make", [llama, gpt2])
@pytest.mark.parametrize("batch", [1, 4, 6])
def test_continuations_are_the_likeliest_whatever_the_batch(make: Any, batch: int) -> None:
    """What a model says would depend on which prompts it was asked beside."""
    model = make()
    made = continuations(model, PROMPTS, end_id=0, new_tokens=12, batch_sequences=batch)
    assert made == [slow(model, prompt, 12) for prompt in PROMPTS]
    assert len({*made}) > 3


def test_a_continuation_stops_before_the_end_mark() -> None:
    """Padding behind the end would be counted as a loop."""
    model = llama()
    free = continuations(model, PROMPTS, end_id=0, new_tokens=12, batch_sequences=6)
    end = free[1][4]
    made = continuations(model, PROMPTS, end_id=end, new_tokens=12, batch_sequences=6)
    assert made[1] == free[1][: free[1].index(end)]
    assert all(end not in own for own in made)


def test_a_model_s_own_settings_do_not_count_and_are_kept() -> None:
    """A checkpoint that brings a repetition penalty would seem to repeat nothing."""
    model = llama()
    plain = continuations(model, PROMPTS, end_id=0, new_tokens=12, batch_sequences=6)
    own = model.generation_config
    own.repetition_penalty, own.do_sample, own.num_beams, own.min_new_tokens = 5.0, True, 3, 12
    model.train()
    assert continuations(model, PROMPTS, end_id=0, new_tokens=12, batch_sequences=6) == plain
    assert model.generation_config is own
    assert model.training


def test_the_facts_are_those_of_the_papers() -> None:
    """Numbers could not be compared with anybody else's."""
    facts = repeated_shares([(1, 2, 1, 2, 1, 2), (3, 4, 5, 6), (7,)])
    assert facts["rep_2"] == pytest.approx(((1 - 2 / 5) + 0) / 2)
    assert facts["rep_3"] == pytest.approx(((1 - 2 / 4) + 0) / 2)
    assert facts["rep_4"] == pytest.approx(((1 - 2 / 3) + 0) / 2)
    assert facts["distinct_1"] == pytest.approx(7 / 11)
    assert facts["distinct_2"] == pytest.approx((2 + 3) / (5 + 3))
    assert facts["distinct_3"] == pytest.approx((2 + 2) / (4 + 2))
    assert repeated_shares([(), (1,)]) == {"distinct_1": 1.0}


@given(st.lists(st.lists(st.integers(0, 3), max_size=12).map(tuple), max_size=6), st.randoms())
def test_shares_lie_between_none_and_all(made: list[tuple[int, ...]], random: Any) -> None:
    """A share below 0 or of another order of prompts would be no share."""
    facts = repeated_shares(made)
    assert all(0 <= value <= 1 for value in facts.values())
    random.shuffle(made)
    again = repeated_shares(made)
    assert again == pytest.approx(facts)
    assert ("rep_4" in facts) == any(len(own) >= 4 for own in made)


def test_repetition_counts_what_it_leaves_out() -> None:
    """Prompts cut without a word would be other prompts."""
    model = llama()
    texts = ["abc", "x" * 54, "", "hello"]
    facts = repetition(model, Letters(), texts, new_tokens=10, batch_sequences=2)  # type: ignore[arg-type]
    assert facts["repetition/continuations"] == 3
    assert facts["repetition/too_long"] == 1
    fits = repetition(model, Letters(), ["x" * 53], new_tokens=10)  # type: ignore[arg-type]
    assert fits["repetition/too_long"] == 0
    tokens = [(0, *map(int, ids)) for ids in Letters().encode(["abc", "", "hello"])]
    made = [slow(model, ids, 10) for ids in tokens]
    assert facts["repetition/rep_2"] == pytest.approx(repeated_shares(made)["rep_2"])
    assert facts["repetition/ended_frac"] == sum(len(own) < 10 for own in made) / 3
    again = repetition(model, Letters(), texts[::-1], new_tokens=10)  # type: ignore[arg-type]
    assert again == pytest.approx(facts)


def test_prompts_that_cannot_be_gone_on_with_are_refused() -> None:
    """A panel would end in an index error deep in another library."""
    model = llama()
    for given_, said in (
        ({"new_tokens": 0}, "new_tokens"),
        ({"batch_sequences": 0}, "batch_sequences"),
        ({"new_tokens": 64}, "room"),
        ({"context": 3, "new_tokens": 2}, "no prompt that"),
    ):
        with pytest.raises(RecipeError, match=said):
            repetition(model, Letters(), ["abc"], **given_)  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="no prompt that"):
        repetition(model, Letters(), [], new_tokens=8)  # type: ignore[arg-type]
