from __future__ import annotations

from itertools import chain
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation import Jsonl, Recipe, license_rules
from curation.annotate.license import (
    COPYLEFT,
    NO_DERIVATIVES,
    NON_COMMERCIAL,
    OPEN_LICENSES,
    SHARE_ALIKE,
    LicenseId,
    spdx_id,
)
from curation.errors import RecipeError
from tests.conftest import kept_ids, write_jsonl

GOLDEN = Path(__file__).parents[1] / "golden" / "annotate" / "licenses.tsv"


def ids(*stated: str | None) -> list[str | None]:
    batch = pa.record_batch({"license": pa.array(stated, pa.large_string())})
    found: list[str | None] = LicenseId().annotate(batch)["license_id"].to_pylist()
    return found


def golden() -> list[list[str]]:
    return [line.split("\t") for line in GOLDEN.read_text(encoding="utf-8").splitlines()]


def test_statements_are_recognised_as_in_the_golden() -> None:
    """A licence read wrong is a text used without a right to it."""
    stated, expected = zip(*golden(), strict=True)
    found = [name or "-" for name in ids(*stated)]
    assert found == list(expected), "a golden that moves needs a new version of LicenseId"


def test_case_and_punctuation_make_no_difference() -> None:
    """Data sets write one licence in a dozen ways."""
    names = [
        s for s, name in golden() if "/" not in s and not name.startswith(("-", "LicenseRef-o"))
    ]
    for change in (
        str.upper,
        str.lower,
        lambda s: f"  ({s}) .",
        lambda s: s.replace(" ", "\u00a0 "),
    ):
        assert ids(*map(change, names)) == ids(*names)


def test_every_identifier_of_the_list_is_recognised() -> None:
    """They are the one unambiguous way to state a licence."""
    from packaging.licenses import canonicalize_license_expression
    from packaging.licenses._spdx import LICENSES

    for name in (entry["id"] for entry in LICENSES.values()):
        found = spdx_id(name.lower())
        assert found is not None
        assert canonicalize_license_expression(found) == found
        old_gnu = name.endswith("+") or name.removesuffix("+")[-3:-2].isdigit()
        assert found == name or old_gnu, name


@given(st.lists(st.none() | st.text(), max_size=5))
def test_any_text_may_stand_for_a_licence(stated: list[str | None]) -> None:
    """A free field holds anything; one odd value must not end a run."""
    assert len(ids(*stated)) == len(stated)


_WORDS = "CC BY NC SA ND 4.0 3.0 MIT GPL v2 or later not and Creative Commons reserved".split()


@given(st.lists(st.sampled_from(_WORDS), max_size=7))
def test_a_restriction_that_is_named_is_never_lost(words: list[str]) -> None:
    """Read as CC BY, a non-commercial text would be sold."""
    [found] = ids(" ".join(words))
    if found is not None and "CC-" in found:
        assert {"NC", "SA", "ND"} & {*words} <= {*found.split("-")}
        assert not {"not", "MIT", "GPL", "reserved"} & {*words}


@pytest.mark.parametrize(
    "stated",
    [
        "This work is not licensed under {}",
        "© all rights reserved {}",
        "no longer under {}",
        "{} except the images",
        "https://evil.com/?x={}",
        "evil.io/?x={}",
        "https://creativecommons.org.evil.com/{}",
    ],
)
def test_an_address_that_is_denied_or_inside_another_does_not_count(stated: str) -> None:
    """A text whose owner reserves all rights would be published as free."""
    by = "https://creativecommons.org/licenses/by/4.0/"
    assert ids(stated.format(by), f"Non-Commercial: {by.replace('by', 'by-nc')}") == [
        None,
        "CC-BY-NC-4.0",
    ]


def test_the_text_of_a_licence_is_not_its_name() -> None:
    """It may name ten others."""
    text = "https://creativecommons.org/licenses/by/4.0/"
    assert ids(text + " " * 400, text + " " * 500) == ["CC-BY-4.0", None]


def test_the_default_keeps_what_asks_for_no_more_than_a_name() -> None:
    """Whoever publishes the corpus answers for each of these."""
    open_ones = ["CC-BY-4.0", "CC-BY-3.0-DE", "LicenseRef-CC-BY", "CC0-1.0", "MIT", "OGL-UK-3.0"]
    closed = ["CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-ND-4.0", "GPL-3.0-only", "LicenseRef-CC-BY-SA"]
    frame = pl.DataFrame({"license_id": [*open_ones, *closed, None]})
    unknown, allowed = license_rules()
    assert [rule.because for rule in (unknown, allowed)] == [
        "licence unknown",
        "licence not allowed",
    ]
    assert frame.filter(unknown.rule, allowed.rule)["license_id"].to_list() == open_ones
    assert frame.filter(unknown.rule).height == frame.height - 1
    [rule] = license_rules(unknown="keep")
    assert frame.filter(rule.rule)["license_id"].to_list() == [*open_ones, None]


def test_the_choices_add_up() -> None:
    """A choice that lets in more than its name says is no choice."""
    added = {
        SHARE_ALIKE: ["CC-BY-SA-3.0", "LicenseRef-CC-BY-SA", "ODbL-1.0", "GFDL-1.3-or-later"],
        NON_COMMERCIAL: ["CC-BY-NC-4.0", "CC-BY-NC-ND-3.0", "LicenseRef-CC-BY-NC-SA"],
        NO_DERIVATIVES: ["CC-BY-ND-4.0", "LicenseRef-CC-BY-ND"],
        COPYLEFT: ["GPL-3.0-only", "LGPL-2.1-only", "MPL-2.0"],
    }
    frame = pl.DataFrame({"license_id": ["CC-BY-4.0", *chain(*added.values())]})
    for choice, names in added.items():
        _, allowed = license_rules(OPEN_LICENSES + choice)
        assert frame.filter(allowed.rule)["license_id"].to_list() == ["CC-BY-4.0", *names]


def test_the_rules_run_in_a_recipe(tmp_path: Path) -> None:
    """Expressions that polars cannot store would fail only in a run."""
    stated = ["CC BY 4.0", "CC BY-SA 4.0", "ask me", None]
    path = write_jsonl(tmp_path / "rows.jsonl", ({"text": "t", "license": s} for s in stated))
    recipe = Recipe(source=Jsonl(str(path)), steps=[LicenseId(), *license_rules()])
    build = recipe.run(store=tmp_path / "store", workers=0)
    assert len(kept_ids(build)) == 1


@pytest.mark.parametrize("allow", [(), "MIT", ("CC*BY",), ("",), ("a b",)])
def test_an_allow_list_that_makes_no_sense_is_an_error(allow: tuple[str, ...]) -> None:
    """ "MIT" as a list would be the licences M, I and T."""
    with pytest.raises(RecipeError, match="SPDX"):
        license_rules(allow)
