"""Small models by transformers, on the CPU, in float32: batches in which each row is its own.

A row has its own generator, its own limit and its own stop strings, so that nothing of it depends
on who else is in the batch but the rounding of sums that padding changes. Sampling adds the row's
Gumbel noise to its logits and takes the greatest, which draws from softmax(logits / temperature).

Array names end in the letters of their axes: B rows of the batch, T positions, V vocabulary.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from curation.annotate.model import Reply
from curation.errors import needed
from curation.rewrite.engine import Asked, prompt_tokens, too_long
from curation.stage import attempt

#: A stop string is looked for in so many tokens a character: byte-level tokens may hold a quarter.
_TOKENS_PER_CHAR = 4


class CausalBackend:
    """A causal language model of transformers; a step is a batch, to the end of its last row."""

    def __init__(self, settings: Mapping[str, Any], beat: Callable[[], None]) -> None:
        self.torch, self.hf = needed("torch", "train"), needed("transformers", "train")
        self.beat, self.window = beat, settings["batch_rows"]
        folder = settings["model"]
        self.tokenizer = self.hf.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.model = self.hf.AutoModelForCausalLM.from_pretrained(
            folder, dtype=self.torch.float32, local_files_only=True
        ).eval()
        self.ends = _ends(self.model, self.tokenizer)
        limits = (settings["max_tokens"], self.model.config.max_position_embeddings)
        self.longest: int = min(limit for limit in limits if limit)
        # What the folder says of sampling (penalties, top_k) would be added to what is asked for.
        self.model.generation_config = self.hf.GenerationConfig(
            do_sample=False, num_beams=1, eos_token_id=self.ends or None, pad_token_id=self._pad
        )
        self.waiting: deque[tuple[Asked, list[int]]] = deque()

    @property
    def _pad(self) -> int:
        known = self.tokenizer.pad_token_id
        return int(known) if known is not None else (*self.ends, 0)[0]

    @property
    def is_busy(self) -> bool:
        return bool(self.waiting)

    def add(self, asked: Asked) -> Reply | None:
        _, request, _ = asked
        tokens, error = attempt(prompt_tokens, self.tokenizer, request.messages)
        if error is not None:
            return Reply(error=f"the chat template: {error}")
        if not tokens:
            return Reply(error="the prompt has no tokens")
        if len(tokens) >= self.longest:
            return too_long(len(tokens), self.longest)
        self.waiting.append((asked, tokens))
        return None

    def step(self) -> list[tuple[int, Reply]]:
        taken = [self.waiting.popleft() for _ in range(min(self.window, len(self.waiting)))]
        rows = [Row(self, asked, tokens) for asked, tokens in taken]
        width = max(len(row.prompt) for row in rows)
        pads = [width - len(row.prompt) for row in rows]
        token_BT = [[self._pad] * n + row.prompt for n, row in zip(pads, rows, strict=True)]
        mask_BT = [[0] * n + [1] * (width - n) for n in pads]
        with self.torch.inference_mode():
            made_BT = self.model.generate(
                self.torch.tensor(token_BT),
                attention_mask=self.torch.tensor(mask_BT),
                max_new_tokens=max(row.limit for row in rows),
                logits_processor=self.hf.LogitsProcessorList([self._drawing(rows)]),
                stopping_criteria=self.hf.StoppingCriteriaList([self._ending(rows, width)]),
            )
        new = zip(taken, rows, made_BT[:, width:].tolist(), strict=True)
        return [(asked[0], row.reply(tokens)) for (asked, _), row, tokens in new]

    def _drawing(self, rows: list[Row]) -> Any:
        def draw(_: Any, logit_BV: Any) -> Any:
            return self.torch.stack(
                [row.noisy(logit_V) for row, logit_V in zip(rows, logit_BV, strict=True)]
            )

        return draw

    def _ending(self, rows: list[Row], width: int) -> Any:
        def ended(token_BT: Any, _: Any, **__: Any) -> Any:
            self.beat()
            new_BT = token_BT[:, width:].tolist()
            return self.torch.tensor(
                [row.has_ended(tokens) for row, tokens in zip(rows, new_BT, strict=True)]
            )

        return ended


class Row:
    """One request of a batch: its chance, its end, and what is made of its tokens."""

    def __init__(self, backend: CausalBackend, asked: Asked, prompt: list[int]) -> None:
        self.backend, self.prompt = backend, prompt
        _, self.request, (self.temperature, seed) = asked
        self.generator = backend.torch.Generator().manual_seed(seed)
        self.limit: int = min(self.request.max_tokens, backend.longest - len(prompt))
        self.length = self.limit  # until a stop string is met
        self.first: tuple[tuple[str, float], ...] | None = None

    def noisy(self, logit_V: Any) -> Any:
        """Return values of which the greatest is the next token."""
        torch = self.backend.torch
        if self.first is None:
            self.first = self._alternatives(logit_V)
        if not self.temperature:
            return logit_V
        logit_V = _nucleus(torch, logit_V / self.temperature, self.request.top_p)
        wait_V = torch.empty_like(logit_V).exponential_(generator=self.generator)
        return logit_V - wait_V.log()

    def _alternatives(self, logit_V: Any) -> tuple[tuple[str, float], ...]:
        count = min(self.request.top_logprobs, len(logit_V))
        if not count:
            return ()
        logprob, token = logit_V.log_softmax(-1).topk(count)
        named = [self.backend.tokenizer.decode([int(one)]) for one in token]
        return tuple(zip(named, logprob.tolist(), strict=True))

    def has_ended(self, tokens: list[int]) -> bool:
        """Tell whether the row is at its limit or past a stop string; its end of text aside."""
        stop = self.request.stop
        if len(tokens) >= self.length or not stop:
            return len(tokens) >= self.length
        tail = tokens[-_TOKENS_PER_CHAR * (max(map(len, stop)) + 1) :]
        text = self.backend.tokenizer.decode(tail, skip_special_tokens=True)
        if any(one in text for one in stop):
            self.length = len(tokens)
        return len(tokens) >= self.length

    def reply(self, tokens: list[int]) -> Reply:
        """Read the row's tokens, which others' greater length may have padded."""
        tokens = tokens[: self.length]
        ends = [place for place, token in enumerate(tokens) if token in self.backend.ends]
        said = tokens[: ends[0]] if ends else tokens
        text = self.backend.tokenizer.decode(said, skip_special_tokens=True)
        places = [place for one in self.request.stop if (place := text.find(one)) >= 0]
        return Reply(
            text=text[: min(places)] if places else text,
            finish="stop" if places or ends else "length",
            prompt_tokens=len(self.prompt),
            completion_tokens=len(said) + bool(ends),
            first_logprob=self.first or (),
        )


def _nucleus(torch: Any, logit_V: Any, top_p: float) -> Any:
    """Leave the likeliest tokens that have the share top_p of the probability, and one at least."""
    if top_p >= 1:
        return logit_V
    prob, order = logit_V.softmax(-1).sort(descending=True)
    before = prob.cumsum(-1) - prob
    dropped = order[before >= max(top_p, 1e-9)]
    return logit_V.index_fill(-1, dropped, -torch.inf)


def _ends(model: Any, tokenizer: Any) -> list[int]:
    """Return the tokens that end a text, as the model's own settings or its tokenizer name them."""
    named = getattr(model.generation_config, "eos_token_id", None)
    named = tokenizer.eos_token_id if named is None else named
    return [named] if isinstance(named, int) else list(named or ())
