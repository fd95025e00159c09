from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import RecipeError, ResourceError, TrainingError
from curation.evaluate import score
from curation.evaluate.score import bits_per_byte, score_choices
from curation.evaluate.tasks import Task, TaskItem
from curation.mix.tokenizer import Tokenizer
from tests.oracles import bits as oracle
from tests.oracles.bits import small_model

CONTEXT = 48
KINDS = ("llama", "gpt2", "mistral")
TEXTS = [
    "The spot on Jupiter is a storm that has been seen for centuries.",
    "A ring.",
    "Vénus tourne lentement 金星.",
    "x",
    "Planets and moons and rings and storms. " * 6,
]
ITEMS = (
    TaskItem("p1", "Which is nearest?", ("Mercury", "Venus and its clouds", "Mars"), 0),
    TaskItem("p2", "Which has rings?", ("Earth", "Saturn"), 1, "They are many.", "rings"),
    TaskItem("p3", "Where is the spot?", ("On Jupiter", "Vénus", "On Pluto", "Vénus"), 0),
    TaskItem("p4", "Which is nearest?", ("A", "Mars"), 1),
)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    words = [*TEXTS, *(item.question for item in ITEMS), "Question: Answer: Answer: Mars"]
    return Tokenizer.train(words * 3, vocab_size=330)


@pytest.fixture(scope="module")
def models(tokenizer: Tokenizer) -> dict[str, Any]:
    return {kind: small_model(kind, tokenizer.vocab_size, 128) for kind in KINDS}


def documents(*texts: str | None) -> pa.Table:
    rows = {"id": [f"d{n}" for n in range(len(texts))], "text": texts,
            "source": ["even" if n % 2 == 0 else None for n in range(len(texts))]}  # fmt: skip
    return pa.table({name: pa.array(values, pa.large_string()) for name, values in rows.items()})


# ---------------------------------------------------------------- texts


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("context", "stride"), [(96, None), (16, 16), (16, 5), (7, 1), (1, 1)])
def test_bits_are_those_of_one_token_after_another(
    kind: str, context: int, stride: int | None, tokenizer: Tokenizer, models: dict[str, Any]
) -> None:
    """Padding, batches or windows that leak into a loss would favour texts of one length."""
    model, encoded = models[kind], tokenizer.encode(TEXTS)
    asked = {"context": context, "stride": stride}
    found = bits_per_byte(model, tokenizer, documents(*TEXTS), **asked, batch_tokens=64)
    assert found["item"].to_list() == [f"d{n}" for n in range(len(TEXTS))]
    assert found["source"].to_list() == ["even", "", "even", "", "even"]
    assert found["bytes"].to_list() == [len(text.encode()) for text in TEXTS]
    assert found["tokens"].to_list() == [len(ids) for ids in encoded]
    wanted = [
        oracle.bits(oracle.document_nats(model, 0, ids, context, stride or context // 2))
        for ids in encoded
    ]
    assert found["bits"].to_list() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("batch_tokens", [1, 100, 10_000])
def test_a_document_scores_alike_in_any_company(
    batch_tokens: int, tokenizer: Tokenizer, models: dict[str, Any]
) -> None:
    """Were batches to change values, two arms would differ by how they were evaluated."""
    asked = {"context": 20, "stride": 8}
    alone = [
        bits_per_byte(models["llama"], tokenizer, documents(text), **asked)["bits"][0]
        for text in TEXTS
    ]
    found = bits_per_byte(
        models["llama"], tokenizer, documents(*TEXTS), **asked, batch_tokens=batch_tokens
    )
    assert found["bits"].to_list() == pytest.approx(alone, rel=1e-5)


@settings(deadline=None)
@given(st.lists(st.integers(0, 40), max_size=6), st.integers(1, 12), st.data())
def test_windows_score_each_token_once_with_what_the_stride_promises(
    lengths: list[int], context: int, data: st.DataObject
) -> None:
    """A byte that is scored twice or never makes long documents seem harder or easier."""
    stride = data.draw(st.integers(1, context))
    tokens = [np.arange(length, dtype=np.int32) + 100 * n for n, length in enumerate(lengths)]
    rows = score._windows(tokens, 9999, context, stride)
    assert (rows.length_R <= context).all()
    assert (rows.skip_R < rows.length_R).all()
    seen: list[list[int]] = [[] for _ in lengths]
    for start, length, skip, document in zip(*rows[1:], strict=True):
        scored = rows.token_X[start + skip + 1 : start + length + 1]
        seen[document] += scored.tolist()
        if rows.token_X[start] != 9999:
            assert skip == context - stride
    assert seen == [ids.tolist() for ids in tokens]


def test_a_text_without_bytes_has_no_row(tokenizer: Tokenizer, models: dict[str, Any]) -> None:
    """Bits over no bytes are no number, and one such row would void a whole measure."""
    table = documents(None, "x", "").drop_columns("source")
    found = bits_per_byte(models["llama"], tokenizer, table, context=CONTEXT)
    assert found["item"].to_list() == ["d1"]
    assert found["source"].to_list() == [""]
    assert found.schema["bits"] == pl.Float64
    none = bits_per_byte(models["llama"], tokenizer, documents(), context=CONTEXT)
    assert none.schema == found.schema
    assert none.is_empty()


# ---------------------------------------------------------------- choices


def oracle_choice(
    model: Any, tokenizer: Tokenizer, prompt: str, ending: str
) -> tuple[float, bool, int]:
    head, whole = tokenizer.encode([prompt, prompt + ending])
    assert list(whole[: len(head)]) == list(head)
    tail = whole[len(head) :]
    return *oracle.continuation(model, tokenizer.end_id, head, tail), len(tail)


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("batch_tokens", "shots"), [(4096, 0), (60, 1)])
def test_choices_score_as_one_token_after_another(
    kind: str,
    share: bool,
    batch_tokens: int,
    shots: int,
    tokenizer: Tokenizer,
    models: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The pass over a prompt is shared; a cache of another item's prompt would be believed."""
    if not share:
        monkeypatch.setattr(score, "_cache_name", lambda model: "")
    model, task = models[kind], Task("planets", ITEMS)
    found = score_choices(
        model, tokenizer, task, context=128, batch_tokens=batch_tokens, shots=shots
    )
    solved = task.shots(shots)
    asked = [
        (task.prompt(item, solved[item.id]), ending)
        for item in ITEMS
        for ending in task.continuations(item)
    ]
    wanted = [oracle_choice(model, tokenizer, *pair) for pair in asked]
    assert found.log_prob_C == pytest.approx([one[0] for one in wanted], rel=1e-5)
    assert found.greedy_C.tolist() == [one[1] for one in wanted]
    assert found.tokens_C.tolist() == [one[2] for one in wanted]
    alone = [oracle_choice(model, tokenizer, "Answer:", ending)[0] for _, ending in asked]
    assert found.unconditional_C == pytest.approx(alone, rel=1e-5)
    assert found.id_I == ("p1", "p2", "p3", "p4")
    assert found.source_I == ("", "rings", "", "")
    assert found.start_I1.tolist() == [0, 3, 5, 9, 11]
    assert found.answer_I.tolist() == [0, 4, 5, 10]
    choices = [choice for item in ITEMS for choice in item.choices]
    assert found.chars_C.tolist() == [len(choice) for choice in choices]
    assert found.bytes_C.tolist() == [len(choice.encode()) for choice in choices]
    assert not found.skipped


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_tokens", [1, 70, 400, 9999])
def test_prompts_of_equal_length_share_a_batch_and_nothing_else(
    kind: str, batch_tokens: int, models: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A choice that is scored behind its neighbour's question is scored all the same, and wrong."""
    tokenizer = Tokenizer.train([], vocab_size=257)
    questions = ["abc", "xyz", "ab", "cba", "q", "zz", "pqr", "yx"]
    items = [
        TaskItem(f"i{n}", question, tuple("lmnop"[k] * (1 + k * n % 7) for k in range(2 + n % 3)))
        for n, question in enumerate(questions)
    ]
    found = []
    for share in (True, False):
        if not share:
            monkeypatch.setattr(score, "_cache_name", lambda model: "")
        asked = {"context": 60, "batch_tokens": batch_tokens, "unconditional": False}
        found.append(score_choices(models[kind], tokenizer, Task("t", tuple(items)), **asked))
    assert found[0].log_prob_C == pytest.approx(found[1].log_prob_C, rel=1e-5)
    assert (found[0].greedy_C == found[1].greedy_C).all()


def test_prompts_are_read_once_for_all_their_choices(
    tokenizer: Tokenizer, models: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it an evaluation takes nearly as many times longer as there are choices."""
    read = []
    forward = models["llama"].forward

    def counted(*args: Any, **kwargs: Any) -> Any:
        read.append(kwargs["input_ids"].numel())
        return forward(*args, **kwargs)

    counted.__signature__ = inspect.signature(forward)  # type: ignore[attr-defined]
    monkeypatch.setattr(models["llama"], "forward", counted)
    item = TaskItem("p", "Which of all these planets has the most rings? " * 2, ("A",) * 8)
    task = Task("planets", (item,))
    score_choices(models["llama"], tokenizer, task, context=128, unconditional=False)
    prompt = len(tokenizer.encode([task.prompt(item)])[0])
    assert len(read) == 2
    assert sum(read) < 1.7 * prompt


def test_a_model_without_a_cache_is_scored_all_the_same(
    tokenizer: Tokenizer, models: dict[str, Any]
) -> None:
    """State-space models and wrappers keep no keys and values, or hide that they do."""

    class Plain(torch.nn.Module):
        def __init__(self, inner: Any) -> None:
            super().__init__()
            self.inner, self.config = inner, inner.config

        def get_input_embeddings(self) -> Any:
            return self.inner.get_input_embeddings()

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.inner(input_ids=input_ids, attention_mask=attention_mask)

    task = Task("planets", ITEMS)
    wanted = score_choices(models["llama"], tokenizer, task, context=128)
    found = score_choices(Plain(models["llama"]), tokenizer, task, context=128)
    assert found.log_prob_C == pytest.approx(wanted.log_prob_C, rel=1e-5)
    asked = {"context": 16, "stride": 4}
    texts = [
        bits_per_byte(model, tokenizer, documents(*TEXTS), **asked)["bits"].to_list()
        for model in (models["llama"], Plain(models["llama"]))
    ]
    assert texts[0] == pytest.approx(texts[1], rel=1e-5)


def test_an_item_longer_than_the_context_is_counted_and_never_cut(
    tokenizer: Tokenizer, models: dict[str, Any]
) -> None:
    """A cut question is another question, and its answer is nobody's."""
    task = Task("planets", ITEMS)
    whole = score_choices(models["llama"], tokenizer, task, context=128)
    rows = score._task_rows(tokenizer, task, 0)
    longest = int(rows.length_R.max())
    item = ITEMS[int(rows.prompt_R[rows.length_R.argmax()])].id
    exact = score_choices(models["llama"], tokenizer, task, context=longest)
    assert exact.id_I == whole.id_I
    found = score_choices(models["llama"], tokenizer, task, context=longest - 1)
    assert found.id_I == tuple(name for name in whole.id_I if name != item)
    assert found.skipped == {"longer than the context": 1}
    kept = ~np.isin(np.repeat(whole.id_I, whole.choices_I), [item])
    assert found.log_prob_C == pytest.approx(whole.log_prob_C[kept], rel=1e-5)
    none = score_choices(models["llama"], tokenizer, task, context=2)
    assert none.id_I == ()
    assert none.skipped == {"longer than the context": 4}


class Pairs:
    """A tokenizer that takes letters two at a time, so that tokens lie across every boundary."""

    vocab_size, end_id, fingerprint = 300, 0, "pairs"

    def encode(self, texts: Any) -> list[Any]:
        codes = [[text[at : at + 2] for at in range(0, len(text), 2)] for text in texts]
        return [
            np.array([1 + sum(map(ord, pair)) % 299 for pair in code], dtype=np.int32)
            for code in codes
        ]


@pytest.mark.parametrize("prompt", ["Answer:", "Answer: ", "Answer", "", " "])
def test_a_token_across_the_boundary_neither_hides_nor_adds_to_a_choice(prompt: str) -> None:
    """A choice that loses its first letter to the prompt is another choice."""
    ending = " Jupiter"
    rows = score._choice_rows(Pairs(), [prompt], np.array([0]), [ending])  # type: ignore[arg-type]
    bare = prompt.rstrip()
    moved = prompt[len(bare) :] + ending
    tail = rows.token_X[rows.skip_R[0] + 1 :]
    assert rows.token_X[0] == 0
    assert tail.tolist() == Pairs().encode([moved])[0].tolist()
    assert rows.length_R[0] - rows.skip_R[0] == len(tail)


def test_a_cloze_is_scored_where_its_gap_is(tokenizer: Tokenizer, models: dict[str, Any]) -> None:
    """The answer's bits are those of the text that has it, with no second space before it."""
    item = TaskItem("c", "The spot on ___.", ("Jupiter",))
    found = score_choices(models["llama"], tokenizer, Task("c", (item,), "cloze"), context=CONTEXT)
    wanted = oracle_choice(models["llama"], tokenizer, "The spot on", " Jupiter")
    assert found.log_prob_C == pytest.approx([wanted[0]], rel=1e-5)
    start = TaskItem("c", "___ is a planet.", ("Mars",))
    found = score_choices(models["llama"], tokenizer, Task("c", (start,), "cloze"), context=CONTEXT)
    assert found.log_prob_C == pytest.approx(
        [oracle_choice(models["llama"], tokenizer, "", "Mars")[0]], rel=1e-5
    )


def test_of_several_right_answers_the_likeliest_is_looked_at(
    tokenizer: Tokenizer, models: dict[str, Any]
) -> None:
    """Every spelling of an answer is right; a model is not to be judged by the oddest."""
    names = ("Jupiter", "It is the planet Jupiter", "J")
    items = (TaskItem("a", "Where?", names), TaskItem("b", "Where?", names[:2]))
    task = Task("a", items, "answer")
    found = score_choices(models["llama"], tokenizer, task, context=CONTEXT)
    best = [int(np.argmax(found.log_prob_C[:3])), 3 + int(np.argmax(found.log_prob_C[3:]))]
    assert found.answer_I.tolist() == best


# ---------------------------------------------------------------- bad input


def test_the_mode_of_the_model_is_as_it_was(tokenizer: Tokenizer, models: dict[str, Any]) -> None:
    """Training that goes on without dropout, or evaluation with it, is a silent change."""
    model = small_model("gpt2", tokenizer.vocab_size, 128).train()
    asked = {"context": 20}
    found = bits_per_byte(model, tokenizer, documents(*TEXTS), **asked)
    assert model.training
    assert all(part.training for part in model.modules())
    wanted = bits_per_byte(model.eval(), tokenizer, documents(*TEXTS), **asked)
    assert found["bits"].to_list() == wanted["bits"].to_list()
    assert all(weight.grad is None for weight in model.parameters())


def test_log_probabilities_that_are_no_numbers_stop_the_evaluation(tokenizer: Tokenizer) -> None:
    """A diverged model's table would be full of nothing, and a verdict would be drawn from it."""
    model = small_model("llama", tokenizer.vocab_size, 128)
    with torch.no_grad():
        model.get_input_embeddings().weight[int(tokenizer.encode(["x"])[0][0])] = torch.nan
    with pytest.raises(TrainingError, match="no numbers") as error:
        bits_per_byte(model, tokenizer, documents("A ring.", "xx"), context=CONTEXT)
    assert "d1" in error.value.facts["found"]
    task = Task("t", (TaskItem("odd", "x", ("A", "B")),))
    with pytest.raises(TrainingError, match="no numbers") as error:
        score_choices(model, tokenizer, task, context=CONTEXT)
    assert "odd" in error.value.facts["found"]


def test_settings_that_cannot_be_are_named(tokenizer: Tokenizer, models: dict[str, Any]) -> None:
    """A context beyond the model's own gives numbers, and they mean nothing."""
    table, model = documents(*TEXTS), models["llama"]
    for asked in ({"context": 129}, {"context": 0}, {"context": 16, "stride": 0},
                  {"context": 16, "stride": 17}, {"context": 16, "batch_tokens": 0}):  # fmt: skip
        with pytest.raises(RecipeError):
            bits_per_byte(model, tokenizer, table, **asked)
    small = small_model("llama", tokenizer.vocab_size - 1, 128)
    with pytest.raises(ResourceError, match="more tokens"):
        bits_per_byte(small, tokenizer, table, context=16)


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't "
                                                                "allocate memory")],
)  # fmt: skip
def test_memory_that_does_not_suffice_says_which_setting_to_lower(
    error: Exception, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who runs this on a smaller card has to know what to change."""
    model = small_model("llama", tokenizer.vocab_size, 128).train()

    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(model, "forward", fail)
    with pytest.raises(ResourceError, match="memory") as found:
        bits_per_byte(model, tokenizer, documents(*TEXTS), context=16, batch_tokens=77)
    assert "batch_tokens, which is 77" in found.value.facts["remedy"]
    assert model.training


def test_other_errors_of_a_model_are_shown_as_they_are(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect that is called lack of memory is looked for in the wrong place."""
    model = small_model("llama", tokenizer.vocab_size, 128)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(model, "forward", fail)
    with pytest.raises(RuntimeError, match="shapes"):
        bits_per_byte(model, tokenizer, documents(*TEXTS), context=16)


def test_a_row_is_greedy_where_each_scored_token_is_the_likeliest() -> None:
    """What stands beside the answer, in the prompt or the padding, is not the model's answer."""
    logits_BKV = (torch.arange(5.0).expand(4, 3, 5) / 9 - 2).clone()
    target_BK = torch.tensor([[1, 2, 3]] * 4)
    for row, places in enumerate(([0, 1, 2], [1, 2], [0, 1], [])):
        for place in places:
            logits_BKV[row, place, target_BK[row, place]] = 3.0
    needed_BK = torch.tensor([[True] * 3, [False, True, True], [True] * 3, [False] * 3])
    log_prob_B, greedy_B = score._summed(logits_BKV.clone(), target_BK, needed_BK)
    assert greedy_B.tolist() == [True, True, False, True]
    every_BK = logits_BKV.log_softmax(2).gather(2, target_BK[:, :, None])[:, :, 0]
    assert log_prob_B == pytest.approx((every_BK * needed_BK).sum(1).numpy(), rel=1e-6)


def test_logits_of_a_batch_stay_below_the_bound(
    tokenizer: Tokenizer, models: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a large vocabulary a batch that fits by its tokens does not by its logits."""
    cells: list[int] = []
    summed = score._summed

    def watched(logits: torch.Tensor, *rest: Any) -> Any:
        cells.append(logits.numel())
        return summed(logits, *rest)

    monkeypatch.setattr(score, "_summed", watched)
    monkeypatch.setattr(score, "_LOGIT_CELLS", 40 * tokenizer.vocab_size)
    monkeypatch.setattr(score, "_SOFTMAX_CELLS", 3 * tokenizer.vocab_size)
    found = bits_per_byte(models["llama"], tokenizer, documents(*TEXTS), context=20, stride=9)
    assert max(cells) <= 40 * tokenizer.vocab_size
    monkeypatch.undo()
    wanted = bits_per_byte(models["llama"], tokenizer, documents(*TEXTS), context=20, stride=9)
    assert found["bits"].to_list() == pytest.approx(wanted["bits"].to_list(), rel=1e-5)
