"""Finds a recipe in a file and calls it with words from a command line.

A recipe is named FILE.py, FILE.py:FUNCTION or MODULE:FUNCTION. Its function's keywords are its
only flags: --tokens 1000 for ``tokens: int``. An unknown flag is an error that names the nearest.

What else a file can hold, a base or an ablation, is found and called in the same way: ``kind`` is
the class that the function returns.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import cloudpickle

from curation.errors import CurationError, RecipeError, nearest
from curation.recipe import Recipe
from curation.stage import attempt

Made = TypeVar("Made")
RecipeFunction = Callable[..., Any]


def load_recipe(name: str, words: Sequence[str]) -> Recipe:
    """Return the recipe that a name and flags stand for; RecipeError where they stand for none."""
    return load(name, words, Recipe)


def load(name: str, words: Sequence[str], kind: type[Made]) -> Made:
    """Return what a name and flags stand for: an object of the class ``kind``."""
    function = find_function(name, kind)
    flags = parse_flags(function, words, name)
    made, error = attempt(lambda: function(**flags))
    if error is not None:
        raise _explain(name, f"cannot make its {kind.__name__.lower()}", error)
    if not isinstance(made, kind):
        raise RecipeError(
            f"{name} did not return {_a(kind)}.", found=f"{made!r} ({type(made).__name__})"
        )
    return made


def find_function(name: str, kind: type = Recipe) -> RecipeFunction:
    """Import the file or module and return its function that makes a ``kind``."""
    where, _, wanted = name.partition(":")
    module = _import_file(Path(where)) if where.endswith(".py") else _import_module(where)
    found = {
        n: f
        for n, f in vars(module).items()
        if inspect.isfunction(f) and f.__module__ == module.__name__ and not n.startswith("_")
    }
    if wanted:
        if wanted not in found:
            raise RecipeError(
                f"{where} has no function '{wanted}'.",
                present=", ".join(found),
                remedy=nearest(wanted, found),
            )
        return found[wanted]
    makers = {n: f for n, f in found.items() if _returns(f, kind)}
    if len(makers) != 1:
        raise RecipeError(
            f"{where} has {len(makers) or 'no'} functions that return {_a(kind)}.",
            present=", ".join(makers or found),
            remedy=f"name one: {where}:FUNCTION; it is declared '-> {kind.__name__}'",
        )
    return next(iter(makers.values()))


def _returns(function: RecipeFunction, kind: type) -> bool:
    declared = inspect.signature(function).return_annotation
    return declared is kind or str(declared).rpartition(".")[2] == kind.__name__


def _a(kind: type) -> str:
    return f"a{'n' * kind.__name__.startswith(tuple('AEIOU'))} {kind.__name__}"


def _import_file(path: Path) -> types.ModuleType:
    if not path.is_file():
        near = path.parent.glob("*.py") if path.parent.is_dir() else ()
        raise RecipeError(
            f"there is no recipe file {path}.",
            present=", ".join(sorted(p.name for p in near)) or f"no .py file in {path.parent}",
            remedy=nearest(path.name, [p.name for p in path.parent.glob("*.py")]),
        )
    spec = importlib.util.spec_from_file_location(f"recipe_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    _, error = attempt(spec.loader.exec_module, module)
    if error is not None:
        raise _explain(str(path), "cannot be loaded", error)
    # workers have no such module to import: what it defines travels whole
    cloudpickle.register_pickle_by_value(module)
    return module


def _explain(name: str, what: str, error: BaseException) -> CurationError:
    """Return what went wrong in a user's file, with the line; our own errors as they are."""
    if isinstance(error, CurationError):
        return error
    frames = traceback.extract_tb(error.__traceback__)
    line = f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else ""
    return RecipeError(
        f"{name} {what}.", found=f"{type(error).__name__}: {error}", where=line
    ).with_traceback(error.__traceback__)


def _import_module(name: str) -> types.ModuleType:
    sys.path.insert(0, "")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(error.name):
            raise
        raise RecipeError(
            f"there is no recipe '{name}'.",
            remedy="name a file, such as pipelines/web.py, or a module that can be imported",
        ) from None


def describe_flags(function: RecipeFunction) -> str:
    """Return the flags of a recipe, one a line, for a help text."""
    lines = []
    for name, parameter in inspect.signature(function).parameters.items():
        kind = _type_name(_hints(function).get(name, str))
        default = (
            "required" if parameter.default is parameter.empty else f"default {parameter.default!r}"
        )
        lines.append(f"--{name.replace('_', '-')} {kind.upper()}  {default}")
    return "\n".join(lines)


def parse_flags(function: RecipeFunction, words: Sequence[str], name: str) -> dict[str, Any]:
    """Return keyword arguments from ``--flag value`` words; a flag may be repeated for a tuple."""
    parameters = inspect.signature(function).parameters
    hints = _hints(function)
    given: dict[str, list[str]] = {}
    for flag, value in _pairs(list(words), parameters, hints, name):
        given.setdefault(flag, []).append(value)
    missing = [n for n, p in parameters.items() if p.default is p.empty and n not in given]
    if missing:
        raise RecipeError(
            f"{name} needs {', '.join('--' + n.replace('_', '-') for n in missing)}.",
            flags=describe_flags(function).replace("\n", "; "),
        )
    return {n: _convert(values, hints.get(n, str), n) for n, values in given.items()}


def _hints(function: RecipeFunction) -> Mapping[str, Any]:
    return typing.get_type_hints(function)


def _pairs(
    words: list[str], parameters: Mapping[str, Any], hints: Mapping[str, Any], name: str
) -> typing.Iterator[tuple[str, str]]:
    while words:
        word = words.pop(0)
        flag, equals, value = word.removeprefix("--").partition("=")
        flag = flag.replace("-", "_")
        if not word.startswith("--") or flag not in parameters:
            known = ["--" + p.replace("_", "-") for p in parameters]
            raise RecipeError(
                f"{name} takes no '{word}'.",
                flags=", ".join(known) or "none",
                remedy=nearest(word.partition("=")[0], known)
                or "quote a pattern, so that the shell does not expand it: --paths 'data/*.gz'",
            )
        if not equals and hints.get(flag) is bool and not (words and words[0] in _BOOLS):
            value = "true"
        elif not equals:
            if not words:
                raise RecipeError(f"{word} needs a value.")
            value = words.pop(0)
        yield flag, value


_BOOLS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _convert(values: list[str], hint: Any, flag: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if len(values) > 1 and any(typing.get_origin(a) is tuple for a in args):
            hint = next(a for a in args if typing.get_origin(a) is tuple)
        else:
            hint = next(
                a for a in args if a is not type(None) and typing.get_origin(a) is not tuple
            )
        return _convert(values, hint, flag)
    if origin is tuple:
        return tuple(_convert([value], args[0], flag) for value in values)
    if len(values) > 1:
        raise RecipeError(f"--{flag.replace('_', '-')} is given {len(values)} times.")
    return _one(values[0], hint, flag)


def _one(value: str, hint: Any, flag: str) -> Any:
    if typing.get_origin(hint) is Literal:
        choices = {str(choice): choice for choice in typing.get_args(hint)}
        if value in choices:
            return choices[value]
    elif hint is bool:
        if value.lower() in _BOOLS:
            return _BOOLS[value.lower()]
    elif hint in (int, float):
        try:
            return hint(value.replace("_", "").replace(",", ""))
        except ValueError:
            pass
    else:
        return value
    raise RecipeError(
        f"--{flag.replace('_', '-')} takes {_type_name(hint)}.",
        found=repr(value),
    )


def _type_name(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return "|".join(str(choice) for choice in typing.get_args(hint))
    return getattr(hint, "__name__", str(hint)) if isinstance(hint, type) else str(hint)
