"""Examples of the domain that is looked for: read from a file, and looked for in the pool.

Examples that stand in the pool too are ranked first by whatever learns from them, which says
nothing about the rest; whoever measures on them measures memory. It is a warning, no error: a
pool that a good sample was drawn from is a usual thing.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.arrow import bytes_and_offsets
from curation.errors import RecipeError

if TYPE_CHECKING:
    from curation.sources.files import FileSource

U64 = npt.NDArray[np.uint64]
Bool_T = npt.NDArray[np.bool_]

_STRING = pa.large_string()


@dataclass(frozen=True, eq=False)
class Target:
    """Examples of a domain; T of them, each with some text.

    path  where they were read
    id    large_string  FILE#PLACE, as a source names its rows
    text  large_string  no null, none blank
    """

    path: str
    id: pa.Array
    text: pa.Array

    def __len__(self) -> int:
        return len(self.text)

    @cached_property
    def hashes(self) -> U64:
        """uint64[T]: the hash of each example, case and white space folded."""
        return folded_hashes(self.text)

    def found_in(self, text: pa.Array) -> Bool_T:
        """Return bool[T]: which examples stand, letter for letter, among the rows of a batch.

        The results of several batches are joined by ``|``.
        """
        # a null has the hash of an empty text, which no example is
        return np.isin(self.hashes, folded_hashes(text))

    def warn_if_inside(self, found_T: Bool_T, stage: str) -> None:
        """Warn where examples stand in the pool; ``found_T`` is what ``found_in`` returned."""
        count = int(found_T.sum())
        if count == 0:
            return
        example = self.id.filter(pa.array(found_T))[0].as_py()
        warnings.warn(
            f"{stage}: {count:,} of the {len(self):,} target examples of {self.path} are in the "
            f"pool too, such as {example}. What learns from them ranks them first: measure on "
            "others, or take them out of the pool.",
            stacklevel=2,
        )


def folded_hashes(text: pa.Array) -> U64:
    """Return uint64[N]: a hash of each text with case and white space folded, as TextHash has."""
    from curation.kernels.hashing import hash_folded

    hashes: U64 = hash_folded(*bytes_and_offsets(pc.utf8_lower(text)))[:, 0]
    return hashes


def read_target(path: str, *, text: str = "text") -> Target:
    """Return the target examples of a file or a glob; rows without text are passed over.

    path    JSON lines (.jsonl, .json, .ndjson), Parquet, or text files (.txt, .md, .html), one
            example a file; each may be compressed (.gz, .zst, .bz2, .lz4)
    text    the field of a record that holds the text; a dot leads into a nested record
    raises  RecipeError where no file is there, or none of its rows has text

        read_target("seeds/cybersecurity.jsonl.zst")
        read_target("seeds/*.txt")
    """
    spans = _source(path, text).spans()
    return _read(path, text, tuple((span.path, span.size, span.modified) for span in spans))


@lru_cache(maxsize=1)
def _read(path: str, text: str, stamp: tuple[tuple[str, int, int], ...]) -> Target:
    """Read a target once, though a stage looks at it when it is made and when it runs."""
    source = _source(path, text)
    ids, texts, problems = [pa.array([], _STRING)], [pa.array([], _STRING)], []
    for shard in source.plan():
        for batch in source.read(shard):
            has_text = pc.fill_null(pc.match_substring_regex(batch["text"], r"\S"), False)
            ids.append(batch["id"].filter(has_text))
            texts.append(batch["text"].filter(has_text))
            problems += batch["error"].drop_null()[:1].to_pylist()
    target = Target(path, pa.concat_arrays(ids), pa.concat_arrays(texts))
    if len(target) == 0:
        raise RecipeError(
            f"the target '{path}' holds no text.",
            found=problems[0] if problems else f"{type(source).__name__} read no rows with text",
            remedy=f"one example a row in the field '{text}', or name the field that holds it",
        )
    if problems:
        warnings.warn(
            f"rows of the target {path} are passed over, such as: {problems[0]}", stacklevel=3
        )
    return target


def target_texts(path: str, *, text: str = "text") -> Iterator[pa.Array]:
    """Yield the texts of what ``read_target`` would read, batch by batch, nulls among them.

    For what need not be held at once, such as general text that a domain is compared with.
    """
    source = _source(path, text)
    for shard in source.plan():
        for batch in source.read(shard):
            yield batch["text"]


def target_files(path: str) -> tuple[str, ...]:
    """Return the files that a target is read from, for a stage's ``model_files``."""
    return tuple(span.path for span in _source(path, "text").spans())


def _source(path: str, text: str) -> FileSource:
    """Return the source that reads a path, by its ending."""
    from curation.sources.files import with_compression
    from curation.sources.tables import Jsonl, Parquet
    from curation.sources.text import TextFiles

    name = path.lower()
    if name.endswith(with_compression(Jsonl.endings)):
        return Jsonl(path, text=text, url=None, date=None, license_field=None)
    if name.endswith(with_compression(Parquet.endings)):
        return Parquet(path, text=text, url=None, date=None, license_field=None)
    if name.endswith(with_compression(TextFiles.endings)):
        return TextFiles(path)
    raise RecipeError(
        f"the target '{path}' is of no kind that is known by its ending.",
        known=", ".join((*Jsonl.endings, *Parquet.endings, *TextFiles.endings)),
        remedy="name a file, or a pattern that ends so, such as 'seeds/*.txt'",
    )
