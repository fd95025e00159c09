from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from curation import Faithful, faithful_rules
from curation.errors import RecipeError
from curation.testing import check_stage

SOURCE = (
    "Adults took 5 to 10 mg of Warfarin daily for 1,200 days. The drug does not cause bleeding in "
    'most patients. CVE-2024-3094 affects xz 5.6.0 and 5.6.1, "a backdoor in liblzma". The '
    "temperature was 37 °C. Three million people, 45% of them in Germany, live there."
)


def judged(text: str | None, source: str | None = SOURCE) -> dict[str, Any]:
    columns = {"text": [text], "source_text": [source]}
    batch = pa.record_batch({n: pa.array(v, pa.large_string()) for n, v in columns.items()})
    row: dict[str, Any] = Faithful().annotate(batch).to_pylist()[0]
    return row


def test_it_keeps_the_contract() -> None:
    """A verdict would depend on the rows beside it."""
    check_stage(Faithful())


@pytest.mark.parametrize(
    "text",
    [
        SOURCE + "\n\nQuestion: How much Warfarin did adults take?\nAnswer: 5 to 10 mg",
        "1. Adults took 5-10 milligrams of WARFARIN daily for 1200.0 days.",
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
    assert len(faithful_rules(copied_frac=None)) == len(faithful_rules()) - 1
