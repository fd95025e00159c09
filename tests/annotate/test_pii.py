from __future__ import annotations

import ipaddress
import re
import string
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curation.annotate.pii import Pii
from curation.annotate.pii_patterns import ALL_KINDS, find
from curation.errors import RecipeError
from tests.oracles import pii as oracle
from tests.oracles.text import hard_text

GOLDEN = Path(__file__).parents[1] / "golden" / "pii.txt"
PRIVATE_KEY = "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----"


def annotated(texts: list[str | None], **settings: object) -> list[list[tuple[str, str]] | None]:
    """Return the kinds and the bytes that are found, row by row; a broken character is an error."""
    batch = pa.record_batch({"text": pa.array(texts, pa.large_string())})
    made = Pii(**settings).annotate(batch).to_pylist()  # type: ignore[arg-type]
    rows: list[list[tuple[str, str]] | None] = []
    for text, row in zip(texts, made, strict=True):
        if text is None:
            assert row == {"pii_spans": None, "pii_count": None}
            rows.append(None)
            continue
        data, spans = text.encode(), row["pii_spans"]
        assert row["pii_count"] == len(spans)
        ends = [0, *(place for span in spans for place in (span["start"], span["stop"]))]
        assert ends == sorted(ends)
        assert ends[-1] <= len(data)
        assert all(span["start"] < span["stop"] for span in spans)
        rows.append([(s["kind"], data[s["start"] : s["stop"]].decode()) for s in spans])
    return rows


def found(text: str, **settings: object) -> list[tuple[str, str]]:
    row = annotated([text], **settings)[0]
    assert row is not None
    return row


def golden() -> list[tuple[str, str, str]]:
    """Return (kind or '-', what, sentence); the sentence has [[...]] around what is to be found."""
    lines = [line for line in GOLDEN.read_text().splitlines() if line and line[0] != "#"]
    return [(*line.split("\t", 2),) for line in lines]  # type: ignore[misc]


@pytest.mark.parametrize(("kind", "what", "sentence"), golden(), ids=lambda value: value[:40])
def test_what_people_write_is_found_and_nothing_else(kind: str, what: str, sentence: str) -> None:
    """What is missed stands in the corpus for ever; what is found wrongly is gone from it."""
    wanted = (
        [] if kind == "-" else [(kind, part) for part in re.findall(r"\[\[(.*?)\]\]", sentence)]
    )
    assert found(sentence.replace("[[", "").replace("]]", "")) == wanted, what


# ---------------------------------------------------------------- oracles

_PARTS = [
    "@",
    "@",
    ".",
    ".",
    "-",
    "_",
    "'",
    "a",
    "Bc",
    "9",
    "com",
    "x.org",
    "png",
    " ",
    "xn--p",
    "%",
]
mail_text = st.lists(st.sampled_from([*_PARTS, "\u00fc", "\u0436", "\u4e2d", "+"]), max_size=14)


@settings(deadline=None, max_examples=400)
@example("_@a.xn--p\u00fc")  # ASCII's spelling has no wide letters
@given(mail_text.map("".join))
def test_emails_are_those_of_the_definition(text: str) -> None:
    """An address cut short leaves a person's name in the text."""
    wanted: list[list[int]] = []
    for start, stop in oracle.emails(text):
        start, stop = len(text[:start].encode()), len(text[:stop].encode())
        if wanted and start < wanted[-1][1]:
            wanted[-1][1] = max(stop, wanted[-1][1])
        else:
            wanted.append([start, stop])
    data = text.encode()
    assert found(text, kinds=("email",)) == [("email", data[a:b].decode()) for a, b in wanted]


four = st.lists(st.integers(0, 260), min_size=4, max_size=4).map(lambda ns: ".".join(map(str, ns)))
NETWORKS = "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12"
NETWORKS += " 192.0.0.0/24 192.0.2.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24"
NETWORKS += " 224.0.0.0/3"


@settings(deadline=None, max_examples=300)
@given(four)
def test_ipv4_addresses_are_those_that_python_calls_global(address: str) -> None:
    """Private addresses are in every manual; redacting them destroys what it teaches."""
    assert bool(found(f"address {address}", kinds=("ip",))) == oracle.is_public(address)


@pytest.mark.parametrize("network", NETWORKS.split())
def test_a_reserved_network_is_left_out_from_its_first_address_to_its_last(network: str) -> None:
    """The address beside it is somebody's."""
    span = ipaddress.ip_network(network)
    first, last = int(span.network_address), int(span.broadcast_address)
    for place in (first - 1, first, last, last + 1):
        if 0 <= place < 1 << 32:
            address = str(ipaddress.ip_address(place))
            wanted = [("ip", address)] if oracle.is_public(address) else []
            assert found(f"address {address}", kinds=("ip",)) == wanted
            assert bool(wanted) == (place not in (first, last))


group = st.integers(0, 0xFFFF) | st.sampled_from([0, 0, 0x2001, 0x2002, 0x3FFF, 0xFFFF, 0xDB8])
v6 = st.lists(group, min_size=8, max_size=8) | st.lists(st.just(0) | group, min_size=8, max_size=8)
first = st.sampled_from([0x2001, 0x2002, 0x2A00, 0x3FFF, 0x64, 0, 0xFE80, 0xFC00])


@settings(deadline=None, max_examples=400)
@given(first, v6, st.sampled_from(["compressed", "exploded", "upper"]))
def test_ipv6_addresses_are_those_of_the_definition(head: int, groups: list[int], how: str) -> None:
    """There are eight ways to write each; one that is missed is somebody's."""
    number = int.from_bytes(b"".join(g.to_bytes(2, "big") for g in [head, *groups[1:]]), "big")
    address = ipaddress.IPv6Address(number)
    text = address.exploded if how == "exploded" else address.compressed
    text = text.upper() if how == "upper" else text
    wanted = [("ip", text)] if oracle.is_public(str(address)) else []
    assert found(f"at {text}, then", kinds=("ip",)) == wanted


hex_text = st.lists(st.sampled_from([":", "::", "1", "2a00", "f", "12345", "8.8.8.8"]), max_size=12)


@settings(deadline=None, max_examples=400)
@given(hex_text.map("".join))
def test_what_is_no_ipv6_address_is_not_found(text: str) -> None:
    """Names with colons are what programs are made of."""
    for kind, value in found(f" {text} ", kinds=("ip",)):
        assert kind == "ip"
        assert oracle.is_public(value)
    if ":" in text and oracle.is_public(text):
        assert found(f" {text} ", kinds=("ip",)) == [("ip", text)]


def with_check_digit(digits: str) -> str:
    return next(digits + d for d in "0123456789" if passes_luhn(digits + d))


def passes_luhn(number: str) -> bool:
    return sum(sum(divmod(int(d) * (1 + i % 2), 10)) for i, d in enumerate(number[::-1])) % 10 == 0


@settings(deadline=None, max_examples=300)
@given(st.from_regex(r"\A[23456][0-9]{12,17}\Z"), st.booleans(), st.sampled_from([" ", "-", ""]))
def test_cards_are_those_that_an_issuer_could_have_given(body: str, right: bool, gap: str) -> None:
    """A number that fails the check is a serial number, and may be what the text is about."""
    number = with_check_digit(body) if right else body + "0"
    shapes = {14: (4, 6, 4), 15: (4, 6, 5), 16: (4, 4, 4, 4), 19: (4, 4, 4, 4, 3)}
    cuts = np.cumsum([0, *shapes[len(number)]]) if gap and len(number) in shapes else [0, 99]
    text = gap.join(number[a:b] for a, b in pairwise(cuts))
    wanted = [("card", text)] if oracle.is_card(number) else []
    if not wanted and len(number) == 19 and gap == " " and oracle.is_card(number[:16]):
        wanted = [("card", text[:19])]  # and the three digits from its back
    assert found(f"paid with {text}, thanks", kinds=("card",)) == wanted


@settings(deadline=None, max_examples=300)
@given(st.data(), st.sampled_from(sorted(c for cs in oracle._IBANS.values() for c in cs.split())))
def test_ibans_are_those_of_the_definition(data: st.DataObject, country: str) -> None:
    """The check digits are what tells an account from a part number."""
    length = next(n for n, cs in oracle._IBANS.items() if country in cs)
    alphabet = st.text(string.digits + "ABZ", min_size=length - 4, max_size=length - 4)
    body = data.draw(alphabet)
    rest = int("".join(str(int(c, 36)) for c in f"{body}{country}00")) % 97
    wrong = data.draw(st.integers(0, 3)) == 0
    account = f"{country}{(98 - rest + wrong) % 100:02}{body}"
    grouped = " ".join(account[i : i + 4] for i in range(0, length, 4))
    text = data.draw(st.sampled_from([account, grouped]))
    wanted = [("iban", text)] if oracle.is_iban(account) else []
    assert found(f"to {text}.", kinds=("iban",)) == wanted


@settings(deadline=None, max_examples=300)
@given(st.data(), st.sampled_from(sorted(oracle.TOKENS)), st.integers(0, 2))
def test_tokens_are_those_of_their_format(data: st.DataObject, issuer: str, change: int) -> None:
    """A key that is left in a corpus is a key that a model can be asked for."""
    token = data.draw(st.from_regex(rf"\A{oracle.TOKENS[issuer]}\Z").map(str.strip))
    if change == 1:
        token = token[:-1]
    if change == 2:
        token += data.draw(st.sampled_from("aZ9_-/"))
    matches = re.fullmatch(oracle.TOKENS[issuer], token)
    plain = len({*token[11:]}) >= 10 and token[-1] not in "_-"
    if matches and plain:
        assert found(f"key {token} is", kinds=("secret",)) == [("secret", token)]
    elif change == 1 and not any(re.search(p, token) for p in oracle.TOKENS.values()):
        assert found(f"key {token} is", kinds=("secret",)) == []


# ---------------------------------------------------------------- any text

_PIECES = [
    "a@b.com",
    "8.8.8.8",
    "2a00::1",
    "+1 212 555 1234",
    "212-555-1234",
    "4111 1111 1111 1111",
]
_PIECES += [
    "DE89 3704 0044 0532 0130 00",
    "password=",
    "Tr0ub4dor3",
    "tel ",
    "eyJ",
    "-----",
    "BEGIN ",
]
_PIECES += [
    "PRIVATE KEY",
    "://",
    ":",
    "@",
    " ",
    "\n",
    ".",
    "-",
    "+",
    "(",
    ")",
    "0",
    "12",
    "A",
    "sk-",
]
mixed_text = st.lists(st.sampled_from(_PIECES) | hard_text, max_size=8).map("".join)


@settings(deadline=None)
@given(st.lists(st.none() | mixed_text, max_size=5), st.integers(0, 3))
def test_any_text_is_searched_and_rows_do_not_touch(texts: list[str | None], skip: int) -> None:
    """A row found differently beside others could not be found again."""
    whole = annotated(texts)
    assert whole == [annotated([text])[0] for text in texts]
    column = pa.array(texts, pa.large_string())[skip:]
    made = Pii().annotate(pa.record_batch({"text": column}))
    assert made["pii_count"].to_pylist() == [r if r is None else len(r) for r in whole[skip:]]


@settings(deadline=None)
@given(mixed_text, st.sets(st.sampled_from(ALL_KINDS), min_size=1))
def test_a_wanted_kind_is_all_that_is_found(text: str, kinds: set[str]) -> None:
    """Who asks for keys alone must not lose the telephone numbers."""
    assert {kind for kind, _ in found(text, kinds=tuple(sorted(kinds)))} <= kinds


def test_cards_and_accounts_are_wanted_apart() -> None:
    """One search finds both; a stage that is asked for one writes one."""
    text = "4111 1111 1111 1111, DE89370400440532013000"
    assert found(text, kinds=("card",)) == [("card", "4111 1111 1111 1111")]
    assert found(text, kinds=("iban",)) == [("iban", "DE89370400440532013000")]


HOSTILE = ["a@", "1.", "+1", "1", "eyJ", "-----BEGIN ", "A", "sk-", "a@b.co ", "(1) ", "1 1-", "x:"]
HOSTILE += ["-----BEGIN PRIVATE KEY-----", "password=a1", "://a:", "eyJ0.", "::1", "ghp_", "tel 1"]
HOSTILE += ["GB82 WEST ", "4111 ", "00 ", "\u00fc@", "a'", "1:AA", "SG.", "--", "212 555 1234 "]
HOSTILE += ["password=a1!(", "pwd=a1b2&", ": Bearer a", "://hooks.slack.com/services/T", "#4"]


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_hostile_text_costs_no_more_a_byte_when_it_is_longer(piece: str) -> None:
    """One page made to be slow must not hold up a crawl: a quadratic search would not end here."""
    size = 2_000_000
    data = np.frombuffer((piece * (size // len(piece.encode()) + 1)).encode(), dtype=np.uint8)
    made = find(data, np.array([0, len(data)]), ALL_KINDS)
    assert np.all(made.stop_S[:-1] <= made.start_S[1:])


def test_spans_that_overlap_are_one() -> None:
    """A rest of a number behind a placeholder is still a rest of a number."""
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdef123456@mail.com"
    assert found(f"token {token}") == [("secret", token)]


def test_a_number_beside_a_card_is_found_once_the_card_is_known() -> None:
    """Forms are written in one line; what is beside a card is mostly its owner's number."""
    kinds = [kind for kind, _ in found("4111 1111 1111 1111 212 555 1234")]
    assert kinds == ["card", "phone"]


def test_a_key_is_found_whole_and_a_placeholder_is_none() -> None:
    """Half of a private key is enough for those who look for keys."""
    lines = "\n".join("MIIEpAIBAAKCAQEA7bq3" * 3 for _ in range(12))
    assert found(PRIVATE_KEY.format(lines)) == [("secret", PRIVATE_KEY.format(lines))]
    assert found(PRIVATE_KEY.format("...")) == []
    cut = PRIVATE_KEY.format(lines)[:200]
    assert found(f"{cut} and prose") == [("secret", cut)]


def test_nothing_to_look_for_is_an_error() -> None:
    """A stage that looks for nothing finds nothing, and the corpus passes for clean."""
    for kinds in ((), ("email", "email")):
        with pytest.raises(RecipeError, match="each kind once"):
            Pii(kinds=kinds)  # type: ignore[arg-type]
