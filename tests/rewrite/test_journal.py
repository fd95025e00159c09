from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation import Jsonl, Judge, Recipe, reply_costs
from curation.annotate.model import Reply, Request
from curation.audit import check_store
from curation.errors import ResourceError
from curation.rewrite import journal
from curation.rewrite.client import ModelServer
from curation.rewrite.journal import Journal, reading, request_key
from curation.store import Store
from tests.conftest import environment, write_jsonl
from tests.rewrite.server import Stand, standing


@pytest.fixture
def stand() -> Iterator[Stand]:
    journal._opened.cache_clear()
    with standing() as found:
        yield found
    journal._opened.cache_clear()


def asked(text: str) -> Request:
    return Request(messages=(("user", text),))


def test_a_run_that_is_killed_pays_for_no_reply_twice(stand: Stand, tmp_path: Path) -> None:
    """Thousands of requests would be lost with the shard that they were for."""
    server = ModelServer(
        model="m", base_url=stand.url, retries=0, concurrency=1, journal=str(tmp_path / "j")
    )
    requests = [asked(f"good {n}") for n in range(6)]
    first = server.generate(requests[:4])
    stand.always = 403
    with pytest.raises(ResourceError):
        server.generate(requests)
    stand.always = 0
    journal._opened.cache_clear()  # another process
    seen = len(stand.requests)
    again = server.generate(requests)
    assert again[:4] == first
    assert len(stand.requests) == seen + 2
    assert replace(server, journal="").facts() == server.facts()
    replace(server, temperature=0.1).generate(requests[:1])
    assert len(stand.requests) == seen + 3


def test_a_request_that_failed_is_asked_again(stand: Stand, tmp_path: Path) -> None:
    """A fault that passes would stay for ever."""
    server = ModelServer(model="m", base_url=stand.url, retries=0, journal=str(tmp_path))
    stand.failing = {500: 1}
    assert server.generate([asked("good")])[0].error is not None
    assert server.generate([asked("good")])[0].error is None


@given(
    text=st.text(),
    tops=st.lists(st.tuples(st.text(max_size=3), st.floats(max_value=0, min_value=-50))),
)
def test_a_reply_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, text: str, tops: list[tuple[str, float]]
) -> None:
    """A run that went on would grade by other replies than one that was not disturbed."""
    folder = tmp_path_factory.mktemp("journal")
    reply = Reply(text=text, finish="stop", prompt_tokens=3, first_logprob=tuple(tops))
    Journal(str(folder)).add("key", "m", "grade", reply, 0.5)
    assert Journal(str(folder)).get("key") == reply
    assert Journal(str(folder)).get("other") is None


def test_a_folder_that_cannot_be_used_is_a_clear_error(tmp_path: Path) -> None:
    """A run would end with a message from the inside of a database."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot be used"):
        Journal(str(tmp_path / "file"))
    (tmp_path / "replies.sqlite").write_bytes(b"no database at all, " * 100)
    with pytest.raises(ResourceError, match="cannot be used"):
        Journal(str(tmp_path))


def test_what_is_wrong_with_the_file_is_told_with_what_helps(tmp_path: Path) -> None:
    """Whoever has a full disk or a torn file would look for the fault in their recipe."""
    kept = Journal(str(tmp_path))
    for n in range(200):
        kept.add(f"{n}", "m", "p", Reply(text="x" * 500), 0.1)
    kept._file.execute("pragma wal_checkpoint(truncate)")
    kept._file.close()
    path = tmp_path / journal.FILE_NAME
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ResourceError, match="cannot be used") as caught:
        [Journal(str(tmp_path)).get(f"{n}") for n in range(200)]
    assert "move the file away" in caught.value.facts["remedy"]
    with pytest.raises(ResourceError) as caught:
        Journal("/proc/nowhere")
    assert "journal=PATH" in caught.value.facts["remedy"]


WRITER = """
import sys, resource
from curation.annotate.model import Reply
from curation.rewrite.journal import Journal
folder, name, count, limit = sys.argv[1:]
if int(limit):
    import signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
kept = Journal(folder)
for n in range(int(count)):
    kept.add(f"{name} {n}", "m", "p", Reply(text=f"{name} {n} " * 20), 0.1)
    print(n, flush=True)
"""


def writer(folder: Path, name: str, count: int, limit: int = 0) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", WRITER, str(folder), name, str(count), str(limit)]
    pipe = subprocess.PIPE
    return subprocess.Popen(words, env=environment(), stdout=pipe, stderr=pipe, text=True)


def test_processes_share_a_journal_and_one_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    """A run has a process for each worker, and machines are taken away."""
    writing = [writer(tmp_path, f"w{n}", 150) for n in range(3)]
    killed = writer(tmp_path, "killed", 1_000_000)
    assert killed.stdout is not None
    seen = [int(killed.stdout.readline()) for _ in range(50)]
    killed.kill()
    told = [*seen, *map(int, killed.communicate()[0].split())]
    for process in writing:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    kept = Journal(str(tmp_path))
    for name, count in (("w0", 150), ("w1", 150), ("w2", 150), ("killed", len(told))):
        for n in range(count):
            found = kept.get(f"{name} {n}")
            assert found is not None
            assert found.text == f"{name} {n} " * 20


def test_a_full_disk_is_told_and_what_was_kept_stays(tmp_path: Path) -> None:
    """The replies of days would be in doubt."""
    process = writer(tmp_path, "full", 100_000, limit=300_000)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "the journal of replies cannot be used" in err
    assert "run the same command again" in err
    kept = Journal(str(tmp_path))
    done = len(out.split())
    assert done > 20
    assert all(kept.get(f"full {n}") is not None for n in range(done))


def test_the_first_reply_is_the_one_that_stays(tmp_path: Path) -> None:
    """Two shards with one text would be rewritten by two replies, and differ after a kill."""
    kept = Journal(str(tmp_path))
    first = kept.add("k", "m", "", Reply(text="first"), 1.0)
    assert kept.add("k", "m", "", Reply(text="second"), 1.0) == first
    kept._file.execute("update replies set reply = '{}'")
    assert kept.get("k") is None  # of another version


def test_a_journal_that_was_deleted_is_begun_anew(tmp_path: Path) -> None:
    """Replies would be written to a file that nobody can find."""
    folder = tmp_path / "j"
    for _ in range(2):
        kept = journal.journal_of(str(folder))
        assert kept is not None
        assert kept.get("k") is None
        kept.add("k", "m", "", Reply(text="x"), 1.0)
        shutil.rmtree(folder)
    assert journal.journal_of("") is None


def test_a_store_with_replies_is_sound_and_swept(stand: Stand, tmp_path: Path) -> None:
    """Checking a store, or beginning a run, would trip over the folder of replies."""
    source = tmp_path / "texts.jsonl"
    write_jsonl(source, [{"text": f"good page {n}"} for n in range(5)])
    model = ModelServer(model="m", base_url=stand.url)
    recipe = Recipe(source=Jsonl(str(source)), steps=[Judge(model=model)])
    store = tmp_path / "store"
    recipe.run(store=store, workers=0)
    (store / "replies" / "x.tmp-1").write_text("")
    recipe.run(store=store, workers=0)
    assert (store / "replies" / journal.FILE_NAME).exists()
    assert [wrong for _, wrong in check_store(Store(store)) if wrong] == []
    assert len(stand.requests) == 5
    assert reply_costs(store)["requests"].to_list() == [5]


def test_a_key_holds_all_that_decides_a_reply() -> None:
    """One prompt would be given the reply to another."""
    facts = ModelServer(model="m").facts()
    request = asked("x")
    keys = {
        request_key(facts, request),
        request_key(ModelServer(model="n").facts(), request),
        request_key(facts, asked("y")),
        request_key(facts, replace(request, messages=(("system", "x"),))),
        request_key(facts, replace(request, attempt=1)),
        request_key(facts, replace(request, max_tokens=1)),
        request_key(facts, replace(request, top_logprobs=1)),
        request_key(facts, replace(request, top_p=0.5)),
        request_key(facts, replace(request, stop=("x",))),
        request_key(facts, replace(request, json_schema="{}")),
    }
    assert len(keys) == 10
    assert request_key(facts, replace(request, purpose="x")) in keys
    json.dumps(sorted(keys))


def test_a_journal_that_nobody_writes_is_read_as_it_is(tmp_path: Path) -> None:
    """A dry run would leave files in a store that it promised not to touch."""
    made = Journal(str(tmp_path))
    made.add("key", "m", "grade", Reply(text="good"), 0.5)
    made._file.close()
    there = {path.name for path in tmp_path.iterdir()}
    with reading(str(tmp_path)) as file:
        assert file.execute("select count(*) from replies").fetchone() == (1,)
        assert {path.name for path in tmp_path.iterdir()} == there
