from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.annotate.hosts import ascii_host
from curation.annotate.url import RULES, UrlRules
from curation.errors import RecipeError, ResourceError
from curation.testing import check_stage
from tests.oracles.urls import Lists, address, bare, domain_of, extractor, host_of, rule_of

LISTS = Lists(
    domains=("example.com", "a.example.co.uk", "1.1.255.1", "com", "xn--bcher-kva.com"),
    urls=("http://www.a.com/sex", "a.jp/", "kobe.jp?hot"),
    banned=("sex", "255"),
    soft=("hot", "free", "now"),
    subwords=("wordhot", "rdh", "hotw", "fr"),
)
STAGE = UrlRules(
    domains=LISTS.domains,
    urls=LISTS.urls,
    banned_words=LISTS.banned,
    soft_words=LISTS.soft,
    banned_subwords=LISTS.subwords,
)
FULL = UrlRules(
    domains=("Example.com", "sub.example.org", "10.0.0.1", "bücher.de"),
    urls=("tumblr.com/x",),
    banned_words=("sex",),
    soft_words=("hot", "free"),
    banned_subwords=("bad word",),
)


def judged(stage: UrlRules, *urls: str | None) -> list[dict[str, str | None]]:
    batch = pa.record_batch({"url": pa.array(urls, pa.large_string())})
    rows: list[dict[str, str | None]] = stage.annotate(batch).to_pylist()
    return rows


def rules(stage: UrlRules, *urls: str | None) -> list[str | None]:
    return [row["url_rule"] for row in judged(stage, *urls)]


@settings(deadline=None, max_examples=300)  # the first call compiles
@given(st.lists(st.none() | address, max_size=8))
def test_addresses_are_judged_as_one_by_one_with_tldextract(urls: list[str | None]) -> None:
    """A page of a listed host that slips through is in the corpus for good."""
    for url, row in zip(urls, judged(STAGE, *urls), strict=True):
        host = host_of(url) if url else None
        rule, match = rule_of(url, LISTS)
        expected = {"url_host": host, "url_domain": domain_of(host)}
        assert row == {**expected, "url_rule": rule, "url_match": match}, url


def test_every_public_suffix_is_cut_as_tldextract_cuts_it() -> None:
    """A wrong suffix joins all hosts of a country into one domain."""
    suffixes = [rule.strip("*!.") for rule in extractor().tlds]
    hosts = [f"{sub}{ascii_host(s)}" for s in suffixes for sub in ("", "b.", "a.b.", "a.b.c.")]
    found = [row["url_domain"] for row in judged(UrlRules(), *hosts)]
    assert found == [domain_of(host) for host in hosts]
    assert len({*found}) > 10_000


@settings(deadline=None)
@given(st.lists(st.text(max_size=60), max_size=5))
def test_any_text_may_stand_for_an_address(urls: list[str]) -> None:
    """A crawl's url field holds anything; one odd value must not end a run."""
    for url, row in zip(urls, judged(FULL, *urls), strict=True):
        assert row["url_host"] is None or row["url_host"].isascii()
        if url.isascii():
            assert row["url_host"] == host_of(url)


def test_each_rule_is_told_with_what_it_found() -> None:
    """Whoever asks why a page went reads these two columns."""
    found = judged(
        FULL,
        "http://www.EXAMPLE.com:8080/a",
        "http://sub.example.org/",
        "http://x.sub.example.org/",
        "https://me@Tumblr.com/x/#top",
        "http://a.org/Sex-life",
        "http://hot.org/?free",
        "http://hot.org/hot",
        "http://a.org/so-BAD-w%6Frd/badword",
        "http://10.0.0.1/",
    )
    pairs = [(row["url_rule"], row["url_match"]) for row in found]
    assert pairs == [
        ("domain", "example.com"),
        ("subdomain", "sub.example.org"),
        (None, None),
        ("url", "tumblr.com/x"),
        ("banned word", "sex"),
        ("soft words", "hot, free"),
        (None, None),
        ("banned subword", "badword"),
        ("domain", "10.0.0.1"),
    ]
    assert {rule for rule, _ in pairs} - {None} == {*RULES}


def test_the_first_rule_is_the_one_that_is_told() -> None:
    """Counts by rule would shift with the order."""
    stage = UrlRules(
        domains=("a.com", "x.b.com"), banned_words=("sex",), soft_words=("hot",),
        banned_subwords=("hot",), soft_word_threshold=1,
    )  # fmt: skip
    assert rules(stage, "a.com/sex", "x.b.com/sex", "c.com/hot/sex", "c.com/hot", "c.com/hots") == [
        "domain", "subdomain", "banned word", "soft words", "banned subword"
    ]  # fmt: skip


def test_both_spellings_of_an_international_name_are_one() -> None:
    """A list written by hand says bücher.de, a crawl says xn--bcher-kva.de."""
    found = judged(FULL, "http://Bücher.de/", "http://xn--bcher-kva.DE/", "http://b\u3002bücher.de")
    assert [row["url_domain"] for row in found] == ["xn--bcher-kva.de"] * 3
    assert [row["url_rule"] for row in found] == ["domain"] * 3


def test_rows_without_an_address_break_no_rule() -> None:
    """Texts that come from books have no address and are not to be dropped for it."""
    nulls = dict.fromkeys(["url_host", "url_domain", "url_rule", "url_match"])
    assert judged(FULL, None, "", "  ") == [nulls] * 3


def test_lists_are_read_from_files(tmp_path: Path) -> None:
    """The published lists are files of millions of lines, packed, with comments."""
    text = b"\xef\xbb\xbf# hosts\r\n\r\n  Example.com \r\nb\xc3\xbccher.de"
    (tmp_path / "plain").write_bytes(text)
    (tmp_path / "packed.gz").write_bytes(gzip.compress(text))
    frames = zstandard.compress(text[:20]) + zstandard.compress(text[20:])
    (tmp_path / "packed.zst").write_bytes(frames)
    for name in ("plain", "packed.gz", "packed.zst"):
        stage = UrlRules(domains=str(tmp_path / name))
        assert rules(stage, "example.com", "bücher.de", "hosts") == ["domain", "domain", None]
        assert stage.model_files() == (str(tmp_path / name),)


def test_a_list_that_changes_is_read_anew(tmp_path: Path) -> None:
    """In one process a run after an edit would store the old list's answers as the new one's."""
    path = tmp_path / "list"
    path.write_text("a.com\n")
    stage = UrlRules(domains=str(path))
    before = stage.identity()
    assert rules(stage, "a.com", "bb.com") == ["domain", None]
    path.write_text("bb.com\n")
    assert rules(stage, "a.com", "bb.com") == [None, "domain"]
    assert stage.identity() != before


def test_a_file_that_is_missing_is_told_when_the_recipe_is_made(tmp_path: Path) -> None:
    """Hours into a run is too late."""
    for setting in ("domains", "urls", "banned_words", "soft_words", "banned_subwords"):
        with pytest.raises(ResourceError, match="remedy"):
            UrlRules(**{setting: str(tmp_path / "absent")})


@pytest.mark.parametrize("content", [b"\xff\xfe", b"not gzip"])
def test_a_list_that_cannot_be_read_is_told(content: bytes, tmp_path: Path) -> None:
    """A list cut off by a download must not count as a shorter list."""
    path = tmp_path / ("list.gz" if content.isascii() else "list")
    path.write_bytes(content)
    with pytest.raises(ResourceError, match="list"):
        rules(UrlRules(domains=str(path)), "a.com")


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"domains": ("a.com", "b.com/x")}, "b.com/x"),
        ({"domains": ("not a host",)}, "not a host"),
        ({"banned_words": ("ok", "---")}, "---"),
        ({"soft_words": ("слово",)}, "слово"),
        ({"urls": ("\ud800",)}, "ud800"),
    ],
)
def test_an_entry_that_could_never_match_is_an_error(
    settings: dict[str, object], found: str
) -> None:
    """In silence it would protect nobody."""
    with pytest.raises(RecipeError, match=found):
        rules(UrlRules(**settings), "a.com")  # type: ignore[arg-type]


def test_a_threshold_below_one_is_an_error() -> None:
    """It would drop every page."""
    with pytest.raises(RecipeError, match="soft_word_threshold"):
        UrlRules(soft_word_threshold=0)


def test_an_entry_of_a_tuple_is_taken_as_it_stands() -> None:
    """Only in a file does # begin a comment."""
    assert rules(UrlRules(banned_words=("#a", " b ")), "x/a", "x/b") == ["banned word"] * 2


def test_the_contract_holds_with_lists() -> None:
    """The automatic check runs the stage without any."""
    check_stage(FULL)


def test_an_address_is_compared_without_what_does_not_name_the_page() -> None:
    """Lists and crawls write one page in many ways."""
    ways = ["http://a.com/x", "https://A.com/x/", "a.com/x#y", "//u:p@a.com/x", " a.com./x "]
    assert {bare(way) for way in ways} == {"a.com/x"}
    assert rules(UrlRules(urls=("a.com/x",)), *ways, "a.com/X", "b.a.com/x", "a.com:80/x") == [
        *["url"] * len(ways), None, None, None
    ]  # fmt: skip


def test_many_addresses_in_one_row_do_not_take_for_ever() -> None:
    """A row of a megabyte of dots, or of words, is in every crawl."""
    huge = ["a." * 500_000, "/".join(map(str, range(150_000))), "http://" + "@" * 1_000_000]
    found = judged(FULL, *huge)
    assert [row["url_host"] for row in found] == [None, "0", None]
