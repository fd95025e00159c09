from __future__ import annotations

import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.annotate.pii import Pii
from curation.errors import RecipeError
from curation.rewrite.redact import RedactPii
from tests.annotate.test_pii import mixed_text


def redacted(texts: list[str | None], **settings: object) -> list[str | None]:
    batch = pa.record_batch({"text": pa.array(texts, pa.large_string())})
    made = RedactPii(**settings).rewrite(batch)  # type: ignore[arg-type]
    assert made["parent"].to_pylist() == [*range(len(texts))]
    return list(made["text"].to_pylist())


@settings(deadline=None)
@given(st.lists(st.none() | mixed_text, max_size=5), st.sampled_from(["", "pepper"]))
def test_what_stands_between_the_spans_is_left_alone(texts: list[str | None], salt: str) -> None:
    """Redaction that moves or loses a byte of the rest breaks the document."""
    batch = pa.record_batch({"text": pa.array(texts, pa.large_string())})
    spans = Pii().annotate(batch)["pii_spans"].to_pylist()
    for text, row, made in zip(texts, spans, redacted(texts, salt=salt), strict=True):
        if text is None:
            assert made is None
            continue
        data, at, pattern = text.encode(), 0, ""
        for span in row:
            before = data[at : span["start"]].decode()
            pattern += re.escape(before) + rf"\[{span['kind']}_[0-9a-f]+\]"
            at = span["stop"]
        assert re.fullmatch(pattern + re.escape(data[at:].decode()), made or "")


@settings(deadline=None)
@given(
    mixed_text,
    st.sampled_from(["", "pepper"]),
    st.sampled_from(["[{kind}_{number}]", "<{kind}{number}>"]),
)
def test_redacting_twice_changes_nothing_more(text: str, salt: str, placeholder: str) -> None:
    """A corpus that is put through two recipes must not be worn down."""
    once = redacted([text], salt=salt, placeholder=placeholder)
    assert redacted(once, salt=salt, placeholder=placeholder) == once


def test_the_same_value_has_the_same_placeholder() -> None:
    """A reader, and a model, can still tell who said what to whom."""
    text = "A@b.com to c@d.org, a@B.com; 212-555-1234, (212) 555-1234; 4111 1111 1111 1111"
    text += " 4111111111111111, DE89370400440532013000 DE89 3704 0044 0532 0130 00"
    wanted = "[email_1] to [email_2], [email_1]; [phone_1], [phone_1]; [card_1] [card_1],"
    assert redacted([text, text]) == [f"{wanted} [iban_1] [iban_1]"] * 2


def test_numbers_begin_anew_in_every_document() -> None:
    """A document's placeholders must not depend on what stands before it in the batch."""
    assert redacted(["a@b.com", "c@d.org a@b.com"]) == ["[email_1]", "[email_1] [email_2]"]


def test_a_salt_gives_a_value_one_placeholder_everywhere() -> None:
    """Without it nobody can follow a person through a corpus; with it only its owner can."""
    one, two = redacted(["a@b.com", "x@y.org A@b.com"], salt="pepper")
    assert one is not None
    assert re.fullmatch(r"\[email_[0-9a-f]{8}\]", one)
    assert two is not None
    assert two.endswith(f" {one}")
    assert redacted(["a@b.com"], salt="salt") != [one]
    assert one == "[email_0ca6e2c5]"  # as it was written into corpora


def test_the_salt_is_not_written_down() -> None:
    """Identities lie beside the data; a salt in them would undo what it is for."""
    stage = RedactPii(salt="pepper")
    assert "pepper" not in f"{stage.identity()} {stage} {stage!r}"
    assert stage.identity() != RedactPii(salt="salt").identity() != RedactPii().identity()


def test_only_wanted_kinds_are_replaced() -> None:
    """Network manuals are worth nothing without their addresses."""
    assert redacted(["a@b.com 9.9.9.9"], kinds=("email",)) == ["[email_1] 9.9.9.9"]


def test_the_placeholder_is_the_users() -> None:
    """A tokenizer may have one token for it."""
    assert redacted(["a@b.com c@d.org"], placeholder="<{kind}{number}>") == ["<email1> <email2>"]


@pytest.mark.parametrize(
    "placeholder",
    [
        "{who}",
        "{kind",
        "{}",
        "{kind.x}",
        "\ud800",
        "",
        "[x]",
        "<{kind}>",
        "[{number!r}]",
        "{number:>100000000}",
    ],
)
def test_a_placeholder_that_cannot_be_filled_in_is_refused(placeholder: str) -> None:
    """It would be found out at the first address, hours into a run."""
    with pytest.raises(RecipeError, match="cannot fill in"):
        RedactPii(placeholder=placeholder)


@pytest.mark.parametrize(
    "placeholder", ["email{number}@example.com", "8.8.8.8 {number}", "{number}", "PHONE {number}"]
)
def test_a_placeholder_that_is_personal_data_is_refused(placeholder: str) -> None:
    """Redacting twice would number the placeholders."""
    with pytest.raises(RecipeError, match="its own placeholder"):
        RedactPii(placeholder=placeholder)


def test_a_placeholder_that_the_text_holds_is_not_given_again() -> None:
    """Two people would become one: the one who was redacted before and the one who is now."""
    made = redacted(["[email_1] [phone_2] a@b.com c@d.org [email_3] a@b.com", "a@b.com"])
    assert made == ["[email_1] [phone_2] [email_2] [email_4] [email_3] [email_2]", "[email_1]"]


def test_a_password_leaves_no_tail() -> None:
    """What is left of a password is most of the way to the whole."""
    assert redacted(["password=Tr0ub4dor&3 x"]) == ["password=[secret_1] x"]


def test_empty_and_null_rows_stay_rows() -> None:
    """A row that vanished would be missed by no one."""
    assert redacted([None, "", "a@b.com", None]) == [None, "", "[email_1]", None]
    assert redacted([]) == []
