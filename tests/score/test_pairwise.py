from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curation import Criterion, Jsonl, ModelServer, Pairwise, Recipe, judge_costs
from curation.annotate.model import Reply, Request
from curation.columns import COLUMNS
from curation.engine.plan import fingerprint
from curation.errors import DataError, RecipeError, ResourceError
from curation.score.pairwise import QURATING, calibrated, draw_pairs, read_letter
from curation.testing import MemoryRows, check_stage
from tests.conftest import write_jsonl
from tests.rewrite.server import Stand, standing

ONE = (Criterion("quality", "Which is better?"),)


@pytest.fixture
def stand() -> Iterator[Stand]:
    with standing() as found:
        yield found


@dataclass(frozen=True)
class Longer:
    """A model that prefers the longer text for each criterion but those it is told to turn."""

    turned: tuple[str, ...] = ()
    always: str = ""

    def generate(self, requests: Sequence[Request]) -> list[Reply]:
        return [Reply(text=self._say(r.messages[-1][1]), prompt_tokens=2) for r in requests]

    def _say(self, asked: str) -> str:
        first = asked.partition("<text A>\n")[2].partition("\n</text A>")[0]
        second = asked.partition("<text B>\n")[2].partition("\n</text B>")[0]
        longer = len(first) > len(second)
        return self.always or "AB"[longer == any(word in asked for word in self.turned)]

    def facts(self) -> dict[str, object]:
        return {"turned": self.turned, "always": self.always}


def rows(texts: Sequence[str | None]) -> pa.RecordBatch:
    ids = [f"r{n}" for n in range(len(texts))]
    return pa.record_batch(
        {"id": pa.array(ids, pa.large_string()), "text": pa.array(texts, pa.large_string())}
    )


def told(stage: Pairwise, batch: pa.RecordBatch, size: int = 1000) -> dict[str, dict[str, Any]]:
    parts = [batch.slice(start, size) for start in range(0, len(batch), size)]
    made = pa.Table.from_batches(stage.reduce(MemoryRows(parts, Path())), schema=stage.writes)
    return dict(zip(batch["id"].to_pylist(), made.to_pylist(), strict=True))


def test_it_keeps_the_contract(stand: Stand) -> None:
    """Scores would depend on how a corpus is cut into files."""
    server = ModelServer(model="m", base_url=stand.url, retries=0)
    batch = rows(["good " * n for n in (1, 2, 3, 4, 0)] + [None, " "])
    check_stage(Pairwise(model=server, pairs=6, criteria=ONE), examples=batch)
    check_stage(Pairwise(model=Longer(), pairs=20))


def test_every_column_under_the_usual_name_is_registered() -> None:
    """One name would come to mean two things."""
    for column in Pairwise(model=Longer(), pairs=1).writes:
        assert COLUMNS[column.name][0] == column.type


def test_documents_are_ranked_by_who_beats_whom() -> None:
    """The corpus would be sorted by something else than the model's preference."""
    batch = rows(["x" * (7 * n % 20 + 1) for n in range(20)])
    found = told(Pairwise(model=Longer(), pairs=120, criteria=ONE), batch)
    lengths = [7 * n % 20 + 1 for n in range(20)]
    scores = [found[f"r{n}"]["pairwise_score"] for n in range(20)]
    assert np.corrcoef(np.argsort(np.argsort(scores)), lengths)[0, 1] > 0.95
    assert sum(row["pairwise_comparison_count"] for row in found.values()) == 2 * 120
    assert sum(row["pairwise_request_count"] for row in found.values()) == 2 * 120
    assert found["r3"]["pairwise_prompt_tokens"] == 2 * found["r3"]["pairwise_request_count"]


def test_the_order_of_rows_and_files_does_not_matter() -> None:
    """A corpus could not be made a second time."""
    batch = rows(["x" * (n % 13) for n in range(40)])
    stage = Pairwise(model=Longer(), pairs=60, criteria=ONE)
    found = told(stage, batch)
    order = pa.array(np.random.default_rng(0).permutation(40))
    assert told(stage, batch.take(order), size=7) == found


def test_a_model_that_prefers_a_place_says_nothing() -> None:
    """Whatever stood first would be the better document."""
    for letter in ("A", "B"):
        stage = Pairwise(model=Longer(always=letter), pairs=10, criteria=ONE)
        found = told(stage, rows(["x" * n for n in range(1, 8)]))
        assert {row["pairwise_score"] for row in found.values()} == {None}
        assert {row["pairwise_comparison_count"] for row in found.values()} == {0}
    unsure = told(replace(stage, confidence=0.0), rows(["x", "xx"]))
    assert {row["pairwise_quality_score"] for row in unsure.values()} == {0.0}


def test_the_majority_over_criteria_decides() -> None:
    """One odd criterion would turn the order."""
    criteria = tuple(Criterion(name, f"Which is more {name}?") for name in ("one", "two", "odd"))
    stage = Pairwise(model=Longer(turned=("more odd",)), pairs=6, criteria=criteria)
    found = told(stage, rows(["x", "xx", "xxx", "xxxx"]))
    for name, sign in (("one_", 1), ("two_", 1), ("odd_", -1), ("", 1)):
        scores = [sign * row[f"pairwise_{name}score"] for row in found.values()]
        assert scores == sorted(scores)
        assert scores[0] < scores[-1]
    even = replace(stage, criteria=(criteria[0], criteria[2]))
    assert {r["pairwise_score"] for r in told(even, rows(["x", "xx"])).values()} == {None}


def test_texts_without_text_are_not_compared_and_few_texts_are_no_error() -> None:
    """A pool of one page would end the run, and blank pages be paid for."""
    stage = Pairwise(model=Longer(), pairs=50, criteria=ONE)
    found = told(stage, rows(["x", None, "xx", " \n", ""]))
    assert [row["pairwise_request_count"] for row in found.values()] == [1, 0, 1, 0, 0]
    assert found["r1"]["pairwise_score"] is None
    for few in ([], [None], ["x"]):
        assert all(r["pairwise_score"] is None for r in told(stage, rows(few)).values())


def test_texts_are_shown_cut_and_as_they_are() -> None:
    """A text with {second} in it would pull the other one in."""
    seen: list[str] = []

    @dataclass(frozen=True)
    class Noting(Longer):
        def generate(self, requests: Sequence[Request]) -> list[Reply]:
            seen.extend(request.messages[-1][1] for request in requests)
            return super().generate(requests)

    stage = Pairwise(model=Noting(), pairs=1, criteria=ONE, max_chars=8)
    told(stage, rows(["{second}of", "\\1 {asks}"]))
    assert len(seen) == 2
    assert all("\n{second}\n" in asked and "\n\\1 {asks\n" in asked for asked in seen)
    assert "<text A>\n{second}" in seen[0] or "<text A>\n{second}" in seen[1]


def test_votes_are_other_draws_and_failed_requests_are_no_votes(stand: Stand) -> None:
    """Twenty votes would be one vote, and a server's error a preference."""
    server = ModelServer(model="m", base_url=stand.url, retries=0)
    stage = Pairwise(model=server, pairs=3, criteria=ONE, votes=3)
    with pytest.warns(UserWarning, match="no answer"):
        found = told(stage, rows(["good", "bad", "REFUSE good good"]))
    assert len(stand.requests) == 3 * 2 * 3
    assert {body["seed"] for body in stand.requests} == {0, 1, 2}
    assert [r["pairwise_comparison_count"] for r in found.values()] == [1, 1, 0]
    stand.always = 403
    with pytest.raises(ResourceError):
        told(stage, rows(["good", "bad"]))


@dataclass(frozen=True)
class Stumbling(Longer):
    """Says something else where a text has "odd" in it: at draws below ``until``, and notes all."""

    until: int = 0
    said: str = "Well, both have their points."
    draws: list[int] = field(default_factory=list)

    def generate(self, requests: Sequence[Request]) -> list[Reply]:
        self.draws.extend(r.attempt for r in requests)
        replies = zip(requests, super().generate(requests), strict=True)
        return [replace(reply, text=self._garbled(r) or reply.text) for r, reply in replies]

    def _garbled(self, request: Request) -> str:
        is_odd = "odd" in request.messages[-1][1] and request.attempt < self.until
        return self.said if is_odd else ""


def test_a_reply_that_cannot_be_read_is_asked_for_again_as_another_draw() -> None:
    """One stumble would cost a comparison; the same draw would stumble again."""
    batch = rows(["odd", "odd odd"])
    model = Stumbling(until=6)  # both votes, three times each
    stage = Pairwise(model=model, pairs=1, criteria=ONE, votes=2, retries=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = told(stage, batch)
    assert sorted(model.draws) == sorted(2 * [*range(8)])
    assert found["r1"]["pairwise_score"] > found["r0"]["pairwise_score"]
    assert [r["pairwise_request_count"] for r in found.values()] == [8, 8]
    assert [r["pairwise_prompt_tokens"] for r in found.values()] == [16, 16]
    assert [r["pairwise_unread_count"] for r in found.values()] == [0, 0]


def test_what_stays_unread_is_counted_and_told_once() -> None:
    """Scores from half the comparisons would pass for scores from all."""
    stage = Pairwise(model=Stumbling(until=99), pairs=3, criteria=QURATING, retries=1)
    with pytest.warns(UserWarning, match=r"16 of 24 .*such as: .*'Well, both have") as caught:
        found = told(stage, rows(["odd", "x", "xx", " "]))
    assert len(caught) == 1
    # each of the two others meets the odd one in both orders
    assert [r["pairwise_unread_count"] for r in found.values()] == [8, 4, 4, 0]
    assert [r["pairwise_request_count"] for r in found.values()] == [16, 12, 12, 0]
    assert [r["pairwise_comparison_count"] for r in found.values()] == [0, 1, 1, 0]


def test_requests_that_fail_are_counted_as_unread_and_not_asked_again(stand: Stand) -> None:
    """The server has been asked often enough by the client, and the loss would be silent."""
    server = ModelServer(model="m", base_url=stand.url, retries=0)
    stage = Pairwise(model=server, pairs=3, criteria=ONE)
    with pytest.warns(UserWarning, match="4 of 6 questions .*maximum context length"):
        found = told(stage, rows(["good", "bad", "REFUSE good good"]))
    assert len(stand.requests) == 6
    assert [r["pairwise_unread_count"] for r in found.values()] == [1, 1, 2]


def test_a_model_that_never_answers_ends_the_run(tmp_path: Path) -> None:
    """Columns of nulls would look like a pool without differences, and cost as much."""
    write_jsonl(tmp_path / "a.jsonl", ({"text": "odd " * n} for n in range(1, 5)))
    model = Stumbling(until=99, said="<think> Let me see,")
    stage = Pairwise(model=model, pairs=6, retries=2)
    recipe = Recipe(source=Jsonl(str(tmp_path / "*.jsonl")), steps=[stage])
    with pytest.raises(DataError, match="none of 48 questions") as caught:
        recipe.run(store=tmp_path / "store", workers=0)
    assert caught.value.facts["requests"] == "144"
    assert "<think> Let me see," in caught.value.facts["found"]
    assert "extra_body" in caught.value.facts["remedy"]
    assert "letter alone" in caught.value.facts["remedy"]


def test_votes_are_calibrated_as_published() -> None:
    """A place's advantage would be taken for a document's."""
    votes = np.zeros((1, 4, 2, 2), dtype=np.int64)
    votes[0, 0] = [[3, 1], [1, 3]]  # p = 3/4; shown in reverse the other one wins 1/4
    votes[0, 1] = [[4, 0], [4, 0]]  # always the first place
    votes[0, 2] = [[0, 2], [2, 0]]
    votes[0, 3] = [[1, 0], [0, 0]]  # nothing was said of the reversed order
    prob, is_voted = calibrated(votes)
    assert prob[0, :3].tolist() == [(0.75 + 1 - 0.25) / 2, 0.5, 0.0]
    assert is_voted.tolist() == [[True, True, True, False]]


@settings(deadline=None, max_examples=60)
@example(count=17, pairs=9, seed=0)
@given(count=st.integers(0, 25), pairs=st.integers(1, 400), seed=st.integers(0, 99))
def test_pairs_are_distinct_and_spread_evenly(count: int, pairs: int, seed: int) -> None:
    """Money would go to the same question twice, and some documents would never be asked about."""
    hashes = np.random.default_rng(seed).integers(0, 2**63, count).astype(np.uint64)
    first, second = draw_pairs(hashes, pairs)
    every = count * (count - 1) // 2
    assert len(first) == min(pairs, every)
    assert (first != second).all()
    found = {frozenset(pair) for pair in zip(first.tolist(), second.tolist(), strict=True)}
    assert len(found) == len(first)
    met = np.bincount(np.concatenate([first, second]), minlength=count)
    if count and 4 * len(first) >= 2 * count and pairs <= every // 2:
        assert met.min() >= 1


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("A", "A"),
        ("b.", "B"),
        ("**B**", "B"),
        ("Text A", "A"),
        ("Answer: B", "B"),
        ("The answer is clear.\n\nAnswer: text B.", "B"),
        ("", ""),
        ("C", ""),
        ("AB", ""),
        ("A or B", ""),
        ("A text is a text.", ""),
        ("I cannot choose between text A and text B", ""),
        ("Both", ""),
    ],
)
def test_a_letter_is_read_where_it_is_the_answer(text: str, wanted: str) -> None:
    """A refusal that names both texts would be a vote for one."""
    assert read_letter(Reply(text=text)) == wanted


@given(text=st.text())
def test_no_reply_breaks_the_reader(text: str) -> None:
    """One odd reply would throw away all comparisons."""
    assert read_letter(Reply(text=text)) in ("A", "B", "")
    assert read_letter(Reply(text="A", error="no")) == ""


def test_a_run_keeps_scores_and_tells_what_they_cost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Comparisons would be paid for again with every run."""
    write_jsonl(tmp_path / "a.jsonl", ({"text": "x" * n} for n in range(1, 9)))
    stage = Pairwise(model=Longer(), pairs=12, criteria=ONE, prices=(1e6, 0.0))
    recipe = Recipe(source=Jsonl(str(tmp_path / "*.jsonl")), steps=[stage])
    build = recipe.run(store=tmp_path / "store", workers=0)
    assert "Pairwise (pairwise): 8 rows, 24 requests, 48 + 0 tokens, 48.00" in (
        capsys.readouterr().err
    )
    assert judge_costs(build)["requests"].to_list() == [24]


def test_only_what_decides_scores_is_part_of_the_identity() -> None:
    """Another price would ask for everything again."""
    stage = Pairwise(model=Longer(), pairs=5)
    same = replace(stage, prices=(1.0, 1.0))
    assert fingerprint(same.identity()) == fingerprint(stage.identity())
    for other in ({"model": Longer(always="A")}, {"criteria": ONE}, {"votes": 2}, {"seed": 1}):
        assert fingerprint(replace(stage, **other).identity()) != fingerprint(stage.identity())


@pytest.mark.parametrize(
    "wrong",
    [
        {"pairs": 0},
        {"votes": 0},
        {"criteria": ()},
        {"criteria": ONE * 2},
        {"criteria": (Criterion("Bad name", "x"),)},
        {"criteria": (Criterion("a", " "),)},
        {"confidence": 1.5},
        {"ridge": 0.0},
        {"max_chars": -1},
        {"retries": -1},
        {"prices": ()},
        {"name": "a b"},
        {"model": "gpt"},
    ],
)
def test_settings_that_make_no_sense_are_told(wrong: dict[str, Any]) -> None:
    """They would show after thousands of requests."""
    with pytest.raises(RecipeError, match="Pairwise"):
        Pairwise(**{"model": Longer(), "pairs": 5, **wrong})
