"""Runs the README: what it shows is what happens."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"```(\w+)\n(.*?)```\n?(<!-- not run[^>]*-->)?", re.DOTALL)


def blocks() -> list[tuple[str, str, str]]:
    """Return language, text and excuse of each fenced block."""
    return [match.groups(default="") for match in BLOCK.finditer(README.read_text())]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder to run the README in."""
    path = tmp_path_factory.mktemp("readme")
    before = Path.cwd()
    os.chdir(path)
    yield path
    os.chdir(before)


def test_every_python_block_of_the_readme_runs_and_prints_what_it_shows(folder):
    """A newcomer who pastes the README is hurt if it fails."""
    names: dict[str, object] = {}
    parser, ran = doctest.DocTestParser(), 0
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    for language, text, excuse in blocks():
        if language != "python" or excuse:
            continue
        ran += 1
        if ">>>" not in text:
            path = folder / f"block_{ran}.py"  # inspect.getsource needs a file
            path.write_text(text)
            exec(compile(text, str(path), "exec"), names)
            continue
        test = parser.get_doctest(text.replace("…", "..."), names, "README", str(README), 0)
        runner = doctest.DocTestRunner(optionflags=flags)
        runner.run(test, clear_globs=False)
        assert runner.failures == 0
    assert ran >= 5


def test_every_shell_block_of_the_readme_runs(folder):
    """A newcomer who pastes the README's commands is hurt if it fails."""
    command_folder = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{command_folder}{os.pathsep}{os.environ['PATH']}"}
    shown = [text for language, text, excuse in blocks() if language == "sh" and not excuse]
    assert shown
    for text in shown:
        done = subprocess.run(
            ["bash", "-euc", text], cwd=folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


def test_a_block_that_is_not_run_says_why():
    """Everybody who trusts that the README is tested is hurt if a block escapes in silence."""
    for language, text, excuse in blocks():
        assert language in ("python", "sh") or excuse, text


def test_the_filter_in_the_readme_has_at_most_five_lines():
    """Readers who were promised five lines are hurt if it fails."""
    found = re.search(r"@annotator.*?\n\n", README.read_text(), re.DOTALL)
    assert found is not None
    assert len(found.group().strip().splitlines()) <= 5
