"""Schemas: what is kept and broken, against jsonschema where it is installed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import RecipeError
from curation.rewrite.prompts import READER_SCHEMAS
from curation.rewrite.schema import check_schema, example, fault

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.floats(-2, 2) | st.text("ab", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=8,
)


def _sized(kind: str, names: tuple[str, str]) -> st.SearchStrategy[dict[str, Any]]:
    sizes = st.integers(0, 3)
    return st.fixed_dictionaries(
        {"type": st.just(kind)}, optional={names[0]: sizes, names[1]: sizes}
    )


_LEAF = st.one_of(
    st.sampled_from([{"type": t} for t in ("boolean", "null", "number", "integer")]),
    st.builds(lambda values: {"enum": values}, st.lists(_JSON, min_size=1, max_size=3)),
    _sized("string", ("minLength", "maxLength")),
    st.just({}),
)
_SCHEMA = st.recursive(
    _LEAF,
    lambda inner: st.one_of(
        st.builds(
            lambda sized, items: {**sized, "items": items},
            _sized("array", ("minItems", "maxItems")),
            inner,
        ),
        st.fixed_dictionaries(
            {"type": st.just("object")},
            optional={
                "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
                "required": st.lists(st.sampled_from("abc"), max_size=2, unique=True),
                "additionalProperties": st.booleans(),
            },
        ),
    ),
    max_leaves=5,
)


@given(_SCHEMA, _JSON)
def test_a_schema_is_kept_where_the_published_package_says_so(
    schema: dict[str, Any], value: Any
) -> None:
    """A reply would be kept that breaks its schema, or asked for again without need."""
    jsonschema = pytest.importorskip("jsonschema")
    check_schema("any", json.dumps(schema))
    keeps = jsonschema.Draft202012Validator(schema).is_valid(value)
    assert (fault(value, schema) == "") == keeps


@pytest.mark.parametrize("reader", READER_SCHEMAS)
def test_the_example_of_a_schema_keeps_it(reader: str) -> None:
    """A dry run would count no row behind the step that asks."""
    schema = json.loads(READER_SCHEMAS[reader])
    numbers = iter(range(100))
    made = example(schema, lambda: f"text {next(numbers)}")
    assert fault(made, schema) == ""
    assert made


def test_what_breaks_a_schema_is_told_with_its_place() -> None:
    """Whoever writes a prompt could not see what the model does wrong."""
    schema = json.loads(READER_SCHEMAS["choices"])
    task = {"question": "?", "choices": list("abcd"), "answer": "A", "explanation": "so"}
    told = {
        "the reply has no tasks": {},
        "tasks of the reply has items: 0, and not 1 at least": {"tasks": []},
        "tasks of the reply[0] is no object": {"tasks": ["x"]},
        "tasks of the reply[0] has no answer": {
            "tasks": [{name: task[name] for name in ("question", "choices", "explanation")}]
        },
        "choices of tasks of the reply[1] has items: 3, and not 4 at least": {
            "tasks": [task, {**task, "choices": list("abc")}]
        },
        'answer of tasks of the reply[0] is none of ["A", "B", "C", "D"]': {
            "tasks": [{**task, "answer": "E"}]
        },
        "tasks of the reply[0] has a 'why', which is not wanted": {"tasks": [{**task, "why": 1}]},
        "explanation of tasks of the reply[0] has length 0, and not 1 at least": {
            "tasks": [{**task, "explanation": ""}]
        },
        "question of tasks of the reply[0] is no string": {"tasks": [{**task, "question": 1}]},
    }
    assert {fault(value, schema): value for value in told.values()} == told
    assert fault({"tasks": [task]}, schema) == ""


@pytest.mark.parametrize(
    "schema",
    [
        *("", "{", "[]", '{"type": "text"}', '{"oneOf": []}', '{"minItems": "1"}'),
        *('{"properties": {"a": 1}}', '{"items": {"items": {"format": "date"}}}'),
    ],
)
def test_a_schema_that_would_not_be_kept_is_refused(schema: str) -> None:
    """It would be believed, and replies that break it would be kept."""
    with pytest.raises(RecipeError, match="cannot be held to"):
        check_schema("mine", schema)
