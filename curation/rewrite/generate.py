"""Reading comprehension, summaries and other texts that a language model writes about documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.annotate.judge import unread_reply
from curation.annotate.model import Model, Reply, Request
from curation.arrow import bytes_and_offsets, strings_between
from curation.columns import columns
from curation.errors import RecipeError
from curation.rewrite.frames import FRAMES, Frame, framed
from curation.rewrite.lineage import LINEAGE, lineage
from curation.rewrite.parse import Written, check_readable, read_reply
from curation.rewrite.prompts import Prompt, prompt
from curation.stage import ERROR, PARENT, Rewriter

#: Characters of a document's title that are shown above a passage.
_TITLE_CHARS = 300


@dataclass(frozen=True, kw_only=True)
class Generate(Rewriter):
    """Let a language model write about each document: questions and answers, summaries and others.

        Generate(model=ModelServer(model="Qwen/Qwen3-8B"), prompts=("qa", "summary"))

    A document is cut into passages at its headings, and where a section is too long at ends of
    paragraphs, lines or sentences; a passage stands under the document's title, where it has one.
    Each passage and prompt is one request, and one new row at most. A reply that cannot be read, or
    breaks its schema, is asked for again, as another draw; after the last it made no row. A reply
    that is cut at its limit is asked for once more with twice the limit; if that is cut too, the
    row holds the tasks that are whole, or a null text, and ``reply_is_cut``:
    keep(~col("reply_is_cut"), because="cut") drops it. A document of whose requests none made a row
    is in error, with the reason of the first; where some did, their rows say how many did not.
    Passages that are too short, null and blank texts make no row.

    model      ModelServer or another model of curation.rewrite.client, or one's own
    prompts    ids of the package's (qa, summary, essence, instruction, multiple_choice, explain,
               translate), paths of files, or ``Prompt`` objects
    frame      reading: the passage and what was written about it; tasks: what was written alone,
               which is what essence, summary and translate are mostly wanted for; chat: turns of
               user and assistant
    language   that the model writes, and translates into
    max_chars  of a passage
    min_chars  a shorter passage is passed over
    retries    how often a reply that cannot be read is asked for again
    seed       of the wording around tasks, drawn by the document's id; draws of the model have
               theirs, which stands with the model

    reads    id                    large_string              distinct
             text                  large_string              any length; null allowed
    may_read title                 large_string              null allowed
    writes   text                  large_string              in the frame; null where nothing whole
             rewriter              large_string              Generate and its version
             prompt_id             large_string              such as qa@1
             model_id              large_string              as the model's facts have it
             rewrite_seed          int64                     0 or more, of the document
             source_text           large_string              the passage, title above
             generated_task_count  uint32                    0 for prompts that make one text
             generated_task_kinds  large_list<item: large_string>  "" where none was stated
             reply_is_cut          bool                      never null
             failed_prompt_count   uint32                    of the parent
             failed_prompt_reason  large_string              null where the count is 0
    source   Cheng et al. 2024, arXiv:2406.14491 (Instruction Pre-Training); Arbel et al. 2024,
             arXiv:2410.21479 (TransformLLM); prompts are our own
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("id", "text")
    may_read: ClassVar[tuple[str, ...]] = ("title",)
    writes: ClassVar[pa.Schema] = columns(
        "text",
        *LINEAGE,
        "source_text",
        "generated_task_count",
        "generated_task_kinds",
        "reply_is_cut",
        "failed_prompt_count",
        "failed_prompt_reason",
    )
    model: Model
    prompts: tuple[str | Prompt, ...] = ("qa", "summary")
    frame: Frame = "reading"
    language: str = "English"
    max_chars: int = 6000
    min_chars: int = 100
    retries: int = 2
    seed: int = 0

    def check(self) -> None:
        faults = {
            "prompts are one or more": bool(self.prompts),
            f"frame is one of {', '.join(FRAMES)}": self.frame in FRAMES,
            "language is named": bool(self.language.strip()),
            "min_chars is 1 or more, max_chars no less": 1 <= self.min_chars <= self.max_chars,
            "retries is 0 or more": self.retries >= 0,
            "seed is 0 or more": self.seed >= 0,
        }
        for law, kept in faults.items():
            if not kept:
                raise RecipeError(f"Generate: {law}.", found=f"{self}")
        names = [one.id for one in self.asked()]
        if len({*names}) < len(names):
            raise RecipeError("Generate: each prompt has an id of its own.", found=f"{names}")
        for one in self.asked():
            check_readable(one)

    def asked(self) -> list[Prompt]:
        """Return the prompts themselves."""
        return [prompt(one) if isinstance(one, str) else one for one in self.prompts]

    def typical_tokens(self) -> dict[str, int]:
        """Return the tokens of a usual reply by purpose, for an estimate."""
        return {one.name: one.typical_tokens for one in self.asked()}

    def identity(self) -> dict[str, object]:
        """Know the prompts by their words."""
        facts = super().identity()
        settings = facts["settings"]
        assert isinstance(settings, dict)
        prompts = [one.facts() for one in self.asked()]
        return {**facts, "settings": {**settings, "prompts": prompts}}

    def rewrite(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        parents, passages = self._passages(batch)
        prompts = self.asked()
        tasks = [
            _Asked(parent, passage, one)
            for parent, passage in zip(parents, passages, strict=True)
            for one in prompts
        ]
        self._ask(tasks)
        return self._rows(tasks, _seeds(batch["id"], self.seed))

    def _passages(self, batch: pa.RecordBatch) -> tuple[list[int], list[str]]:
        """Return the passages of all documents in their order, each with its document's index."""
        from curation.kernels.headings import cut_passages

        data, offset = bytes_and_offsets(batch["text"])
        parent_C, start_C, stop_C = cut_passages(data, offset, self.max_chars)
        text = strings_between(data, start_C, stop_C)
        is_long = pc.greater_equal(pc.utf8_length(pc.utf8_trim_whitespace(text)), self.min_chars)
        parents = pa.array(parent_C, pa.int64()).filter(is_long).to_pylist()
        titles = batch["title"].to_pylist() if "title" in batch.schema.names else None
        return parents, [
            _titled(titles[parent] if titles else None, passage)
            for parent, passage in zip(parents, text.filter(is_long).to_pylist(), strict=True)
        ]

    def _ask(self, tasks: Sequence[_Asked]) -> None:
        """Ask about all, in one call a round; requests that begin alike follow one another."""
        by_system = {one.prompt.system: n for n, one in reversed([*enumerate(tasks)])}
        waiting = sorted(tasks, key=lambda one: by_system[one.prompt.system])
        while waiting:
            replies = self.model.generate([one.request(self.language) for one in waiting])
            for one, reply in zip(waiting, replies, strict=True):
                one.take(reply, self.retries)
            waiting = [one for one in waiting if one.is_waiting]

    def _rows(self, tasks: Sequence[_Asked], seeds: Sequence[int]) -> pa.RecordBatch:
        """Return a row for each task that made one, and one with an error for parents of none."""
        failed: dict[int, list[str]] = {}
        for one in tasks:
            if one.written is None:
                failed.setdefault(one.parent, []).append(f"{one.prompt.name}: {one.error}")
        made = [one for one in tasks if one.written is not None]
        lost = sorted(failed.keys() - {one.parent for one in made})
        rows = sorted([(one.parent, n) for n, one in enumerate(made)] + [(p, -1) for p in lost])
        order = pa.array([None if n < 0 else n for _, n in rows], pa.int64())
        found = {name: column.take(order) for name, column in self._made(made, seeds).items()}
        reasons = [failed.get(parent, [None])[0] for parent, _ in rows]
        errors = [why if n < 0 else None for why, (_, n) in zip(reasons, rows, strict=True)]
        kind = pa.large_string()
        found |= {
            PARENT: pa.array([parent for parent, _ in rows], pa.int32()),
            "failed_prompt_count": pa.array([len(failed.get(p, ())) for p, _ in rows], pa.uint32()),
            "failed_prompt_reason": pa.array(reasons, kind),
            ERROR: pa.array(errors, kind),
        }
        schema = pa.schema([pa.field(PARENT, pa.int32()), *self.writes, pa.field(ERROR, kind)])
        return pa.RecordBatch.from_arrays([found[f.name] for f in schema], schema=schema)

    def _made(self, made: Sequence[_Asked], seeds: Sequence[int]) -> dict[str, pa.Array]:
        """Return the columns that the new rows have each for itself."""
        written = [(one, one.written) for one in made if one.written is not None]
        texts = [
            framed(self.frame, one.prompt, what, (one.passage, self.language), seeds[one.parent])
            for one, what in written
        ]
        kinds = [[task.kind for task in what.tasks] for _, what in written]
        names, chances = [one.prompt.name for one in made], [seeds[one.parent] for one in made]
        return {
            **lineage(self, names, self.model, chances),
            "text": pa.array(texts, pa.large_string()),
            "source_text": pa.array([one.passage for one in made], pa.large_string()),
            "generated_task_count": pa.array([len(one) for one in kinds], pa.uint32()),
            "generated_task_kinds": pa.array(kinds, pa.large_list(pa.large_string())),
            "reply_is_cut": pa.array([what.is_cut for _, what in written], pa.bool_()),
        }


class _Asked:
    """One passage and prompt: what is to be asked next, and what came of it.

    attempt  draws so far that could not be read
    limit    tokens of the reply
    """

    def __init__(self, parent: int, passage: str, one: Prompt) -> None:
        self.parent, self.passage, self.prompt = parent, passage, one
        self.attempt, self.limit = 0, one.max_tokens
        self.is_waiting = True
        self.written: Written | None = None
        self.error = ""

    def request(self, language: str) -> Request:
        return Request(
            messages=self.prompt.messages(self.passage, language),
            max_tokens=self.limit,
            attempt=self.attempt,
            json_schema=self.prompt.json_schema,
            purpose=self.prompt.name,
        )

    def take(self, reply: Reply, retries: int) -> None:
        """Note a reply; go on waiting where another is to be asked for."""
        self.is_waiting = False
        if reply.error is not None:
            self.error = reply.error
            return
        try:
            self.written = read_reply(self.prompt, reply, self.passage)
        except ValueError as error:
            self.error = unread_reply(reply, f"{error}")
            self.attempt += 1
            self.is_waiting = self.attempt <= retries
            return
        if self.written.is_cut and self.limit == self.prompt.max_tokens:
            self.limit *= 2
            self.is_waiting = True


def _titled(title: str | None, passage: str) -> str:
    """Return a passage under its document's title, unless it begins with it."""
    shown = " ".join((title or "").split())[:_TITLE_CHARS]
    begins = " ".join(passage[: 2 * _TITLE_CHARS].split()).lstrip("# ")
    bare = passage.strip("\n").rstrip()
    if not shown or begins.casefold().startswith(shown.casefold()):
        return bare
    return f"{shown}\n\n{bare}"


def _seeds(ids: pa.Array, seed: int) -> list[int]:
    """Return a number of 0 or more for each document, by its id."""
    from curation.kernels.hashing import hash_bytes

    salted = pc.binary_join_element_wise(
        pa.scalar(f"{seed}", pa.large_string()), ids, pa.scalar("/", pa.large_string())
    )
    hash_N = hash_bytes(*bytes_and_offsets(salted)) >> np.uint64(1)
    return [int(one) for one in hash_N]
