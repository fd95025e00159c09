"""A language model judges a sample, a classifier learns its grades, and scores the whole corpus.

Three commands, with a model server at --base-url (such as ``vllm serve Qwen/Qwen3-8B``):

    curation run pipelines/distill.py --files 'pool/*.jsonl.gz' --model Qwen/Qwen3-8B \\
        --documents 5000 --store store/judged --workers 1 \\
        --out judged --format jsonl --columns id,text,judge_grade
    curation train-classifier 'judged/*.jsonl.zst' --grade judge_grade --out grades.classifier
    curation run POOL.py --files 'pool/*.jsonl.gz'

POOL.py is a recipe of one's own over the whole pool with ``Classifier(model="grades.classifier")``
and ``keep_best`` on the column that it writes. FineWeb-Edu judged 460,000 pages (arXiv:2406.17557);
how many a domain needs is seen in the classifier's held-out metrics.

Documents are drawn by a hash of their id; VoteK in the place of ``sample`` draws those that say
most about the others. 50 words is Gopher's lower bound (arXiv:2112.11446).
"""

from __future__ import annotations

from typing import Literal

from curation import Jsonl, Judge, ModelServer, Parquet, Recipe, TextSize, col, keep, sample
from curation.annotate.rubrics import ASK_LLM, DATAMAN, EDUCATIONAL
from curation.recipe import Step

RUBRICS = {"educational": EDUCATIONAL, "ask-llm": ASK_LLM, "dataman": DATAMAN}


def distill(  # noqa: PLR0913  the flags of the command
    *,
    files: str,
    model: str,
    base_url: str = "http://localhost:8000/v1",
    documents: int = 1000,
    rubric: Literal["educational", "ask-llm", "dataman"] = "educational",
    reply: bool = False,
    concurrency: int = 32,
    min_words: int = 50,
    max_chars: int = 8000,
    journal: str = "",
    seed: int = 0,
) -> Recipe:
    """Judged documents, to train a classifier on.

    files        JSON lines or Parquet (.parquet) with a text column
    model        as the server calls it
    documents    how many are judged
    reply        keep the model's replies, with its reasons
    concurrency  requests at a time, in each worker
    max_chars    a longer text is cut before it is shown to the model
    journal      folder that keeps replies as they come: a run that is killed loses none
    """
    server = ModelServer(model=model, base_url=base_url, concurrency=concurrency, journal=journal)
    steps: list[Step] = [
        TextSize(),
        keep(col("word_count") >= min_words, because="too short"),
        sample(documents=documents, seed=seed),
        Judge(model=server, rubric=RUBRICS[rubric], max_chars=max_chars, keep_reply=reply),
    ]
    return Recipe(
        source=Parquet(files) if files.endswith(".parquet") else Jsonl(files),
        steps=steps,
    )
