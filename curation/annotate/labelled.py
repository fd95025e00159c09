"""Where a classifier's examples come from: labelled files, positive and negative files, builds.

A file is JSON lines or Parquet with a field for the text, or plain text (.txt), which is one
document; JSON lines and text may be compressed.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from curation.errors import RecipeError, ResourceError, nearest

if TYPE_CHECKING:
    import polars as pl

    from curation.build import Build

#: The labels of positive and negative files, as DCLM's classifier has them.
POSITIVE, NEGATIVE = "positive", "negative"
#: The column of these labels, and so the head's name.
SIDE = "quality"
_ENDINGS = (".jsonl", ".json", ".ndjson", ".parquet", ".txt")


def read_labelled(
    paths: str | Sequence[str], columns: Sequence[str], *, text: str = "text"
) -> pa.Table:
    """Return the text of all records of files, as ``text``, and the columns named.

    Raises RecipeError for a pattern that matches nothing and for a field that is not there.
    """
    import polars as pl

    wanted = [text, *dict.fromkeys(name for name in columns if name != text)]
    frames = [_frame(path, wanted) for path in _files(paths)]
    try:
        frame = pl.concat(frames, how="vertical_relaxed")
    except pl.exceptions.PolarsError as error:
        raise RecipeError(
            "the files have columns of different types.",
            found=str(error),
            remedy="train on files of one kind",
        ) from error
    return _as_table(frame, text)


def read_sides(
    positive: str | Sequence[str], negative: str | Sequence[str], *, text: str = "text"
) -> pa.Table:
    """Return texts of positive and of negative files, with the column SIDE that says which.

    As DCLM does it (Li et al. 2024, arXiv:2406.11794): any files of what is wanted against files
    of what there is.
    """
    parts = []
    for label, paths in ((POSITIVE, positive), (NEGATIVE, negative)):
        part = read_labelled(paths, (), text=text)
        side = pa.array([label], pa.large_string()).take(pa.array([0] * len(part), pa.int32()))
        parts.append(part.append_column(SIDE, side))
    return pa.concat_tables(parts)


def read_build(build: Build, columns: Sequence[str], *, text: str = "text") -> pa.Table:
    """Return the text and the columns named of the rows that a build has kept."""
    wanted = [text, *dict.fromkeys(name for name in columns if name != text)]
    return _as_table(build.documents(columns=wanted).collect(), text)


def _as_table(frame: pl.DataFrame, text: str) -> pa.Table:
    import polars as pl

    frame = frame.with_columns(pl.col(text).cast(pl.String))
    return frame.rename({text: "text"}).to_arrow()


def _files(paths: str | Sequence[str]) -> list[str]:
    from curation.sources.files import expand, with_compression

    patterns = (paths,) if isinstance(paths, str) else tuple(paths)
    return [span.path for span in expand(patterns, with_compression(_ENDINGS), "the classifier")]


def _frame(path: str, wanted: Sequence[str]) -> pl.DataFrame:
    """Return the wanted columns of one file."""
    import polars as pl

    try:
        if path.endswith(".parquet"):
            frame = pl.read_parquet(path)
        elif ".txt" in path.rpartition("/")[2]:
            frame = pl.DataFrame({wanted[0]: [_content(path).decode(errors="replace")]})
        else:
            lines = b"\n".join(line for line in _content(path).splitlines() if line.strip())
            frame = pl.read_ndjson(io.BytesIO(lines), infer_schema_length=None)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ResourceError(
            f"{path} cannot be read.",
            found=str(error).partition("\n")[0],
            remedy="JSON lines (one object a line), Parquet, or plain text",
        ) from error
    for name in wanted:
        if name not in frame.columns:
            raise RecipeError(
                f"{path} has no field '{name}'.",
                present=", ".join(frame.columns),
                remedy=nearest(name, frame.columns) or "name one of the fields present",
            )
    return frame.select(wanted)


def _content(path: str) -> bytes:
    """Return the bytes of a file, decompressed; ResourceError where it is cut off."""
    from curation.sources.compressed import Inflated, file_codec
    from curation.sources.files import open_file

    parts: list[bytes] = []
    with open_file(path) as file:
        stream = Inflated(file, file_codec(file))
        while any(read := stream.read()):
            parts.append(read[0])
    if stream.problem:
        raise ResourceError(f"{path} cannot be read whole.", found=stream.problem)
    return b"".join(parts)
