"""By what a text is graded: the prompt, the answers looked for in the reply, and their ranges.

A rubric of one's own is a prompt with ``{text}`` in it and a few answers:

    Rubric(
        name="cve",
        prompt="{text}\\n\\nHow useful is this to a security analyst? End with 'Use: <0 to 4>'.",
        answers=(Grade("grade", high=4, pattern=r"use"),),
    )

What a reply says last counts, for a model may quote the scale before it decides. A text under
judgement can try to talk the model into a grade; no prompt is proof against that.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pyarrow as pa

from curation.annotate.model import Reply
from curation.errors import RecipeError

#: A number as models write it, perhaps with what it is out of: "4", "4.5", "4/5". What may mean
#: something else does not match: a range ("3-4"), a version ("1.2.3"), letters behind it ("4th").
_NUMBER = re.compile(
    r"(?P<grade>-?[0-9]+(?:\.[0-9]+)?)(?:\s*/\s*(?P<of>[0-9]+(?:\.[0-9]+)?))?"
    r"(?!\w|\.\w|\s*[-\u2013/]\s*[0-9])"
)
#: So many brackets that open no JSON are passed over; each costs a look at all that follows.
_MOST_FAILURES = 100
#: Marks between a name and its value: ": ", ":** ", " = <"; no letter, no digit, no end of a line.
_BETWEEN = r"[^\w\n]{1,12}?"


@dataclass(frozen=True)
class Grade:
    """A number in a range.

    column   end of the column's name
    pattern  regular expression of what stands before the number in a reply
    whole    refuse fractions
    """

    column: str
    pattern: str = ""
    low: float = 0
    high: float = 5
    whole: bool = True

    @property
    def field(self) -> pa.Field:
        return pa.field(self.column, pa.float32())

    def read(self, said: object) -> float:
        """Return the number that stands by itself; ValueError says what is wrong with it."""
        if isinstance(said, bool) or not isinstance(said, str | int | float):
            raise ValueError(f"{self.column} is no number: {str(said)[:40]!r}")
        return self._checked(str(said).strip(), _NUMBER.fullmatch(str(said).strip()))

    def find(self, text: str) -> float:
        """Return the last such number of a reply."""
        said = _last_after(self.pattern, r"-?[0-9].*", text)
        if said is None:
            raise ValueError(f"no {self.column} found")
        return self._checked(said, _NUMBER.match(said))

    def _checked(self, said: str, found: re.Match[str] | None) -> float:
        shown = f"{self.column} is {said[:40]!r}"
        if found is None:
            raise ValueError(f"{shown}, no number")
        number = float(found["grade"])
        if found["of"] and float(found["of"]) != self.high:
            raise ValueError(f"{shown}, not out of {self.high:g}")
        if not self.low <= number <= self.high:
            raise ValueError(f"{shown}, not from {self.low:g} to {self.high:g}")
        if self.whole and not number.is_integer():
            raise ValueError(f"{shown}, no whole number")
        return number


@dataclass(frozen=True)
class Choice:
    """One of some names.

    column   end of the column's name
    options  what the model may choose
    pattern  regular expression of what stands before the name in a reply
    """

    column: str
    options: tuple[str, ...]
    pattern: str = ""

    @property
    def field(self) -> pa.Field:
        return pa.field(self.column, pa.large_string())

    def read(self, said: object) -> str:
        """Return the option as it is spelled here; case and marks around it do not count."""
        bare = str(said).strip(" \t\r*_`\"'<>[]().,").lower()
        for option in self.options:
            if bare == option.lower():
                return option
        raise ValueError(f"{self.column} is none of the options: {str(said)[:40]!r}")

    def find(self, text: str) -> str:
        """Return the last such name of a reply: the rest of its line."""
        said = _last_after(self.pattern, r"\w[^\n;|\[]*", text)
        if said is None:
            raise ValueError(f"no {self.column} found")
        return self.read(said)


def _last_after(pattern: str, wanted: str, text: str) -> str | None:
    """Return what stands behind the last match of a pattern that has such a thing behind it."""
    value = re.compile(f"{_BETWEEN}({wanted})")
    for head in reversed([found.end() for found in re.finditer(f"(?i:{pattern})", text)]):
        if found := value.match(text, head):
            return found[1]
    return None


@dataclass(frozen=True)
class YesProb:
    """The probability that a reply begins with yes: Ask-LLM's score.

    All spellings of yes among the first token's alternatives are summed (Yes, " yes", YES). Where
    the server tells no alternatives, or none of them is yes or no, the reply's first word decides:
    1 or 0.
    """

    column: str = "yes_prob"

    @property
    def field(self) -> pa.Field:
        return pa.field(self.column, pa.float32())

    def find_in(self, reply: Reply) -> float:
        """Return the probability; ValueError where a reply is neither yes nor no."""
        words = [(_first_word(token), prob) for token, prob in reply.first_logprob]
        if {"yes", "no"} & {word for word, _ in words}:
            share = math.fsum(math.exp(min(prob, 0.0)) for word, prob in words if word == "yes")
            return min(share, 1.0)
        word = _first_word(reply.text)
        if word not in ("yes", "no"):
            raise ValueError("neither yes nor no")
        return float(word == "yes")


def _first_word(text: str) -> str:
    found = re.search(r"\w+", text)
    return found[0].lower() if found else ""


Answer = Grade | Choice | YesProb


@dataclass(frozen=True, kw_only=True, repr=False)
class Rubric:
    """What is asked of a text, and how the reply is read.

    name          for messages and titles
    prompt        the user's message; {text} stands where the text goes
    system        the system's message; "" for none
    answers       what is read from the reply, each a column
    form          pattern: each answer stands behind its pattern; json: the reply holds an object
                  whose keys are the answers' columns
    max_tokens    the reply ends there at the latest
    cut           of a text that is too long, keep its beginning, or both ends
    top_logprobs  alternatives to the first token that are asked for, for YesProb
    """

    name: str
    prompt: str
    answers: tuple[Answer, ...]
    system: str = ""
    form: Literal["pattern", "json"] = "pattern"
    max_tokens: int = 512
    cut: Literal["beginning", "ends"] = "beginning"
    top_logprobs: int = 0

    def __post_init__(self) -> None:
        columns = [answer.column for answer in self.answers]
        named = [a for a in self.answers if not isinstance(a, YesProb)]
        faults = {
            "the prompt has {text} where the text goes": "{text}" in self.prompt,
            "there is an answer to read": bool(columns),
            "each answer has a column of its own": len({*columns}) == len(columns),
            "columns are names": all(re.fullmatch(r"[a-z][a-z0-9_]*", c) for c in columns),
            "form is pattern or json": self.form in ("pattern", "json"),
            "cut is beginning or ends": self.cut in ("beginning", "ends"),
            "max_tokens is 1 or more": self.max_tokens >= 1,
            "top_logprobs is 0 to 20": 0 <= self.top_logprobs <= 20,
            "each answer has a pattern that is a regular expression": self.form == "json"
            or all(a.pattern and _compiles(a.pattern) for a in named),
            "low is below high": all(
                -math.inf < a.low < a.high < math.inf for a in named if isinstance(a, Grade)
            ),
            "a choice has two options or more": all(
                len({o.lower() for o in a.options}) == len(a.options) >= 2
                for a in named
                if isinstance(a, Choice)
            ),
        }
        for law, kept in faults.items():
            if not kept:
                raise RecipeError(f"rubric {self.name!r}: {law}.", found=repr(self.answers)[:200])

    def __repr__(self) -> str:
        return f"Rubric({self.name!r})"

    def facts(self) -> Mapping[str, object]:
        """Return the rubric as JSON types, for a stage's fingerprint."""
        answers = [{"kind": type(answer).__name__, **asdict(answer)} for answer in self.answers]
        settings = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**settings, "answers": answers}

    def messages(self, text: str) -> tuple[tuple[str, str], ...]:
        """Return the conversation that asks about a text."""
        asked = ("user", self.prompt.replace("{text}", text))
        return (("system", self.system), asked) if self.system else (asked,)

    def read(self, reply: Reply) -> dict[str, float | str]:
        """Return each answer by its column; ValueError says what is missing or out of range."""
        given = _last_object(reply.text) if self.form == "json" else {}
        found: dict[str, float | str] = {}
        for answer in self.answers:
            if isinstance(answer, YesProb):
                found[answer.column] = answer.find_in(reply)
            elif self.form == "pattern":
                found[answer.column] = answer.find(reply.text)
            elif answer.column in given:
                found[answer.column] = answer.read(given[answer.column])
            else:
                raise ValueError(f"no {answer.column} found")
        return found


def _compiles(pattern: str) -> bool:
    try:
        re.compile(f"(?i:{pattern})")
    except re.error:
        return False
    return True


def _last_object(text: str) -> dict[str, Any]:
    """Return the last JSON object that stands in a reply, outside any other."""
    decoder, found, at, failures = json.JSONDecoder(), {}, text.find("{"), 0
    while at >= 0 and failures < _MOST_FAILURES:
        try:
            value, stop = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            stop, failures = at + 1, failures + 1
        else:
            found = value
        at = text.find("{", stop)
    if not found:
        raise ValueError("no JSON object found")
    return found


# ---------------------------------------------------------------- published rubrics

#: The scale is that of Penedo et al. 2024, arXiv:2406.17557 (FineWeb-Edu), in our own words: five
#: points that add up, a short reason, the total last.
EDUCATIONAL = Rubric(
    name="educational",
    prompt="""Here is an excerpt of a web page:

<excerpt>
{text}
</excerpt>

Judge how much it would help to teach pupils between primary school and the end of grade school. \
Points add up; begin at 0 and give one for each statement that holds:
1. It holds some facts or ideas that a pupil could learn from, even beside advertising or chatter.
2. It deals with a subject that is taught, though it may be shallow, unordered or mixed with other \
things.
3. It suits a class: the main ideas of the subject are there, in readable and connected prose, \
though it may be incomplete.
4. It is a good text for that age: clear and ordered like a chapter or a lesson, with examples or \
exercises, little that is beside the point, nothing too specialised.
5. It is excellent: it could be taught from as it stands, with thorough steps and easy language, \
and with nothing that distracts.

Give your reasons in at most 100 words. Then end with a line of this form, with the sum of the \
points, 0 to 5:
Educational score: <n>""",
    answers=(Grade("grade", pattern=r"educational\s+score"),),
)

#: The prompt of Sachdeva et al. 2024, arXiv:2402.09668 (Ask-LLM), as the paper prints it.
ASK_LLM = Rubric(
    name="ask-llm",
    prompt="""###
{text}
###

Does the previous paragraph demarcated within ### and ### contain informative signal for \
pre-training a large-language model? An informative datapoint should be well-formatted, contain \
some usable knowledge of the world, and strictly NOT have any harmful, racist, sexist, etc. content.

OPTIONS:
- yes
- no
""",
    answers=(YesProb(),),
    max_tokens=4,
    top_logprobs=20,
)

#: Criteria and domains of Peng et al. 2025, arXiv:2502.19363 (DataMan); what each asks is said here
#: in our own words.
DATAMAN_CRITERIA: dict[str, str] = {
    "accuracy": "what it states is right and it has few mistakes of language",
    "coherence": "it is easy to follow and its parts belong together",
    "language_consistency": "it keeps to one language, without needless change",
    "semantic_density": "it says much in few words",
    "knowledge_novelty": "it holds knowledge that is new or not widely known",
    "topic_focus": "it stays with its subject",
    "creativity": "it shows imagination, in thought or in form",
    "professionalism": "it shows expertise in its subject",
    "style_consistency": "its style is the same throughout and fits the purpose",
    "grammatical_diversity": "its sentences are varied and correct",
    "structural_standardization": "it is laid out well: headings, paragraphs, lists",
    "originality": "it is no copy, and repeats neither itself nor boilerplate",
    "sensitivity": "it is free of what is harmful, hateful, private or indecent",
    "overall": "its worth for training a language model, all in all",
}
DATAMAN_DOMAINS: tuple[str, ...] = (
    *("medicine", "finance", "law", "education", "technology", "entertainment", "mathematics"),
    *("coding", "government", "culture", "transportation", "retail e-commerce"),
    *("telecommunication", "agriculture", "other"),
)
#: What models like to write behind a criterion.
_SCORE = r"(?:\s+(?:score|grade))?"


def _spoken(criterion: str) -> str:
    return criterion.replace("_", " ").capitalize()


DATAMAN = Rubric(
    name="dataman",
    prompt="\n".join(
        [
            "Read this text:",
            "",
            "<text>",
            "{text}",
            "</text>",
            "",
            "Grade it by each criterion from 1 (very poor) to 5 (excellent), in whole numbers:",
            *(f"- {_spoken(name)}: {asks}" for name, asks in DATAMAN_CRITERIA.items()),
            "",
            f"Then name its domain, one of: {', '.join(DATAMAN_DOMAINS)}.",
            "",
            "Reply with these lines only, a number in the place of each _:",
            "Domain: _",
            *(f"{_spoken(name)}: _/5" for name in DATAMAN_CRITERIA),
        ]
    ),
    answers=(
        Choice("domain", options=DATAMAN_DOMAINS, pattern="domain"),
        *(
            Grade(f"{name}_grade", pattern=_spoken(name).replace(" ", r"\s+") + _SCORE, low=1)
            for name in DATAMAN_CRITERIA
        ),
    ),
    cut="ends",
)
