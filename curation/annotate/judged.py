"""From judged documents to a table that a classifier learns from: the middle of a distillation.

    sample → Judge → judged_rows → train-classifier → Classifier over the whole corpus

The step from a model's grades to a small classifier is that of Kong, Gunter and Pang 2024,
arXiv:2406.04638 (LLM-guided document selection) and of FineWeb-Edu (arXiv:2406.17557).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from curation.annotate.rubrics import DATAMAN_CRITERIA
from curation.errors import RecipeError, ResourceError

if TYPE_CHECKING:
    import os

    import polars as pl

    from curation.build import Build


#: What DATAMAN's columns are called in a training table, for a judge that goes by its usual name:
#: ``judged_rows(build, grades=DATAMAN_FIELDS)`` is what ``train-classifier --dataman`` takes.
DATAMAN_FIELDS = {
    "judge_domain": "domain",
    **{f"judge_{name}_grade": name for name in DATAMAN_CRITERIA},
}


def judged_rows(
    build: Build,
    *,
    grades: Sequence[str] | Mapping[str, str] = ("judge_grade",),
    text: str = "text",
) -> pl.DataFrame:
    """Return id, text and grades of the rows of a build that have them all.

    Rows that the build dropped, rows in error and rows without text are left out.

    grades  columns that judges wrote, such as judge_grade, or judge_domain for labels; a mapping
            gives them other names

        write_judged(judged_rows(Build.open("store/judged")), "judged.jsonl")
    """
    import polars as pl

    names = grades if isinstance(grades, Mapping) else {name: name for name in grades}
    if not names:
        raise RecipeError(
            "a training table needs a grade.", remedy='such as grades=("judge_grade",)'
        )
    rows = build.documents(columns=["id", text, *names]).collect()
    judged = rows.drop_nulls().filter(pl.col(text).str.strip_chars() != "")
    if judged.is_empty():
        raise ResourceError(
            "the build holds no judged row.",
            found=f"{len(rows):,} rows, none of them with text and {', '.join(names)}",
            remedy="look at build.errors() for what the judge met",
        )
    return judged.rename(dict(names))


def write_judged(judged: pl.DataFrame, path: str | os.PathLike[str]) -> Path:
    """Write a table of ``judged_rows`` as JSON lines (.jsonl) or Parquet (.parquet).

    It is put in place when it is whole.
    """
    from curation.store import replacing

    target = Path(path)
    if target.suffix not in (".jsonl", ".parquet"):
        raise RecipeError(
            "a table of judged rows is written as .jsonl or .parquet.", found=str(path)
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as partial:
            if target.suffix == ".jsonl":
                judged.write_ndjson(partial)
            else:
                judged.write_parquet(partial)
    except OSError as error:
        raise ResourceError(
            f"the judged rows cannot be written: {error.strerror}.", path=str(path)
        ) from error
    return target
