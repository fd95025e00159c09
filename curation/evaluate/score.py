"""Bits per byte of texts and log-likelihoods of choices, for any causal model of transformers.

Everything is rows of tokens, each with a mark of where the part begins that is scored: windows of
documents, prompts with a choice behind them. Rows are taken by length, the longest first, so that a
batch that is too large fails at once, and padded on the right, where a causal model does not look.

A model's logits are the largest thing in memory: of one batch they are no more than
``_LOGIT_CELLS`` numbers of the model's own precision, or one row of the context where that is more.
From them log-probabilities are taken in float32, ``_SOFTMAX_CELLS`` logits at a time, only where a
token is scored, and added up in float64.

The choices of an item share the pass over its prompt: the cache of the model's keys and values is
kept for prompts of equal length, so nothing is padded there. The last token of a prompt is read
with the choices, since its logits are the first that count.

Arrays end in R (rows), B (rows of one batch), T (places in a row), K (places whose logits are
kept), P (scored tokens), V (vocabulary), C (choices), W (windows), X (tokens laid end to end).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import torch

from curation.errors import RecipeError, ResourceError, TrainingError
from curation.evaluate.metrics import ChoiceScores
from curation.evaluate.tasks import UNCONDITIONAL, Task

if TYPE_CHECKING:
    from curation.mix.tokenizer import Tokenizer

F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
Bool_R = npt.NDArray[np.bool_]

#: Tokens that a batch holds where nothing else is said: on a CPU what stays in its cache is faster.
_CPU_BATCH_TOKENS, _GPU_BATCH_TOKENS = 2048, 16384
#: Most logits of one batch: 1 GiB in float32.
_LOGIT_CELLS = 1 << 28
#: Logits that are turned into log-probabilities at a time: 4 MiB in float32, for the cache's sake.
_SOFTMAX_CELLS = 1 << 20


class _Rows(NamedTuple):
    """What a model reads and what is scored of it.

    token_X   int32   rows laid end to end; rows may overlap
    start_R   int64   row r reads token_X[start_R[r]:][:length_R[r]]
    length_R  int64   and is asked for the token after each
    skip_R    int64   but for the first so many, which are only read
    prompt_R  int64   rows of the same number begin with the same skip_R tokens
    """

    token_X: I32
    start_R: I64
    length_R: I64
    skip_R: I64
    prompt_R: I64

    def targets(self, row_B: I64, begin: int, width: int, device: torch.device) -> _Padded:
        """Return [begin:begin + width] of some rows, padded on the right with their last token."""
        place_BT = begin + np.arange(width)[None, :]
        length_B = self.length_R[row_B][:, None]
        inside_BT = place_BT < length_B
        index_BT = self.start_R[row_B][:, None] + np.minimum(place_BT, length_B - 1)
        needed_BT = inside_BT & (place_BT >= self.skip_R[row_B][:, None])
        arrays = (self.token_X[index_BT], self.token_X[index_BT + 1], inside_BT, needed_BT)
        return _Padded(*(torch.from_numpy(array).to(device) for array in arrays))


class _Padded(NamedTuple):
    """A batch: what is read, what comes after each, where there is anything, what is scored."""

    input_BT: torch.Tensor
    target_BT: torch.Tensor
    inside_BT: torch.Tensor
    needed_BT: torch.Tensor


# ---------------------------------------------------------------- texts


def bits_per_byte(
    model: Any,
    tokenizer: Tokenizer,
    documents: pa.RecordBatch | pa.Table,
    *,
    context: int,
    stride: int | None = None,
    batch_tokens: int | None = None,
) -> pl.DataFrame:
    """Return the bits of each document: item, source, bits, bytes, tokens.

    A document is read from its start, behind the end mark, and each of its tokens is scored once.
    What is longer than the context is read in windows, each ``stride`` tokens after the one before;
    a token is scored in the first window that has it, with at least ``context - stride`` tokens
    before it if there are as many. The end mark after a document is not scored: it has no bytes.

    documents  id, text and, if there is one, source; a null or empty text has no row
    context    most tokens that the model reads at once
    stride     1..context; half the context where it is None
    batch_tokens  most tokens of a batch, padding included, or one row; None: by the device
    bytes      UTF-8 bytes of the text as it is given, whatever a tokenizer makes of it
    raises     TrainingError where the model yields no numbers
    source     Paloma (Magnusson et al. 2024, arXiv:2312.10523) for bits per byte of original text
    """
    stride = max(context // 2, 1) if stride is None else stride
    if not 1 <= stride <= context:
        raise RecipeError("the stride is 1 to the context.", found=f"{stride} of {context}")
    batch_tokens = _checked(model, tokenizer, context, batch_tokens)
    names = documents["id"].to_pylist()
    texts = documents["text"].to_pylist()
    kept = [n for n, text in enumerate(texts) if text]
    has_source = "source" in documents.schema.names
    sources = documents["source"].to_pylist() if has_source else [""] * len(names)
    tokens = tokenizer.encode([texts[n] for n in kept])
    rows = _windows(tokens, tokenizer.end_id, context, stride)
    log_prob_R, _ = _scored(model, rows, batch_tokens, share=False)
    nats_D: F64 = -np.bincount(rows.prompt_R, log_prob_R, minlength=len(kept)).astype(np.float64)
    _check_finite(nats_D, [names[n] for n in kept])
    return pl.DataFrame(
        {
            "item": [str(names[n]) for n in kept],
            "source": [sources[n] or "" for n in kept],
            "bits": nats_D / math.log(2),
            "bytes": [len(texts[n].encode()) for n in kept],
            "tokens": [len(ids) for ids in tokens],
        },
        schema={"item": pl.String, "source": pl.String, "bits": pl.Float64, "bytes": pl.Int64,
                "tokens": pl.Int64},
    )  # fmt: skip


def _windows(tokens: Sequence[I32], end_id: int, context: int, stride: int) -> _Rows:
    """Return the windows of documents as rows; the number of a row's prompt is its document."""
    end = np.array([end_id], dtype=np.int32)
    token_X = np.concatenate([part for ids in tokens for part in (end, ids)] or [end])
    count_D = np.array([len(ids) for ids in tokens], dtype=np.int64)
    start_D = np.cumsum(count_D + 1) - count_D - 1
    windows_D = np.where(count_D > 0, 1 + -(-np.maximum(count_D - context, 0) // stride), 0)
    document_W = np.repeat(np.arange(len(tokens)), windows_D)
    number_W = np.arange(len(document_W)) - (np.cumsum(windows_D) - windows_D)[document_W]
    begin_W = number_W * stride
    length_W = np.minimum(count_D[document_W] - begin_W, context)
    skip_W = np.where(number_W > 0, context - stride, 0)
    return _Rows(token_X, start_D[document_W] + begin_W, length_W, skip_W, document_W)


# ---------------------------------------------------------------- choices


def score_choices(
    model: Any,
    tokenizer: Tokenizer,
    task: Task,
    *,
    context: int,
    batch_tokens: int | None = None,
    shots: int = 0,
    unconditional: bool = True,
) -> ChoiceScores:
    """Return the log-likelihood of each choice of each item behind its prompt and the end mark.

    An item with a choice that does not fit into the context is left out and counted. For a task of
    the kind answer the right choice of ``answer_I`` is the likeliest, since all are right.

    batch_tokens   most tokens of a batch, padding included, or one row; None: by the device
    shots          solved items before each; the same for nearly all, see ``Task.shots``
    unconditional  whether choices are scored without their question too
    raises         TrainingError where the model yields no numbers
    """
    batch_tokens = _checked(model, tokenizer, context, batch_tokens)
    rows = _task_rows(tokenizer, task, shots)
    item_I, fits_C = _fitting(rows, context)
    items = [task.items[i] for i in item_I]
    kept = _Rows(rows.token_X, *(array[fits_C] for array in rows[1:]))
    log_prob_C, greedy_C = _scored(model, kept, batch_tokens, share=True)
    _check_finite(log_prob_C, [task.items[i].id for i in kept.prompt_R])
    choices = [choice for item in items for choice in item.choices]
    unconditional_C = np.full(len(choices), np.nan)
    if unconditional and items:
        endings = [ending for item in items for ending in task.continuations(item)]
        unconditional_C = _unconditional(model, tokenizer, endings, batch_tokens)
    start_I1 = np.cumsum([0, *(len(item.choices) for item in items)])
    answer_I = start_I1[:-1] + np.array([item.answer for item in items], dtype=np.int64)
    if task.kind == "answer":
        best = [a + int(np.argmax(log_prob_C[a:b])) for a, b in pairwise(start_I1)]
        answer_I = np.array(best, dtype=np.int64)
    too_long = len(task.items) - len(items)
    return ChoiceScores(
        id_I=tuple(item.id for item in items),
        source_I=tuple(item.source for item in items),
        start_I1=start_I1,
        answer_I=answer_I,
        log_prob_C=log_prob_C,
        unconditional_C=unconditional_C,
        greedy_C=greedy_C,
        tokens_C=kept.length_R - kept.skip_R,
        chars_C=np.array([len(choice) for choice in choices], dtype=np.int64),
        bytes_C=np.array([len(choice.encode()) for choice in choices], dtype=np.int64),
        skipped={"longer than the context": too_long} if too_long else {},
    )


def _task_rows(tokenizer: Tokenizer, task: Task, shots: int) -> _Rows:
    """Return a row for each choice of a task; the number of its prompt is its item's."""
    solved = task.shots(shots)
    prompts = [task.prompt(item, solved[item.id]) for item in task.items]
    endings = [task.continuations(item) for item in task.items]
    item_C = np.repeat(np.arange(len(prompts)), [len(some) for some in endings])
    return _choice_rows(tokenizer, prompts, item_C, [text for some in endings for text in some])


def _fitting(rows: _Rows, context: int) -> tuple[I64, Bool_R]:
    """Return the items whose every choice fits into the context, and which choices are theirs."""
    over = np.unique(rows.prompt_R[rows.length_R > context])
    fits_C = ~np.isin(rows.prompt_R, over)
    return np.unique(rows.prompt_R[fits_C]), fits_C


def _unconditional(
    model: Any, tokenizer: Tokenizer, endings: Sequence[str], batch_tokens: int
) -> F64:
    """Return ln P(ending | "Answer:"), each different ending scored once."""
    place = {text: n for n, text in enumerate(dict.fromkeys(endings))}
    none = np.zeros(len(place), dtype=np.int64)
    rows = _choice_rows(tokenizer, [UNCONDITIONAL], none, list(place))
    log_prob, _ = _scored(model, rows, batch_tokens, share=True)
    _check_finite(log_prob, list(place))
    return log_prob[[place[text] for text in endings]]


def _choice_rows(
    tokenizer: Tokenizer, prompts: Sequence[str], item_C: I64, endings: Sequence[str]
) -> _Rows:
    """Return a row for each choice: the end mark, its prompt, its ending.

    Space at the end of a prompt belongs to the ending, and prompt and ending are encoded as one
    text, then parted where the prompt's own tokens end, as lm-evaluation-harness does. Where a
    token lies across that place, the ending is encoded by itself instead: the choices of an item
    share one prompt, and what is scored is the whole ending and nothing else.
    """
    bare = [prompt.rstrip() for prompt in prompts]
    moved = [prompts[i][len(bare[i]) :] + text for i, text in zip(item_C, endings, strict=True)]
    wholes = tokenizer.encode([bare[i] + text for i, text in zip(item_C, moved, strict=True)])
    heads = tokenizer.encode(bare)
    tails = [
        whole[len(heads[i]) :] if _begins(whole, heads[i]) else tokenizer.encode([text])[0]
        for i, whole, text in zip(item_C, wholes, moved, strict=True)
    ]
    end = np.array([tokenizer.end_id], dtype=np.int32)
    parts = [part for i, tail in zip(item_C, tails, strict=True) for part in (end, heads[i], tail)]
    token_X = np.concatenate(parts or [end])
    skip_C = np.array([len(heads[i]) for i in item_C], dtype=np.int64)
    length_C = skip_C + np.array([len(tail) for tail in tails], dtype=np.int64)
    start_C = np.cumsum(length_C + 1) - length_C - 1
    return _Rows(token_X, start_C, length_C, skip_C, item_C)


def _begins(whole: I32, head: I32) -> bool:
    return len(whole) > len(head) and bool((whole[: len(head)] == head).all())


# ---------------------------------------------------------------- the model


def _scored(model: Any, rows: _Rows, batch_tokens: int, *, share: bool) -> tuple[F64, Bool_R]:
    """Return the log-likelihood of what is scored of each row, and whether it is all greedy.

    share  read what rows have in common before what is scored once, where the model can
    """
    log_prob_R = np.zeros(len(rows.start_R))
    greedy_R = np.ones(len(rows.start_R), dtype=np.bool_)
    tokens = max(min(batch_tokens, _LOGIT_CELLS // _vocabulary(model)), 1)
    share = share and _cache_name(model) != "" and "logits_to_keep" in _parameters(model)
    with _evaluating(model, batch_tokens):
        # rows with nothing before what is scored but one token have nothing to share
        long_R = (rows.skip_R > 0) & share
        for row_B in _batches_by_length(rows, np.flatnonzero(~long_R), tokens):
            log_prob_R[row_B], greedy_R[row_B] = _plain(model, rows, row_B)
        for row_B in _batches_by_prompt(rows, np.flatnonzero(long_R), tokens):
            log_prob_R[row_B], greedy_R[row_B] = _shared(model, rows, row_B)
    return log_prob_R, greedy_R


def _batches_by_length(rows: _Rows, row_R: I64, tokens: int) -> Iterator[I64]:
    order = row_R[np.argsort(-rows.length_R[row_R], kind="stable")]
    at = 0
    while at < len(order):
        stop = at + max(tokens // int(rows.length_R[order[at]]), 1)
        yield order[at:stop]
        at = stop


def _batches_by_prompt(rows: _Rows, row_R: I64, tokens: int) -> Iterator[I64]:
    """Yield rows whose prompts are equally long, those of one prompt together."""
    tail_R = (rows.length_R - rows.skip_R)[row_R]
    longest = np.zeros(int(rows.prompt_R[row_R].max(initial=-1)) + 1, dtype=np.int64)
    np.maximum.at(longest, rows.prompt_R[row_R], tail_R)
    prompt_R, skip_R = rows.prompt_R[row_R], rows.skip_R[row_R]
    order = np.lexsort((-tail_R, prompt_R, -longest[prompt_R], -skip_R))
    row_R, skip_R = row_R[order], skip_R[order]
    at = 0
    while at < len(row_R):
        stop = at + max(tokens // int(rows.length_R[row_R[at]]), 1)
        stop = min(stop, int(np.searchsorted(-skip_R, -skip_R[at], side="right")))
        yield row_R[at:stop]
        at = stop


def _plain(model: Any, rows: _Rows, row_B: I64) -> tuple[F64, Bool_R]:
    batch = rows.targets(row_B, 0, int(rows.length_R[row_B].max()), _device(model))
    asked = {}
    kept_K = torch.arange(batch.input_BT.shape[1], device=batch.input_BT.device)
    if "logits_to_keep" in _parameters(model):
        kept_K = batch.needed_BT.any(0).nonzero()[:, 0]
        asked["logits_to_keep"] = kept_K
    mask_BT = batch.inside_BT.long()
    logits_BKV = model(input_ids=batch.input_BT.long(), attention_mask=mask_BT, **asked).logits
    return _summed(logits_BKV, batch.target_BT[:, kept_K], batch.needed_BT[:, kept_K])


def _shared(model: Any, rows: _Rows, row_B: I64) -> tuple[F64, Bool_R]:
    """Score rows whose prompts are equally long, reading each prompt once."""
    device, skip = _device(model), int(rows.skip_R[row_B[0]])
    _, first_G, group_B = np.unique(rows.prompt_R[row_B], return_index=True, return_inverse=True)
    heads = rows.targets(row_B[first_G], 0, skip, device)
    name = _cache_name(model)
    read = model(
        input_ids=heads.input_BT.long(),
        attention_mask=heads.inside_BT.long(),
        use_cache=True,
        logits_to_keep=1,
    )
    cache: Any = getattr(read, name, None)
    if not hasattr(cache, "batch_select_indices"):
        return _plain(model, rows, row_B)
    cache.batch_select_indices(torch.from_numpy(group_B).to(device))
    batch = rows.targets(row_B, skip, int(rows.length_R[row_B].max()) - skip, device)
    before = torch.ones(len(row_B), skip, dtype=torch.long, device=device)
    logits_BTV = model(
        input_ids=batch.input_BT.long(),
        attention_mask=torch.cat([before, batch.inside_BT.long()], dim=1),
        use_cache=True,
        **{name: cache},
    ).logits
    return _summed(logits_BTV, batch.target_BT, batch.needed_BT)


def _summed(
    logits_BKV: torch.Tensor, target_BK: torch.Tensor, needed_BK: torch.Tensor
) -> tuple[F64, Bool_R]:
    """Return each row's sum of log-probabilities, and whether all its targets are the likeliest."""
    log_prob_BK = torch.zeros(needed_BK.shape, dtype=torch.float64, device=needed_BK.device)
    greedy_BK = ~needed_BK
    row_P, place_P = needed_BK.nonzero(as_tuple=True)
    step = max(_SOFTMAX_CELLS // logits_BKV.shape[-1], 1)
    for at in range(0, len(row_P), step):
        row, place = row_P[at : at + step], place_P[at : at + step]
        logits_PV = logits_BKV[row, place].float()
        found_P = logits_PV.gather(1, target_BK[row, place].long()[:, None])[:, 0]
        best_P = logits_PV.amax(1)
        rest_P = logits_PV.sub_(best_P[:, None]).exp_().sum(1).log()
        log_prob_BK[row, place] = (found_P - best_P - rest_P).double()
        greedy_BK[row, place] = found_P == best_P
    return log_prob_BK.sum(1).cpu().numpy(), greedy_BK.all(1).cpu().numpy()


@contextmanager
def _evaluating(model: Any, batch_tokens: int) -> Iterator[None]:
    """Turn dropout and gradients off, and say what to lower where memory does not suffice."""
    trained = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one; on a CPU it has no name
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        raise ResourceError(
            "there is not enough memory to evaluate the model.",
            found=str(error).splitlines()[0][:200],
            remedy=f"lower batch_tokens, which is {batch_tokens}, or else the context",
        ) from None
    finally:
        model.train(trained)


def _checked(model: Any, tokenizer: Tokenizer, context: int, batch_tokens: int | None) -> int:
    """Return how many tokens a batch holds, unless these settings cannot be."""
    if batch_tokens is None:
        on_cpu = _device(model).type == "cpu"
        batch_tokens = _CPU_BATCH_TOKENS if on_cpu else _GPU_BATCH_TOKENS
    if context < 1 or batch_tokens < 1:
        raise RecipeError(
            "an evaluation reads at least a token at a time.",
            found=f"context={context}, batch_tokens={batch_tokens}",
        )
    most = getattr(model.config, "max_position_embeddings", None) or context
    if context > most:
        raise RecipeError(
            "the context of the evaluation is longer than the model's own.",
            found=f"context={context}, the model reads {most}",
            remedy=f"context={most} or less",
        )
    if tokenizer.vocab_size > _vocabulary(model):
        raise ResourceError(
            "the tokenizer is not the model's: it has more tokens.",
            found=f"{tokenizer.vocab_size} tokens, the model knows {_vocabulary(model)}",
            remedy="open tokenizer and model from one checkpoint",
        )
    return batch_tokens


def _check_finite(nats: F64, names: Sequence[object]) -> None:
    if not np.isfinite(nats).all():
        bad = [str(names[n]) for n in np.flatnonzero(~np.isfinite(nats))[:3]]
        raise TrainingError(
            "the model's log-probabilities are no numbers.",
            found=f"{(~np.isfinite(nats)).sum()} of {len(nats)}, such as {', '.join(bad)}",
            remedy="evaluate an earlier checkpoint: this one has weights that are no numbers",
        )


def _vocabulary(model: Any) -> int:
    return int(model.get_input_embeddings().weight.shape[0])


def _device(model: Any) -> torch.device:
    device: torch.device = next(model.parameters()).device
    return device


def _parameters(model: Any) -> frozenset[str]:
    return frozenset(inspect.signature(model.forward).parameters)


def _cache_name(model: Any) -> str:
    """Return what the model calls its cache; "" for a model that has none."""
    known = _parameters(model)
    return next((name for name in ("cache", "past_key_values") if name in known), "")
