"""Perplexity under an n-gram model of KenLM, as the filter of CCNet has it.

The model tells text like its training data (Wikipedia, in CCNet) from other text. Its perplexity
is per word or piece, hangs on how text was normalised and cut, and is comparable only between
documents of one language under one model; bits per byte of a language model are something else
(``curation.score.perplexity``).

source  Wenzek et al. 2020, arXiv:1911.00359 (CCNet); Heafield 2011, aclanthology.org/W11-2123
"""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

import polars as pl
import pyarrow as pa

from curation.annotate.lists import Stamp, stamp
from curation.columns import columns
from curation.errors import RecipeError, ResourceError, needed
from curation.stage import Annotator, map_rows, rows_to_batch

if TYPE_CHECKING:
    from curation.build import Build

#: What CCNet writes for typographic marks (cc_net/text_normalizer.py), before → after in pairs.
#: Its entry for the full-width digit one is left out: digits are zeros by then.
_MARKS = dict(
    pair.split(" ", 1)
    for pair in (
        '， ,|。 .|、 ,|„ "|” "|“ "|« "|» "|」 "|「 "|《 "|》 "|´ \'|∶ :|： :|？ ?|！ !|（ (|'
        "） )|； ;|– -|— _-_|． ._|～ ~|’ '|… ...|━ -|〈 <|〉 >|【 [|】 ]|％ %|► -"
    ).split("|")
)
_CONTROLS = [*range(32), *range(127, 160)]
_TABLE = {ord(mark): plain.replace("_", " ") for mark, plain in _MARKS.items()} | dict.fromkeys(
    _CONTROLS, ""
)
_DIGIT = re.compile(r"\d")

#: Shares of documents below the two cut-offs of CCNet's thirds.
THIRDS = (0.33, 0.66)
HEAD, MIDDLE, TAIL = "head", "middle", "tail"


@dataclass(frozen=True, kw_only=True)
class KenlmPerplexity(Annotator):
    """Measure the perplexity of a text under an n-gram model of KenLM.

    A line is normalised and scored as a sentence; the perplexity is 10 to the minus sum of the
    lines' log10 scores over their words and ends. Blank lines count one end each, as in CCNet.
    Any value is of the order of its model's vocabulary: choose cut-offs by ``perplexity_cutoffs``.

    model       file of KenLM, .arpa or .bin
    pieces      file of a SentencePiece model that cuts lines into pieces; none for words at spaces
    normalise   small letters, accents off, digits to 0, typographic marks to plain ones, control
                characters out, as CCNet does before it trains and scores
    one_line    join lines without a space before all else: what CCNet's own pipeline comes to,
                since it takes line ends for control characters

    reads    text              large_string  any length; null allowed
    writes   kenlm_perplexity  float32       null where the text is null or empty
    source   Wenzek et al. 2020, arXiv:1911.00359; facebookresearch/cc_net, perplexity.py
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("text",)
    writes: ClassVar[pa.Schema] = columns("kenlm_perplexity")

    model: str
    pieces: str = ""
    normalise: bool = True
    one_line: bool = False

    def check(self) -> None:
        for module, path in (("kenlm", self.model), ("sentencepiece", self.pieces)):
            if path and find_spec(module) is None:
                needed(module, "kenlm")
            if path and not os.path.isfile(path):
                raise ResourceError(
                    f"there is no file of a model of {module}.",
                    path=path,
                    remedy="give the path of a file on this machine",
                )

    def model_files(self) -> tuple[str, ...]:
        return tuple(path for path in (self.model, self.pieces) if path)

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        measure = partial(self._perplexity, stamp(*self.model_files()))
        values, errors = map_rows(measure, batch["text"].to_pylist())
        return rows_to_batch(values, errors, self.writes)

    def _perplexity(self, files: Stamp, text: str | None) -> float | None:
        if not text:
            return None
        model = _model(self.model, files)
        score, length = 0.0, 0
        for line in [text.replace("\n", "")] if self.one_line else text.split("\n"):
            plain = normalise_line(line) if self.normalise else line
            if self.pieces:
                plain = " ".join(_pieces(self.pieces, files).encode(plain, out_type=str))
            score += model.score(plain)
            length += len(plain.split()) + 1
        return float(10.0 ** min(-score / length, 38.0))  # what float32 holds


def normalise_line(line: str) -> str:
    """Return a line as CCNet's models read it."""
    lowered = unicodedata.normalize("NFD", line.strip().lower())
    bare = "".join(char for char in lowered if unicodedata.category(char) != "Mn")
    return _DIGIT.sub("0", bare).translate(_TABLE)


@lru_cache(maxsize=2)
def _model(path: str, _: Stamp) -> Any:
    library = needed("kenlm", "kenlm")
    try:
        config = library.Config()
        config.show_progress = False
        config.arpa_complain = library.ARPALoadComplain.NONE
        return library.Model(path, config)
    except (OSError, RuntimeError) as error:
        raise ResourceError(
            "a model of KenLM cannot be read.", path=path, found=str(error)[:200]
        ) from error


@lru_cache(maxsize=2)
def _pieces(path: str, _: Stamp) -> Any:
    library = needed("sentencepiece", "kenlm")
    try:
        return library.SentencePieceProcessor(model_file=path)
    except (OSError, RuntimeError) as error:
        raise ResourceError(
            "a SentencePiece model cannot be read.", path=path, found=str(error)[:200]
        ) from error


# ---------------------------------------------------------------- thirds


def perplexity_cutoffs(
    of: Build | pl.DataFrame | pl.LazyFrame, *, by: str = "language"
) -> pl.DataFrame:
    """Return, for each language, below which perplexities the best and the middle third lie.

    of       a build, or a frame, with ``by`` and kenlm_perplexity
    returns  language (or ``by``), documents, head, tail; ascending by name
    """
    names = [by, "kenlm_perplexity"]
    frame = (
        of.lazy() if isinstance(of, pl.DataFrame | pl.LazyFrame) else of.documents(columns=names)
    )
    value = pl.col("kenlm_perplexity").cast(pl.Float64)
    return (
        frame.select(names)
        .drop_nulls()
        .group_by(by)
        .agg(
            documents=pl.len().cast(pl.Int64),
            head=value.quantile(THIRDS[0], "linear"),
            tail=value.quantile(THIRDS[1], "linear"),
        )
        .sort(by)
        .collect()
    )


def perplexity_third(head: float, tail: float) -> pl.Expr:
    """Return an expression for rules: head, middle or tail; null without a perplexity.

    keep(perplexity_third(300, 700) != "tail", because="perplexity")
    """
    if not 0 < head <= tail:
        raise RecipeError("the cut-offs of perplexity ascend.", found=f"head={head}, tail={tail}")
    value = pl.col("kenlm_perplexity")
    return (
        pl.when(value < head)
        .then(pl.lit(HEAD))
        .when(value < tail)
        .then(pl.lit(MIDDLE))
        .when(value.is_not_null())
        .then(pl.lit(TAIL))
    )
