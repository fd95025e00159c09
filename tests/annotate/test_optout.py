from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curation.annotate.optout import OptOut
from curation.annotate.robots import Rule, rules_for
from curation.errors import RecipeError, ResourceError
from curation.testing import check_stage
from tests.oracles.robots import expression, forbids, path, path_of, pattern, robots_txt


def said(stage: OptOut, *urls: str | None, ids: list[str] | None = None) -> list[str | None]:
    columns = {"id": ids or ["x"] * len(urls), "url": urls}
    arrays = {name: pa.array(cells, pa.large_string()) for name, cells in columns.items()}
    found: list[str | None] = stage.annotate(pa.record_batch(arrays))["opt_out"].to_pylist()
    return found


def robots_file(folder: Path, robots: dict[str, str]) -> str:
    lines = [json.dumps({"host": host, "robots": text}) for host, text in robots.items()]
    (folder / "robots.jsonl").write_text("\n".join(lines))
    return str(folder / "robots.jsonl")


def test_a_domain_covers_what_its_form_says() -> None:
    """Too little breaks the owner's wish, too much drops other people's pages."""
    stage = OptOut(
        domains=("Example.com\tasked by mail", "*.below.org", "p.net/private/", "q.net/")
    )
    found = said(
        stage,
        "https://example.com:8080/x",
        "http://a.b.EXAMPLE.com/",
        "http://notexample.com/",
        "http://example.com.evil.org/",
        "http://below.org/",
        "http://x.below.org/",
        "http://p.net/private/x",
        "http://www.p.net/private/",
        "http://p.net/private",
        "http://p.net/x?/private/",
        "q.net",
    )
    assert found == [
        "domain Example.com: asked by mail",
        "domain Example.com: asked by mail",
        None,
        None,
        None,
        "domain *.below.org",
        "path p.net/private/",
        "path p.net/private/",
        None,
        None,
        "path q.net/",
    ]


def test_rows_without_an_address_are_judged_by_their_id() -> None:
    """The owner of a book knows no address for it."""
    stage = OptOut(ids=("a#1\tletter of\tMay", "b#2"), domains=("a.com",))
    found = said(stage, None, "http://a.com/", "", None, ids=["a#1", "b#2", "c#3", "a#11"])
    assert found == ["id a#1: letter of\tMay", "id b#2", None, None]


def test_the_wish_nearest_to_the_row_is_the_one_that_is_told(tmp_path: Path) -> None:
    """The reason is what a person reads who asks why the page went."""
    robots = robots_file(tmp_path, {"a.b.com": "User-agent: *\nDisallow: /"})
    stage = OptOut(ids=("x",), domains=("com", "b.com/no", "b.com", "*.b.com"), robots=robots)
    urls = ["http://a.b.com/", "http://b.com/no", "http://c.com/"]
    assert said(stage, *urls) == ["id x"] * 3
    stage = OptOut(domains=stage.domains, robots=robots)
    assert said(stage, *urls) == ["domain b.com", "path b.com/no", "domain com"]
    assert said(OptOut(robots=robots), *urls) == [
        "robots.txt of a.b.com for *: Disallow /", None, None
    ]  # fmt: skip


ROBOTS = """\
User-agent: *
Disallow: /

User-agent: GPTBot
User-agent: CCBot
Disallow: /private   # all of it
Allow: /private/open
Disallow: /*.pdf$
Disallow:
"""


def test_robots_files_are_judged_by_the_longest_rule(tmp_path: Path) -> None:
    """RFC 9309 is what owners write their files by."""
    stage = OptOut(robots=robots_file(tmp_path, {"A.com": ROBOTS}))
    paths = [
        "/",
        "/private",
        "/%70rivate/x",
        "/private/open/x",
        "/a.pdf",
        "/a.pdf?b",
        "/robots.txt",
    ]
    name = "robots.txt of a.com for CCBot: Disallow"
    assert said(stage, *(f"https://a.com{path}" for path in paths)) == [
        None, f"{name} /private", f"{name} /private", None, f"{name} /*.pdf$", None, None
    ]  # fmt: skip
    assert said(stage, "https://www.a.com/private") == [None]
    other = OptOut(robots=stage.robots, agents=("Other", "*"))
    assert said(other, "a.com", "a.com/robots.txt") == [
        "robots.txt of a.com for *: Disallow /", None
    ]  # fmt: skip


def test_a_folder_of_robots_files_is_read(tmp_path: Path) -> None:
    """A crawler that keeps them lays them out so."""
    (tmp_path / "a.com").write_text(ROBOTS)
    (tmp_path / "b.com.txt").write_bytes(b"\xef\xbb\xbfuser-agent:*\rdisallow:/\xff")
    (tmp_path / ".hidden").write_text(ROBOTS)
    stage = OptOut(robots=str(tmp_path))
    assert said(stage, "a.com/private", "b.com/", "b.com/\ufffd") == [
        "robots.txt of a.com for CCBot: Disallow /private",
        None,
        "robots.txt of b.com for *: Disallow /\ufffd",
    ]
    (tmp_path / "a.com").write_text("User-agent: *\nDisallow:\n")
    assert said(stage, "a.com/private") == [None]


@settings(deadline=None, max_examples=300)
@given(pattern, path)
@example("*a*b$", "aab")
@example("a*$", "ab")
@example("é", "%c3%A9")
@example("%c3%A9%7e", "é~")
@example("%2a%2F", "*/")
def test_patterns_match_as_regular_expressions_do(pattern: str, path: str) -> None:
    """The greedy walk over wildcards is easy to get wrong."""
    url = f"http://a.com/{path}"
    wanted = expression(f"/{pattern}").match(path_of(url)) is not None
    assert (said(OptOut(domains=(f"a.com/{pattern}",)), url) != [None]) == wanted


@settings(deadline=None, max_examples=300)
@given(robots_txt, path)
@example("User-agent: *\nAllow: /a\nDisallow: /a", "a")
@example("User-agent: CCBot\n\nUser-agent: x\nDisallow: /", "")
def test_robots_files_are_read_as_protego_reads_them(
    tmp_path_factory: pytest.TempPathFactory, robots: str, path: str
) -> None:
    """A published parser reads the same files for real crawlers."""
    url = f"http://a.com/{path}"
    robots_path = robots_file(tmp_path_factory.mktemp("robots"), {"a.com": robots})
    stage = OptOut(robots=robots_path, agents=("CCBot", "*"))
    assert (said(stage, url) != [None]) == forbids(robots, "CCBot", url)


def test_every_agent_with_a_group_is_asked(tmp_path: Path) -> None:
    """An owner who refuses one of the named agents has opted out."""
    robots = "User-agent: CCBot\nAllow: /\n\nUser-agent: GPTBot\nDisallow: /\n"
    path = robots_file(tmp_path, {"a.com": robots, "b.com": "User-agent: ClaudeBot\nDisallow: /"})
    assert said(OptOut(robots=path), "a.com/x", "b.com/x") == [
        "robots.txt of a.com for GPTBot: Disallow /",
        "robots.txt of b.com for ClaudeBot: Disallow /",
    ]
    assert said(OptOut(robots=path, agents=("CCBot", "*")), "a.com/x", "b.com/x") == [None, None]


def test_a_domain_may_be_given_as_an_address() -> None:
    """As a path it would cover no more than what lies below the slash on paper."""
    assert said(OptOut(domains=("http://bad.com/",)), "http://x.bad.com/y") == [
        "domain http://bad.com/"
    ]


def test_the_groups_of_the_agents_are_found() -> None:
    """Rules for another agent would drop pages that their owner left open."""
    both = "User-agent: GPTBot\nDisallow: /\nUser-agent: ccbot/2\nDisallow: /x\n"
    assert rules_for(both, ("CCBot", "GPTBot", "*")) == {
        "CCBot": [Rule(False, "/x")],
        "GPTBot": [Rule(False, "/")],
    }
    assert rules_for(both, ("Other", "*")) == {}
    apart = "User-agent: a\nCrawl-delay: 1\n\nUser-agent: b\nDisallow: /\n"
    assert rules_for(apart, ("a",)) == {"a": [Rule(False, "/")]}
    twice = "User-agent: a\nAllow: /1\nUser-agent: b\nUser-agent: A\nDisallow: /2\n"
    assert rules_for(twice, ("a",)) == {"a": [Rule(True, "/1"), Rule(False, "/2")]}


@settings(deadline=None)
@given(st.lists(st.none() | st.text(), max_size=5), st.text())
def test_any_text_may_stand_for_an_address(urls: list[str | None], robots: str) -> None:
    """A crawl's url field holds anything; one odd value must not end a run."""
    stage = OptOut(domains=("a.com/*x",), ids=("1",))
    assert len(said(stage, *urls)) == len(urls)
    rules_for(robots, ("*",))


def test_the_contract_holds_with_lists(tmp_path: Path) -> None:
    """The automatic check runs the stage without any."""
    robots = robots_file(tmp_path, {"example.org": ROBOTS})
    ids = tuple(f"examples#{n}" for n in range(0, 100_003, 7))
    check_stage(OptOut(domains=("example.org/a*b", "a"), ids=ids, robots=robots))


def test_files_belong_to_the_identity(tmp_path: Path) -> None:
    """A wish added to a list has to reach the rows that were judged before."""
    (tmp_path / "list").write_text("a.com\n")
    stage = OptOut(domains=str(tmp_path / "list"))
    before = stage.identity()
    (tmp_path / "list").write_text("b.com\n")
    assert stage.identity() != before
    assert said(stage, "b.com") == ["domain b.com"]


@pytest.mark.parametrize("setting", ["domains", "ids", "robots"])
def test_a_file_that_is_missing_is_told_when_the_recipe_is_made(
    setting: str, tmp_path: Path
) -> None:
    """A wish that is not read is a wish that is not kept."""
    with pytest.raises(ResourceError, match="remedy"):
        OptOut(**{setting: str(tmp_path / "absent")})  # type: ignore[arg-type]


@pytest.mark.parametrize("line", ["[]", "{", '{"host": "a.com"}', '{"host": 1, "robots": ""}'])
def test_a_broken_line_of_robots_files_is_told(line: str, tmp_path: Path) -> None:
    """Passed over, the owner's file would not count."""
    (tmp_path / "r.jsonl").write_text('{"host": "a.com", "robots": null}\n\n' + line)
    with pytest.raises(ResourceError, match="line 3"):
        said(OptOut(robots=str(tmp_path / "r.jsonl")), "a.com")


@pytest.mark.parametrize("entry", ["*", "*.", "a.*.com", "/private", "two words"])
def test_an_entry_without_a_host_is_an_error(entry: str) -> None:
    """In silence it would protect nobody, or everybody."""
    with pytest.raises(RecipeError, match="no host"):
        said(OptOut(domains=("a.com", entry)), "a.com")


def test_user_agents_have_names() -> None:
    """Without one, no robots.txt file would count."""
    for agents in [(), ("",)]:
        with pytest.raises(RecipeError, match="agents"):
            OptOut(agents=agents)
