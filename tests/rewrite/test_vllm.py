"""A real engine and a real server of vLLM, on the CPU, with a tiny random Llama: make test-vllm."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from curation.annotate.model import Reply, Request
from curation.errors import ResourceError
from curation.rewrite import pool
from curation.rewrite.client import ModelServer, VllmModel
from curation.rewrite.journal import FILE_NAME
from tests.conftest import ROOT, environment, wait_until
from tests.rewrite.llama import write_llama

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None, reason="vllm is not installed: make test-vllm"
    ),
]
#: Loading vLLM takes a quarter of a minute on a quiet machine.
_START_S = 300.0
_TEXTS = [f"Case {n}: the patient was given {n * 7} mg." for n in range(48)]
_SCHEMA = {
    "type": "object",
    "properties": {"sure": {"type": "boolean"}, "grade": {"enum": ["low", "high"]}},
    "required": ["sure", "grade"],
    "additionalProperties": False,
}
#: What vLLM says by itself, in a process in which nothing is ours but the list of prompts.
_BARE = """
import json, os, sys
os.environ.update(VLLM_CPU_OMP_THREADS_BIND="nobind", VLLM_CPU_KVCACHE_SPACE="1")
os.environ.update(VLLM_ENABLE_V1_MULTIPROCESSING="0", HF_HUB_OFFLINE="1", VLLM_NO_USAGE_STATS="1")
from vllm import LLM, SamplingParams
folder, told, out = sys.argv[1:]
prompts = json.load(open(told))
llm = LLM(model=folder, enforce_eager=True)
made = llm.generate(prompts, SamplingParams(temperature=0, max_tokens=16))
json.dump([(one.outputs[0].text, len(one.prompt_token_ids)) for one in made], open(out, "w"))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield write_llama(tmp_path_factory.mktemp("models") / "tiny", length=256)
    pool.close_all()


def model_of(folder: Path, **settings: Any) -> VllmModel:
    return VllmModel(model=str(folder), eager=True, **settings)


def asked(text: str, **settings: Any) -> Request:
    return Request(messages=(("user", text),), **{"max_tokens": 16, **settings})


def one(folder: Path, text: str, *, temperature: float = 0.0, seed: int = 0, **ask: Any) -> Reply:
    (reply,) = model_of(folder, temperature=temperature, seed=seed).generate([asked(text, **ask)])
    assert reply.error is None
    return reply


def test_the_likeliest_replies_are_those_of_vllm_itself(folder: Path, tmp_path: Path) -> None:
    """Another template or another sampling would be another model."""
    told, out = tmp_path / "prompts", tmp_path / "replies"
    told.write_text(json.dumps([f"<|user|>{text}\n<|assistant|>" for text in _TEXTS]))
    command = [sys.executable, "-c", _BARE, str(folder), str(told), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    replies = model_of(folder).generate([asked(text) for text in _TEXTS])
    assert [[r.text, r.prompt_tokens] for r in replies] == json.loads(out.read_text())
    assert {r.finish for r in replies} <= {"stop", "length"}


def test_a_schema_is_held_to(folder: Path) -> None:
    """Every other reply could not be parsed."""
    requests = [
        asked(text, json_schema=json.dumps(_SCHEMA), max_tokens=120, attempt=n)
        for n, text in enumerate(_TEXTS[:6])
    ]
    replies = model_of(folder, temperature=1.0).generate(requests)
    whole = [json.loads(reply.text) for reply in replies if not reply.is_cut]
    assert len(whole) >= 3  # a random model may fill the limit with blanks
    assert all(type(row["sure"]) is bool and row["grade"] in ("low", "high") for row in whole)
    wrong, right = model_of(folder).generate([asked("x", json_schema="{"), asked("x")])
    assert "vLLM: " in str(wrong.error)
    assert right.error is None


def test_a_reply_ends_before_its_stop_string(folder: Path) -> None:
    """What follows would be kept as part of the text."""
    whole = one(folder, _TEXTS[0], max_tokens=20)
    stop = next(c for c in whole.text[3:] if c.isascii() and c.isalpha())
    cut = one(folder, _TEXTS[0], max_tokens=20, stop=("nowhere", stop))
    assert (cut.text, cut.finish) == (whole.text[: whole.text.index(stop)], "stop")


def test_a_seed_decides_what_is_drawn(folder: Path) -> None:
    """A second attempt would be the first again, or a run would not be repeatable."""
    draws = [one(folder, _TEXTS[0], temperature=1.0, seed=seed).text for seed in range(5)]
    assert len({*draws}) == 5
    assert one(folder, _TEXTS[0], temperature=1.0, seed=3).text == draws[3]
    model = model_of(folder, temperature=1.0, seed=1)
    among = model.generate([asked(text, attempt=2) for text in _TEXTS])
    assert among[0].text == draws[3]  # with others beside it


def test_alternatives_to_the_first_token_are_told(folder: Path) -> None:
    """A judge that reads the probability of yes would read nothing."""
    tops = one(folder, _TEXTS[0], top_logprobs=3).first_logprob
    assert len(tops) == 3
    assert all(logprob < 0 for _, logprob in tops)
    assert one(folder, _TEXTS[0]).first_logprob == ()


def test_a_prompt_that_is_too_long_is_its_rows_error(folder: Path) -> None:
    """One long document would end a batch of thousands."""
    short, long, cut = model_of(folder).generate(
        [asked("12"), asked("long " * 400), asked("12", max_tokens=1000)]
    )
    assert short.error is None
    assert "tokens, and the model takes 256 with the reply" in str(long.error)
    assert cut.is_cut or cut.finish == "stop"


def test_an_engine_killed_in_the_middle_loses_and_doubles_nothing(
    folder: Path, tmp_path: Path
) -> None:
    """Whoever uses up the machine's memory would cost the whole run."""
    requests = [asked(f"{n} {text}", max_tokens=60) for n in range(20) for text in _TEXTS]
    model = model_of(folder, journal=str(tmp_path))
    wanted = model_of(folder, journal=str(tmp_path / "other")).generate(requests)
    (running,) = (p for p in pool._POOLS.values() if p.engines)
    engine = running.engines[0].process.pid

    def strike() -> None:
        journal = tmp_path / f"{FILE_NAME}-wal"
        wait_until(lambda: journal.exists() and journal.stat().st_size > 200_000)
        os.kill(engine, signal.SIGKILL)

    striking = threading.Thread(target=strike)
    striking.start()
    replies = model.generate(requests)
    striking.join()
    assert running.engines[0].process.pid != engine
    assert [reply.error for reply in replies] == [None] * len(requests)
    same = sum(one.text == other.text for one, other in zip(replies, wanted, strict=True))
    assert same >= 0.99 * len(requests)  # near ties may fall otherwise in another batch
    assert model.generate(requests) == replies


def test_a_folder_that_vllm_does_not_take_is_told(tmp_path: Path) -> None:
    """A run would start engines without end."""
    (tmp_path / "config.json").write_text('{"model_type": "nothing"}')
    with pytest.raises(ResourceError, match="vLLM could not load the model") as caught:
        VllmModel(model=str(tmp_path)).generate([asked("x")])
    assert "ModelServer" in caught.value.facts["remedy"]


@pytest.fixture(scope="module")
def served(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of ``vllm serve`` with the same model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = [str(Path(sys.executable).with_name("vllm")), "serve", str(folder), "--enforce-eager"]
    more = ["--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port)]
    own = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_CPU_KVCACHE_SPACE": "1"}
    own |= {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    log = tmp_path_factory.mktemp("served") / "log"
    with log.open("w") as out:
        server = subprocess.Popen(
            [*script, *more], stdout=out, stderr=out, cwd=ROOT, env=environment(own),
            process_group=0,
        )  # fmt: skip

    def is_up() -> bool:
        assert server.poll() is None, log.read_text()[-2000:]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    try:
        wait_until(is_up, at_most_s=_START_S)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def test_a_real_server_answers_as_the_engine_does(folder: Path, served: str) -> None:
    """The two ways to the same model would write different corpora."""
    server = ModelServer(model="tiny", base_url=served)
    requests = [asked(text) for text in _TEXTS]
    theirs, ours = server.generate(requests), model_of(folder).generate(requests)
    assert [r.text for r in theirs] == [r.text for r in ours]
    assert [(r.finish, r.prompt_tokens, r.completion_tokens) for r in theirs] == [
        (r.finish, r.prompt_tokens, r.completion_tokens) for r in ours
    ]


def test_a_real_server_tells_what_is_asked_of_it(folder: Path, served: str) -> None:
    """Structured output, stop strings and alternatives would go missing on their way."""
    server = ModelServer(model="tiny", base_url=served)
    long, tops = server.generate([asked("long " * 400), asked(_TEXTS[0], top_logprobs=3)])
    assert "the model server" in str(long.error)
    assert len(tops.first_logprob) == 3
    stop = next(c for c in tops.text[3:] if c.isascii() and c.isalpha())
    cut, held = server.generate(
        [
            asked(_TEXTS[0], stop=(stop,)),
            asked(_TEXTS[1], json_schema=json.dumps(_SCHEMA), max_tokens=120),
        ]
    )
    assert cut.text == tops.text[: tops.text.index(stop)]
    assert held.is_cut or json.loads(held.text)["grade"] in ("low", "high")
