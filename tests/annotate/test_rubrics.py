from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curation.annotate.dataman import CRITERIA, DOMAINS
from curation.annotate.model import Reply
from curation.annotate.rubrics import (
    ASK_LLM,
    DATAMAN,
    DATAMAN_CRITERIA,
    DATAMAN_DOMAINS,
    EDUCATIONAL,
    Choice,
    Grade,
    Rubric,
    YesProb,
)
from curation.errors import RecipeError
from tests.annotate.golden import FOLDER

#: A rubric with fractions, below 0, read from JSON.
JSON = Rubric(
    name="json",
    prompt="{text}",
    form="json",
    answers=(
        Grade("use", low=-1, high=1, whole=False),
        Choice("kind", options=("News", "Blog post")),
    ),
)
#: Pieces that replies are made of.
PIECES = st.sampled_from(
    [
        *("Educational score", "educational  SCORE", ":", " ", "**", "\n", "<n>", "-", "/", "."),
        *("0", "3", "5", "6", "45", "4.5", "-1", "1e9", "NaN", "inf", "3-4", "5/5", "7/10"),
        *(
            "Domain",
            "Medicine",
            "medicine",
            "Accuracy",
            "Overall score",
            "_/5",
            "yes",
            "no",
            "Yes,",
        ),
        *("{", "}", '"use"', '"kind"', '"News"', "true", "null", "[", '{"use": 1, "kind": "news"}'),
        *("\u0665", "\uff15", "\U0001f600", "\x00", "\u202e", "é", "9" * 400),
    ]
)
REPLIES = st.one_of(st.text(), st.lists(PIECES, max_size=12).map("".join))


def read(rubric: Rubric, text: str, **facts: Any) -> Any:
    """Return what a rubric reads from a reply, or the message of what is wrong."""
    try:
        return rubric.read(Reply(text=text, **facts))
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("rubric", [EDUCATIONAL, ASK_LLM, DATAMAN, JSON], ids=lambda r: r.name)
@settings(deadline=None, max_examples=60)
@given(text=REPLIES)
@example(text="Educational score: " + "9" * 5000)
@example(text="[" * 100_000)
@example(text='{"use":' * 5000)
def test_no_reply_breaks_the_reader_or_gives_what_is_out_of_range(
    rubric: Rubric, text: str
) -> None:
    """One odd reply would end a run that has cost money, or be the best grade of all."""
    found = read(rubric, text)
    if isinstance(found, str):
        assert len(found) < 200
        return
    assert list(found) == [answer.column for answer in rubric.answers]
    for answer in rubric.answers:
        value = found[answer.column]
        if isinstance(answer, Grade):
            assert answer.low <= value <= answer.high
            assert value.is_integer() or not answer.whole
        elif isinstance(answer, Choice):
            assert value in answer.options
        else:
            assert 0 <= value <= 1


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Good. Educational score: 3", 3),
        ("**Educational score:** 4", 4),
        ("Educational Score: **2**.", 2),
        ("educational score = <1>", 1),
        ("Educational score: 5/5", 5),
        ("Educational score: 4 out of 5", 4),
        ("Educational score: 4.0", 4),
        ("Educational score: <n>, so\nEducational score: 0", 0),
        ("I first thought of Educational score: 5.\nEducational score: 2", 2),
        ("Educational score: 3\nThe form was 'Educational score: <total points>'.", 3),
    ],
)
def test_grades_are_read_as_models_write_them(text: str, wanted: int) -> None:
    """Replies that are right would be asked for again, and paid for again."""
    assert read(EDUCATIONAL, text) == {"grade": wanted}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3",
        "Score: 3",
        "Educational score: six",
        "Educational score: 6",
        "Educational score: -1",
        "Educational score: 45",
        "Educational score: 4.5",
        "Educational score: 3-4",
        "Educational score: 4/10",
        "Educational score: 4th",
        "Educational score: 1.2.3",
        "Educational score\n\n3",
        "Educational score: 2\nEducational score: 3-4",
    ],
)
def test_what_may_mean_another_grade_is_no_grade(text: str) -> None:
    """A wrong grade is worse than none: the classifier learns it."""
    assert isinstance(read(EDUCATIONAL, text), str)


def test_dataman_is_read_whole_or_not_at_all() -> None:
    """A row with half its grades would pass for graded."""
    names = [name.replace("_", " ").title() for name in DATAMAN_CRITERIA]
    lines = [
        "Domain: retail e-Commerce",
        *(f"[{n}]{name}: {n % 5 + 1}/5" for n, name in enumerate(names)),
    ]
    found = read(DATAMAN, "\n".join(lines))
    assert found["domain"] == "retail e-commerce"
    assert [found[f"{name}_grade"] for name in DATAMAN_CRITERIA] == [n % 5 + 1 for n in range(14)]
    assert len(DATAMAN.answers) == 15
    for n in range(15):
        assert "found" in read(DATAMAN, "\n".join(lines[:n] + lines[n + 1 :]))
    assert "Overall Score" not in names
    scored = "\n".join(lines).replace("Overall:", "Overall Score:")
    assert read(DATAMAN, scored) == found


def test_a_probability_of_yes_is_summed_over_spellings() -> None:
    """Documents would be ranked by which spelling the model's tokenizer prefers."""
    tops = (
        ("yes", math.log(0.5)),
        (" Yes", math.log(0.25)),
        ("no", math.log(0.1)),
        ("YES!", -99.0),
    )
    assert read(ASK_LLM, "no", first_logprob=tops)["yes_prob"] == pytest.approx(0.75)
    assert read(ASK_LLM, "yes", first_logprob=(("no", -0.5),))["yes_prob"] == 0
    assert read(ASK_LLM, "yes", first_logprob=(("yes", 3.0),))["yes_prob"] == 1
    assert read(ASK_LLM, "- Yes.", first_logprob=(("-", -0.1),))["yes_prob"] == 1
    assert read(ASK_LLM, "No")["yes_prob"] == 0
    assert isinstance(read(ASK_LLM, "<think> yes"), str)
    assert isinstance(read(ASK_LLM, "nobody knows"), str)


def test_json_is_found_among_words_and_its_types_are_checked() -> None:
    """Models wrap JSON in prose and fences, and put words where numbers belong."""
    good = {"use": 0.25, "kind": "blog post"}
    wanted = {"use": 0.25, "kind": "Blog post"}
    assert read(JSON, f"Here:\n```json\n{json.dumps(good)}\n```\nDone.") == wanted
    assert read(JSON, f'{{"use": 1}} no, {json.dumps(good | {"more": [1]})}') == wanted
    assert read(JSON, json.dumps(good | {"use": "0.25"})) == wanted
    for bad in ({"use": True}, {"use": None}, {"use": "high"}, {"use": 2}, {"use": [1]}):
        assert isinstance(read(JSON, json.dumps(good | bad)), str), bad
    for text in ("", "{", "[1, 2]", '{"use": 0.5}', json.dumps({"answer": good}), '{"use": NaN}'):
        assert isinstance(read(JSON, text), str), text


def test_a_text_goes_into_the_prompt_as_it_is() -> None:
    """Code with braces would break the prompt, or be formatted away."""
    text = "{text} {0} %s \\1 {{"
    (role, asked), *more = replace(EDUCATIONAL, system="Be strict.").messages(text)
    assert (role, asked) == ("system", "Be strict.")
    assert text in more[0][1]
    assert EDUCATIONAL.messages("x")[0][0] == "user"


def test_ask_llm_asks_as_the_paper_does() -> None:
    """One other word makes another method, whose scores compare with no published ones."""
    assert ASK_LLM.prompt == (
        "###\n{text}\n###\n\nDoes the previous paragraph demarcated within ### and ### contain "
        "informative signal for pre-training a large-language model? An informative datapoint "
        "should be well-formatted, contain some usable knowledge of the world, and strictly NOT "
        "have any harmful, racist, sexist, etc. content.\n\nOPTIONS:\n- yes\n- no\n"
    )
    assert ASK_LLM.messages("x") == (("user", ASK_LLM.prompt.replace("{text}", "x")),)


@pytest.mark.parametrize("rubric", [EDUCATIONAL, DATAMAN], ids=lambda r: r.name)
def test_prompts_of_our_own_words_change_on_purpose_only(rubric: Rubric) -> None:
    """Every grade in every store would be asked for anew, and be another grade."""
    golden = (FOLDER / f"{rubric.name}.prompt.txt").read_text(encoding="utf-8")
    assert rubric.prompt == golden
    assert rubric.system == ""


def test_dataman_has_the_criteria_and_domains_of_the_paper_in_its_order() -> None:
    """A criterion under another's name is a column that lies; [12] and [13] are told by place."""
    criteria = (
        "Accuracy, Coherence, Language Consistency, Semantic Density, Knowledge Novelty, Topic "
        "Focus, Creativity, Professionalism, Style Consistency, Grammatical Diversity, Structural "
        "Standardization, Originality, Sensitivity, Overall Score"
    )
    domains = (
        "Medicine, Finance, Law, Education, Technology, Entertainment, Mathematics, Coding, "
        "Government, Culture, Transportation, Retail E-commerce, Telecommunication, Agriculture, "
        "Other"
    )
    names = [c.removesuffix(" Score").lower().replace(" ", "_") for c in criteria.split(", ")]
    assert list(DATAMAN_CRITERIA) == names == list(CRITERIA)
    assert list(DATAMAN_DOMAINS) == domains.lower().split(", ") == list(DOMAINS)
    columns = [answer.column for answer in DATAMAN.answers]
    assert columns == ["domain", *(f"{name}_grade" for name in names)]
    lines = DATAMAN.prompt.splitlines()
    spoken = [c.removesuffix(" Score").capitalize() for c in criteria.split(", ")]
    assert lines[-15:] == ["Domain: _", *(f"{name}: _/5" for name in spoken)]
    assert [line[2:].partition(":")[0] for line in lines if line.startswith("- ")] == spoken


def test_a_rubric_is_known_by_all_that_decides_a_grade() -> None:
    """An edited prompt would keep the grades of the old one."""
    facts = EDUCATIONAL.facts()
    json.dumps(facts)
    others = [
        replace(EDUCATIONAL, prompt="{text}?"),
        replace(EDUCATIONAL, system="x"),
        replace(EDUCATIONAL, max_tokens=9),
        replace(EDUCATIONAL, answers=(Grade("grade", pattern="x"),)),
        replace(EDUCATIONAL, answers=(Grade("grade", pattern=r"educational\s+score", high=4),)),
    ]
    assert all(other.facts() != facts for other in others)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"prompt": "no place"}, "{text}"),
        ({"answers": ()}, "answer"),
        ({"answers": (Grade("a", "x"), Grade("a", "y"))}, "column of its own"),
        ({"answers": (Grade("Bad name", "x"),)}, "names"),
        ({"answers": (Grade("a", "("),)}, "regular expression"),
        ({"answers": (Grade("a"),)}, "regular expression"),
        ({"answers": (Grade("a", "x", low=2, high=1),)}, "low is below high"),
        ({"answers": (Grade("a", "x", high=math.inf),)}, "low is below high"),
        ({"answers": (Choice("a", options=("x",), pattern="y"),)}, "two options"),
        ({"answers": (Choice("a", options=("x", "X"), pattern="y"),)}, "two options"),
        ({"form": "xml"}, "form"),
        ({"cut": "middle"}, "cut"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"top_logprobs": 21}, "top_logprobs"),
    ],
)
def test_a_rubric_that_makes_no_sense_is_told(wrong: dict[str, Any], told: str) -> None:
    """It would show in the first reply, after a day's wait for the server."""
    given = {"name": "mine", "prompt": "{text}", "answers": (YesProb(),), **wrong}
    with pytest.raises(RecipeError, match="mine") as caught:
        Rubric(**given)
    assert told in str(caught.value)
