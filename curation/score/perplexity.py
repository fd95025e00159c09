"""How well a causal language model foretells a document: bits per byte, and what domains need.

    BitsPerByte(model="models/small")           a document's own value
    domain_bits_per_byte(build)                 a domain's: all its bits over all its bytes
    loss_table({"small": ..., "large": ...})    domains by models, for ``curation correlate``

The scoring is ``curation.evaluate.score``'s, so a value here is the one that ``curation evaluate``
would give. A document is read from its start behind the model's end mark and each token is scored
once. What is longer than ``context`` tokens is read in windows, each ``stride`` tokens after the
one before; a token is scored in the first window that has it, and so sees ``context - stride``
tokens or more, where there are as many. Padding is on the right and masked.

Perplexity under KenLM is another thing, of words and not of bytes: ``curation.score.kenlm``.

source  Magnusson et al. 2024, arXiv:2312.10523 (Paloma), for bits per byte of original text;
        Thrush, Potts and Hashimoto 2024, arXiv:2409.05816, for values of domains
"""

from __future__ import annotations

import json
import math
import os
import pickle
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from curation.annotate.lists import Stamp, stamp
from curation.arrow import bytes_and_offsets, to_column
from curation.columns import columns
from curation.errors import RecipeError, ResourceError
from curation.stage import Annotator, pulse

if TYPE_CHECKING:
    from curation.build import Build

I64 = npt.NDArray[np.int64]

#: Tokens that a model sees at once, where its own limit is not below and nothing is said.
_CONTEXT = 512
#: Text handed to the model at a time: enough for full batches of rows of like length, and little
#: enough that the engine hears of progress.
_PIECE_BYTES = 1 << 17
#: What torch raises of a pickle that holds more than weights, or that is none: its unpickler lets
#: what goes wrong at a wrong byte through.
_UNREADABLE = (
    pickle.UnpicklingError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
)
_REMEDY = "a folder with config.json, weights and tokenizer.json, as save_pretrained writes it"


@dataclass(frozen=True, kw_only=True)
class BitsPerByte(Annotator):
    """Measure how many bits a causal language model needs for each byte of a text.

    Any causal model of transformers, from a folder on this machine. Low is what the model finds
    likely: text like its training data, and text that repeats itself. Values differ in their last
    digits with the texts beside them in a batch, and with the device. A special token that stands
    spelt out in a text is text.

    model         the folder; its tokenizer.json is used
    context       tokens that the model sees at once; 0 for 512, or the model's own limit if lower
    stride        tokens between two windows of a long text; 0 for half the context
    precision     float32, or bfloat16, which is faster on a GPU and coarser
    device        auto, cpu, cuda or cuda:1; auto is a GPU where there is one
    batch_tokens  tokens of a batch; 0 for what suits the device

    reads    text              large_string  any length; null allowed
    writes   lm_bits_per_byte  float32       null where the text is null or empty
             lm_loss           float64       nats a token; null likewise
             lm_tokens         uint64        null likewise
    source   Magnusson et al. 2024, arXiv:2312.10523 (Paloma)
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("text",)
    writes: ClassVar[pa.Schema] = columns("lm_bits_per_byte", "lm_loss", "lm_tokens")
    incidental: ClassVar[tuple[str, ...]] = ("device", "batch_tokens")

    model: str
    context: int = 0
    stride: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    device: str = "auto"
    batch_tokens: int = 0

    def check(self) -> None:
        if min(self.context, self.stride, self.batch_tokens) < 0:
            raise RecipeError(
                "BitsPerByte takes a context, a stride and a batch of 0 tokens or more.",
                found=f"context={self.context}, stride={self.stride}, "
                f"batch_tokens={self.batch_tokens}",
            )
        if self.precision not in ("float32", "bfloat16"):
            raise RecipeError(
                "BitsPerByte reads weights in float32 or bfloat16.", found=self.precision
            )
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", self.device):
            raise RecipeError(
                "BitsPerByte does not know the device.",
                found=f"device={self.device!r}",
                remedy="auto, cpu, cuda or cuda:1",
            )
        most = _check_folder(self.model)
        if most and self.context > most:
            raise RecipeError(
                "the context is longer than the model's own.",
                found=f"context={self.context}, the model reads {most}",
                remedy=f"context={most} or less",
            )
        if self.stride > self._context():
            raise RecipeError(
                "a stride beyond the context would leave tokens unread.",
                found=f"stride={self.stride}, context={self._context()}",
                remedy=f"stride={self._context()} or less",
            )

    def model_files(self) -> tuple[str, ...]:
        return (self.model,)

    def _context(self) -> int:
        return self.context or min(_CONTEXT, _check_folder(self.model) or _CONTEXT)

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from curation.evaluate.score import bits_per_byte

        text = batch["text"]
        found: list[pl.DataFrame] = []
        files = stamp(self.model)
        for row_P in _pieces(text):
            model, words = _opened(os.path.abspath(self.model), self.precision, self.device, files)
            piece = pa.record_batch({"id": pa.array(row_P), "text": text.take(pa.array(row_P))})
            found.append(
                bits_per_byte(
                    model,
                    words,
                    piece,
                    context=self._context(),
                    stride=self.stride or None,
                    batch_tokens=self.batch_tokens or None,
                )
            )
            pulse()
        return self._columns(len(batch), found)

    def _columns(self, rows: int, found: list[pl.DataFrame]) -> pa.RecordBatch:
        bits_N, bytes_N, tokens_N = np.zeros(rows), np.ones(rows), np.zeros(rows, np.uint64)
        for part in found:
            row_P = part["item"].cast(pl.Int64).to_numpy()
            bits_N[row_P], bytes_N[row_P] = part["bits"].to_numpy(), part["bytes"].to_numpy()
            tokens_N[row_P] = part["tokens"].to_numpy()
        valid = tokens_N > 0
        loss_N = bits_N * math.log(2) / np.maximum(tokens_N, 1)
        arrays = [
            to_column((bits_N / bytes_N).astype(np.float32), valid),
            to_column(loss_N, valid),
            to_column(tokens_N, valid),
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.writes)


def _pieces(text: pa.Array) -> Iterator[I64]:
    """Yield the rows that have text, some at a time, rows of like length together."""
    _, offset = bytes_and_offsets(text)
    size_N = np.diff(offset)
    (row_R,) = np.nonzero(size_N)
    row_R = row_R[np.argsort(size_N[row_R], kind="stable")]
    piece_R = np.cumsum(size_N[row_R]) // _PIECE_BYTES
    for first, stop in zip(*_runs(piece_R), strict=True):
        yield row_R[first:stop]


def _runs(value_R: I64) -> tuple[I64, I64]:
    """Return where each run of equal values begins, and where it ends."""
    edges = np.flatnonzero(np.diff(value_R)) + 1
    whole = len(value_R) > 0
    return np.concatenate([[0][:whole], edges]).astype(np.int64), np.concatenate(
        [edges, [len(value_R)][:whole]]
    ).astype(np.int64)


# ---------------------------------------------------------------- models


def _check_folder(folder: str) -> int:
    """Return how many tokens the model of a folder reads; ResourceError where it is no model."""
    for module in ("torch", "transformers"):
        if find_spec(module) is None:
            raise ResourceError(
                f"the package {module} is not installed.", remedy='pip install "curation[train]"'
            )
    if not os.path.isdir(folder):
        raise ResourceError(
            "there is no folder with a language model.",
            path=folder,
            remedy="download a model first: model= takes a local folder and no name of a hub",
        )
    for name in ("config.json", "tokenizer.json"):
        if not os.path.isfile(os.path.join(folder, name)):
            raise ResourceError(
                f"the folder of a language model has no {name}.",
                path=folder,
                found=", ".join(sorted(os.listdir(folder))[:8]) or "an empty folder",
                remedy=_REMEDY,
            )
    try:
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
            config = json.load(file)
        return int(config.get("max_position_embeddings") or config.get("n_positions") or 0)
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ResourceError(
            "the config.json of a language model cannot be read.", path=folder, found=str(error)
        ) from error


@lru_cache(maxsize=1)
def _opened(folder: str, precision: str, device: str, _: Stamp) -> tuple[Any, Any]:
    """Return a model on its device, ready to score, and its tokenizer; once in a process."""
    from curation.train.distributed import chosen_device
    from curation.train.model import open_checkpoint

    try:
        model, words = open_checkpoint(folder, precision=precision)
    except _UNREADABLE as error:
        if not _has_pickled_weights(folder):
            raise
        raise ResourceError(
            "the weights of a language model cannot be read.",
            path=folder,
            found=f"pytorch_model.bin holds more than weights or is damaged "
            f"({type(error).__name__}); nothing of it was run",
            remedy="the model as model.safetensors, from where it came or by "
            "save_pretrained on a machine that trusts it",
        ) from error
    return model.to(chosen_device(device)).eval(), words


def _has_pickled_weights(folder: str) -> bool:
    """Say whether weights are read from a pickle: transformers prefers safetensors."""
    names = os.listdir(folder)
    pickled = any(re.fullmatch(r"pytorch_model.*\.bin", name) for name in names)
    return pickled and not any(name.endswith(".safetensors") for name in names)


# ---------------------------------------------------------------- domains


def domain_bits_per_byte(
    of: Build | pl.DataFrame | pl.LazyFrame, by: str = "url_domain", *, published: bool = False
) -> pl.DataFrame:
    """Return each domain's bits per byte: all nats of its documents over all their bytes.

    That is the token-weighted mean of the documents' losses, times tokens per byte, and not the
    mean of their bits per byte, in which a short document would count as much as a long one.

    of         a build, or a frame, with ``by``, lm_loss, lm_tokens and text_bytes (of TextSize)
    by         column of the domain: url_domain, source, id; rows without one are left out
    published  weigh each document by one token more, the mark before it, which is not scored: as
               perplexity_correlations does, whose values are a little too high for that
    returns    domain, documents, tokens, bytes, bits_per_byte; in the order of the domains' names
    """
    names = [by, "lm_loss", "lm_tokens", "text_bytes"]
    frame = of.lazy() if isinstance(of, pl.DataFrame | pl.LazyFrame) else None
    known = frame.collect_schema().names() if frame is not None else _names(of)
    absent = [name for name in names if name not in known]
    if absent:
        raise RecipeError(
            f"bits per byte of domains need the column {absent[0]!r}.",
            present=", ".join(known),
            remedy="TextSize() writes text_bytes, BitsPerByte(model=...) the losses, "
            "UrlRules() url_domain",
        )
    rows = frame.select(names) if frame is not None else of.documents(columns=names)  # type: ignore[union-attr]
    tokens = pl.col("lm_tokens").cast(pl.Int64) + int(published)
    # floats are added in an order of their own, so that that of the rows does not show
    return (
        rows.drop_nulls()
        .with_columns(nats=pl.col("lm_loss") * tokens, tokens=tokens)
        .sort(by, "nats")
        .group_by(by, maintain_order=True)
        .agg(
            documents=pl.len().cast(pl.Int64),
            tokens=pl.col("tokens").sum(),
            bytes=pl.col("text_bytes").cast(pl.Int64).sum(),
            nats=pl.col("nats").sum(),
        )
        .with_columns(bits_per_byte=pl.col("nats") / (math.log(2) * pl.col("bytes")))
        .select(pl.col(by).alias("domain"), "documents", "tokens", "bytes", "bits_per_byte")
        .collect()
    )


def _names(build: Any) -> list[str]:
    return list(build.outcomes[-1].columns)


def loss_table(domains: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Return the table of losses that perplexity correlation takes: id, then a column a model.

    domains  model → what ``domain_bits_per_byte`` returned for it; a domain that one of them
             lacks is null there
    """
    if not domains:
        raise RecipeError("a table of losses needs a model.")
    names = sorted({name for found in domains.values() for name in found["domain"].to_list()})
    table = pl.DataFrame({"id": names}, schema={"id": pl.String})
    for model, found in domains.items():
        column = found.select(pl.col("domain").alias("id"), pl.col("bits_per_byte").alias(model))
        table = table.join(column, on="id", how="left", maintain_order="left")
    return table
