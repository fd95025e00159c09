"""What a causal model says of each token, asked for one token at a time; and small models to ask.

One row, no padding, no cache, no batch: the last logits of a forward pass over all that a token may
see, and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)


def small_model(kind: str, vocab_size: int, context: int, seed: int = 0) -> Any:
    """Return a random model in evaluation mode: llama, gpt2, or mistral with a sliding window."""
    torch.manual_seed(seed)
    sizes = {"vocab_size": vocab_size, "hidden_size": 32, "num_hidden_layers": 2,
             "num_attention_heads": 2, "initializer_range": 0.3,
             "max_position_embeddings": context, "bos_token_id": 0, "eos_token_id": 0}  # fmt: skip
    if kind == "gpt2":
        return GPT2LMHeadModel(
            GPT2Config(vocab_size=vocab_size, n_embd=32, n_layer=2, n_head=2, n_positions=context,
                       initializer_range=0.3, bos_token_id=0, eos_token_id=0)
        ).eval()  # fmt: skip
    if kind == "mistral":
        config = MistralConfig(
            **sizes, intermediate_size=64, num_key_value_heads=1, sliding_window=7
        )
        return MistralForCausalLM(config).eval()
    return LlamaForCausalLM(LlamaConfig(**sizes, intermediate_size=64)).eval()


def token_nats(model: Any, seen: Sequence[int], token: int) -> tuple[float, bool]:
    """Return -ln P(token | seen), and whether it is the likeliest."""
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([list(map(int, seen))])).logits[0, -1].double()
    nats = float(logits.logsumexp(0) - logits[token])
    return nats, int(logits.argmax()) == token


def document_nats(
    model: Any, end_id: int, tokens: Sequence[int], context: int, stride: int
) -> float:
    """Return the nats of a document, each token in the first window that it falls into."""
    text = [end_id, *map(int, tokens)]
    total = 0.0
    for place in range(1, len(text)):
        begin = 0
        while begin + context < place:
            begin += stride
        total += token_nats(model, text[begin:place], text[place])[0]
    return total


def continuation(
    model: Any, end_id: int, prompt: Sequence[int], tokens: Sequence[int]
) -> tuple[float, bool]:
    """Return ln P(tokens | end mark, prompt), and whether greedy decoding yields them."""
    seen, total, greedy = [end_id, *prompt], 0.0, True
    for token in map(int, tokens):
        nats, best = token_nats(model, seen, token)
        seen, total, greedy = [*seen, token], total - nats, greedy and best
    return total, greedy


def bits(nats: float) -> float:
    return nats / math.log(2)
