"""Rules about addresses and blocked words: equal decisions first, then speed.

Issue 3: parity with datatrove 0.10.1 on the same lists, every difference explained, and speed
beside it on one core. The figures to reach are our own: 200,000 addresses a second through all
rules of UrlRules, 100 MB of text a second through BlockedWords with some 400 words.

The peer for addresses is URLFilter with ``use_integrated_lists=False``, its extractor set to the
suffix list that tldextract carries (its default asks the network). Addresses are real (pages of
the trafilatura set, Wikinews, MedQuAD) and variants of them: capitals, ports, users, subdomains,
words, IP addresses, fragments, international names. A difference is explained if it falls away
once the one thing that its class names is taken out of the address.

The peer for words is C4BadWordsFilter, its regular expression made from our list by its own
recipe (it would download a list). Both have the lists of words that come with datatrove.

Seconds are those of the processor: both sides run on one core, and other programs may run too.
"""

from __future__ import annotations

import functools
import json
import random
import re
import statistics
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator

import pyarrow as pa
from tldextract import TLDExtract

from benchmarks.measure import DATA, Report, arguments, records, spread, texts
from curation import BlockedWords, OptOut, UrlRules
from curation.annotate.hosts import bare, take_apart
from curation.annotate.lists import read_list
from curation.arrow import from_bytes_and_offsets

BATCH = 8192
#: datatrove's names for our rules.
THEIRS = {
    "domain": "domain",
    "subdomain": "subdomain",
    "url": "url",
    "hard_blacklisted": "banned word",
    "soft_blacklisted": "soft words",
    "blacklisted_subword": "banned subword",
}


def timed(function: Callable[[], object]) -> float:
    """Return the processor's seconds that a call takes."""
    began = time.process_time()
    function()
    return time.process_time() - began


# ---------------------------------------------------------------- addresses and lists


def real_urls() -> list[str]:
    """Return the addresses of the real documents."""
    pages = json.loads((DATA / "html" / "trafilatura" / "evaldata.json").read_text())
    found = list(pages)
    for name in ("text/wikinews.jsonl.zst", "domains/medicine.jsonl.zst"):
        found += [record["url"] for record in records(name)]
    return list(dict.fromkeys(found))


def variants(url: str, dice: random.Random, words: list[str]) -> Iterator[str]:
    """Yield an address and other spellings and neighbours of it."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    word, other = dice.choice(words), dice.choice(words)
    yield url
    yield f"{scheme}://{host.upper()}{slash}{path}"
    yield f"{scheme}://{host}:8080{slash}{path}"
    yield f"{scheme}://me:secret@{host}{slash}{path}"
    yield f"{scheme}://a.b.{host}{slash}{path}"
    yield f"{scheme}://{host}/{word}-{other}/{path}"
    yield f"{scheme}://{host}/{word.title()}/{path}?{other.upper()}=1"
    yield f"{'http' if scheme == 'https' else 'https'}://{host}{slash}{path}/"
    yield f"{url}#top"
    yield f"http://10.0.{dice.randrange(4)}.{dice.randrange(256)}/{path}"
    yield f"http://{word}{other}.com/{path}"
    yield f"http://b\xfccher{dice.randrange(9)}.de/{path}"


def addresses(count: int, words: list[str]) -> list[str]:
    """Return real addresses and their variants, in a fixed random order."""
    dice = random.Random(0)
    made = [v for url in real_urls() for v in variants(url, dice, words)]
    dice.shuffle(made)
    return made[:count]


@functools.cache
def words_of(name: str) -> tuple[str, ...]:
    """Return the entries of a list of words that comes with datatrove."""
    from datatrove.utils._import_utils import ASSETS_PATH

    return tuple(read_list(f"{ASSETS_PATH}/{name}.txt").to_pylist())


def lists(urls: list[str]) -> dict[str, tuple[str, ...]]:
    """Return the five lists: hosts and pages of the data among many others, datatrove's words."""
    dice = random.Random(1)
    hosts = sorted({url.partition("://")[2].partition("/")[0] for url in real_urls()})
    domains = [host.removeprefix("www.") for host in dice.sample(hosts, len(hosts) // 20)]
    domains += [f"10.0.1.{n}" for n in range(256)] + [
        in_ascii(f"http://b\xfccher{n}.de")[7:] for n in range(3)
    ]
    domains += [f"site{n}.example{n % 97}.com" for n in range(100_000)]
    pages = [url for url in dice.sample(urls, len(urls) // 20) if url.isascii() and "#" not in url]
    return {
        "domains": tuple(domains),
        "urls": tuple(pages),
        "banned_words": words_of("banned_words"),
        "soft_words": words_of("soft_banned_words"),
        "banned_subwords": words_of("banned_subwords"),
    }


# ---------------------------------------------------------------- both sides


def theirs(given: dict[str, tuple[str, ...]]) -> Callable[[str], str | None]:
    """Return datatrove's filter as a function from an address to a rule."""
    from datatrove.data import Document
    from datatrove.pipeline.filters.url_filter import URLFilter

    block = URLFilter(
        extra_domains=given["domains"],
        extra_urls=given["urls"],
        banned_words=given["banned_words"],
        banned_subwords=given["banned_subwords"],
        soft_banned_words=given["soft_words"],
        use_integrated_lists=False,
    )
    block.tldextractor = TLDExtract(cache_dir=None, suffix_list_urls=())

    def rule(url: str) -> str | None:
        found = block.filter(Document(text="", id="", metadata={"url": url}))
        return None if found is True else THEIRS[found[1]]

    return rule


def ours(stage: UrlRules, urls: list[str]) -> list[str | None]:
    """Return the rule that each address breaks."""
    column = pa.array(urls, pa.large_string())
    batches = [
        stage.annotate(pa.record_batch({"url": column.slice(at, BATCH)}))
        for at in range(0, len(urls), BATCH)
    ]
    return [rule for batch in batches for rule in batch["url_rule"].to_pylist()]


def bare_urls(urls: tuple[str, ...]) -> list[str]:
    """Return addresses as UrlRules compares them."""
    column = take_apart(pa.array(urls, pa.large_string()))
    spelled: list[str] = from_bytes_and_offsets(*bare(column), pa.large_string()).to_pylist()
    return spelled


# ---------------------------------------------------------------- differences


def explained(
    url: str, rule: str | None, peer: Callable[[str], str | None], pages: dict[str, str]
) -> str:
    """Return the class of a difference, "" for one that is not explained.

    pages  listed pages as UrlRules compares them → as they are listed
    """
    if peer(url.lower()) == rule:
        return "capitals in a host or word; datatrove compares them with lists in lower case"
    if rule == "domain" and re.match(r"http://(\d+\.){3}\d+/", url):
        return "a listed IP address; datatrove looks up none"
    if peer(in_ascii(url)) == rule:
        return "an international name, listed as xn--; datatrove compares as written"
    [spelled] = bare_urls((url,))
    if rule == "url" and peer(pages.get(spelled, url)) == rule:
        return "a page listed with another scheme, user, slash, fragment, space or case of its host"
    return ""


def in_ascii(url: str) -> str:
    """Return an address with its host in ASCII."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host if host.isascii() else host.encode('idna').decode()}{slash}{path}"


def compare_urls(report: Report, rounds: int, count: int) -> None:
    """Compare and time UrlRules and URLFilter on the same addresses and lists."""
    urls = addresses(count, list(words_of("soft_banned_words")))
    given = lists(urls)
    stage, peer = UrlRules(**given), theirs(given)
    rules = ours(stage, urls)
    pages = dict(zip(bare_urls(given["urls"]), map(str.strip, given["urls"]), strict=True))
    classes: Counter[str] = Counter()
    unexplained = []
    for url, rule in zip(urls, rules, strict=True):
        found = peer(url)
        if found != rule:
            name = explained(url, rule, peer, pages)
            classes[name or "not explained"] += 1
            unexplained += [] if name else [f"{url}: {rule}, datatrove {found}"]
    print(f"{len(urls):,} addresses; rules broken: {dict(Counter(rules))}")
    for line in unexplained[:10]:
        print(line)
    same = len(urls) - classes.total()
    report.add("addresses decided alike", f"{same:,} of {len(urls):,}", "", True)
    for name, number in classes.most_common():
        report.add(f"decided otherwise: {name}", f"{number:,}", "", name != "not explained")
    report.add("differences not explained", f"{len(unexplained)}", "0", not unexplained)
    fast, slow = [], []
    for _ in range(rounds):
        fast.append(len(urls) / timed(lambda: ours(stage, urls)))
        slow.append(len(urls) / timed(lambda: [peer(url) for url in urls]))
    ratio = statistics.median(fast) / statistics.median(slow)
    rate = f"{spread(fast)} a second; datatrove {spread(slow)}: {ratio:.1f} times"
    wanted = "200,000 a second"
    report.add("UrlRules, all lists", rate, wanted, statistics.median(fast) >= 200_000)


def opt_outs(report: Report, count: int) -> None:
    """Time OptOut with the same hosts as a domain list; for information."""
    urls = addresses(count, list(words_of("soft_banned_words")))
    stage = OptOut(domains=lists(urls)["domains"], ids=tuple(f"a#{n}" for n in range(100_000)))
    column = pa.array(urls, pa.large_string())
    ids = pa.array([f"b#{n}" for n in range(len(urls))], pa.large_string())
    batch = pa.record_batch({"id": ids, "url": column})

    def run() -> None:
        for at in range(0, len(urls), BATCH):
            stage.annotate(batch.slice(at, BATCH))

    run()
    rates = [len(urls) / timed(run) for _ in range(3)]
    report.add("OptOut, 100,000 domains and as many ids", f"{spread(rates)} a second", "", True)


# ---------------------------------------------------------------- words


def compare_words(report: Report, rounds: int, megabytes: int) -> None:
    """Compare and time BlockedWords and C4BadWordsFilter on the same texts and list."""
    from datatrove.data import Document
    from datatrove.pipeline.filters.c4_filters import C4BadWordsFilter

    words = [w for name in ("banned_words", "soft_banned_words", "banned_subwords")
             for w in words_of(name)]  # fmt: skip
    documents = list(some_texts(megabytes * 1_000_000))
    size = sum(len(text.encode()) for text in documents) / 1e6
    stage = BlockedWords(words=tuple(words))
    block = C4BadWordsFilter()
    pattern = "|".join(re.escape(word) for word in words)
    block._badwords_regex["en"] = re.compile(rf"(?:\W|^)({pattern})(?:\W|$)")
    column = pa.array(documents, pa.large_string())

    def run() -> list[bool]:
        found = []
        for at in range(0, len(documents), BATCH):
            batch = pa.record_batch({"text": column.slice(at, BATCH)})
            found += [n == 0 for n in stage.annotate(batch)["blocked_word_count"].to_pylist()]
        return found

    def run_theirs() -> list[bool]:
        return [block.filter(Document(text=text, id="")) is True for text in documents]

    differ = sum(a != b for a, b in zip(run(), run_theirs(), strict=True))
    report.add(f"documents decided otherwise, of {len(documents):,}", f"{differ}", "0", differ == 0)
    fast = [size / timed(run) for _ in range(rounds)]
    slow = [size / timed(run_theirs) for _ in range(rounds)]
    ratio = statistics.median(fast) / statistics.median(slow)
    rate = f"{spread(fast)} MB/s; datatrove {spread(slow)}: {ratio:.1f} times"
    wanted = "100 MB/s"
    reached = statistics.median(fast) >= 100
    report.add(f"BlockedWords, {len(words)} words, {size:.0f} MB of text", rate, wanted, reached)


def some_texts(most_bytes: int) -> Iterator[str]:
    """Yield real texts: news first."""
    for text in texts():
        most_bytes -= len(text.encode())
        if most_bytes < 0:
            return
        yield text


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__ or "")
    warnings.simplefilter("ignore", DeprecationWarning)  # datatrove asks tldextract in its old way
    count, megabytes, rounds = (50_000, 10, 3) if options.quick else (200_000, 36, 3)
    report = Report(
        f"Rules about addresses and words, {count:,} addresses, {megabytes} MB of text", issue=3
    )
    compare_urls(report, rounds, count)
    opt_outs(report, count)
    compare_words(report, rounds, megabytes)
    report.finish(options.check)


if __name__ == "__main__":
    main()
