"""py3langid's model, which lies in its wheel: a language for any text without a download.

The labels are ISO 639 codes, of two letters where there is one; ``zxx`` stands for what is no
language. A text is read as py3langid reads it: in normalization form C,
and in small letters where it has capitals only.
"""

from __future__ import annotations

import functools
import importlib.util
import io
import lzma
import unicodedata
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from curation.errors import ResourceError

if TYPE_CHECKING:
    from curation.kernels.langid import Tables

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]

_FILE = "data/model.npz.xz"
_REMEDY = "pip install 'py3langid>=0.4,<0.5', or name a fastText file as the stage's model"


@dataclass(frozen=True, eq=False)
class LangidModel:
    """A model of py3langid's.

    labels  the label of each class; two classes may share one
    tables  the model as the kernel takes it
    """

    labels: tuple[str, ...]
    tables: Tables

    def predict(self, data_B: U8, start_N: I64, stop_N: I64, unready_N: U8) -> tuple[I32, F32]:
        """Return the likeliest label of each text and its probability.

        data_B     uint8[B]    UTF-8
        start_N    int64[N]    text n is data_B[start_N[n]:stop_N[n]]
        stop_N     int64[N]
        unready_N  uint8[N]    of ``curation.kernels.scripts.survey``
        returns    int32[N]    index to ``labels``; -1 where the model knows nothing of the text
                   float32[N]  the package's probability under ``norm_probs``
        """
        from curation.kernels.langid import best_classes

        start_N, stop_N = start_N.copy(), stop_N.copy()  # numba compiles read-only arrays anew
        label_N, prob_N = best_classes(self.tables, data_B, start_N, stop_N)
        (row_M,) = np.nonzero(unready_N)
        if row_M.size:
            ready = _made_ready(data_B, start_N[row_M], stop_N[row_M], unready_N[row_M])
            label_N[row_M], prob_N[row_M] = best_classes(self.tables, *ready)
        return label_N, prob_N


def _made_ready(data_B: U8, start_M: I64, stop_M: I64, unready_M: U8) -> tuple[U8, I64, I64]:
    """Return texts in normalization form C, those in capitals in small letters.

    They are few, so they go through Python's strings, whose rules are the package's.
    """
    from curation.kernels.scripts import ALL_UPPER

    texts = []
    for start, stop, flags in zip(
        start_M.tolist(), stop_M.tolist(), unready_M.tolist(), strict=True
    ):
        text = data_B[start:stop].tobytes().decode(errors="replace")
        text = text.lower() if flags & ALL_UPPER else text
        texts.append(unicodedata.normalize("NFC", text).encode())
    end_M = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    return np.frombuffer(b"".join(texts), dtype=np.uint8), end_M[:-1], end_M[1:]


@functools.cache
def load_langid() -> LangidModel:
    """Read the model of the installed py3langid; once in a process."""
    from curation.kernels.langid import Tables

    parts = _read_parts()
    score_FC = parts["ptc"].astype(np.float32)
    score_FC -= score_FC.mean(axis=1, keepdims=True, dtype=np.float64)
    row_S, feature_S = parts["nextmove_row"].astype(np.int32), parts["out_feat"]
    state_S2 = np.stack([row_S << 8, feature_S.astype(np.int32)], axis=1)
    labels = tuple(parts["classes"].tolist())
    tables = Tables(
        next_V=parts["nextmove"].astype(np.uint32),
        state_S2=np.ascontiguousarray(state_S2),
        score_FC=score_FC,
        prior_C=parts["pc"].astype(np.float32),
        first_C=np.array([labels.index(label) for label in labels], dtype=np.int32),
    )
    return LangidModel(labels, tables)


def langid_file() -> str:
    """Return where the installed py3langid keeps its model; ResourceError where it has none."""
    spec = importlib.util.find_spec("py3langid")
    path = Path(spec.origin or "").parent / _FILE if spec else Path(_FILE)
    if not spec or not path.is_file():
        raise ResourceError(
            "there is no language model: the package py3langid is missing or has another layout.",
            found=str(path) if spec else "",
            remedy=_REMEDY,
        )
    return str(path)


def _read_parts() -> dict[str, npt.NDArray[Any]]:
    """Read the arrays of the model file; its layout is ``py3langid.modelio``'s."""
    path = langid_file()
    names = ("ptc", "pc", "classes", "nextmove", "nextmove_row", "out_feat")
    try:
        with lzma.open(path) as file, np.load(io.BytesIO(file.read())) as data:
            return {name: data[name] for name in names}
    except (OSError, KeyError, ValueError, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise ResourceError(
            f"the language model {path} cannot be read.",
            found=f"{type(error).__name__}: {error}",
            remedy=_REMEDY,
        ) from error
