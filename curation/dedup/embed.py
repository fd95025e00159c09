"""Sentence embeddings: the boundary to sentence-transformers and to model2vec.

A model is a folder on this machine; nothing is downloaded. Any other model is a stage of the
user's own that writes ``embedding``:

    @annotator(writes={"embedding": pa.large_list(pa.float32())})
    def embedding(text):
        return pa.array(my_model(text.to_pylist()), pa.large_list(pa.float32()))

A static model (model2vec's) averages the vectors of a text's tokens: thousands of texts a second
on one core, and blind to word order. A transformer reads some hundred tokens and takes a hundred
times as long.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.annotate.lists import Stamp, stamp
from curation.columns import columns
from curation.errors import RecipeError, ResourceError
from curation.stage import Annotator

F32 = npt.NDArray[np.float32]
Bool_N = npt.NDArray[np.bool_]

_STATIC, _TRANSFORMER = "model2vec", "sentence_transformers"
#: sentence-transformers brings torch, whose build depends on the machine: it is no extra of ours.
_REMEDY = {
    _STATIC: "pip install 'curation[embed]'",
    _TRANSFORMER: "pip install sentence-transformers, after the torch build of this machine",
}


@dataclass(frozen=True, kw_only=True)
class Embed(Annotator):
    """Make a vector of a text, with a model from a local folder.

    A folder of model2vec (or of a sentence-transformers model that is static) is read by
    model2vec, any other by sentence-transformers, which cuts texts to the tokens that the model
    knows. Vectors are the model's own, normalised or not as the model has it. A transformer's
    differ in their last digits with the texts beside them in a batch; a static model's do not.

    model       the folder
    max_chars   embed only so much of the beginning; 0 for all that the model takes
    batch_rows  texts at a time

    reads    text       large_string  any length; null allowed
    writes   embedding  large_list<item: float32>  null where the text is null or blank
    source   Reimers and Gurevych 2019, arXiv:1908.10084 (sentence-transformers);
             github.com/MinishLab/model2vec
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("text",)
    writes: ClassVar[pa.Schema] = columns("embedding")

    model: str
    max_chars: int = 2000
    batch_rows: int = 64

    def check(self) -> None:
        if self.max_chars < 0 or self.batch_rows < 1:
            raise RecipeError(
                "Embed takes max_chars of 0 or more and batch_rows of 1 or more.",
                found=f"max_chars={self.max_chars}, batch_rows={self.batch_rows}",
            )
        library = _library_of(self.model)
        if library not in sys.modules and find_spec(library) is None:
            raise _missing(library, self.model)

    def model_files(self) -> tuple[str, ...]:
        return (self.model,)

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        text = batch["text"]
        if self.max_chars:
            text = pc.utf8_slice_codeunits(text, 0, self.max_chars)
        has_text = pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(text), ""), False)
        texts = text.filter(has_text).to_pylist()
        if not texts:
            return pa.RecordBatch.from_arrays(
                [pa.nulls(len(text), self.writes[0].type)], ["embedding"]
            )
        vectors = _loaded(os.path.abspath(self.model), stamp(self.model)).encode(
            texts, self.batch_rows
        )
        made = _as_lists(vectors, has_text.to_numpy(zero_copy_only=False))
        return pa.RecordBatch.from_arrays([made], schema=self.writes)


# ---------------------------------------------------------------- models


@dataclass(frozen=True, eq=False)
class _Model:
    """A loaded model of either library."""

    library: str
    folder: str
    model: Any

    def encode(self, texts: list[str], batch_rows: int) -> F32:
        """Return float32[N, D]."""
        settings: dict[str, Any] = {"batch_size": batch_rows, "show_progress_bar": False}
        if self.library == _STATIC:
            # No limit in tokens but max_chars; no processes but the engine's.
            settings |= {"max_length": None, "use_multiprocessing": False}
        else:
            settings |= {"convert_to_numpy": True}
        made = np.asarray(self.model.encode(texts, **settings), dtype=np.float32)
        if made.ndim != 2 or len(made) != len(texts):
            raise ResourceError(
                f"the model of {self.library} does not give one vector for each text.",
                folder=self.folder,
                found=f"shape {made.shape} for {len(texts)} texts",
            )
        return made


@lru_cache(maxsize=2)
def _loaded(folder: str, _: Stamp) -> _Model:
    library = _library_of(folder)
    try:
        if library == _STATIC:
            static = importlib.import_module(library)
            return _Model(library, folder, static.StaticModel.from_pretrained(folder))
        dense = importlib.import_module(library)
        model = dense.SentenceTransformer(folder, local_files_only=True)
        return _Model(library, folder, model)
    except ImportError as error:
        raise _missing(library, folder) from error


def _library_of(folder: str) -> str:
    """Return the library that reads a folder; ResourceError where none does."""
    if not os.path.isdir(folder):
        raise ResourceError(
            "there is no folder with an embedding model.",
            path=folder,
            remedy="download a model first: model= takes a local folder and no name of a hub",
        )
    modules, config = _json(folder, "modules.json"), _json(folder, "config.json")
    first = modules[0] if isinstance(modules, list) and modules else {}
    kind = str(first.get("type", "")) if isinstance(first, dict) else ""
    has_tensors = os.path.isfile(os.path.join(folder, "model.safetensors"))
    has_tokenizer = os.path.isfile(os.path.join(folder, "tokenizer.json"))
    named = isinstance(config, dict) and config.get("model_type") == _STATIC
    if kind.endswith(".StaticEmbedding") or named:
        return _STATIC
    if kind:
        return _TRANSFORMER
    # model2vec's own first folders had no modules.json, and their configuration no model_type.
    if has_tensors and has_tokenizer and not (isinstance(config, dict) and "model_type" in config):
        return _STATIC
    raise ResourceError(
        "the folder is neither a sentence-transformers nor a model2vec model.",
        path=folder,
        found=", ".join(sorted(os.listdir(folder))[:8]) or "an empty folder",
        remedy="a folder that SentenceTransformer.save or StaticModel.save_pretrained has made",
    )


def _json(folder: str, name: str) -> object:
    try:
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            found: object = json.load(file)
            return found
    except (OSError, ValueError):
        return None


def _missing(library: str, folder: str) -> ResourceError:
    return ResourceError(
        f"the embedding model needs the package {library.replace('_', '-')}.",
        folder=folder,
        remedy=_REMEDY[library],
    )


# ---------------------------------------------------------------- columns


def _as_lists(vectors_ND: F32, has_text: Bool_N) -> pa.Array:
    """Return vectors as a column of lists, null in the rows that have no text."""
    length = np.where(has_text, vectors_ND.shape[1], 0)
    offset = np.concatenate([[0], np.cumsum(length)])
    values = pa.array(np.ascontiguousarray(vectors_ND).ravel())
    return pa.LargeListArray.from_arrays(
        pa.array(offset, pa.int64()), values, mask=pa.array(~has_text)
    )
