from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import Faithful, ModelServer, faithful_rules
from curation.annotate.model import Reply, Request
from curation.errors import RecipeError
from curation.testing import check_stage
from tests.kernels.test_support import told
from tests.rewrite.server import standing

SOURCE = (
    "Adults took 5 to 10 mg of Warfarin daily for 1,200 days. The drug does not cause bleeding in "
    'most patients. CVE-2024-3094 affects xz 5.6.0 and 5.6.1, "a backdoor in liblzma". The '
    "temperature was 37 °C. Three million people, 45% of them in Germany, live there."
)


def judged(text: str | None, source: str | None = SOURCE) -> dict[str, Any]:
    return told([(text, source)])[0]


def test_it_keeps_the_contract() -> None:
    """A verdict would depend on the rows beside it."""
    check_stage(Faithful())


_PIECES = (
    "Adults took 5 mg",
    "says Doctor John Miller",
    "\n",
    ":",
    ".",
    "1",
    "A",
    " of Xanthor",
    "*",
)
_rewrites = st.lists(st.sampled_from(_PIECES), max_size=5).map("".join)


@settings(deadline=None)
@given(st.lists(st.tuples(_rewrites, _rewrites | st.just(SOURCE)), min_size=2, max_size=4))
def test_a_row_is_judged_alone_as_among_others(rows: list[tuple[str, str]]) -> None:
    """The end of a text would be read together with the beginning of its neighbour."""
    assert told(rows) == [told([row])[0] for row in rows]


def test_the_next_row_does_not_tell_whether_a_line_is_a_title() -> None:
    """A name that a model made up would pass or fail by the order of the corpus."""
    row = ("The patients took aspirin, says Doctor John Miller of Xanthor", SOURCE)
    alone = told([row])[0]["faithful_reason"]
    for after in ("The patients.", "\nThe patients", ": a", ""):
        assert told([row, (after, SOURCE)])[0]["faithful_reason"] == alone


@pytest.mark.parametrize(
    "text",
    [
        SOURCE + "\n\nQuestion: How much Warfarin did adults take?\nAnswer: 5 to 10 mg",
        "1. Adults took 5-10 milligrams of WARFARIN daily for 1200.0 days.",
        'Is it "True" that adults took 5 mg of Warfarin, "yes" or "no"?',
        "In Germany lived 45 percent of the 3,000,000 people at 37 degrees Celsius.",
    ],
)
def test_a_faithful_rewrite_passes(text: str) -> None:
    """Good rewrites, which were paid for, would be thrown away."""
    assert judged(text)["faithful_reason"] is None
    assert judged(text)["is_faithful"]


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("Adults took 5 to 15 mg of Warfarin daily.", "unsupported_number_count"),
        ("The versions of xz affected are 5.6.0 and 5.6.2.", "unsupported_number_count"),
        ("Adults took 5 to 10 g of Warfarin daily.", "unsupported_unit_count"),
        ('This is called a "passage" by people who took Warfarin.', "unsupported_quote_count"),
        ("Adults took 5 to 10 mg of Heparin daily.", "unsupported_name_count"),
        ("The versions of xz are affected by CVE-2024-3095.", "unsupported_name_count"),
        ("This is called 'a backdoor in libfoo' by people.", "unsupported_quote_count"),
        ("The drug causes bleeding in most patients.", "negation_change_count"),
        ("I cannot help with the drug that adults took.", "is_refusal"),
    ],
)
def test_a_planted_fault_is_found_by_its_check(text: str, column: str) -> None:
    """A model would be trained on what no source says."""
    assert judged(text)[column]
    assert not judged(text)["is_faithful"]


def test_without_a_text_or_a_source_nothing_passes() -> None:
    """A rewrite that nothing vouches for would be kept."""
    assert judged(None)["is_faithful"] is None
    assert judged("Adults took 5 to 10 mg daily.", None)["is_faithful"] is False
    assert "no source" in judged("Adults took 5 to 10 mg daily.", None)["faithful_reason"]


def test_a_rule_for_a_column_that_no_check_writes_is_refused() -> None:
    """A mistyped bound would silently be the default."""
    with pytest.raises(RecipeError, match="faithful_rules"):
        faithful_rules(copied_fraction=0.5)
    assert len(faithful_rules(copied_frac=0.9)) == len(faithful_rules()) + 1
    assert len(faithful_rules(is_refusal=None)) == len(faithful_rules()) - 1


@dataclass(frozen=True)
class Agrees:
    """A model that says yes with a probability of 0.9 where the text does not hold "dubious"."""

    asked: list[Request] = field(default_factory=list)

    def generate(self, requests: Sequence[Request]) -> list[Reply]:
        self.asked.extend(requests)
        prob = [0.1 if "dubious" in one.messages[-1][1] else 0.9 for one in requests]
        return [
            Reply(
                text="yes",
                prompt_tokens=7,
                completion_tokens=1,
                first_logprob=(("yes", math.log(p)), ("no", math.log(1 - p))),
            )
            for p in prob
        ]

    def facts(self) -> dict[str, object]:
        return {"model": "agrees"}


ADDED = "Adults took 5 to 10 mg of Warfarin daily"


def test_a_model_is_asked_about_rows_that_pass_the_other_checks_only() -> None:
    """Requests would be paid for rows that are thrown away anyway."""
    model = Agrees()
    texts = [f"{ADDED}.", "Adults took 15 mg of Warfarin daily.", f"{ADDED}, which is dubious."]
    rows = told([(text, SOURCE) for text in texts], model=model)
    assert [row["is_faithful"] for row in rows] == [True, False, False]
    assert rows[1]["supported_prob"] is None
    assert rows[2]["faithful_reason"] == "a model finds it supported with a probability of 0.1"
    assert [row["faithful_request_count"] for row in rows] == [1, 0, 1]
    assert [row["faithful_prompt_tokens"] for row in rows] == [7, 0, 7]
    assert {one.purpose for one in model.asked} == {"faithful"}
    shown = model.asked[0].messages[-1][1]
    assert f"<source>\n{SOURCE}\n</source>" in shown
    assert f"<text>\n{ADDED}.\n</text>" in shown


def test_a_model_sees_so_many_characters_of_each_text() -> None:
    """A long passage would not fit into the model's context."""
    model = Agrees()
    told([(f"{ADDED}.", SOURCE)], model=model, max_chars=12)
    shown = model.asked[0].messages[-1][1]
    assert f"\n{SOURCE[:12]}\n" in shown
    assert f"\n{ADDED[:12]}\n" in shown
    assert SOURCE[:13] not in shown


def test_a_server_is_asked_and_its_failures_are_values() -> None:
    """A run would end at the first reply that cannot be read."""
    with standing() as stand:
        server = ModelServer(model="m", base_url=stand.url, retries=0, timeout_s=5)
        good = " It is good, good, good, good and good."
        sources = [SOURCE + good, SOURCE, SOURCE + " BROKEN"]
        rows = told([(f"{ADDED}.", source) for source in sources], model=server)
        check_stage(Faithful(model=server))
    assert [row["is_faithful"] for row in rows] == [True, False, True]
    assert rows[0]["supported_prob"] > 0.5 > rows[1]["supported_prob"]
    assert rows[2]["supported_prob"] is None
    assert rows[2]["error"]


def test_the_model_and_its_question_are_in_the_fingerprint() -> None:
    """Another model's verdicts would be taken from the store."""
    facts = Faithful(model=Agrees()).identity()["settings"]
    assert isinstance(facts, dict)
    assert facts["model"] == {"model": "agrees"}
    assert facts["rubric"]
    assert facts != Faithful().identity()["settings"]


GERMAN = (
    "Erwachsene nahmen 1.200 Tage lang täglich zwischen 5 und 10 Milligramm des Mittels ein, und "
    "bei den meisten Kranken verursacht es keine Blutung."
)


def test_a_translation_is_judged_by_its_language_and_not_by_its_words() -> None:
    """Every translation would be unfaithful, since it holds none of the source's words."""
    assert not told([(GERMAN, SOURCE)])[0]["is_faithful"]
    german = told([(GERMAN.replace("1.200", "1,200"), SOURCE)], language="de")[0]
    assert german["faithful_reason"] is None
    assert german["is_faithful"]
    english = told([(f"{ADDED} and the drug does not cause any bleeding.", SOURCE)], language="de")
    assert english[0]["faithful_reason"].startswith("in another language: Adults took")
    wrong = told([(GERMAN.replace("1.200", "1,300"), SOURCE)], language="de")[0]
    assert wrong["faithful_reason"] == "the number 1,300 is not in the source"


def test_a_language_that_nobody_knows_is_refused() -> None:
    """Every row would be in another language than that of a typing error."""
    with pytest.raises(RecipeError, match="language"):
        Faithful(language="deutsch").check()
    with pytest.raises(RecipeError, match="copy_words"):
        Faithful(copy_words=1).check()


def test_false_choices_do_not_count_and_the_right_one_does() -> None:
    """Every multiple-choice task would be unfaithful; or its answer could be invented."""
    choices = "Question: How much did adults take?\nA. 7 mg\nB. 10 mg\nC. 99 g\nAnswer: {}"
    assert judged(choices.format("B. 10 mg"))["unsupported_number_count"] == 0
    assert judged(choices.format("A"))["unsupported_number_count"] == 1


@pytest.mark.parametrize(
    ("answer", "share"),
    [("Warfarin does not cause bleeding", 1.0), ("Warfarin cures baldness", 1 / 3)],
)
def test_the_words_of_answers_are_looked_for(answer: str, share: float) -> None:
    """An answer that the text does not give would teach invention."""
    for form in ("Question: What does it do?\nAnswer: {}", "**Q:** And?\n\n**A:** {}"):
        row = judged(form.format(answer))
        assert row["answer_found_frac"] == pytest.approx(share)
    assert judged(ADDED)["answer_found_frac"] is None


@pytest.mark.parametrize(
    ("text", "source", "changed"),
    [
        ("The drug stops the bleeding.", "The drug fails to stop the bleeding.", 1),
        ("The drug does not stop the bleeding.", "The drug fails to stop the bleeding.", 0),
        ("Often patients bleed; the drug stops it.", "The drug stops it. Patients bleed.", 0),
        ("Most patients recover.", "Most patients recover, but not all patients sleep.", 0),
        ("Nurses say that patients cannot sleep.", "Patients can sleep. Nurses say so.", 1),
        ("No drug stops bleeding.", "Drugs stop bleeding.", 1),
        ("No, the drug stops bleeding.", "The drug stops bleeding.", 0),
        ("It is not only the drug stops.", "It is the drug stops.", 0),
        ("Does the drug not stop bleeding?", "The drug stops bleeding.", 0),
        ("Mild or signs appear.", "Mild or no signs appear.", 1),
        ("The drug doesn't stop bleeding.", "The drug stops bleeding.", 1),
        ("The drug does not stop bleeding.", "The drug stops bleeding. It did not stop.", 1),
        ("The drug stops.", "The drug stops. The drug does not stop.", 0),
    ],
)
def test_a_sentence_turned_round_is_found(text: str, source: str, changed: int) -> None:
    """What no source says would be taught in the source's own words."""
    assert judged(text, source)["negation_change_count"] == changed


def test_a_name_in_another_form_is_the_same() -> None:
    """Half of what people write of a country would be an invention."""
    text = "He met the European, Japanese, Western and German envoys."
    source = "There were envoys of Europe, Japan, the West and Germany."
    assert judged(text, source)["unsupported_name_count"] == 0
    assert judged(text, source.replace("Europe", "Eurasia"))["unsupported_name_count"] == 1


def test_a_line_of_names_is_no_title() -> None:
    """Whoever wrote a rule could be anybody."""
    source = "title: Some Rule\nauthor: Jane Ann Doe\nlevel: high"
    assert judged("author: Jane Ann Doe", source)["unsupported_name_count"] == 0
    assert judged("author: Jane Eve Doe", source)["unsupported_name_count"] == 1
    assert judged("Rules by Great Authors", source)["unsupported_name_count"] == 0


def test_another_script_is_another_language_in_the_middle_of_a_sentence() -> None:
    """A model that slips into Chinese would be copied."""
    slip = "人人有权离开任何国家并有权返回他的国家, and adults took 5 mg of Warfarin daily."
    assert judged(f"Adults took Warfarin. {slip}")["language_kept"] is False
    assert judged(slip, SOURCE + " 人人有权离开任何国家并有权返回他的国家")["language_kept"] is True


def test_bad_input_is_a_verdict() -> None:
    """A run of a million rows would end at one of them."""
    arabic = "تنادي الجمعية العامة بهذا الإعلان العالمي لحقوق الإنسان على أنه المستوى المشترك ٥ ملغ"
    code = 'if (x != "none") { return y[0] / 2; } // CVE-2024-3094 10.0.0.1'
    rows = told(
        [
            ("", SOURCE),
            (SOURCE, ""),
            ("", ""),
            ("!!! --- ...", SOURCE),
            (SOURCE, SOURCE),
            (f"Answer: {arabic}", arabic),
            ('The code returns y[0] if x is "none", see CVE-2024-3094 and 10.0.0.1', code),
            ("word " * 200_000, "word " * 3),
            ("x" * 1_000_000, "x" * 1_000_000),
            ("\x00\ud7ff\U0010ffff", "\x00"),
        ]
    )
    assert [row["is_faithful"] for row in rows] == [False] * 5 + [False, True] + [False] * 3
    for row in rows[:1] + rows[2:5]:
        assert row["faithful_reason"].startswith("adds nothing to its source")
    assert rows[7]["faithful_reason"].startswith("66666.66 times as long as the source")
    assert rows[5]["unsupported_number_count"] == 0


PIECES = st.sampled_from(
    [*SOURCE.split(". "), "I cannot help with that.", GERMAN, "Take 99 g of Heparin", "Answer: No",
     "The drug causes bleeding in most patients", "\n", '"no such words"', "word " * 700]
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), st.lists(PIECES, max_size=4).map(". ".join)), max_size=6))
def test_the_rules_together_are_the_verdict(texts: list[str | None]) -> None:
    """Whoever writes the rules out would keep other rows."""
    for sources in ([SOURCE] * len(texts), [None] * len(texts), texts[::-1]):
        columns = {"text": texts, "source_text": sources}
        batch = pa.record_batch({n: pa.array(v, pa.large_string()) for n, v in columns.items()})
        made = Faithful().annotate(batch)
        frame = pl.from_arrow(made)
        assert isinstance(frame, pl.DataFrame)
        kept = frame.select(pl.all_horizontal(rule.rule for rule in faithful_rules())).to_series()
        assert kept.fill_null(False).to_list() == [
            v or False for v in made["is_faithful"].to_pylist()
        ]
        for verdict, reason in zip(made["is_faithful"], made["faithful_reason"], strict=True):
            assert (verdict.as_py() is False) == (reason.as_py() is not None)


def test_amounts_of_money_are_the_same_in_short() -> None:
    """Every budget would be an invention."""
    source = "It cost $2.8m in March, £3bn in May and 45k in all; the mountain is 300 m high."
    assert judged("It cost $2.8 million and 3 billion pounds.", source)["is_faithful"]
    assert judged("It cost $2.8 billion and more.", source)["unsupported_number_count"] == 1
    assert judged("The mountain is 300 metres high.", source)["is_faithful"]


def test_the_unit_of_a_range_is_checked() -> None:
    """A dose of grams would pass for one of milligrams."""
    source = "Patients take 5-10 mg of it daily."
    assert judged("They take 5-10 milligrams of it.", source)["unsupported_unit_count"] == 0
    assert judged("They take 5-10 g of it.", source)["unsupported_unit_count"] == 1
