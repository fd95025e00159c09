"""What a classifier is to learn, as arrays: which label of which text holds, and who is held out.

A head's kind follows from its column: strings are labels of which one holds (one), lists of strings
are labels of which any may hold (many), numbers are grades (score). A null says nothing of that
text for that head, so heads may be labelled by different people on different texts.

N texts, L labels
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.annotate.classifier_head import Head, HeadKind
from curation.arrow import bytes_and_offsets, is_valid, values_of
from curation.columns import COLUMNS
from curation.errors import RecipeError, nearest

F32 = npt.NDArray[np.float32]
Bool_N = npt.NDArray[np.bool_]

#: Examples that a label needs: one to train on, one to be held out.
FEWEST = 2
#: Characters of a text that a warning shows.
_SHOWN = 60


@dataclass(frozen=True, eq=False)
class Target:
    """What one head is to learn.

    truth_NL    float32[N, L]  1 where the label holds, 0 elsewhere; float32[N, 1] grades
    labelled_N  bool[N]        texts that something is known of
    """

    head: Head
    truth_NL: F32
    labelled_N: Bool_N


def flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column in one piece, dictionaries spelled out."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # where it has no chunk at all
        column = pa.concat_arrays(column.chunks) if column.chunks else pa.array([], column.type)
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def grades_of(name: str, column: pa.Array) -> pa.Array:
    """Return a column as numbers; RecipeError where it holds anything else."""
    try:
        return column.cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise RecipeError(
            f"'{name}' holds no grades.",
            found=str(error).partition("\n")[0],
            remedy="numbers, null where a text was not graded; --label for labels",
        ) from error


def targets_of(
    heads: Mapping[str, pa.Array], usable_N: Bool_N, *, positive: str = "", drop_rare: bool = False
) -> list[Target]:
    """Return what each head is to learn.

    usable_N   bool[N]: texts that can be learnt from at all
    positive   the label that is looked for, of the only head with labels of which one holds
    drop_rare  leave out labels with fewer than FEWEST texts, with a warning
    """
    if not heads:
        raise RecipeError(
            "a classifier needs something to learn.", remedy="a column of labels, tags or grades"
        )
    found = [_target(name, flat(column), usable_N, drop_rare) for name, column in heads.items()]
    if not positive:
        return found
    return [_with_positive(target, positive, found) for target in found]


def _with_positive(target: Target, positive: str, targets: list[Target]) -> Target:
    with_labels = [t.head.name for t in targets if t.head.kind == "one"]
    if len(with_labels) != 1:
        raise RecipeError(
            "a positive label belongs to the one head of which one label holds.",
            found=f"{len(with_labels)} such heads",
            remedy="leave positive out",
        )
    head = target.head
    if head.name != with_labels[0]:
        return target
    if positive not in head.labels:
        raise RecipeError(
            f"no text has the positive label '{positive}'.",
            present=", ".join(head.labels),
            remedy=nearest(positive, head.labels) or "name a label that is present",
        )
    named = Head(head.name, head.kind, head.labels, positive)
    return Target(named, target.truth_NL, target.labelled_N)


def _target(name: str, column: pa.Array, usable_N: Bool_N, drop_rare: bool) -> Target:
    if not name or name in COLUMNS:
        raise RecipeError(
            f"a head cannot be called '{name}'.",
            found=COLUMNS[name][1] if name else "no name",
            remedy="another name: the head's columns are called after it",
        )
    if len(column) != len(usable_N):
        raise RecipeError(f"'{name}' has {len(column):,} values for {len(usable_N):,} texts.")
    kind = _kind(name, column.type)
    labelled_N = is_valid(column) & usable_N
    if kind == "score":
        return _graded(name, column, labelled_N)
    truth_NL, labels = _coded(column, labelled_N)
    labels, truth_NL, labelled_N = _without_rare(
        name, labels, truth_NL, (labelled_N, drop_rare, kind)
    )
    if kind == "many":
        _check_tags(name, labels, truth_NL[labelled_N])
    elif len(labels) < 2:
        raise RecipeError(
            f"all texts of '{name}' are of one class.",
            found=f"{int(labelled_N.sum()):,} texts, labels: {', '.join(labels) or 'none'}",
            remedy="texts of at least two labels, such as --positive FILES --negative FILES",
        )
    return Target(Head(name, kind, labels), truth_NL, labelled_N)


def _kind(name: str, kind: pa.DataType) -> HeadKind:
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind):
        return "one"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return "score"
    if (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and (
        pa.types.is_string(kind.value_type) or pa.types.is_large_string(kind.value_type)
    ):
        return "many"
    raise RecipeError(
        f"'{name}' is no column to learn from.",
        found=str(kind),
        remedy="strings (one label each), lists of strings (several), or numbers (grades)",
    )


def _graded(name: str, column: pa.Array, labelled_N: Bool_N) -> Target:
    value_N = values_of(column.cast(pa.float64())).copy()
    wrong = int((~np.isfinite(value_N[labelled_N])).sum())
    if wrong:
        raise RecipeError(
            f"{wrong:,} grades of '{name}' are no numbers.",
            found="NaN or infinite",
            remedy="null where a text was not graded: such rows are passed over",
        )
    value_N[~labelled_N] = 0.0
    known = np.unique(value_N[labelled_N])
    if len(known) < 2:
        raise RecipeError(
            f"all grades of '{name}' are the same, or there are none.",
            found=f"{int(labelled_N.sum()):,} grades",
            remedy="texts of at least two grades",
        )
    return Target(Head(name, "score"), value_N.astype(np.float32)[:, None], labelled_N)


def _coded(column: pa.Array, labelled_N: Bool_N) -> tuple[F32, tuple[str, ...]]:
    """Return float32[N, L], 1 where a label holds, and the labels in order."""
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        size_N = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
        row_V = np.repeat(np.arange(len(column)), size_N)
        value = column.flatten()
    else:
        row_V, value = np.arange(len(column)), column
    value = value.cast(pa.large_string())
    kept_V = labelled_N[row_V] & is_valid(value)
    value, row_V = value.filter(pa.array(kept_V)), row_V[kept_V]
    labels = sorted(value.unique().to_pylist())
    code_V = pc.index_in(value, pa.array(labels, pa.large_string())).to_numpy(zero_copy_only=False)
    truth_NL = np.zeros((len(column), len(labels)), dtype=np.float32)
    truth_NL[row_V, code_V] = 1.0
    return truth_NL, tuple(labels)


def _without_rare(
    name: str, labels: tuple[str, ...], truth_NL: F32, how: tuple[Bool_N, bool, HeadKind]
) -> tuple[tuple[str, ...], F32, Bool_N]:
    """Return labels and texts without labels of too few texts; RecipeError where that is not asked.

    how  which texts are labelled, whether rare labels are dropped, and the head's kind
    """
    labelled_N, drop_rare, kind = how
    count_L = truth_NL.sum(axis=0)
    rare = [label for label, n in zip(labels, count_L, strict=True) if n < FEWEST]
    if not rare:
        return labels, truth_NL, labelled_N
    shown = ", ".join(rare[:5]) + (f" and {len(rare) - 5} more" if len(rare) > 5 else "")
    if not drop_rare:
        raise RecipeError(
            f"a label of '{name}' has one example only: {shown}.",
            found=f"{len(rare)} of {len(labels)} labels with fewer than {FEWEST} texts",
            remedy="more texts of it, or drop_rare=True (--drop-rare) to leave such labels out",
        )
    warnings.warn(f"labels of '{name}' with one example are left out: {shown}", stacklevel=2)
    kept_L = count_L >= FEWEST
    if kind == "one":  # a text of many labels, all of them rare, is a text without a label
        labelled_N = labelled_N & (truth_NL[:, kept_L].sum(axis=1) > 0)
    names = tuple(label for label, kept in zip(labels, kept_L, strict=True) if kept)
    return names, np.ascontiguousarray(truth_NL[:, kept_L]), labelled_N


def _check_tags(name: str, labels: tuple[str, ...], truth_NL: F32) -> None:
    everywhere = [label for label, m in zip(labels, truth_NL.mean(axis=0), strict=True) if m == 1]
    if not labels or everywhere:
        raise RecipeError(
            f"all texts of '{name}' are of one class.",
            found=f"labels that hold of every text: {', '.join(everywhere) or 'there are none'}",
            remedy="texts of which they do not hold, or leave them out",
        )


def warn_of_contradictions(text: pa.Array, targets: list[Target]) -> None:
    """Warn of texts that stand with several labels of a head of which one label holds.

    Such a text teaches each label against the others, as where one file is given for two of them.
    Texts are equal as in ``held_out_texts``: case and white space folded.
    """
    from curation.kernels.hashing import hash_folded

    exclusive = [target for target in targets if target.head.kind == "one"]
    if not exclusive:
        return
    hash_N2 = hash_folded(*bytes_and_offsets(text))
    for target in exclusive:
        (row_R,) = np.nonzero(target.labelled_N)
        table = pa.table(
            {
                "one": hash_N2[row_R, 0],
                "two": hash_N2[row_R, 1],
                "label": target.truth_NL[row_R].argmax(axis=1),
                "row": row_R,
            }
        )
        wanted = [("label", "min"), ("label", "max"), ("row", "min")]
        found = table.group_by(["one", "two"]).aggregate(wanted)
        found = found.filter(pc.not_equal(found["label_min"], found["label_max"]))
        if len(found):
            _warn_of_texts(text, target.head, found.sort_by("one"))


def _warn_of_texts(text: pa.Array, head: Head, found: pa.Table) -> None:
    """Warn of contradictions; an example is the text of the least hash."""
    example = text[found["row_min"][0].as_py()].as_py().strip()
    labels = [head.labels[found[name][0].as_py()] for name in ("label_min", "label_max")]
    count = f"{len(found):,} texts stand" if len(found) > 1 else "1 text stands"
    shown = repr(example[:_SHOWN]) + (" ..." if len(example) > _SHOWN else "")
    warnings.warn(
        f"{count} with several labels of '{head.name}', such as '{labels[0]}' and '{labels[1]}': "
        f"{shown}",
        stacklevel=4,
    )


# ---------------------------------------------------------------- who is held out


def held_out_texts(group: pa.Array, targets: list[Target], *, held_out: float, seed: int) -> Bool_N:
    """Return bool[N]: which texts are not trained on.

    By the hash of the text, case and white space folded, so that copies fall on one side; or of
    its group, where texts of a group are to stay together. Where a label would be missing on one
    side, the text of that label that comes nearest to that side goes there, with its copies.

    group  strings: the texts themselves, or the names of their groups
    """
    from curation.engine.best import mix
    from curation.kernels.hashing import hash_folded

    hash_N = mix(hash_folded(*bytes_and_offsets(group))[:, 0], seed)
    place_N = hash_N.astype(np.float64) / 2.0**64
    held_N = place_N < held_out
    if not held_out:
        return held_N
    holding = [holds_N for target in targets for holds_N in _holding(target)]
    for holds_N in holding:
        known = np.unique(hash_N[holds_N])
        if len(known) >= FEWEST and not held_N[holds_N].any():
            held_N[hash_N == known[0]] = True
    for holds_N in holding:  # last, because a label that was not trained on cannot be told
        if held_N[holds_N].all():
            held_N[hash_N == hash_N[holds_N].max()] = False
    return held_N


def _holding(target: Target) -> list[Bool_N]:
    """Return bool[N] for each label: where it holds; of grades, where there is one."""
    if target.head.kind == "score":
        return [target.labelled_N]
    return [(column_N > 0) & target.labelled_N for column_N in target.truth_NL.T]
