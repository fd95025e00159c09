"""How much a model repeats itself when it goes on with prompts, the likeliest token at each step.

A model that has been trained on one narrow or often repeated text falls into loops long before its
loss on other text shows it.

Arrays end in B (rows of a batch), T (places of prompts, padded on the left) or N (new tokens).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from curation.errors import RecipeError

if TYPE_CHECKING:
    from curation.mix.tokenizer import Tokenizer

#: Lengths of n-grams: of the shares repeated, and of the shares that are distinct.
REPEATED = (2, 3, 4)
DISTINCT = (1, 2, 3)

Tokens = tuple[int, ...]


def repetition(
    model: Any,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    *,
    new_tokens: int = 64,
    context: int | None = None,
    batch_sequences: int = 32,
) -> dict[str, float]:
    """Return what continuations of prompts repeat, for ``Evaluation.facts``.

    A prompt stands behind the end mark, as a document does in training. A continuation ends before
    the model's own end mark, or after ``new_tokens`` tokens.

    context  most tokens that the model reads; its config says it where None
    returns  repetition/rep_N       share of a continuation's n-grams that it had before, the mean
                                    over continuations of N tokens and more; none where none is
             repetition/distinct_N  share of the n-grams of all continuations that are different;
                                    none where there is no n-gram
             repetition/continuations, repetition/too_long
                                    prompts that were used, and those too long to go on with
             repetition/ended_frac  share of continuations that the model ended by itself
    source   Welleck et al. 2019, arXiv:1908.04319 (seq-rep-n); Li et al. 2016, arXiv:1510.03055
             (distinct-n)
    """
    told = context or getattr(model.config, "max_position_embeddings", None)
    for name, value in (("new_tokens", new_tokens), ("batch_sequences", batch_sequences)):
        if value < 1:
            raise RecipeError(f"repetition takes no such {name}.", found=f"{name}={value}")
    if told is not None and new_tokens >= told:
        raise RecipeError(
            "no prompt leaves room for so many new tokens.",
            found=f"new_tokens={new_tokens}, context of {told} tokens",
            remedy="ask for fewer new tokens",
        )
    encoded = [(tokenizer.end_id, *map(int, ids)) for ids in tokenizer.encode(list(prompts))]
    fitting = [ids for ids in encoded if told is None or len(ids) + new_tokens <= told]
    if not fitting:
        raise RecipeError(
            "repetition has no prompt that it can go on with.",
            found=f"{len(prompts)} prompts, {len(encoded)} too long",
            remedy="give shorter prompts, or ask for fewer new tokens",
        )
    made = continuations(
        model,
        fitting,
        end_id=tokenizer.end_id,
        new_tokens=new_tokens,
        batch_sequences=batch_sequences,
    )
    facts = {f"repetition/{name}": value for name, value in repeated_shares(made).items()}
    facts["repetition/continuations"] = float(len(made))
    facts["repetition/too_long"] = float(len(encoded) - len(fitting))
    facts["repetition/ended_frac"] = sum(len(own) < new_tokens for own in made) / len(made)
    return facts


def repeated_shares(continuations: Sequence[Tokens]) -> dict[str, float]:
    """Return rep_N and distinct_N of continuations, as ``repetition`` says."""
    facts = {}
    for n in REPEATED:
        shares = [
            1 - len({*grams}) / len(grams) for own in continuations if (grams := _grams(own, n))
        ]
        if shares:
            facts[f"rep_{n}"] = sum(shares) / len(shares)
    for n in DISTINCT:
        grams = [gram for own in continuations for gram in _grams(own, n)]
        if grams:
            facts[f"distinct_{n}"] = len({*grams}) / len(grams)
    return facts


def _grams(tokens: Tokens, n: int) -> list[Tokens]:
    return [tokens[at : at + n] for at in range(len(tokens) - n + 1)]


def continuations(
    model: Any,
    prompts: Sequence[Tokens],
    *,
    end_id: int,
    new_tokens: int,
    batch_sequences: int,
) -> list[Tokens]:
    """Return the likeliest next tokens behind each prompt, without the end mark they end with.

    Prompts of like length share a batch. What is in a batch with a prompt does not change its
    continuation, but for two tokens that are equally likely to within rounding.
    """
    order = sorted(range(len(prompts)), key=lambda n: (len(prompts[n]), n))
    made: list[Tokens] = [()] * len(prompts)
    with _greedy(model, end_id, new_tokens) as settings, torch.inference_mode():
        for start in range(0, len(order), batch_sequences):
            chosen = order[start : start + batch_sequences]
            prompt_BT, mask_BT = _padded([prompts[n] for n in chosen], end_id)
            whole = model.generate(
                prompt_BT.to(model.device),
                attention_mask=mask_BT.to(model.device),
                generation_config=settings,
            )
            new_BN = whole[:, prompt_BT.shape[1] :].tolist()
            for n, tokens in zip(chosen, new_BN, strict=True):
                stop = tokens.index(end_id) if end_id in tokens else len(tokens)
                made[n] = tuple(tokens[:stop])
    return made


def _padded(prompts: Sequence[Tokens], fill: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return int64[B, T] prompts that end together, and int64[B, T], 0 where one is padded."""
    longest = max(len(ids) for ids in prompts)
    prompt_BT = torch.full((len(prompts), longest), fill, dtype=torch.int64)
    mask_BT = torch.zeros_like(prompt_BT)
    for row, ids in enumerate(prompts):
        prompt_BT[row, longest - len(ids) :] = torch.tensor(ids)
        mask_BT[row, longest - len(ids) :] = 1
    return prompt_BT, mask_BT


@contextmanager
def _greedy(model: Any, end_id: int, new_tokens: int) -> Iterator[Any]:
    """Yield generation settings, the model's own put away: a checkpoint may bring a penalty."""
    from transformers import GenerationConfig

    own, training = model.generation_config, model.training
    model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
    model.eval()
    try:
        yield GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=False,
            num_beams=1,
            max_new_tokens=new_tokens,
            eos_token_id=end_id,
            pad_token_id=end_id,
        )
    finally:
        model.generation_config = own
        model.train(training)
