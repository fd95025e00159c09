"""Compiled kernels: told of once when made, kept where that is possible, never mixed up."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from curation.engine.compiling import COMPILING, CompileNotice
from tests.conftest import ROOT, command, environment, write_words

RECIPE = """
from curation import *
from tests.conftest import Files

def words(*, paths: str) -> Recipe:
    return Recipe(
        source=Files(paths), steps=[TextSize(), TextHash(), sample(frac=0.5, because="sample")]
    )
"""
#: Counts the words of "a b c" in a process of its own, and says where the code went.
COUNT = """
import os, sys
import numpy as np
from curation.engine.compiling import CompileNotice
with CompileNotice():
    from curation.kernels.words import count_words
    offset = np.array([0, 5], dtype=sys.argv[1])
    print(count_words(np.frombuffer(b"a b c", np.uint8), offset)[0], os.environ["NUMBA_CACHE_DIR"])
"""
#: A user without a home, and one that is in no list, as containers have them.
NOBODY, STRANGER = 65534, 54321


def count(
    offset: str = "int64", *, env: Mapping[str, str] | None = None, before: tuple[str, ...] = ()
) -> tuple[str, str]:
    """Count words in a process of its own; return where the code is kept, and stderr."""
    done = subprocess.run(
        [*before, sys.executable, "-c", COUNT, offset],
        env=cold(env or {}),
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    words, folder = done.stdout.split()
    assert words == "3"
    return folder, done.stderr


def cold(more: Mapping[str, str]) -> dict[str, str]:
    """Return an environment that names no cache but the one given."""
    return {name: v for name, v in environment(more).items() if name != "NUMBA_CACHE_DIR" and v}


# ---------------------------------------------------------------- telling


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe, some input and an empty cache."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "recipe.py").write_text(RECIPE)
    write_words(folder / "words", files=6, rows=40)
    return folder


def run(place: Path, store: str, *words: str) -> str:
    """Run the recipe on the folder's cache and return stderr."""
    done = subprocess.run(
        command("run", "recipe.py", "--paths", f"{place}/words/*.jsonl", "--store", store, *words),
        cwd=place,
        env=cold({"XDG_CACHE_HOME": str(place / "cache")}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["3", "0"])
def test_a_run_tells_once_that_it_compiles_and_never_again(place: Path, workers: str) -> None:
    """A first run that stands still for a minute looks as if it hung."""
    shutil.rmtree(place / "cache", ignore_errors=True)
    first = run(place, f"first-{workers}", "--workers", workers)
    assert first.splitlines().count(COMPILING) == 1
    assert "compiling" not in first.replace(COMPILING, "")
    assert "compiling" not in run(place, f"second-{workers}", "--workers", workers)


def test_the_help_compiles_nothing(place: Path) -> None:
    """A person who asks for the flags would wait for a minute."""
    shutil.rmtree(place / "cache", ignore_errors=True)
    assert "compiling" not in run(place, "helped", "--help")
    assert not (place / "cache").exists()


def test_a_function_of_the_user_is_not_announced() -> None:
    """It is compiled at each run, and the line says once."""
    import numba

    import curation.kernels  # noqa: F401

    told: list[int] = []
    with CompileNotice(lambda: told.append(1)):
        assert numba.njit(lambda x: x + 1)(1) == 2
    assert told == []


def test_a_notice_listens_only_while_it_is_entered() -> None:
    """A notebook would be told of a run that ended long ago."""
    import logging

    told: list[int] = []
    notice = CompileNotice(lambda: told.append(1))
    logger = logging.getLogger("curation.kernels")
    level = logger.level
    with notice:
        logger.info("compiling a")
        logger.info("compiling b")
    logger.info("compiling c")
    assert (told, logger.level, notice in logger.handlers) == ([1], level, False)


# ---------------------------------------------------------------- several at once


@pytest.mark.slow
def test_processes_that_start_cold_at_once_fill_one_cache(tmp_path: Path) -> None:
    """Each worker of a first run compiles; one that reads half a file would fail for good."""
    env = {"XDG_CACHE_HOME": str(tmp_path)}
    kinds = ["int64", "int32", "uint32", "int64"]
    found: list[tuple[str, str]] = []
    threads = [
        threading.Thread(target=lambda kind=kind: found.append(count(kind, env=env)))
        for kind in kinds
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(kinds)
    assert {folder for folder, _ in found} == {found[0][0]}
    assert not [*tmp_path.rglob("*.tmp*")]
    for kind in sorted(set(kinds)):
        assert count(kind, env=env) == (found[0][0], "")


def test_code_for_two_types_is_never_called_by_one_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel would run the code of another type: wrong numbers, or a crash."""
    from numba.core import caching

    import curation.kernels  # noqa: F401

    both_looked = threading.Barrier(2)
    load: Any = caching.IndexDataCacheFile._load_index

    def slow(file: Any) -> Any:
        index = load(file)
        with suppress(threading.BrokenBarrierError):  # with the lock, they never look at once
            both_looked.wait(timeout=0.5)
        return index

    def save(name: str) -> None:
        caching.IndexDataCacheFile(str(tmp_path), "kernel", "stamp").save(name, f"code of {name}")

    monkeypatch.setattr(caching.IndexDataCacheFile, "_load_index", slow)
    threads = [threading.Thread(target=save, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.undo()
    file = caching.IndexDataCacheFile(str(tmp_path), "kernel", "stamp")
    assert (file.load("one"), file.load("two")) == ("code of one", "code of two")


def test_code_that_cannot_be_kept_is_used_all_the_same(tmp_path: Path) -> None:
    """A full disk under the cache would end every run."""
    from numba.core import caching

    import curation.kernels  # noqa: F401

    file = caching.IndexDataCacheFile(str(tmp_path / "gone"), "kernel", "stamp")
    file.save("one", "code")
    assert file.load("one") is None


# ---------------------------------------------------------------- where nothing can be written


@pytest.fixture
def readonly(tmp_path: Path) -> Iterator[Path]:
    """A folder on a read-only mount, with a copy of the package and a home in it."""
    folder = tmp_path / "mount"
    shutil.copytree(
        ROOT / "curation", folder / "curation", ignore=shutil.ignore_patterns("__pycache__")
    )
    (folder / "home").mkdir()
    bind = subprocess.run(["mount", "--bind", folder, folder], capture_output=True, text=True)
    if bind.returncode:
        pytest.skip(f"this machine lets no test mount a folder read-only: {bind.stderr.strip()}")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_read_only_package_and_home_do_without_them(readonly: Path, tmp_path: Path) -> None:
    """Clusters install packages and mount homes read-only."""
    (tmp_path / "tmp").mkdir()
    env = {"PYTHONPATH": str(readonly), "HOME": str(readonly / "home"), "XDG_CACHE_HOME": ""}
    env["TMPDIR"] = str(tmp_path / "tmp")
    folder, told = count(env=env)
    assert folder.startswith(f"{tmp_path}/tmp/curation-{os.getuid()}/kernels-")
    assert told == f"{COMPILING}\n"
    assert count(env=env) == (folder, "")


def test_a_home_whose_cache_is_there_but_cannot_be_written_is_passed_over(
    readonly: Path, tmp_path: Path
) -> None:
    """A folder that exists is not yet one that numba can use: the import would fail."""
    env = {"PYTHONPATH": str(readonly), "HOME": str(readonly / "home"), "XDG_CACHE_HOME": ""}
    subprocess.run(["mount", "-o", "remount,bind,rw", readonly], check=True)
    warm, _ = count(env=env)
    assert warm.startswith(str(readonly / "home"))
    subprocess.run(["mount", "-o", "remount,bind,ro", readonly], check=True)
    (tmp_path / "tmp").mkdir()
    folder, _ = count(env=env | {"TMPDIR": str(tmp_path / "tmp")})
    assert folder.startswith(str(tmp_path / "tmp"))


def as_user(user: int) -> tuple[str, ...]:
    """Return the words that run a command as another user; skip where that cannot be."""
    words = ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups")
    if shutil.which("setpriv") is None:
        pytest.skip("there is no setpriv to become another user with")
    done = subprocess.run(
        [*words, sys.executable, "-c", "import curation.kernels.words"],
        env=cold({}),
        cwd="/",
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"another user cannot run the package here: {done.stderr.strip()[-100:]}")
    return words


@pytest.mark.parametrize(("user", "home"), [(NOBODY, "/nonexistent"), (STRANGER, "")])
def test_another_user_compiles_into_a_folder_of_their_own(user: int, home: str) -> None:
    """A package that root installed would be of no use to anybody else, nor in a container."""
    before = as_user(user)
    with tempfile.TemporaryDirectory() as shared:
        Path(shared).chmod(0o1777)
        env = {"HOME": home, "XDG_CACHE_HOME": "", "TMPDIR": shared}
        folder, told = count(env=env, before=before)
        own = Path(shared) / f"curation-{user}"
        assert folder.startswith(f"{own}/kernels-")
        assert (own.stat().st_uid, own.stat().st_mode & 0o777) == (user, 0o700)
        assert told == f"{COMPILING}\n"
        assert count(env=env, before=before) == (folder, "")


def test_a_folder_that_others_can_write_is_not_trusted(tmp_path: Path) -> None:
    """Compiled code is run as it is: whoever can write it runs code as its user."""
    (tmp_path / f"curation-{os.getuid()}").mkdir()
    (tmp_path / f"curation-{os.getuid()}").chmod(0o777)
    env = {"HOME": "/proc/none", "XDG_CACHE_HOME": "/proc/none", "TMPDIR": str(tmp_path)}
    folder, _ = count(env=env)
    assert Path(folder).parent == tmp_path
    assert not [*(tmp_path / f"curation-{os.getuid()}").iterdir()]
