"""Which language a document is in, in which script, and how much of it is in another.

Both stages take the same models: py3langid's, which needs no download and knows 140 labels, and
any supervised fastText file, such as lid.176.ftz (176 languages) or GlotLID's (labels such as
``eng_Latn``). A label is the model's own: ``en`` of one may be ``eng_Latn`` of another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.arrow import bytes_and_offsets, is_valid, to_column
from curation.columns import columns
from curation.errors import RecipeError
from curation.stage import Annotator

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]

#: A line is judged if it has at least so many letters; models err on less.
JUDGED_LETTERS = 20


@dataclass(frozen=True, kw_only=True)
class Language(Annotator):
    """Find the language of a document, how sure the model is of it, and the script.

    A letter is a code point of category L that belongs to a script (neither Common nor Inherited).
    Without a letter there is no language, whatever a model would say of digits. The script is that
    of most letters, by its ISO 15924 code; Han and kana are counted together and are Jpan where one
    in 20 of them or more is kana, Hani otherwise; Hangul is Hang, with Han beside it too.

    model      path of a supervised fastText model, .bin or .ftz; none for py3langid's
    max_bytes  judge only so much of the beginning, to whole characters; 0 for all of it. Judging
               less is faster, and wrong about a document that begins in another language, or with
               a menu

    reads    text           large_string  any length; null allowed
    writes   language       large_string  label without ``__label__``; null without a letter, or
                                          where the model knows nothing of the text
             language_prob  float32       0..1, as the model's own package states it; null likewise
             script         large_string  Zyyy without a letter; null where text is null
    source   Joulin et al. 2017, arXiv:1607.01759 (fastText); Lui and Baldwin 2012,
             aclanthology.org/P12-3005 (langid.py)
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("text",)
    writes: ClassVar[pa.Schema] = columns("language", "language_prob", "script")

    model: str = ""
    max_bytes: int = 0

    def check(self) -> None:
        if self.max_bytes < 0:
            raise RecipeError(
                "Language cannot judge fewer than no bytes.",
                found=f"max_bytes={self.max_bytes}",
                remedy="max_bytes=0 for the whole text",
            )
        _check_model(self.model)

    def model_files(self) -> tuple[str, ...]:
        return _model_files(self.model)

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from curation.kernels.scripts import script_codes, survey

        text = batch["text"]
        data, offset = bytes_and_offsets(text)
        start, stop = offset[:-1], offset[1:]
        if self.max_bytes:
            stop = _cut(data, start, stop, self.max_bytes)
        found = survey(data, start, stop)
        labels, label, prob = _labels(self.model, data, start, stop, found.unready_N)
        known = (label >= 0) & (found.letter_N > 0)
        arrays = [
            _named(labels, label, known),
            to_column(prob, known),
            _named(script_codes(), found.script_N.astype(np.int32), is_valid(text)),
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.writes)


@dataclass(frozen=True, kw_only=True)
class MixedLanguage(Annotator):
    """Find how much of a document is not in the language of most of it.

    Each line with at least JUDGED_LETTERS letters is judged by itself. The main language is the
    one with the most characters in the lines judged. Models err on short lines and between close
    relatives (Bosnian, Croatian, Serbian), so a small share means little.

    model    path of a supervised fastText model, .bin or .ftz; none for py3langid's

    reads    text                 large_string  any length; null allowed
    writes   mixed_language_frac  float32       share of the characters in judged lines that stand
                                                in lines of other languages; null where no line
                                                can be judged
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("text",)
    writes: ClassVar[pa.Schema] = columns("mixed_language_frac")

    model: str = ""

    def check(self) -> None:
        _check_model(self.model)

    def model_files(self) -> tuple[str, ...]:
        return _model_files(self.model)

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from curation.kernels.mixed import minority_shares, split_lines
        from curation.kernels.scripts import survey

        data, offset = bytes_and_offsets(batch["text"])
        start, stop, row = split_lines(data, offset)
        found = survey(data, start, stop)
        (long,) = np.nonzero(found.letter_N >= JUDGED_LETTERS)
        labels, label, _ = _labels(self.model, data, start[long], stop[long], found.unready_N[long])
        size = found.char_N[long]
        share = minority_shares(row[long], label, size, len(batch), len(labels))
        arrays = [to_column(share, share >= 0)]
        return pa.RecordBatch.from_arrays(arrays, schema=self.writes)


# ---------------------------------------------------------------- the two kinds of model


def _check_model(model: str) -> None:
    from curation.annotate.fasttext_model import check_model
    from curation.annotate.langid_model import langid_file

    if model:
        check_model(model)
    else:
        langid_file()


def _model_files(model: str) -> tuple[str, ...]:
    from curation.annotate.langid_model import langid_file

    return (model or langid_file(),)


def _labels(
    model: str, data: U8, start: I64, stop: I64, unready: U8
) -> tuple[tuple[str, ...], I32, F32]:
    """Return a model's labels, and each text's label (-1 for none) with its probability."""
    if model:
        from curation.annotate.fasttext_model import load_model

        fasttext = load_model(model)
        return fasttext.labels, *fasttext.predict(data, start, stop)
    from curation.annotate.langid_model import load_langid

    langid = load_langid()
    return langid.labels, *langid.predict(data, start, stop, unready)


# ---------------------------------------------------------------- columns


def _cut(data: U8, start: I64, stop: I64, most: int) -> I64:
    """Return where each text ends if it is cut to so many bytes, between two characters."""
    cut = np.minimum(stop, start + most)
    for _ in range(3):  # a character has at most three bytes after its first
        (row,) = np.nonzero((cut < stop) & (cut > start))
        cut[row] -= data[cut[row]] & 0xC0 == 0x80
    return cut


def _named(names: tuple[str, ...], index: I32, valid: npt.NDArray[np.bool_]) -> pa.Array:
    """Return the column of the names with these indices, null where not valid."""
    values = pa.array(names, pa.large_string())
    return values.take(to_column(np.where(valid, index, 0).astype(np.int32), valid))
