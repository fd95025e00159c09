"""The command that trains classifiers: train-classifier."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curation.console import progress, say
from curation.errors import RecipeError

if TYPE_CHECKING:
    import pyarrow as pa

#: How a column is read for each option: as a label, as a list of labels, as a grade.
_KINDS = ("label", "labels", "grade")


def train_classifier(  # noqa: PLR0913  a command's options
    out: Annotated[Path, typer.Option(help="Write the model here, one file.")],
    files: Annotated[
        list[str] | None,
        typer.Argument(help="Labelled JSON lines or Parquet: files, folders or patterns."),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="Field with one label a text; may be repeated.")
    ] = None,
    labels: Annotated[
        list[str] | None, typer.Option(help="Field with a list of labels; may be repeated.")
    ] = None,
    grade: Annotated[
        list[str] | None, typer.Option(help="Field with a number, such as a model's grade.")
    ] = None,
    dataman: Annotated[
        bool, typer.Option("--dataman", help="Fields are DataMan's 14 criteria and 'domain'.")
    ] = False,
    positive: Annotated[
        list[str] | None, typer.Option(help="Files of what is wanted; may be repeated.")
    ] = None,
    negative: Annotated[
        list[str] | None, typer.Option(help="Files of what there is; may be repeated.")
    ] = None,
    positive_label: Annotated[
        str, typer.Option(help="Of --label: the one looked for; its probability is written.")
    ] = "",
    store: Annotated[
        Path | None, typer.Option(help="Learn from the rows of the latest build of this store.")
    ] = None,
    build: Annotated[str, typer.Option(help="Another build of --store, by its fingerprint.")] = "",
    name: Annotated[
        str, typer.Option(help="What the only head is called; default: as the field.")
    ] = "",
    text: Annotated[str, typer.Option(help="Field of the text.")] = "text",
    group: Annotated[str, typer.Option(help="Field by which the split keeps texts together.")] = "",
    model: Annotated[str, typer.Option(help="linear or fasttext.")] = "linear",
    solver: Annotated[
        str, typer.Option(help="Of linear: logistic, sgd, ridge or svc.")
    ] = "logistic",
    strength: Annotated[
        float, typer.Option(help="Of linear: how closely the texts are followed.")
    ] = 10.0,
    ngrams: Annotated[int, typer.Option(help="Words of the longest run that is a feature.")] = 2,
    buckets: Annotated[int, typer.Option(help="What hashes of runs fall into.")] = 1 << 18,
    min_texts: Annotated[
        int, typer.Option(help="Of linear: texts that a run must be in to be a feature.")
    ] = 2,
    epochs: Annotated[int, typer.Option(help="Of fasttext.")] = 5,
    rate: Annotated[float, typer.Option(help="Of fasttext: learning rate.")] = 0.1,
    dimensions: Annotated[int, typer.Option(help="Of fasttext.")] = 100,
    quantized: Annotated[
        bool, typer.Option("--quantized", help="Of fasttext: a model of about a tenth the size.")
    ] = False,
    held_out: Annotated[
        float, typer.Option(help="Share of the texts to measure on, and not to train on.")
    ] = 0.1,
    seed: Annotated[int, typer.Option(help="Another seed, another split.")] = 0,
    drop_rare: Annotated[
        bool, typer.Option("--drop-rare", help="Leave out labels with one example.")
    ] = False,
) -> None:
    """Train a classifier on texts, and measure it on texts that it has not seen.

    Learn labels, lists of labels or grades of files or of a build, or what tells wanted files from
    others. The figures, calibrated probabilities and thresholds for usual shares are in the model,
    which the stage Classifier(model=...) takes.

    Example: curation train-classifier onestop.jsonl.zst --label level --group article
    --out level.classifier (reading level)

    Example: curation train-classifier --positive 'security/*.jsonl' --negative crawl.jsonl
    --name security --out security.classifier (a domain in a crawl)

    Example: curation train-classifier graded.jsonl --grade educational
    --out educational.classifier (grades of a language model)

    Example: curation train-classifier --positive good.jsonl --negative crawl.jsonl
    --model fasttext --out quality.classifier (fastText, as DCLM has it)
    """
    from curation.annotate.classifier_fit import ClassifierSettings, train_classifier
    from curation.annotate.classifier_report import describe

    chosen: dict[str, Any] = {"kind": model, "solver": solver}
    settings = ClassifierSettings(
        ngrams=ngrams,
        buckets=buckets,
        held_out=held_out,
        seed=seed,
        drop_rare=drop_rare,
        strength=strength,
        min_texts=min_texts,
        epochs=epochs,
        rate=rate,
        dimensions=dimensions,
        quantized=quantized,
        **chosen,
    )
    fields = dict(zip(_KINDS, (label or [], labels or [], grade or []), strict=True))
    wanted = [field for kind in _KINDS for field in fields[kind]]
    table = _table(
        (files or [], positive or [], negative or [], store, build),
        _columns(wanted, group, dataman=dataman),
        text,
    )
    heads = _heads(table, fields, dataman=dataman, sides=bool(positive), name=name)
    shown = progress()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        trained = train_classifier(
            table["text"],
            heads,
            settings=settings,
            positive="positive" if positive else positive_label,
            groups=table[group] if group else None,
            say=shown.say,
        )
    shown.close()
    for line in dict.fromkeys(str(warning.message) for warning in told):
        say(f"warning: {line}")
    trained.save(out)
    say(describe(trained.report))
    say(f"model in {out}: use it as Classifier(model='{out}')")


def _columns(wanted: list[str], group: str, *, dataman: bool) -> list[str]:
    from curation.annotate.dataman import CRITERIA, DOMAIN

    asked = [DOMAIN, *CRITERIA] if dataman else []
    return [*asked, *wanted, *([group] if group else [])]


def _table(
    where: tuple[list[str], list[str], list[str], Path | None, str], columns: list[str], text: str
) -> pa.Table:
    """Return the texts and columns; RecipeError unless one way to find them is named.

    where  labelled files, positive files, negative files, store, build
    """
    from curation.annotate.labelled import read_build, read_labelled, read_sides
    from curation.build import Build

    files, positive, negative, store, build = where
    ways: list[Callable[[], pa.Table]] = []
    if files:
        ways.append(lambda: read_labelled(files, columns, text=text))
    if store is not None:
        ways.append(lambda: read_build(Build.open(store, build), columns, text=text))
    if positive or negative:
        ways.append(lambda: read_sides(positive, negative, text=text))
    if len(ways) != 1 or bool(positive) != bool(negative):
        raise RecipeError(
            "train-classifier learns from one of: labelled FILES, a --store, or --positive and"
            " --negative files.",
            remedy="curation train-classifier --help shows one example of each",
        )
    return ways[0]()


def _heads(
    table: pa.Table, fields: dict[str, list[str]], *, dataman: bool, sides: bool, name: str
) -> dict[str, pa.Array]:
    """Return the columns to learn, by the names of their heads."""
    import pyarrow as pa

    from curation.annotate.classifier_targets import flat, grades_of
    from curation.annotate.dataman import dataman_heads
    from curation.annotate.labelled import SIDE

    heads: dict[str, pa.Array] = dataman_heads(table) if dataman else {}
    if sides:
        heads[SIDE] = table[SIDE]
    heads |= {field: flat(table[field]).cast(pa.large_string()) for field in fields["label"]}
    heads |= {field: table[field] for field in fields["labels"]}
    heads |= {field: grades_of(field, flat(table[field])) for field in fields["grade"]}
    if not heads:
        raise RecipeError(
            "nothing says what the classifier is to learn.",
            present=", ".join(table.column_names),
            remedy="--label FIELD, --labels FIELD or --grade FIELD",
        )
    if not name:
        return heads
    if len(heads) > 1:
        raise RecipeError(
            "--name is for one head.", found=", ".join(heads), remedy="leave --name out"
        )
    return {name: next(iter(heads.values()))}


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(train_classifier)
