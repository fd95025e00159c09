"""A Llama of a few thousand random parameters in a folder, with a tokenizer made on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

#: Each message on a line of its own, and then whose turn it is.
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_TEXTS = [
    "The patient was given 40 mg of the medicine twice a day for two weeks, and felt better.",
    "An attacker who can reach the port may read files of the server; update to version 2.4.",
    '{"name": "value", "count": 12, "list": [1, 2, 3], "is_true": false}',
]


def write_llama(folder: Path, *, length: int = 128, template: bool = True, **sizes: Any) -> Path:
    """Save the model, in float32, and its tokenizer; the same for the same arguments."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = write_tokenizer(folder, template=template)
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    config = LlamaConfig(
        **{**shape, **sizes},
        num_attention_heads=2,
        num_key_value_heads=2,
        vocab_size=len(tokenizer),
        max_position_embeddings=length,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,
        initializer_range=0.3,  # random logits that are well apart
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def write_tokenizer(folder: Path, *, template: bool = True) -> Any:
    """Save a byte-level tokenizer, of which no text is unknown."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(_TEXTS, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|end|>")
    tokenizer.chat_template = TEMPLATE if template else None
    tokenizer.save_pretrained(folder)
    return tokenizer
