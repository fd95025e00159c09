"""JSON schemas as far as prompts use them: checked when a recipe is made, and held to replies.

A server that knows schemas holds the model to them; one that does not answers freely, and what it
answered is compared here. The part of JSON Schema (draft 2020-12) that both understand is small;
a schema with another keyword is refused, for it would be believed to be kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from curation.errors import RecipeError

_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: _is_whole(value),
}
#: Keywords that are kept, and the type that the value of each has.
_KEYWORDS: Mapping[str, type | tuple[type, ...]] = {
    "type": str,
    "properties": dict,
    "required": list,
    "additionalProperties": bool,
    "items": dict,
    "minItems": int,
    "maxItems": int,
    "enum": list,
    "minLength": int,
    "maxLength": int,
}
#: Keywords that constrain nothing.
_WORDS = ("title", "description", "$schema", "$id")


def _is_whole(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) or value.is_integer()


def check_schema(name: str, schema: str) -> None:
    """Raise RecipeError unless a prompt's schema is JSON of the keywords that are kept."""
    try:
        _check(json.loads(schema), "the schema")
    except (ValueError, RecursionError) as error:
        raise RecipeError(
            f"prompt {name!r} has a schema that replies cannot be held to.",
            found=f"{error}"[:300],
            keywords=", ".join((*_KEYWORDS, *_WORDS)),
        ) from None


def _check(schema: Any, where: str) -> None:
    if not isinstance(schema, dict):
        raise ValueError(f"{where} is no object")
    for keyword, value in schema.items():
        if keyword in _WORDS:
            continue
        kind = _KEYWORDS.get(keyword)
        if kind is None or not isinstance(value, kind):
            raise ValueError(f"{where} has {keyword}: {str(value)[:60]}")
    if "type" in schema and schema["type"] not in _TYPES:
        raise ValueError(f"{where} has type: {schema['type']}")
    for key, inner in schema.get("properties", {}).items():
        _check(inner, f"{where}, {key}")
    if "items" in schema:
        _check(schema["items"], f"{where}, items")


def fault(value: Any, schema: Mapping[str, Any], where: str = "the reply") -> str:
    """Return where a value breaks a schema, in words; "" where it keeps it."""
    kind = schema.get("type")
    if kind is not None and not _TYPES[kind](value):
        return f"{where} is no {kind}"
    if "enum" in schema and not any(_is_same(value, option) for option in schema["enum"]):
        return f"{where} is none of {json.dumps(schema['enum'])[:80]}"
    if isinstance(value, str):
        return _fault_of_size(len(value), schema, ("minLength", "maxLength"), f"{where} has length")
    if isinstance(value, list):
        size = _fault_of_size(len(value), schema, ("minItems", "maxItems"), f"{where} has items:")
        inner = ((item, schema.get("items", {}), f"{where}[{n}]") for n, item in enumerate(value))
        return size or next(filter(None, (fault(*one) for one in inner)), "")
    if isinstance(value, dict):
        return _fault_of_object(value, schema, where)
    return ""


def _is_same(value: Any, option: Any) -> bool:
    """JSON's true is not 1, in Python they are equal."""
    return isinstance(value, bool) == isinstance(option, bool) and bool(value == option)


def _fault_of_size(size: int, schema: Mapping[str, Any], names: tuple[str, str], where: str) -> str:
    least, most = (schema.get(name) for name in names)
    if least is not None and size < least:
        return f"{where} {size}, and not {least} at least"
    if most is not None and size > most:
        return f"{where} {size}, and not {most} at most"
    return ""


def _fault_of_object(value: dict[str, Any], schema: Mapping[str, Any], where: str) -> str:
    known = schema.get("properties", {})
    absent = [name for name in schema.get("required", ()) if name not in value]
    if absent:
        return f"{where} has no {absent[0]}"
    if schema.get("additionalProperties") is False:
        unknown = [name for name in value if name not in known]
        if unknown:
            return f"{where} has a {unknown[0][:40]!r}, which is not wanted"
    inner = ((value[name], known[name], f"{name} of {where}") for name in known if name in value)
    return next(filter(None, (fault(*one) for one in inner)), "")


def example(schema: Mapping[str, Any], filler: Callable[[], str]) -> Any:
    """Return the smallest value that keeps a schema; strings come from the filler."""
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "string")
    if kind == "object":
        known = schema.get("properties", {})
        return {name: example(known.get(name, {}), filler) for name in schema.get("required", ())}
    if kind == "array":
        items = schema.get("items", {})
        return [example(items, filler) for _ in range(schema.get("minItems", 1))]
    simple: dict[str, Callable[[], Any]] = {"string": filler, "boolean": bool, "null": lambda: None}
    return simple.get(kind, int)()
