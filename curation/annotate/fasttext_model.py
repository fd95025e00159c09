"""fastText's model files, read without fastText: supervised models, dense or quantised.

``load_model`` gives a ``FastTextModel`` that labels texts in batches, straight from an Arrow
column's bytes. It states what the Python package states for the same file: the newlines of a text
count as white space, as in ``model.predict(text.replace("\\n", " "))``.

The format has no description but its code (Args, Dictionary, DenseMatrix, QuantMatrix and
ProductQuantizer of github.com/facebookresearch/fastText, MIT), in which integers are little-endian
and stand side by side without padding.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from curation.errors import ResourceError

if TYPE_CHECKING:
    from curation.kernels.fasttext_tables import Tables

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]

_MAGIC = 793712314
#: Versions of the format; 11 had no character n-grams in its classifiers.
_VERSIONS = (11, 12)
_SUPERVISED, _HIERARCHICAL = 3, 1
_LOSSES = (_HIERARCHICAL, 2, 3, 4)
_PREFIX = "__label__"
_EOS = b"</s>"
#: What fastText takes for the count of a tree's node that it has not made yet.
_NO_COUNT = 10**15
#: No trainer makes longer n-grams; a damaged file may ask for more than there is memory.
_LONGEST = 100
#: The 12 int32 settings at the beginning of a file; a float64 follows that only training needs.
_SETTINGS = (
    *("dim", "window", "epochs", "min_count", "negatives", "word_ngrams", "loss", "model"),
    *("buckets", "min_chars", "max_chars", "update_rate"),
)

#: A quantised input matrix is spread out to float32 unless it would take more than this.
SPREAD_BYTES = 1 << 30


@dataclass(frozen=True, eq=False)
class FastTextModel:
    """A supervised fastText model.

    labels  the labels in the file's order, without ``__label__``
    tables  the model as the kernels take it

    Places are handed on as copies: numba compiles a kernel again for arrays that are read-only.
    """

    labels: tuple[str, ...]
    tables: Tables

    def predict(self, data_B: U8, start_N: I64, stop_N: I64) -> tuple[I32, F32]:
        """Return the likeliest label of each text and its probability.

        data_B   uint8[B]    UTF-8
        start_N  int64[N]    text n is data_B[start_N[n]:stop_N[n]]; for a column, offset[:-1]
        stop_N   int64[N]    for a column, offset[1:]
        returns  int32[N]    index to ``labels``; -1 where the model knows nothing of the text
                 float32[N]  the package's figure, at most 1: by its doing, 1e-5 above the
                             model's own probability
        """
        from curation.kernels.fasttext import best_labels

        return best_labels(self.tables, data_B, start_N.copy(), stop_N.copy())

    def probabilities(self, data_B: U8, start_N: I64, stop_N: I64) -> F32:
        """Return float32[N, L]: the figure of every label for each text, as in ``predict``.

        Where the package leaves out labels below 1e-5, they are here too; a text that the model
        knows nothing of has zeros.
        """
        from curation.kernels.fasttext import label_probs

        return label_probs(self.tables, data_B, start_N.copy(), stop_N.copy())


def load_model(path: str) -> FastTextModel:
    """Read a model; the same file, unchanged, is read once in a process.

    A model takes the memory of its matrices in float32; a quantised input matrix that would take
    more than SPREAD_BYTES stays quantised, and is slower.
    """
    check_model(path)
    facts = os.stat(path)
    return _load(path, facts.st_mtime_ns, facts.st_size)


def check_model(path: str) -> None:
    """Raise ResourceError where there is no file that begins as a fastText model does."""
    try:
        with open(path, "rb") as file:
            found = np.frombuffer(file.read(8), dtype="<i4")
    except OSError as error:
        raise ResourceError(
            f"the fastText model {path} cannot be read.",
            found=error.strerror,
            remedy="the path of a fastText .bin or .ftz file, such as lid.176.ftz"
            " from https://fasttext.cc/docs/en/language-identification.html",
        ) from error
    if len(found) < 2 or found[0] != _MAGIC:
        raise _unfit(path, "its first bytes are not a fastText model's")
    if found[1] not in _VERSIONS:
        raise _unfit(path, f"its format is version {found[1]}; known are 11 and 12")


@functools.lru_cache(maxsize=4)
def _load(path: str, modified: int, size: int) -> FastTextModel:
    """Read a model; the time and the size are part of the cache's key."""
    return parse_model(path, np.memmap(path, dtype=np.uint8, mode="r"))


def parse_model(path: str, data: U8) -> FastTextModel:
    """Return the model that the bytes of a file hold; the path is what an error names."""
    file = _File(path, data)
    version = file.integers(2)[1]
    settings = dict(zip(_SETTINGS, file.integers(12), strict=True))
    file.take(8)
    if version == 11:
        settings["max_chars"] = 0
    if settings["model"] != _SUPERVISED:
        raise _unfit(path, "it is made of word vectors and was not trained on labels")
    if settings["loss"] not in _LOSSES:
        raise _unfit(path, f"its loss has the unknown number {settings['loss']}")
    words = _read_words(file)
    quantized = bool(file.take(1)[0])
    rows = file.quantized() if quantized else _Rows.dense(file.matrix())
    quantized_output = bool(file.take(1)[0])
    output = file.quantized().spread() if quantized and quantized_output else file.matrix()
    if quantized and rows.nbytes <= SPREAD_BYTES:
        rows = _Rows.dense(rows.spread())
    _check_sizes(path, settings, words, rows, output)
    return FastTextModel(words.labels, _tables(settings, words, rows, output))


def _unfit(path: str, found: str) -> ResourceError:
    return ResourceError(
        f"{path} is no model that can tell labels.",
        found=found,
        remedy="a supervised fastText model, whole, as .bin or .ftz",
    )


# ---------------------------------------------------------------- parts of a file


@dataclass(frozen=True, eq=False)
class _Words:
    """The dictionary: words, then labels; and the n-gram buckets that a pruned model has kept.

    eos     the word that stands for the end of a line; -1 where there is none
    pruned  how many buckets are kept; negative where all are
    """

    word_B: U8
    offset_W: I64
    count_L: I64
    words: int
    eos: int
    labels: tuple[str, ...]
    pruned: int
    bucket_P2: I32


@dataclass(frozen=True, eq=False)
class _Rows:
    """A matrix with a row for each word and n-gram: dense, or else as codes of its parts."""

    dense_RD: F32
    code_RQ: U8
    part_QCK: F32
    norm_R: F32
    count: int
    dimensions: int

    @classmethod
    def dense(cls, dense_RD: F32) -> _Rows:
        code_RQ, part_QCK = np.zeros((0, 0), np.uint8), np.zeros((0, 0, 0), np.float32)
        return cls(dense_RD, code_RQ, part_QCK, np.zeros(0, np.float32), *dense_RD.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the matrix spread out."""
        return 4 * self.count * self.dimensions

    def spread(self) -> F32:
        """Return the matrix in float32."""
        rows_RQK = self.part_QCK[np.arange(len(self.part_QCK)), self.code_RQ]
        rows_RD = rows_RQK.reshape(self.count, -1)[:, : self.dimensions]
        return np.ascontiguousarray(rows_RD * self.norm_R[:, None])


class _File:
    """A model file, read from front to back."""

    def __init__(self, path: str, data: U8) -> None:
        self.path, self.data, self.at = path, data, 0

    def take(self, size: int) -> U8:
        """Return the next bytes; ResourceError where the file has no more."""
        if size < 0 or self.at + size > len(self.data):
            raise _unfit(self.path, "it is cut off or damaged")
        self.at += size
        return self.data[self.at - size : self.at]

    def numbers(self, kind: str, count: int) -> npt.NDArray[Any]:
        """Return the next numbers, copied: kernels want them aligned, and a file may change."""
        raw = self.take(count * np.dtype(kind).itemsize) if count >= 0 else self.take(-1)
        return np.frombuffer(raw.tobytes(), dtype=kind).astype(np.dtype(kind).newbyteorder("="))

    def integers(self, count: int, kind: str = "<i4") -> list[int]:
        """Return the next integers."""
        found: list[int] = self.numbers(kind, count).tolist()
        return found

    def matrix(self) -> F32:
        """Return a dense matrix."""
        rows, dimensions = self.integers(2, "<i8")
        if rows < 0 or dimensions <= 0:
            raise _unfit(self.path, f"a matrix of {rows} by {dimensions}")
        return self.numbers("<f4", rows * dimensions).reshape(rows, dimensions)

    def quantized(self) -> _Rows:
        """Return a product-quantised matrix."""
        has_norms = bool(self.take(1)[0])
        rows, dimensions = self.integers(2, "<i8")
        (size,) = self.integers(1)
        codes = self.take(size).copy()
        part_QCK = self._parts(dimensions)
        if rows < 0 or size != rows * len(part_QCK):
            raise _unfit(self.path, f"{size} codes for {rows} rows of {len(part_QCK)} parts")
        norm_R = np.ones(rows, dtype=np.float32)
        if has_norms:
            norm_codes = self.take(rows).copy()
            norm_R = self._parts(1)[0, norm_codes, 0]
        none = np.zeros((0, 0), np.float32)
        return _Rows(none, codes.reshape(rows, -1), part_QCK, norm_R, rows, dimensions)

    def _parts(self, wanted: int) -> F32:
        """Return what the codes of a quantiser stand for; a shorter last part is filled up."""
        dimensions, parts, width, last = self.integers(4)
        whole = parts > 0 and width > 0 and (parts - 1) * width + last == dimensions
        if not whole or dimensions != wanted or last <= 0:
            raise _unfit(self.path, f"{parts} parts of {width} for {wanted} dimensions")
        values = self.numbers("<f4", dimensions * 256)
        part_QCK = np.zeros((parts, 256, width), dtype=np.float32)
        part_QCK[:-1] = values[: -256 * last].reshape(parts - 1, 256, width)
        part_QCK[-1, :, :last] = values[-256 * last :].reshape(256, last)
        return part_QCK


def _read_words(file: _File) -> _Words:
    from curation.kernels.fasttext_tables import read_words

    size, words, labels = file.integers(3)
    _, pruned = file.integers(2, "<i8")
    if size < 0 or size > len(file.data) or words < 0 or labels <= 0 or words + labels != size:
        raise _unfit(file.path, f"{words} words and {labels} labels in {size} entries")
    start_W, stop_W, count_W, kind_W, after = read_words(file.data, file.at, size)
    if after < 0 or kind_W[:words].any() or not kind_W[words:].all():
        raise _unfit(file.path, "its dictionary is cut off or damaged")
    offset_W = np.concatenate([[0], np.cumsum(stop_W - start_W)]).astype(np.int64)
    spread = np.repeat(start_W - offset_W[:-1], stop_W - start_W) + np.arange(offset_W[-1])
    word_B = np.ascontiguousarray(file.data[spread])
    names = [word_B[offset_W[w] : offset_W[w + 1]].tobytes() for w in range(words, size)]
    (same_size,) = np.nonzero(np.diff(offset_W[: words + 1]) == len(_EOS))
    eos = [w for w in same_size.tolist() if word_B[offset_W[w] : offset_W[w + 1]].tobytes() == _EOS]
    file.at = after
    bucket_P2 = file.numbers("<i4", 2 * max(pruned, 0)).reshape(-1, 2)
    shown = tuple(name.decode(errors="replace").removeprefix(_PREFIX) for name in names)
    return _Words(
        word_B, offset_W, count_W[words:], words, (eos or [-1])[0], shown, pruned, bucket_P2
    )


def _check_sizes(
    path: str, settings: dict[str, int], words: _Words, rows: _Rows, output: F32
) -> None:
    """Raise ResourceError where a kernel would look past the end of a matrix."""
    wanted = words.words
    if settings["max_chars"] > 0 or settings["word_ngrams"] > 1:
        longest = max(settings["max_chars"], settings["word_ngrams"])
        if settings["buckets"] <= 0 or longest > _LONGEST:
            raise _unfit(path, f"n-grams of up to {longest} in {settings['buckets']} buckets")
        wanted += settings["buckets"] if words.pruned < 0 else 0
    if words.pruned > 0:
        bucket, row = words.bucket_P2.T
        if min(bucket.min(), row.min()) < 0 or bucket.max() >= settings["buckets"]:
            raise _unfit(path, "its list of n-grams is damaged")
        wanted += int(row.max()) + 1
    inner = 1 if settings["loss"] == _HIERARCHICAL else 0
    if rows.count < wanted or len(output) < len(words.labels) - inner:
        raise _unfit(path, f"{rows.count} rows for {wanted} words and n-grams, {len(output)} out")
    if not rows.dimensions == output.shape[1] == settings["dim"]:
        raise _unfit(path, f"matrices of {rows.dimensions} and {output.shape[1]} dimensions")
    if inner and (words.count_L.min() < 0 or words.count_L.max() >= _NO_COUNT):
        raise _unfit(path, "it does not say how often its labels were met")


def _tables(settings: dict[str, int], words: _Words, rows: _Rows, output: F32) -> Tables:
    from curation.kernels import fasttext_tables as kernel

    slot_S = kernel.word_slots(words.word_B, words.offset_W)
    hierarchical = settings["loss"] == _HIERARCHICAL
    child_T2, place_T = _tree(words.count_L if hierarchical else words.count_L[:0])
    kept = np.zeros(settings["buckets"] if words.pruned > 0 else 0, dtype=np.bool_)
    kept[words.bucket_P2[:, 0]] = True
    return kernel.Tables(
        word_B=words.word_B,
        offset_W=words.offset_W,
        slot_S=slot_S,
        words=words.words,
        eos=words.eos,
        min_chars=settings["min_chars"],
        max_chars=settings["max_chars"],
        word_ngrams=settings["word_ngrams"],
        buckets=settings["buckets"],
        pruned=(words.pruned > 0) - (words.pruned < 0),
        kept_bits=np.packbits(kept, bitorder="little"),
        bucket_S2=kernel.bucket_slots(words.bucket_P2),
        input_RD=rows.dense_RD,
        code_RQ=rows.code_RQ,
        part_QCK=rows.part_QCK,
        norm_R=rows.norm_R,
        output_LD=output,
        loss=settings["loss"],
        child_T2=child_T2,
        place_T=place_T,
        labels=len(words.labels),
    )


def _tree(count_L: I64) -> tuple[I32, I32]:
    """Return the Huffman tree of the labels and each leaf's place from the left.

    count_L  how often each label was trained on, the commonest first, as fastText sorts them
    returns  int32[T, 2]  children of each node: the labels, then the inner nodes, the root last
             int32[T]     place of each label, 0 for inner nodes
    """
    labels = len(count_L)
    nodes = max(2 * labels - 1, 0)
    count = [*count_L.tolist(), *[_NO_COUNT] * (nodes - labels)]
    child_T2 = np.full((nodes, 2), -1, dtype=np.int32)
    leaf, inner = labels - 1, labels
    for node in range(labels, nodes):
        for side in (0, 1):
            if leaf >= 0 and count[leaf] < count[inner]:
                child_T2[node, side], leaf = leaf, leaf - 1
            else:
                child_T2[node, side], inner = inner, inner + 1
        count[node] = sum(count[child] for child in child_T2[node].tolist())
    place_T = np.zeros(nodes, dtype=np.int32)
    waiting = [nodes - 1] if nodes else []
    place = 0
    while waiting:
        node = waiting.pop()
        if child_T2[node, 0] < 0:
            place_T[node], place = place, place + 1
        else:
            waiting += child_T2[node, ::-1].tolist()
    return child_T2, place_T
