"""Documents cut at their headings, each piece with its place in the whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.arrow import bytes_and_offsets, is_valid, strings_between, to_column
from curation.columns import COLUMNS, columns
from curation.errors import RecipeError
from curation.rewrite.lineage import LINEAGE, lineage
from curation.rewrite.made import new_rows
from curation.stage import Rewriter

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

#: What stands between the titles of a path, and between a path and the text under it.
BETWEEN, UNDER = " > ", "\n\n"
#: What the stages of structure write beside the lineage.
SECTION: tuple[str, ...] = ("section_title", "section_path", "section_number")
#: The piece as it is, or with its path in a line of its own before it.
Form = Literal["plain", "path"]
FORMS: tuple[str, ...] = ("plain", "path")


@dataclass(frozen=True, kw_only=True)
class Sections(Rewriter):
    """Cut documents at their headings; each piece knows its title and the path to it.

    Headings are those of Markdown (# and underlines); in documents without them, lines that stand
    after a blank line and are numbered ("3.2 Title") or in capitals. Comments of scripts and YAML
    are none, as far as their lines tell; nor are numbered lines that read as sentences. A heading
    stays in the text that it stands above, and one with nothing under it goes with the next.
    Sections longer than ``max_chars`` are cut as ``Chunk`` cuts documents. A document without
    headings, and what stands before the first, has the document's ``title`` for its own, or its
    first line. Titles are shown to 120 characters. Null and blank text makes no row.

    form       "path" puts the path before the text, as a condition to learn the text under, unless
               the text begins with all of its headings; the path comes on top of max_chars
    max_chars  of a piece

    reads    text            large_string  any length; null allowed
    may_read title           large_string
    writes   text            large_string  in the form wanted
             rewriter        large_string
             prompt_id       large_string  the form
             model_id        large_string  null
             rewrite_seed    int64         0
             section_title   large_string  the innermost heading's
             section_path    large_string  headings from the outermost on, joined by " > "
             section_number  uint32        from 1 on in each document
    source   Liu et al. 2024, arXiv:2407.16724 (StructTuning): path and chunk, the path a condition
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("text",)
    may_read: ClassVar[tuple[str, ...]] = ("title",)
    writes: ClassVar[pa.Schema] = columns("text", *LINEAGE, *SECTION)

    form: Form = "path"
    max_chars: int = 6000

    def check(self) -> None:
        check_form(self, self.form, self.max_chars)

    def rewrite(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        found = sections_of(batch)
        section_C, text = pieces(found.text, self.max_chars)
        document_C = found.document_S[section_C]
        made = {
            "section_title": found.title.take(pa.array(section_C)),
            "section_path": found.path.take(pa.array(section_C)),
            "section_number": pa.array(_ordinals(document_C)),
        }
        # a path of which all lines stand at the text's beginning is not said twice
        is_said_C = (
            found.is_said_S[section_C] & np.append(True, np.diff(section_C) > 0)[: len(text)]
        )
        nothing = pa.scalar(None, pa.large_string())
        shown = pc.if_else(to_column(is_said_C), nothing, made["section_path"])
        made["text"] = in_form(text, shown, self.form)
        rows = len(document_C)
        made |= lineage(self, [f"sections-{self.form}@{self.version}"] * rows, None, [0] * rows)
        return new_rows(self.writes, document_C, made)


def check_form(stage: Rewriter, form: str, max_chars: int) -> None:
    """Raise RecipeError for a form that there is not or pieces of nothing."""
    if form not in FORMS or max_chars < 1:
        raise RecipeError(
            f"{type(stage).__name__} takes no such settings.",
            found=f"form={form!r}, max_chars={max_chars}",
            remedy=f"form is one of {', '.join(FORMS)}; max_chars is 1 or more",
        )


class Cut(NamedTuple):
    """Sections of documents, row for row.

    document_S  int64[S]      the document's index in the batch, ascending
    text        large_string  the whole section, its heading in it
    title       large_string
    path        large_string
    is_said_S   bool[S]       whether all titles of the path stand at the section's beginning
    """

    document_S: I64
    text: pa.Array
    title: pa.Array
    path: pa.Array
    is_said_S: npt.NDArray[np.bool_]


def sections_of(batch: pa.RecordBatch) -> Cut:
    """Cut the documents of a batch at their headings."""
    from curation.kernels.headings import (
        BODY,
        TITLE,
        TITLE_STOP,
        cut_sections,
        find_headings,
        first_lines,
    )

    data, offset = bytes_and_offsets(batch["text"])
    heading_H6 = find_headings(data, offset)
    found = cut_sections(data, offset, heading_H6)
    document_S, start_S, stop_S, heading_S, path, path_P = found
    titles = strings_between(data, heading_H6[:, TITLE].copy(), heading_H6[:, TITLE_STOP].copy())
    own = titles.take(pa.array(heading_S, mask=heading_S < 0))
    stated = _stated_titles(batch).take(pa.array(document_S))
    other = pc.coalesce(stated, strings_between(data, *first_lines(data, start_S, stop_S)))
    lists = pa.LargeListArray.from_arrays(pa.array(path), titles.take(pa.array(path_P, pa.int64())))
    joined = pc.binary_join(lists, pa.scalar(BETWEEN, pa.large_string()))
    paths = pc.if_else(pa.array(heading_S >= 0), joined, other)
    text = strings_between(data, start_S, stop_S)
    is_said_S = (heading_S < 0) & ~is_valid(stated)
    has_path_S = heading_S >= 0
    outermost_S = path_P[path[:-1][has_path_S]]
    is_said_S[has_path_S] = heading_H6[outermost_S, BODY] > start_S[has_path_S]
    return Cut(document_S, text, pc.coalesce(own, other), paths, is_said_S)


def _stated_titles(batch: pa.RecordBatch) -> pa.Array:
    """Return the documents' titles on one line; null where there is none."""
    if "title" not in batch.schema.names:
        return pa.nulls(len(batch), COLUMNS["title"][0])
    titles = pc.utf8_trim_whitespace(pc.replace_substring_regex(batch["title"], r"\s+", " "))
    return pc.if_else(pc.equal(titles, ""), pa.scalar(None, titles.type), titles)


def pieces(text: pa.Array, max_chars: int) -> tuple[I64, pa.Array]:
    """Cut texts as ``Chunk`` does; return the text's index and the text of each piece."""
    from curation.kernels.chunks import cut

    data, offset = bytes_and_offsets(text)
    parent_C, start_C, stop_C = cut(data, offset, max_chars)
    return parent_C, strings_between(data, start_C, stop_C)


def in_form(text: pa.Array, path: pa.Array, form: str) -> pa.Array:
    """Return texts in a form; a text without a path stays as it is."""
    if form == "plain":
        return text
    between = pa.scalar(UNDER, pa.large_string())
    return pc.coalesce(pc.binary_join_element_wise(path, text, between), text)


def _ordinals(document_C: I64) -> npt.NDArray[np.uint32]:
    """Return for each piece its place among those of its document, from 1 on."""
    first_C = np.searchsorted(document_C, document_C)
    return (np.arange(len(document_C)) - first_C + 1).astype(np.uint32)
