"""Small models by transformers: what is said, where it ends, and that no row depends on others."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from curation.annotate.model import Reply, Request
from curation.errors import ResourceError
from curation.rewrite import pool
from curation.rewrite.client import TransformersModel
from tests.rewrite.llama import write_llama

PROMPTS = [
    "The patient",
    "An attacker who can reach the port may read files of the server, and so on and on.",
    "12",
    "Update to version 2.4 of the medicine twice a day",
    "é ü 漢字",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield write_llama(tmp_path_factory.mktemp("models") / "tiny")
    pool.close_all()


def model_of(folder: Path, **settings: Any) -> TransformersModel:
    return TransformersModel(model=str(folder), **settings)


def asked(text: str, **settings: Any) -> Request:
    return Request(messages=(("user", text),), **{"max_tokens": 12, **settings})


def one(folder: Path, text: str, *, temperature: float = 0.0, seed: int = 0, **ask: Any) -> Reply:
    (reply,) = model_of(folder, temperature=temperature, seed=seed).generate([asked(text, **ask)])
    return reply


def by_hand(folder: Path, text: str, tokens: int) -> tuple[list[int], list[Any], int]:
    """Return the likeliest continuation, the first token's alternatives, the prompt's length."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    prompt = tokenizer.encode(f"<|user|>{text}\n<|assistant|>", add_special_tokens=False)
    made, first = list(prompt), []
    with torch.inference_mode():
        for _ in range(tokens):
            logprob_V = model(torch.tensor([made])).logits[0, -1].log_softmax(-1)
            if not first:
                value, token = logprob_V.topk(3)
                named = [tokenizer.decode([int(one)]) for one in token]
                first = list(zip(named, value.tolist(), strict=True))
            made.append(int(logprob_V.argmax()))
    return made[len(prompt) :], first, len(prompt)


def test_the_likeliest_reply_is_the_models_own(folder: Path) -> None:
    """Another template, padding or penalty would be another model."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text in PROMPTS[:3]:
        wanted, first, prompt = by_hand(folder, text, 12)
        reply = one(folder, text, top_logprobs=3)
        assert reply.text == tokenizer.decode(wanted)
        assert (reply.finish, reply.prompt_tokens, reply.completion_tokens) == (
            "length",
            prompt,
            12,
        )
        assert [token for token, _ in reply.first_logprob] == [token for token, _ in first]
        found = [logprob for _, logprob in reply.first_logprob]
        assert found == pytest.approx([logprob for _, logprob in first], abs=1e-4)


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_a_reply_is_the_same_in_every_batch(folder: Path, temperature: float) -> None:
    """A run with other neighbours or fewer rows would write another corpus."""
    requests = [asked(text, top_p=0.9, max_tokens=6 + 2 * n) for n, text in enumerate(PROMPTS)]
    model = model_of(folder, temperature=temperature, seed=5)
    alone = [model.generate([request])[0] for request in requests]
    assert model.generate(requests) == alone
    assert model.generate(requests[::-1]) == alone[::-1]
    assert len({reply.text for reply in alone}) == len(PROMPTS)


def test_a_seed_decides_what_is_drawn(folder: Path) -> None:
    """A second attempt would be the first again, or a run would not be repeatable."""
    draws = [one(folder, "12", temperature=1.0, seed=seed).text for seed in range(6)]
    assert len({*draws}) > 3
    assert draws == [one(folder, "12", temperature=1.0, seed=seed).text for seed in range(6)]
    assert one(folder, "12", temperature=1.0, seed=2, attempt=3).text == draws[5]
    assert one(folder, "12", temperature=1.0, seed=3, top_p=0.0).text == one(folder, "12").text


def test_tokens_are_drawn_by_their_probability(folder: Path) -> None:
    """A temperature would be another than the one that was set."""
    tops = one(folder, "12", max_tokens=1, top_logprobs=400).first_logprob
    prob = {token: math.exp(logprob) for token, logprob in tops}
    likeliest = max(prob, key=prob.__getitem__)
    model = model_of(folder, temperature=1.0)
    replies = model.generate([asked("12", attempt=n, max_tokens=1) for n in range(150)])
    drawn = [reply.text for reply in replies]
    share, wanted = drawn.count(likeliest) / 150, prob[likeliest]
    assert 0.05 < wanted < 0.95
    assert abs(share - wanted) < 4 * math.sqrt(wanted * (1 - wanted) / 150)


def test_a_reply_ends_before_its_stop_string(folder: Path) -> None:
    """What follows would be kept as part of the text."""
    whole = one(folder, "The patient", max_tokens=20)
    stop = whole.text[7:9]
    cut = one(folder, "The patient", max_tokens=20, stop=("nowhere", stop))
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish == "stop"
    assert 0 < cut.completion_tokens < 20


def test_a_reply_ends_with_the_models_end_of_text(folder: Path, tmp_path: Path) -> None:
    """Padding would be read as text, and a whole reply as a cut one."""
    from transformers import AutoTokenizer

    other = Path(shutil.copytree(folder, tmp_path / "ends"))
    whole = [by_hand(folder, text, 20)[0] for text in PROMPTS]
    end = whole[2][2]
    for name in ("config.json", "generation_config.json"):
        facts = json.loads((other / name).read_text())
        (other / name).write_text(json.dumps({**facts, "eos_token_id": end}))
    replies = model_of(other).generate([asked(text, max_tokens=20) for text in PROMPTS])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for tokens, reply in zip(whole, replies, strict=True):
        count = tokens.index(end) if end in tokens else 20
        assert reply.text == tokenizer.decode(tokens[:count])
        assert reply.finish == ("stop" if count < 20 else "length")
        assert reply.completion_tokens == min(count + 1, 20)
    assert {reply.finish for reply in replies} == {"stop", "length"}


def test_a_prompt_that_is_too_long_is_its_rows_error(folder: Path) -> None:
    """One long document would end the batch."""
    replies = model_of(folder).generate([asked("12"), asked("long " * 200), asked("é")])
    assert [reply.error is None for reply in replies] == [True, False, True]
    assert "tokens, and the model takes 128 with the reply" in str(replies[1].error)
    assert "chunks" in str(replies[1].error)


def test_without_a_template_the_messages_are_laid_end_to_end(tmp_path: Path) -> None:
    """A base model could not be asked."""
    folder = write_llama(tmp_path / "base", template=False)
    messages = (("system", "Be brief."), ("user", "12"))
    model = model_of(folder, max_tokens=40)
    (reply,) = model.generate([Request(messages=messages, max_tokens=4)])
    assert reply.error is None
    (same,) = model.generate([asked("Be brief.\n\n12", max_tokens=4)])
    assert (same.text, same.prompt_tokens) == (reply.text, reply.prompt_tokens)
    assert "no tokens" in str(model.generate([asked("")])[0].error)
    cut = model.generate([asked("12", max_tokens=100)])[0]  # the model's limit, not the request's
    assert cut.prompt_tokens + cut.completion_tokens == 40
    assert cut.is_cut


def test_a_folder_that_holds_no_model_is_told(tmp_path: Path) -> None:
    """A traceback of transformers' would be all there is."""
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ResourceError, match="transformers could not load") as caught:
        model_of(tmp_path).generate([asked("x")])
    assert "AutoModelForCausalLM" in caught.value.facts["remedy"]
