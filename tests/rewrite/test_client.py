"""The model client against a local stand-in: what is a row's error, and what ends the run."""

from __future__ import annotations

import pickle
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from curation.annotate.model import RETRY_TEMPERATURE, Model, Request
from curation.errors import RecipeError, ResourceError
from curation.rewrite import client
from curation.rewrite.client import DEAD_AFTER, ModelServer
from tests.conftest import wait_until
from tests.rewrite.server import Stand, standing


@pytest.fixture
def stand() -> Iterator[Stand]:
    with standing() as found:
        yield found


def server(stand: Stand, **settings: Any) -> ModelServer:
    return ModelServer(**{"model": "m", "base_url": stand.url, "retries": 1, **settings})


def asked(text: str, **settings: Any) -> Request:
    return Request(messages=(("user", text),), **settings)


def test_a_reply_comes_with_its_tokens_and_its_end(stand: Stand) -> None:
    """The account of what was spent would be wrong."""
    texts = ["a good text", "LONG and good good"]
    first, second = server(stand).generate([asked(text) for text in texts])
    assert first.text.endswith("Educational score: 1")
    assert (first.prompt_tokens, first.completion_tokens) == (3, 6)
    assert (first.finish, second.finish) == ("stop", "length")
    assert first.error is None
    assert first.first_logprob == ()


def test_replies_come_in_the_order_of_the_requests(stand: Stand) -> None:
    """Grades would be written beside other people's texts."""
    texts = ["good " * (n % 6) for n in range(40)]
    replies = server(stand, concurrency=7).generate([asked(text) for text in texts])
    assert [int(reply.text[-1]) for reply in replies] == [n % 6 for n in range(40)]
    assert stand.most_at_once <= 7
    assert server(stand).generate([]) == []


def test_so_many_requests_are_made_at_a_time(stand: Stand) -> None:
    """A server's batches would stay empty, or a provider's limit be passed."""
    stand.slow_s = 0.4
    server(stand, concurrency=3).generate([asked("SLOW")] * 6)
    assert stand.most_at_once == 3


def test_settings_and_attempts_reach_the_server(stand: Stand) -> None:
    """A reply asked for again would be the same reply."""
    model = server(stand, temperature=0.2, seed=5, extra_body='{"top_k": 3}')
    model.generate([asked("x", max_tokens=9)])
    model.generate([asked("x", attempt=2, top_logprobs=4)])
    first, second = stand.requests
    assert (first["temperature"], first["seed"], first["max_tokens"]) == (0.2, 5, 9)
    assert first["top_k"] == 3
    assert "logprobs" not in first
    assert (second["temperature"], second["seed"]) == (RETRY_TEMPERATURE, 7)
    assert (second["logprobs"], second["top_logprobs"]) == (True, 4)
    server(stand, token_limit="max_completion_tokens").generate([asked("x")])
    assert "max_tokens" not in stand.requests[-1]


def test_the_key_comes_from_the_environment(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key in a recipe ends in a repository."""
    monkeypatch.setenv("SOME_KEY", "secret")
    model = server(stand, api_key_variable="SOME_KEY")
    model.generate([asked("x")])
    assert stand.requests[0]["key"] == "Bearer secret"
    assert "secret" not in repr(model) + str(model.facts())


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_passes_is_waited_for(stand: Stand, status: int) -> None:
    """A busy server would cost rows."""
    stand.failing = {status: 2}
    replies = server(stand, retries=3, concurrency=1).generate([asked("good"), asked("bad")])
    assert [reply.error for reply in replies] == [None, None]


@pytest.mark.parametrize(
    ("mark", "told"),
    [
        ("REFUSE", "maximum context length"),
        ("BROKEN", "inside"),
        ("SLOW", "timed out"),
        ("NOCHOICE", "no completion in OpenAI's form"),
        ("NOTJSON", "no completion in OpenAI's form"),
    ],
)
def test_a_request_that_fails_alone_is_a_value(stand: Stand, mark: str, told: str) -> None:
    """One text too long would end a run of days."""
    stand.slow_s = 1.0
    model = server(stand, retries=0, timeout_s=0.3)
    bad, good = model.generate([asked(f"{mark} text"), asked("good")])
    assert bad.error is not None
    assert told in bad.error
    assert good.error is None
    assert good.text.endswith("1")


@pytest.mark.parametrize(
    ("status", "told", "remedy"),
    [
        (401, "wants another key", "OPENAI_API_KEY"),
        (403, "wants another key", "OPENAI_API_KEY"),
        (404, "no such model", "/models"),
        (429, "keeps asking", "concurrency"),
    ],
)
def test_what_every_row_would_meet_ends_the_run(
    stand: Stand, status: int, told: str, remedy: str
) -> None:
    """Rows would be stored in error for ever, for a key that was mistyped."""
    stand.always = status
    with pytest.raises(ResourceError) as caught:
        server(stand, retries=0).generate([asked("x")])
    assert told in str(caught.value)
    assert remedy in caught.value.facts["remedy"]
    assert pickle.loads(pickle.dumps(caught.value)).facts == caught.value.facts


def test_a_server_that_fails_on_all_is_told_and_not_stored(stand: Stand) -> None:
    """A server out of memory would turn a whole shard into error rows."""
    stand.always = 500
    few = server(stand, retries=0).generate([asked("x")] * (DEAD_AFTER - 1))
    assert all(reply.error for reply in few)
    with pytest.raises(ResourceError, match="answers no request"):
        server(stand, retries=0).generate([asked("x")] * DEAD_AFTER)


def test_a_server_that_is_not_there_is_named_with_the_remedy() -> None:
    """The first mistake that everybody makes."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}/v1"
        with pytest.raises(ResourceError, match="no server answers") as caught:
            ModelServer(model="m", base_url=url, retries=0).generate([asked("x")] * 3)
    assert "vllm serve m" in caught.value.facts["remedy"]
    assert caught.value.facts["server"] == url


def test_alternatives_to_the_first_token_are_told(stand: Stand) -> None:
    """Ask-LLM would fall back to yes and no, and nothing could be ranked."""
    (reply,) = server(stand).generate([asked("good OPTIONS:", top_logprobs=5)])
    assert [token for token, _ in reply.first_logprob] == ["yes", " Yes", "no", "Well"]
    assert all(prob < 0 for _, prob in reply.first_logprob)


def test_a_server_that_refuses_to_tell_alternatives_is_asked_without(stand: Stand) -> None:
    """Ask-LLM would not run at all on many servers."""
    stand.logprobs = "refused"
    good, bad = server(stand).generate(
        [asked("good OPTIONS:", top_logprobs=5), asked("REFUSE", top_logprobs=5)]
    )
    assert (good.text, good.first_logprob, good.error) == ("yes", (), None)
    assert bad.error is not None


def test_ctrl_c_ends_the_requests_in_flight(stand: Stand) -> None:
    """A run that was stopped would go on costing money."""
    model = server(stand, concurrency=2, timeout_s=30)

    def press() -> None:
        wait_until(lambda: stand.at_once == 2)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    pressing = threading.Thread(target=press)
    pressing.start()
    stand.slow_s = 1.0
    try:
        with pytest.raises(KeyboardInterrupt):
            model.generate([asked("SLOW")] * 30)
    finally:
        pressing.join()
        signal.signal(signal.SIGINT, before)
    wait_until(lambda: stand.at_once == 0)
    time.sleep(0.2)
    assert len(stand.requests) == stand.dropped == 2
    assert server(stand).generate([asked("good")])[0].error is None


def test_a_waiting_stage_says_that_it_lives(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The engine would take a slow model for a worker that hangs, and kill it."""
    beats: list[float] = []
    monkeypatch.setattr(client, "_PULSE_S", 0.05)
    monkeypatch.setattr(client, "_TELL_S", 0.1)
    monkeypatch.setattr(client, "pulse", lambda: beats.append(time.monotonic()))
    stand.slow_s = 0.5
    server(stand).generate([asked("SLOW")])
    assert len(beats) > 2
    assert "m: 0 of 1 requests" in capsys.readouterr().err


def test_only_what_decides_replies_is_part_of_the_identity() -> None:
    """Another address would ask and pay for everything a second time."""
    model = ModelServer(model="m")
    same = replace(model, base_url="http://b/v1", concurrency=2, timeout_s=1.0, retries=0)
    assert model.facts() == same.facts() == pickle.loads(pickle.dumps(model)).facts()
    for other in ({"model": "n"}, {"temperature": 0.5}, {"seed": 1}, {"extra_body": '{"a": 1}'}):
        assert replace(model, **other).facts() != model.facts()
    assert isinstance(model, Model)


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": " "},
        {"base_url": "localhost:8000"},
        {"temperature": -1},
        {"temperature": float("nan")},
        {"concurrency": 0},
        {"timeout_s": 0},
        {"retries": -1},
        {"extra_body": "top_k=3"},
        {"extra_body": "[1]"},
        {"token_limit": "limit"},
    ],
)
def test_settings_that_make_no_sense_are_told_at_once(wrong: dict[str, Any]) -> None:
    """They would show after an hour, in the first request."""
    with pytest.raises(RecipeError, match="no such settings") as caught:
        ModelServer(**{"model": "m", **wrong})
    assert next(iter(wrong)) in caught.value.facts["found"]


# ---------------------------------------------------------------- vLLM, by a stand-in


def test_a_missing_package_is_told_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever took the small core would see a traceback."""
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ResourceError, match="openai") as caught:
        ModelServer(model="m").generate([asked("x")])
    assert "curation[llm]" in caught.value.facts["remedy"]
