"""The file of a classifier: what it holds, how it is written, read and refused.

A file is a zip archive that is not compressed: ``header.json`` (version of the format, kind of
model, heads, settings, report), and beside it numpy arrays (``.npy``) or a fastText model as its
package writes it. The same model is the same bytes, so its content can be its identity. Nothing in
it is code: a pickle is refused by its first bytes and never loaded.

A supervised fastText file of others (``.bin``, ``.ftz``) is a classifier with one head as well.
"""

from __future__ import annotations

import functools
import io
import json
import math
import os
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from curation.annotate.classifier_head import Head, HeadKind, header_fault
from curation.annotate.fasttext_model import FastTextModel, check_model, load_model, parse_model
from curation.errors import RecipeError, ResourceError, nearest

if TYPE_CHECKING:
    from curation.kernels.linear import Tables

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]
Bool_N = npt.NDArray[np.bool_]

#: The format of the file. A file of another version is refused: its hashes may be other ones.
FORMAT, VERSION = "curation classifier", 1
#: The head of a fastText file that somebody else made.
BARE_HEAD = "label"
_HEADER, _FASTTEXT = "header.json", "model.bin"
_ZIP, _PICKLE, _FASTTEXT_MAGIC = b"PK\x03\x04", b"\x80", (793712314).to_bytes(4, "little")
#: What zipfile and json raise for bytes that are none of theirs, are compressed or locked.
_DAMAGE = (zipfile.BadZipFile, EOFError, OSError, ValueError, RuntimeError, zlib.error)
#: The beginning of an array as ``write_array`` has it. Numpy's own reader evaluates it as Python.
_ARRAY = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '(.{1,9})', 'fortran_order': False, "
    rb"'shape': \((\d{1,12}),(?: (\d{1,12}))?\), \} *\n",
    re.DOTALL,
)
_PICKLES = (".pkl", ".pickle", ".joblib", ".pt", ".pth")
#: Zip archives hold times; files of equal content are to be equal.
_NO_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What a model said of texts it was not trained on, and what is true.

    said_ML   float32[M, L]  probability of each label; float32[M, 1] for a score
    truth_ML  float32[M, L]  1 where the label holds and 0 elsewhere; the grades for a score
    """

    said_ML: F32
    truth_ML: F32


@dataclass(frozen=True, eq=False)
class Linear:
    """A linear model over hashed runs of words.

    bucket_U   uint32[U]         hashes of the runs that it has met, ascending
    row_UX     float32[U, 1+O]   idf of each, then its weight for each output of each head
    bias_O     float32[O]
    ngrams     words of the longest run
    buckets    what hashes lie below
    """

    bucket_U: U32
    row_UX: F32
    bias_O: F32
    ngrams: int
    buckets: int

    @functools.cached_property
    def tables(self) -> Tables:
        """The model as the kernel takes it."""
        from curation.kernels.linear import tables

        return tables(self.bucket_U, self.row_UX, self.bias_O, self.ngrams, self.buckets)


@dataclass(frozen=True, eq=False)
class ClassifierModel:
    """A trained classifier: fastText or linear, with one head or several.

    inner     the model itself
    source    a fastText model as its package wrote it; empty for a linear one
    settings  what it was trained with
    report    figures on held-out texts, by head; see ``classifier_report``
    held_out  what it said of them, by head: thresholds are found from it
    """

    heads: tuple[Head, ...]
    inner: Linear | FastTextModel
    source: bytes = b""
    settings: Mapping[str, Any] = field(default_factory=dict)
    report: Mapping[str, Any] = field(default_factory=dict)
    held_out: Mapping[str, HeldOut] = field(default_factory=dict)

    def logits(self, data_B: U8, start_N: I64, stop_N: I64) -> tuple[dict[str, F32], Bool_N]:
        """Return each head's outputs before they are made probabilities, and which texts are known.

        data_B   uint8[B]  UTF-8
        start_N  int64[N]  text n is data_B[start_N[n]:stop_N[n]]
        stop_N   int64[N]
        returns  head → float32[N, L], for a score float32[N, 1]
                 bool[N]: False where the model has met nothing of the text
        """
        if isinstance(self.inner, FastTextModel):
            (head,) = self.heads
            prob_NL = self.inner.probabilities(data_B, start_N, stop_N)
            return {head.name: log_odds(prob_NL, head.kind)}, _told(
                prob_NL, data_B, start_N, stop_N
            )
        from curation.kernels.linear import linear_outputs

        output_NO, met_N = linear_outputs(self.inner.tables, data_B, start_N.copy(), stop_N.copy())
        found, at = {}, 0
        for head in self.heads:
            part = output_NO[:, at : at + head.outputs]
            at += head.outputs
            found[head.name] = np.hstack([np.zeros_like(part), part]) if head.is_pair else part
        return found, met_N > 0

    def answers(self, data_B: U8, start_N: I64, stop_N: I64) -> tuple[dict[str, F32], Bool_N]:
        """Return each head's probabilities (scores for a score), and which texts are known.

        Arguments as in ``logits``.
        """
        heads = {head.name: head for head in self.heads}
        if isinstance(self.inner, FastTextModel) and self.heads[0].temperature == 1.0:
            prob_NL = self.inner.probabilities(data_B, start_N, stop_N)
            return {self.heads[0].name: prob_NL}, _told(prob_NL, data_B, start_N, stop_N)
        found, known = self.logits(data_B, start_N, stop_N)
        return {name: calibrated(part, heads[name]) for name, part in found.items()}, known

    def threshold_for(
        self, head: str = "", label: str = "", *, keep_frac: float = 0.0, precision: float = 0.0
    ) -> float:
        """Return the least answer to keep, for a wanted share of the texts or a wanted precision.

        Found from the held-out texts: where these are richer in the label than the corpus is, more
        of them passes than of the corpus, and the precision there is less.

        label  of a head with labels; its positive one where none is given
        """
        from curation.annotate.classifier_report import threshold_for

        chosen = self.head(head)
        held = self.held_out.get(chosen.name)
        if held is None or not len(held.said_ML):
            raise RecipeError(
                f"no threshold can be found for '{chosen.name}': the model has no held-out texts.",
                remedy="train it with held_out above 0",
            )
        at = 0 if chosen.kind == "score" else _position(chosen, label)
        return threshold_for(
            held.said_ML[:, at], held.truth_ML[:, at], keep_frac=keep_frac, precision=precision
        )

    def head(self, name: str = "") -> Head:
        """Return the head of a name; without one, the only head."""
        names = [head.name for head in self.heads]
        if not name and len(names) == 1:
            return self.heads[0]
        if name not in names:
            raise RecipeError(
                f"the classifier has no head '{name}'.",
                present=", ".join(names),
                remedy=nearest(name, names) or "name one of those present",
            )
        return self.heads[names.index(name)]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model into one file, whole or not at all."""
        write_classifier(self, Path(path))


def _told(prob_NL: F32, data_B: U8, start_N: I64, stop_N: I64) -> Bool_N:
    """Return which texts fastText says something of.

    The end of a text is a word to it, so it answers the empty text as well, with the base rate.
    """
    from curation.kernels.linear import has_word

    known_N: Bool_N = has_word(data_B, start_N.copy(), stop_N.copy())
    known_N &= np.asarray(prob_NL.max(axis=1, initial=0) > 0)
    return known_N


def _position(head: Head, label: str) -> int:
    wanted = label or head.positive
    if wanted not in head.labels:
        raise RecipeError(
            f"the head '{head.name}' has no label '{wanted}'.",
            present=", ".join(head.labels),
            remedy=nearest(wanted, head.labels) or "name one of those present",
        )
    return head.labels.index(wanted)


def log_odds(prob_NL: F32, kind: HeadKind) -> F32:
    """Return what a softmax (one), or a sigmoid for each (many), makes these probabilities of."""
    prob = np.clip(prob_NL.astype(np.float64), 1e-7, 1 - 1e-7)
    odds = np.log(prob) - (np.log1p(-prob) if kind == "many" else 0.0)
    return odds.astype(np.float32)


def calibrated(logit_NL: F32, head: Head) -> F32:
    """Return a head's answers from its outputs."""
    from curation.kernels.linear import sigmoid, softmax

    if head.kind == "score":
        return logit_NL
    function = softmax if head.kind == "one" else sigmoid
    found: F32 = function(np.ascontiguousarray(logit_NL), float(head.temperature))
    return found


# ---------------------------------------------------------------- writing


def write_classifier(model: ClassifierModel, path: Path) -> None:
    """Write a model under a temporary name and rename it."""
    from curation.store import replacing

    linear = isinstance(model.inner, Linear)
    header: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "kind": "linear" if linear else "fasttext",
        "heads": [asdict(head) for head in model.heads],
        "settings": dict(model.settings),
        "report": dict(model.report),
    }
    arrays = {}
    if isinstance(model.inner, Linear):
        header |= {"ngrams": model.inner.ngrams, "buckets": model.inner.buckets}
        arrays = {"bucket": model.inner.bucket_U, "row": model.inner.row_UX}
        arrays["bias"] = model.inner.bias_O
    for number, head in enumerate(model.heads):
        if head.name in model.held_out:
            held = model.held_out[head.name]
            arrays |= {f"said-{number}": held.said_ML, f"truth-{number}": held.truth_ML}
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        _put(archive, _HEADER, json.dumps(header, indent=1, sort_keys=True).encode())
        for name, array in arrays.items():
            stream = io.BytesIO()
            np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)
            _put(archive, f"{name}.npy", stream.getvalue())
        if not linear:
            _put(archive, _FASTTEXT, model.source)


def _put(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, _NO_TIME), data)


# ---------------------------------------------------------------- reading


def load_classifier(path: str | os.PathLike[str]) -> ClassifierModel:
    """Read a model; the same file, unchanged, is read once in a process.

    Raises ResourceError for a file that is none, that is cut off, of another version, or a pickle.
    """
    path = os.fspath(path)
    if _is_bare(path):
        inner = load_model(path)
        return ClassifierModel((_bare_head(inner),), inner)
    facts = os.stat(path)
    return _load(path, facts.st_mtime_ns, facts.st_size)


def read_heads(path: str) -> tuple[Head, ...]:
    """Return the heads of a model, without reading its weights where that can be done."""
    if _is_bare(path):
        return (_bare_head(load_model(path)),)
    facts = os.stat(path)
    return _heads(path, facts.st_mtime_ns, facts.st_size)


def _bare_head(model: FastTextModel) -> Head:
    from curation.kernels.fasttext_tables import HIERARCHICAL, SOFTMAX

    exclusive = model.tables.loss in (HIERARCHICAL, SOFTMAX)
    return Head(BARE_HEAD, "one" if exclusive else "many", model.labels)


def _is_bare(path: str) -> bool:
    """Say whether a file is a fastText model's; ResourceError where it is no classifier at all."""
    try:
        with open(path, "rb") as file:
            head = file.read(8)
    except OSError as error:
        raise ResourceError(
            f"the classifier {path} cannot be read.",
            found=error.strerror,
            remedy="a file that curation train-classifier has written, or a fastText .bin or .ftz",
        ) from error
    if path.endswith(_PICKLES) or head.startswith(_PICKLE):
        raise _unfit(path, "it is a pickle: loading one runs whatever code it holds, so it is not")
    if head.startswith(_FASTTEXT_MAGIC):
        check_model(path)
        return True
    if not head.startswith(_ZIP):
        raise _unfit(path, "its first bytes are neither a classifier's nor a fastText model's")
    return False


def _unfit(path: str, found: str) -> ResourceError:
    return ResourceError(
        f"{path} is no classifier that can be used.",
        found=found,
        remedy="train it with curation train-classifier of this version, or take a supervised"
        " fastText .bin or .ftz",
    )


@functools.lru_cache(maxsize=16)
def _heads(path: str, modified: int, size: int) -> tuple[Head, ...]:
    """Read the heads; the time and the size are part of the cache's key."""
    return _File(path).heads


@functools.lru_cache(maxsize=4)
def _load(path: str, modified: int, size: int) -> ClassifierModel:
    """Read a model; the time and the size are part of the cache's key."""
    file = _File(path)
    held_out = {
        head.name: _held_out(file, number, head)
        for number, head in enumerate(file.heads)
        if file.has(f"said-{number}.npy")
    }
    shared = {name: file.header.get(name, {}) for name in ("settings", "report")}
    shared["held_out"] = held_out
    if file.header["kind"] == "fasttext":
        source = file.bytes(_FASTTEXT)
        inner = parse_model(path, np.frombuffer(source, dtype=np.uint8))
        if len(file.heads) != 1 or len(file.heads[0].labels) != len(inner.labels):
            raise _unfit(path, "its head has other labels than its model")
        return ClassifierModel(file.heads, inner, source, **shared)
    return ClassifierModel(file.heads, _linear(file), **shared)


class _File:
    """An archive whose header has been read and fits this version."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self.archive = zipfile.ZipFile(path)
            self.header: dict[str, Any] = json.loads(self.archive.read(_HEADER))
        except _DAMAGE as error:
            raise _unfit(path, f"it is cut off or damaged ({error})") from error
        except KeyError as error:
            raise _unfit(path, "an archive without a classifier's header") from error
        if not isinstance(self.header, dict) or self.header.get("format") != FORMAT:
            raise _unfit(path, "an archive that is something else")
        version = self.header.get("version")
        if version != VERSION:
            raise _unfit(path, f"its format is version {version}; this is version {VERSION}")
        fault = header_fault(self.header)
        if fault:
            raise _unfit(path, fault)
        heads = [{**head, "labels": tuple(head["labels"])} for head in self.header["heads"]]
        self.heads = tuple(Head(**head) for head in heads)

    def has(self, name: str) -> bool:
        return name in self.archive.namelist()

    def bytes(self, name: str) -> bytes:
        try:
            return self.archive.read(name)
        except (KeyError, *_DAMAGE) as error:
            raise _unfit(self.path, f"it is cut off or damaged ({error})") from error

    def array(self, name: str, dimensions: int, kind: str = "<f4") -> npt.NDArray[Any]:
        """Return an array of finite numbers of a kind; anything else is refused."""
        data = self.bytes(f"{name}.npy")
        written = _ARRAY.match(data)
        if not written:
            raise _unfit(self.path, f"its {name} is damaged")
        shape = tuple(int(size) for size in written.groups()[1:] if size)
        if len(shape) != dimensions or written[1] != kind.encode():
            raise _unfit(self.path, f"its {name} is {len(shape)}-dimensional {written[1]!r}")
        if len(data) - written.end() != 4 * math.prod(shape):
            raise _unfit(self.path, f"its {name} is damaged (cut off or too long for {shape})")
        # copied, because a kernel takes what can be written to
        found = np.frombuffer(data, kind, offset=written.end()).reshape(shape).copy()
        wrong = int(found.size - np.isfinite(found).sum())
        if wrong:
            raise _unfit(self.path, f"its {name} has {wrong:,} values that are NaN or infinite")
        return found


def _held_out(file: _File, number: int, head: Head) -> HeldOut:
    said_ML, truth_ML = file.array(f"said-{number}", 2), file.array(f"truth-{number}", 2)
    if not said_ML.shape == truth_ML.shape == (len(said_ML), len(head.labels) or 1):
        found = f"{said_ML.shape} answers, {truth_ML.shape} truths"
        raise _unfit(file.path, f"held-out texts of '{head.name}' do not fit it ({found})")
    return HeldOut(said_ML, truth_ML)


def _linear(file: _File) -> Linear:
    """Return the linear model of a file, whose arrays fit each other: a kernel does not ask."""
    ngrams, buckets = file.header["ngrams"], file.header["buckets"]
    bucket_U, bias_O = file.array("bucket", 1, "<u4"), file.array("bias", 1)
    row_UX = file.array("row", 2)
    outputs = sum(head.outputs for head in file.heads)
    shapes_fit = row_UX.shape == (len(bucket_U), 1 + outputs) and len(bias_O) == outputs
    if not shapes_fit or (len(bucket_U) and bucket_U.max() >= buckets):
        raise _unfit(file.path, f"rows of {row_UX.shape} for {outputs} outputs, {buckets} buckets")
    if (bucket_U[1:] <= bucket_U[:-1]).any():
        raise _unfit(file.path, "its buckets do not ascend, so that rows would be other buckets'")
    return Linear(bucket_U, row_UX, bias_O, ngrams, buckets)
