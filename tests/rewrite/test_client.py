"""The model client against a local stand-in: what is a row's error, and what ends the run."""

from __future__ import annotations

import json
import os
import pickle
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from curation.annotate.model import RETRY_TEMPERATURE, Model, Request
from curation.errors import RecipeError, ResourceError
from curation.rewrite import client, faults
from curation.rewrite.client import ModelServer
from curation.rewrite.server import DEAD_AFTER, line_to
from tests.conftest import wait_until
from tests.rewrite.server import FAULTS, Stand, reply_to, standing


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(faults, "LONGEST_PAUSE_S", 0.1)


@pytest.fixture
def stand() -> Iterator[Stand]:
    with standing() as found:
        yield found


def server(stand: Stand, **settings: Any) -> ModelServer:
    few: dict[str, Any] = {"retries": 1, "patience_s": 5.0}
    return ModelServer(**{"model": "m", "base_url": stand.url, **few, **settings})


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
    server(stand, concurrency=3).generate([asked(f"SLOW {n}") for n in range(6)])
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
        server(stand, retries=0, patience_s=0).generate([asked("x")])
    assert told in str(caught.value)
    assert remedy in caught.value.facts["remedy"]
    assert pickle.loads(pickle.dumps(caught.value)).facts == caught.value.facts


@pytest.mark.parametrize("texts", [["FLAGGED"], ["good", "FLAGGED", "FLAGGED too", "ECHO"]])
def test_a_text_that_moderation_refuses_is_a_value(stand: Stand, texts: list[str]) -> None:
    """One such text would end a run, and every further run at the same place."""
    replies = server(stand, concurrency=1).generate([asked(text) for text in texts])
    for text, reply in zip(texts, replies, strict=True):
        assert ("flagged" in str(reply.error)) == ("FLAGGED" in text)
        assert stand.texts().count(text) == 1


def test_a_key_that_ends_during_a_run_makes_no_row(stand: Stand) -> None:
    """The rest of a corpus would be stored in error."""
    model = server(stand)
    model.generate(many("ECHO", 3))
    stand.always = 401
    with pytest.raises(ResourceError, match="wants another key"):
        model.generate([asked("x")])


def many(mark: str, count: int) -> list[Request]:
    return [asked(f"{mark} {n}") for n in range(count)]


def test_a_server_that_refuses_all_is_told_and_not_stored(stand: Stand) -> None:
    """A setting that the server does not know would turn a whole shard into error rows."""
    stand.always = 400
    few = server(stand, retries=0).generate(many("x", DEAD_AFTER - 1))
    assert all(reply.error for reply in few)
    with pytest.raises(ResourceError, match="answers no request"):
        server(stand, retries=0).generate(many("y", DEAD_AFTER))


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (200, "answers no request"),
        (500, "answers no request"),
        (502, "no server answers"),
        (503, "keeps asking"),
        (504, "answers no request"),
    ],
)
def test_an_outage_that_outlasts_patience_is_told_and_makes_no_row(
    stand: Stand, status: int, told: str
) -> None:
    """A server out of memory would turn the last documents of a run into error rows."""
    model = server(stand, retries=0, patience_s=0.5)
    model.generate(many("ECHO", 3))
    stand.always = status
    began = time.monotonic()
    with pytest.raises(ResourceError, match=told):
        model.generate(many("x", 3))
    assert time.monotonic() - began > 0.5


@pytest.mark.parametrize("status", [200, 500, 502, 504])
def test_an_outage_behind_a_proxy_costs_no_row(stand: Stand, status: int) -> None:
    """A server that is started again would leave holes that are never asked for again."""
    stand.slow_s = 0.02
    model = server(stand, retries=2, patience_s=20, concurrency=8)
    requests = many("ECHO SLOW", 60)
    found: list[Any] = []
    asking = threading.Thread(target=lambda: found.extend(model.generate(requests)))
    asking.start()
    wait_until(lambda: stand.answers > 10)
    stand.always = status
    time.sleep(1.0)  # ten times the longest pause
    stand.always = 0
    asking.join()
    assert [reply.error for reply in found] == [None] * 60


@pytest.mark.parametrize("retries", [0, 3])
def test_one_request_that_always_fails_is_an_error_though_it_is_the_only_one(
    stand: Stand, retries: int
) -> None:
    """A run would wait at its last document until patience ends, and so each time."""
    (reply,) = server(stand, retries=retries, patience_s=60).generate([asked("BROKEN")])
    assert "inside" in str(reply.error)
    assert stand.texts().count("BROKEN") == retries + 1
    assert stand.texts().count("Say yes.") <= retries + 1


def test_a_request_at_which_a_proxy_always_gives_up_is_an_error_in_the_end(stand: Stand) -> None:
    """The longest document of a corpus would end each run, by its 504."""
    model = server(stand, retries=1, patience_s=0.5)
    (reply,) = model.generate([asked("LATE")])
    assert "504" in str(reply.error)


def test_many_bad_requests_in_a_row_do_not_pass_for_a_dead_server(stand: Stand) -> None:
    """A run of which only the bad rows are left would end at them for ever."""
    bad = server(stand, retries=0).generate(many("BROKEN", 2 * DEAD_AFTER))
    assert all("inside" in str(reply.error) for reply in bad)
    assert 1 <= stand.texts().count("Say yes.") <= DEAD_AFTER  # many share one


def test_a_server_that_is_not_there_is_named_with_the_remedy(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The first mistake that everybody makes."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}/v1"
        absent = ModelServer(model="m", base_url=url, retries=0, patience_s=0.2)
        with pytest.raises(ResourceError, match="no server answers") as caught:
            absent.generate(many("x", 3))
    assert "vllm serve m" in caught.value.facts["remedy"]
    assert caught.value.facts["server"] == url
    told = capsys.readouterr().err
    assert told.count("no server answers") == 1  # at once, and not when patience is at its end
    assert "asked again for up to 0.2 s" in told


def test_a_proxy_that_answers_with_a_page_is_told_by_its_page(stand: Stand) -> None:
    """A wrong address that answers everything would turn a corpus into error rows."""
    stand.always = 200
    with pytest.raises(ResourceError, match="answers no request") as caught:
        server(stand, patience_s=0.3).generate(many("x", 3))
    assert "no completion in OpenAI's form" in caught.value.facts["found"]


def test_a_key_is_in_no_message(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that is sent around would hold somebody's key."""
    monkeypatch.setenv("SOME_KEY", "maximum")  # a word of what the server says
    model = server(stand, api_key_variable="SOME_KEY")
    (reply,) = model.generate([asked("REFUSE")])
    assert "this model's … context" in str(reply.error)


# ---------------------------------------------------------------- faults that pass


def test_a_server_that_comes_late_costs_a_pause_only(stand: Stand) -> None:
    """A run that was started with its server would have to be started again."""
    with standing() as first:
        port = int(first.url.split(":")[2].split("/")[0])
    late = ModelServer(model="m", base_url=first.url, retries=0, patience_s=20)
    found: list[Any] = []
    asking = threading.Thread(target=lambda: found.extend(late.generate(many("ECHO", 20))))
    asking.start()
    time.sleep(0.4)
    with standing(port):
        asking.join()
    assert [reply.error for reply in found] == [None] * 20


def test_a_server_that_is_started_again_costs_no_row(stand: Stand) -> None:
    """One crash of a server in a run of days would leave holes."""
    requests = many("ECHO SLOW", 60)
    with standing() as first:
        port = int(first.url.split(":")[2].split("/")[0])
        model = ModelServer(model="m", base_url=first.url, retries=2, patience_s=20)
        found: list[Any] = []
        asking = threading.Thread(target=lambda: found.extend(model.generate(requests)))
        first.slow_s = 0.05
        asking.start()
        wait_until(lambda: first.answers > 10)
    time.sleep(0.3)
    with standing(port) as second:
        second.slow_s = 0.05
        asking.join()
        assert [reply.error for reply in found] == [None] * 60
        assert len({reply.text for reply in found}) == 60
        assert second.answers <= 60 - first.answers + 8  # those in flight are paid for again


def test_a_request_that_kills_the_server_is_found_and_the_others_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One prompt that crashes an engine would end every run, or take its company along."""
    deaths = threading.Event()
    found: list[Any] = []
    with standing() as first:
        port = int(first.url.split(":")[2].split("/")[0])
    model = ModelServer(model="m", base_url=first.url, retries=20, patience_s=20, concurrency=8)
    requests = [*many("ECHO SLOW", 10), asked("LOSE"), *many("ECHO SLOW more", 10)]

    def ask() -> None:
        found.extend(model.generate(requests))
        deaths.set()

    asking = threading.Thread(target=ask)
    asking.start()
    killed = 0
    while not deaths.is_set():
        with standing(port) as stand:
            stand.slow_s = 0.02
            wait_until(lambda s=stand: deaths.is_set() or "LOSE" in s.texts())
            killed += "LOSE" in stand.texts()
        deaths.wait(0.4)  # it stays away so long
    asking.join()
    assert [n for n, reply in enumerate(found) if reply.error] == [10]
    assert "onnection" in found[10].error
    assert 4 <= killed <= 6  # a server that is being killed may still answer others


def test_nothing_is_lost_or_doubled_where_a_third_of_requests_fails(stand: Stand) -> None:
    """The main promise to whoever pays for a million replies."""
    stand.fault_frac, stand.slow_s = 0.3, 0.5
    model = server(stand, retries=10, timeout_s=0.3, concurrency=16)
    requests = many("ECHO", 150)
    replies = model.generate(requests)
    assert [reply.text for reply in replies] == [reply_to(f"ECHO {n}", 0) for n in range(150)]
    assert len(stand.faults) == len(FAULTS)


def test_what_is_asked_at_a_429_is_heeded_by_all_requests(stand: Stand) -> None:
    """A provider would shut out whoever goes on asking."""
    stand.failing, stand.headers = {429: 1}, {"Retry-After": "0.6"}
    model = server(stand, concurrency=1)
    model.generate(many("good", 3))
    assert stand.times[1] - stand.times[0] >= 0.6
    assert len(stand.requests) == 4
    stand.failing, stand.headers = {429: 1}, {"Retry-After": "3600"}
    with pytest.raises(ResourceError, match="keeps asking to wait"):
        model.generate([asked("other")])


@pytest.mark.parametrize("sign", ["429", "503", "timeout"])
def test_a_server_that_is_too_busy_is_asked_less_at_a_time(stand: Stand, sign: str) -> None:
    """A server that is at its end would be kept there by the same number of requests."""
    model = server(stand, concurrency=16, timeout_s=1.0, retries=0)
    stand.slow_s = 0.05
    model.generate(many("SLOW", 80))
    assert stand.most_at_once > 10
    if sign == "timeout":
        stand.slow_s = 1.5
    else:
        stand.failing = {int(sign): 1}
    model.generate([asked("SLOW once")])
    wait_until(lambda: stand.at_once == 0)
    stand.most_at_once, stand.slow_s = 0, 0.2
    model.generate(many("SLOW again", 14))
    assert 4 <= stand.most_at_once <= 10  # half, and one more a round


@pytest.mark.parametrize("status", [500, 503])
def test_what_is_asked_again_goes_before_what_was_not_asked_yet(stand: Stand, status: int) -> None:
    """One row of a long call would be finished hours after the fault, by its last request."""
    stand.failing, stand.slow_s = {status: 1}, 0.05
    server(stand, concurrency=1).generate([asked("first"), *many("SLOW", 30)])
    places = [n for n, text in enumerate(stand.texts()) if text == "first"]
    assert len(places) == 2
    assert places[1] < 20


def test_a_429_counts_against_no_request(stand: Stand) -> None:
    """A busy hour of a provider would leave error rows."""
    stand.failing, stand.headers = {429: 12, 503: 12}, {}
    replies = server(stand, retries=0, concurrency=4).generate(many("good", 5))
    assert [reply.error for reply in replies] == [None] * 5


def test_the_answer_has_to_be_whole_in_time(stand: Stand) -> None:
    """A server that sends a byte now and then would hold a request for ever."""

    def trickle(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection, suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
            while True:
                connection.sendall(b" ")
                time.sleep(0.05)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        slow = threading.Thread(target=trickle, args=(listening,))
        slow.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        model = ModelServer(model="m", base_url=url, timeout_s=0.3, patience_s=0)
        with pytest.raises(ResourceError) as caught:
            model.generate([asked("x")])
        slow.join()
    assert caught.value.facts["found"] == "the request timed out after 0.3 s"


def test_a_reply_that_the_server_broke_off_is_no_reply(stand: Stand) -> None:
    """Half a text would be kept as a whole one when a server is shut down."""
    (reply,) = server(stand, retries=0).generate([asked("ABORT")])
    assert "broken off" in str(reply.error)


def test_requests_a_minute_are_not_passed(stand: Stand) -> None:
    """A provider would answer 429, or send a bill."""
    server(stand, requests_per_minute=600).generate(many("good", 18))
    # ten a second, and what one second brings at once
    assert stand.times[17] - stand.times[0] >= 0.65
    requests = [asked(f"{n}", max_tokens=400) for n in range(2)]
    server(stand, tokens_per_minute=12_000).generate([*requests, asked("2", max_tokens=1)])
    assert stand.times[20] - stand.times[18] >= 0.9  # four seconds' tokens, all but few given back


def test_tokens_that_a_reply_did_not_use_are_not_waited_for(stand: Stand) -> None:
    """A limit would be used to a tenth, where replies are short and may be long."""
    model = server(stand, tokens_per_minute=12_000)
    model.generate([asked("x", max_tokens=2000)])
    key = os.environ.get("OPENAI_API_KEY", "")
    assert line_to(model, key).tokens.take(1, time.monotonic()) == 0


# ---------------------------------------------------------------- what is sent


def test_equal_requests_of_a_call_are_sent_once(stand: Stand) -> None:
    """A page that is in a corpus a hundred times would be paid for a hundred times."""
    first, second, third = server(stand).generate([asked("good"), asked("x"), asked("good")])
    assert first == third != second
    assert sorted(stand.texts()) == ["good", "x"]


def test_stop_strings_and_schemas_are_sent(stand: Stand) -> None:
    """Replies would run on, or be no JSON."""
    schema = '{"type": "object", "properties": {"reply": {"type": "string"}}}'
    (reply,) = server(stand).generate([asked("ECHO", stop=("END",), top_p=0.9, json_schema=schema)])
    sent = stand.requests[0]
    assert (sent["stop"], sent["top_p"]) == (["END"], 0.9)
    assert sent["response_format"]["type"] == "json_schema"
    assert sent["response_format"]["json_schema"]["schema"] == json.loads(schema)
    assert json.loads(reply.text) == {"reply": reply_to("ECHO", 0)}
    server(stand).generate([asked("x")])
    assert not {"stop", "top_p", "response_format"} & stand.requests[1].keys()


def test_a_server_that_knows_no_schemas_is_asked_without_and_not_twice(stand: Stand) -> None:
    """Stages that want JSON would run on few servers, at twice the number of requests."""
    stand.schemas = "refused"
    model = server(stand, concurrency=1)
    replies = model.generate([asked(f"ECHO {n}", json_schema="{}") for n in range(3)])
    assert [reply.text for reply in replies] == [reply_to(f"ECHO {n}", 0) for n in range(3)]
    assert len(stand.requests) == 4


@pytest.mark.parametrize(
    ("schema", "told", "sent"),
    [('{"type": "strin"}', "'strin' is no type", 1), ("{type: string}", "is no JSON", 0)],
)
def test_a_schema_that_is_wrong_is_an_error_at_once(
    stand: Stand, schema: str, told: str, sent: int
) -> None:
    """Each row would be asked again and paid for, and the reply be of no form."""
    stand.schemas = "wrong"
    (reply,) = server(stand, retries=5).generate([asked("ECHO", json_schema=schema)])
    assert told in str(reply.error)
    assert len(stand.requests) == sent


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
            model.generate([asked(f"SLOW {n}") for n in range(30)])
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
        {"patience_s": -1},
        {"requests_per_minute": -1},
        {"tokens_per_minute": float("nan")},
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


def test_a_missing_package_is_told_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever took the small core would see a traceback."""
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ResourceError, match="openai") as caught:
        ModelServer(model="m").generate([asked("x")])
    assert "curation[llm]" in caught.value.facts["remedy"]
