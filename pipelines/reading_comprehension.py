"""A domain's text as reading comprehension: documents, and tasks about them with their answers.

By default tasks are mined by patterns, as AdaptLLM does, at no cost; word-to-text tasks use words
that are much commoner in the domain than in general text (--general), or a list (--keywords). With
--method llm a language model writes them instead, and what it writes stays only where
it is faithful to its source. General instructions are mixed in with --instructions, by default as
many bytes as the reading comprehension has: trained on tasks of one domain alone, a model forgets
how to answer anything else. Long documents stay whole; training cuts them.

Cheap rules come first, and a text that holds an evaluation item goes before it is multiplied.
"""

from __future__ import annotations

from typing import Literal

import polars as pl

from curation import (
    BesideDialogues,
    DialogueShare,
    DomainKeywords,
    ExactDuplicates,
    Faithful,
    Generate,
    Instructions,
    Jsonl,
    Language,
    ModelServer,
    Normalize,
    ReadingComprehension,
    Recipe,
    TextHash,
    TextSize,
    TransformersModel,
    VllmModel,
    col,
    decontamination_steps,
    keep,
)
from curation.annotate.model import Model
from curation.errors import RecipeError
from curation.recipe import Step
from curation.stage import Source


def reading_comprehension(  # noqa: PLR0913  the flags of the pipeline
    *,
    domain: tuple[str, ...],
    title: str = "title",
    general: str = "",
    keywords: str = "",
    instructions: tuple[str, ...] = (),
    ratio: float = 1.0,
    unit: Literal["text_bytes", "documents"] = "text_bytes",
    method: Literal["mined", "llm"] = "mined",
    model: str = "",
    backend: Literal["server", "vllm", "transformers"] = "server",
    base_url: str = "http://localhost:8000/v1",
    prompts: tuple[str, ...] = ("qa", "summary"),
    language: str = "en",
    min_words: int = 30,
    evals: str = "",
    seed: int = 0,
) -> Recipe:
    """Reading comprehension from a domain's text, with general instructions beside it.

    domain    JSON lines of the domain's text; may be repeated
    title     field of a document's title; where it has none, a short first line is the title
    general   general text that the domain's words are found against: JSON lines, Parquet or text
    keywords  a list of the domain's words instead, one a line (curation keywords writes one)
    instructions  general instruction data in one of the usual shapes; may be repeated
    ratio     of instructions to one of reading comprehension; AdaptLLM took 1, and 2 for finance
    unit      of the ratio: text_bytes, or documents
    method    mined by patterns, or llm: written by --model
    model     its name on the server, or its folder
    backend   server (speaks OpenAI's form), vllm (here, on GPUs), transformers (here, small models)
    base_url  address of the server
    prompts   what the model writes; may be repeated
    language  documents in other languages go; the patterns are English. "" for any
    min_words shorter documents go
    evals     evaluation sets (JSON lines): documents that hold one of their items go
    seed      another seed, other tasks, layouts and dialogues
    """
    text = Jsonl(domain, source_field="source", columns=(("title", "string", title),))
    sources: list[Source] = [text]
    if instructions:
        sources.append(Instructions(instructions, into="dialogue", seed=seed))
    is_llm = method == "llm"
    rewriter = (
        Generate(model=_model(model, backend, base_url), prompts=prompts, seed=seed)
        if is_llm
        else ReadingComprehension(keywords=keywords, seed=seed)
    )
    return Recipe(
        source=sources,
        steps=[
            *_documents(language, min_words, beside=bool(instructions)),
            *decontamination_steps(evals),
            *([] if is_llm else keyword_steps(general, keywords)),
            BesideDialogues(rewriter=rewriter) if instructions else rewriter,
            *(_checks(beside=bool(instructions)) if is_llm else []),
            *(_blend(ratio, unit, seed) if instructions else []),
        ],
    )


def keyword_steps(general: str, keywords: str = "") -> list[Step]:
    """Find the domain's words in the rows, where there is general text and no list of them."""
    if general and keywords:
        raise RecipeError(
            "the domain's words are found against general text or read from a list.",
            found=f"general={general!r}, keywords={keywords!r}",
            remedy="give one of the two",
        )
    return [DomainKeywords(general=general)] if general else []


def _documents(language: str, min_words: int, *, beside: bool) -> list[Step]:
    """Rules on documents; dialogues beside them, which have no text yet, pass."""

    def rule(wanted: pl.Expr, because: str) -> Step:
        return keep(col("dialogue").is_not_null() | wanted if beside else wanted, because=because)

    return [
        Normalize(),
        TextSize(),
        rule(col("word_count") >= min_words, "too short"),
        TextHash(),
        ExactDuplicates(),
        keep(col("duplicate_of").is_null(), because="exact duplicate"),
        *([Language(), rule(col("language") == language, "language")] if language else []),
    ]


def _model(model: str, backend: str, base_url: str) -> Model:
    if not model:
        raise RecipeError(
            "a language model writes the tasks, and none is named.",
            remedy="--model NAME (with --backend vllm or transformers a folder), or --method mined",
        )
    if backend == "server":
        return ModelServer(model=model, base_url=base_url)
    return VllmModel(model=model) if backend == "vllm" else TransformersModel(model=model)


def _checks(*, beside: bool) -> list[Step]:
    """Rules on what a model wrote; dialogues are no rewrites, and pass."""
    passes = col("is_dialogue") if beside else pl.lit(False)
    return [
        keep(passes | ~col("reply_is_cut"), because="cut at the limit"),
        Faithful(),
        keep(passes | col("is_faithful"), because="not faithful"),
    ]


def _blend(ratio: float, unit: Literal["text_bytes", "documents"], seed: int) -> list[Step]:
    return [
        TextSize(),
        DialogueShare(ratio=ratio, unit=unit, seed=seed),
        keep(col("is_blended"), because="dialogues beyond their share"),
    ]
