"""Say what a trained classifier makes of a text: its domain, quality, reading level, grades.

The stage takes the models that ``curation train-classifier`` writes and any supervised fastText
file, such as the quality classifier of DCLM. What a model was trained for is in its labels; the
stage knows no domain by itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.annotate.classifier_head import Head
from curation.annotate.classifier_model import load_classifier, read_heads
from curation.annotate.classifier_report import HOLDS
from curation.arrow import bytes_and_offsets, to_column
from curation.errors import RecipeError, nearest
from curation.stage import Annotator

F32 = npt.NDArray[np.float32]
Bool_N = npt.NDArray[np.bool_]

_TEXT, _PROB = pa.large_string(), pa.float32()


@dataclass(frozen=True, kw_only=True)
class Classifier(Annotator):
    """Classify or grade a text by a trained model.

    A recipe may have several: the columns are called after the model's heads, or as ``name`` says.
    A head that tells which of several labels holds writes the likeliest and its probability; where
    one label is looked for (``positive``), the probability of that label alone. A head of labels
    that hold independently writes those with a probability of 0.5 and more, and the probability of
    each. A head of grades writes a number.

    A text that is null or blank, or of which the model has met no run of words, has null in every
    column: a rule does not keep it, and the base rate would be a guess about all such texts at
    once. To a fastText model the end of a text is a word like others, so that most of them answer
    any text that is not blank.

    model     path of a file that curation train-classifier has written, or of a supervised fastText
              model, .bin or .ftz
    name      what the columns are called, in place of the head's own name; of a model with several
              heads, what stands before each of their names
    positive  the label that is looked for, of a model with one head of labels of which one holds;
              by default, the one that it was trained for, if any

    reads     text  large_string  any length; null allowed
    writes    columns called after the model's heads. Where one of several labels holds, NAME
              (large_string) and NAME_prob (float32); where one label is looked for, NAME_prob
              alone. Where several may hold, NAME (large_list of large_string) and, for each,
              NAME_LABEL_prob (float32). For grades, NAME_score (float32).
    source    Joulin et al. 2017, arXiv:1607.01759 (fastText); Li et al. 2024, arXiv:2406.11794
              (DCLM: positive and negative texts); Penedo et al. 2024, arXiv:2406.17557
              (FineWeb-Edu: grades of a language model)
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("text",)

    model: str
    name: str = ""
    positive: str = ""

    def check(self) -> None:
        names = self.writes.names  # raises where there is no such model
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise RecipeError(
                f"Classifier would write '{twice[0]}' twice.",
                found=f"heads and labels of {self.model} whose columns have the same name",
                remedy="other names for them in training: a column's is in small letters,"
                " with _ for every sign",
            )

    def model_files(self) -> tuple[str, ...]:
        return (self.model,)

    @property
    def writes(self) -> pa.Schema:
        """The columns of the model's heads."""
        return pa.schema([field for head in self._heads() for field in head_columns(head)])

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        data, offset = bytes_and_offsets(batch["text"])
        model = load_classifier(self.model)
        answers, known = model.answers(data, offset[:-1], offset[1:])
        arrays = []
        for head, shown in zip(model.heads, self._heads(), strict=True):
            arrays += _head_arrays(shown, answers[head.name], known)
        return pa.RecordBatch.from_arrays(arrays, schema=self.writes)

    def _heads(self) -> list[Head]:
        """Return the model's heads as this stage calls them."""
        heads = read_heads(self.model)
        if self.positive:
            heads = (_looking_for(heads, self.positive),)
        if not self.name:
            return list(heads)
        if len(heads) == 1:
            return [replace(heads[0], name=self.name)]
        return [replace(head, name=f"{self.name}_{head.name}") for head in heads]


def _looking_for(heads: tuple[Head, ...], positive: str) -> Head:
    if len(heads) != 1 or heads[0].kind != "one":
        raise RecipeError(
            "Classifier cannot look for one label in this model.",
            found=", ".join(f"{head.name} ({head.kind})" for head in heads),
            remedy="leave positive out",
        )
    if positive not in heads[0].labels:
        labels = heads[0].labels
        raise RecipeError(
            f"the classifier has no label '{positive}'.",
            present=", ".join(labels[:20]) + (" ..." if len(labels) > 20 else ""),
            remedy=nearest(positive, labels) or "name a label that is present",
        )
    return replace(heads[0], positive=positive)


def head_columns(head: Head) -> list[pa.Field]:
    """Return the columns that a head writes."""
    if head.kind == "score":
        return [pa.field(f"{head.name.removesuffix('_score')}_score", _PROB)]
    if head.kind == "many":
        probs = [f"{head.name}_{_plain(label)}_prob" for label in head.labels]
        tags = pa.field(head.name, pa.large_list(_TEXT))
        return [tags, *(pa.field(name, _PROB) for name in probs)]
    prob = pa.field(f"{head.name.removesuffix('_prob')}_prob", _PROB)
    return [prob] if head.positive else [pa.field(head.name, _TEXT), prob]


def _plain(label: str) -> str:
    """Return a label as part of a column's name."""
    return re.sub(r"\W+", "_", label.lower()).strip("_")


def _head_arrays(head: Head, answer_NL: F32, known: Bool_N) -> list[pa.Array]:
    if head.kind == "score":
        return [to_column(answer_NL[:, 0], known)]
    if head.kind == "many":
        probs = [to_column(column_N, known) for column_N in answer_NL.T]
        return [_tags(head.labels, answer_NL >= HOLDS, known), *probs]
    if head.positive:
        return [to_column(answer_NL[:, head.labels.index(head.positive)], known)]
    # the last of equals, as fastText has it
    best_N = answer_NL.shape[1] - 1 - answer_NL[:, ::-1].argmax(axis=1)
    names = pa.array(head.labels, _TEXT).take(to_column(best_N.astype(np.int32), known))
    return [names, to_column(answer_NL[np.arange(len(answer_NL)), best_N], known)]


def _tags(labels: tuple[str, ...], holds_NL: npt.NDArray[np.bool_], known: Bool_N) -> pa.Array:
    """Return the labels that hold of each text, in the order of the labels."""
    holds_NL = holds_NL & known[:, None]
    _, label_V = np.nonzero(holds_NL)
    offset = np.concatenate([[0], np.cumsum(holds_NL.sum(axis=1))]).astype(np.int64)
    values = pa.array(labels, _TEXT).take(pa.array(label_V.astype(np.int32)))
    mask = None if known.all() else pa.array(~known)
    return pa.LargeListArray.from_arrays(pa.array(offset), values, mask=mask)
