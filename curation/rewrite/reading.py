"""Reading comprehension mined from the text itself: no language model is asked."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.arrow import bytes_and_offsets, from_bytes_and_offsets, to_column
from curation.columns import columns
from curation.errors import RecipeError, ResourceError
from curation.rewrite.forms import forms, forms_hash
from curation.rewrite.lineage import LINEAGE, lineage
from curation.rewrite.made import new_rows
from curation.rewrite.templates import TEMPLATES_ID
from curation.stage import Rewriter

if TYPE_CHECKING:
    from curation.kernels.compose import Layout

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

#: Columns of how many tasks of each kind a new row has, in the kernels' order of kinds.
COUNTS = (
    "nli_task_count",
    "commonsense_task_count",
    "paraphrase_task_count",
    "word_task_count",
    "summary_task_count",
    "completion_task_count",
)
_TASKLESS = ("frame", "unchanged", "drop")  # in the order of the kernel's numbers


@dataclass(frozen=True, kw_only=True)
class ReadingComprehension(Rewriter):
    """Put documents into a frame and append tasks that patterns find in them: one row for a row.

    Six kinds of tasks, as AdaptLLM mines them: inference, cause and effect, paraphrase (two
    sentences that a connective joins), word to text (definitions, topics, sentences to be written
    from keywords), summarisation (needs a title) and completion (needs two sentences). At most two
    tasks of each relation are set. Which ones, their order, the frame and the templates are drawn
    by a hash of the row's id and the seed, so a row's text depends on that row alone.

    The document stands in the frame as it is, white space around it and around the cut of a
    completion aside. Patterns and sentences are English; a long document is used whole, where
    AdaptLLM cuts it to the model's context: put ``Chunk`` before.

    reads    id               large_string  what choices are drawn by
             text             large_string  any length; null, empty and blank text makes no row
    may_read title            large_string  its title, where the text does not begin with it
             keywords         large_list<item: large_string>  its words of the domain
    writes   text                    large_string  the document in a frame, then tasks and answers
             task_count              uint32        tasks in the text: the sum of the following
             nli_task_count          uint32        0..6
             commonsense_task_count  uint32        0..4
             paraphrase_task_count   uint32        0..4
             word_task_count         uint32        0..6
             summary_task_count      uint32        0 or 1: the frame asks for the title
             completion_task_count   uint32        0 or 1: the frame asks for the rest
             rewriter                large_string
             prompt_id               large_string  the set of templates
             model_id                large_string  null: no model is asked
             rewrite_seed            int64         the seed of the settings
    source   Cheng, Huang and Wei 2024, arXiv:2309.09530 (AdaptLLM), and its code
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("id", "text")
    may_read: ClassVar[tuple[str, ...]] = ("title", "keywords")
    writes: ClassVar[pa.Schema] = columns("text", "task_count", *COUNTS, *LINEAGE)
    incidental: ClassVar[tuple[str, ...]] = ("keywords",)  # the list is known by its content

    #: File of domain words, one a line; without it, the row's own in ``keywords`` are used.
    keywords: str = ""
    #: The column ``title`` or else the first line (without Markdown's number signs and "title:"),
    #: the column alone, or none.
    title: Literal["first_line", "column", "none"] = "first_line"
    #: A first line of more characters is no title.
    max_title_chars: int = 200
    #: What becomes of a document that no task is mined from: it stands in a frame (which may ask
    #: for its title or its rest), stays as it is, or makes no row.
    without_tasks: Literal["frame", "unchanged", "drop"] = "frame"
    seed: int = 0

    def check(self) -> None:
        if self.max_title_chars < 1:
            raise RecipeError(
                "ReadingComprehension finds no title of no characters.",
                found=f"max_title_chars={self.max_title_chars}",
                remedy='set max_title_chars to 1 or more, or title="column" or "none"',
            )
        if not 0 <= self.seed < 1 << 63:
            raise RecipeError(
                "ReadingComprehension takes no such seed.",
                found=f"seed={self.seed}",
                remedy="set seed to a whole number from 0 to 2**63 - 1",
            )

    def model_files(self) -> tuple[str, ...]:
        return (self.keywords,) if self.keywords else ()

    def identity(self) -> dict[str, object]:
        """Return the identity with the templates."""
        return {**super().identity(), "templates": [TEMPLATES_ID, forms_hash()]}

    def rewrite(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from curation.kernels.compose import compose
        from curation.kernels.hashing import hash_bytes
        from curation.kernels.mining_patterns import mine
        from curation.kernels.sentences import cut_sentences
        from curation.kernels.task_choice import choose_tasks, document_keys

        data, offset = bytes_and_offsets(batch["text"])
        titles, layout = self._layout(batch, data, offset)
        key = document_keys(hash_bytes(*bytes_and_offsets(batch["id"])), np.uint64(self.seed))
        sentence = cut_sentences(data, layout.body_N, layout.stop_N)
        found = mine(data, layout.body_N, offset[1:])  # white space at the end closes a match
        task = choose_tasks(key, found, sentence, self._keyword_sentences(batch, data, sentence))
        taskless = _TASKLESS.index(self.without_tasks)
        parent, counts, made, made_offset = compose(
            (data, titles), key, layout, sentence, task, forms(), taskless
        )
        text = from_bytes_and_offsets(made, made_offset, pa.large_string())
        return self._rows(parent, counts, text)

    def _layout(self, batch: pa.RecordBatch, data: U8, offset: I64) -> tuple[U8, Layout]:
        """Return the bytes of the given titles, and where each document's parts are."""
        from curation.kernels.compose import lay_out

        given = batch["title"] if self.title != "none" and "title" in batch.schema.names else None
        if given is None:
            given = pa.nulls(batch.num_rows, pa.large_string())
        titles, title_offset = bytes_and_offsets(given)
        max_chars = self.max_title_chars if self.title == "first_line" else 0
        return titles, lay_out(data, offset, titles, title_offset, max_chars)

    def _keyword_sentences(
        self, batch: pa.RecordBatch, data: U8, sentence: tuple[I64, I64, I64]
    ) -> tuple[I64, I64, I64, I64]:
        from curation.kernels.keywords import hash_words, keyword_sentences, keyword_table

        if self.keywords:
            return keyword_sentences(data, sentence, word_list(self.keywords))
        nothing = keyword_table(())
        if "keywords" not in batch.schema.names:
            return keyword_sentences(data, sentence, nothing)
        lists = batch["keywords"]
        counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
        word_offset = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        words = hash_words(*bytes_and_offsets(lists.flatten()))
        return keyword_sentences(data, sentence, nothing, (words, word_offset))

    def _rows(self, parent: I64, counts: npt.NDArray[np.uint32], text: pa.Array) -> pa.RecordBatch:
        made = {"text": text, "task_count": to_column(counts.sum(axis=1, dtype=np.uint32))}
        made |= {name: to_column(counts[:, kind]) for kind, name in enumerate(COUNTS)}
        rows = len(parent)
        made |= lineage(self, [TEMPLATES_ID] * rows, None, [self.seed] * rows)
        return new_rows(self.writes, parent, made)


def word_list(path: str) -> U64:
    """Return the words of a file, one a line, as the kernel looks them up."""
    try:
        return _word_list(path, os.stat(path).st_mtime_ns)
    except (OSError, UnicodeDecodeError) as error:
        raise ResourceError(
            f"the list of domain words {path} cannot be read: {error}.",
            remedy="give a UTF-8 text file with one word a line",
        ) from None


@functools.lru_cache(maxsize=4)
def _word_list(path: str, _modified: int) -> U64:
    from curation.kernels.keywords import keyword_table

    return keyword_table(line.strip() for line in Path(path).read_text("utf-8").splitlines())
