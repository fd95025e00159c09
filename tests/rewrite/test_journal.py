from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.annotate.model import Reply, Request
from curation.errors import ResourceError
from curation.rewrite import journal
from curation.rewrite.client import ModelServer
from curation.rewrite.journal import Journal, request_key
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
