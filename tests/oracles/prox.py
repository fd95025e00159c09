"""ProX's executor written slowly from its description, for programs in their plain published form.

It reads what ``plain_program`` makes: one operation a line, strings without quotes, backslashes,
commas, equals signs or parentheses. On these the released executor has no fault to avoid.
"""

from __future__ import annotations

from hypothesis import strategies as st

Operation = tuple[str, int, int] | tuple[str, str, str]


def execute(text: str, operations: list[Operation], errors: int) -> tuple[str, int]:
    """Return the text ("" where it is dropped) and the count of errors."""
    changed = text
    for name, first, second in operations:
        if name == "normalize" and first not in ("", " "):
            changed = changed.replace(str(first), str(second))
    lines = changed.split("\n")
    gone = set()
    for name, first, second in operations:
        if name == "remove_lines":
            gone |= {at for at in range(len(lines)) if int(first) <= at <= int(second)}
        if name == "remove_all":
            gone |= {*range(len(lines))}
    made = "\n".join(line for at, line in enumerate(lines) if at not in gone)
    spans = [(int(a), int(b)) for name, a, b in operations if name == "remove_lines"]
    errors += sum(max(span) >= len(lines) for span in blocks(spans))
    before, after = len(text.split()), len(made.split())
    if after <= 10 or (after / before <= 0.05 and errors < 2):
        return "", errors
    return (made if errors < 2 else text), errors


def blocks(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join spans of lines that overlap or touch, two at a time until none do."""
    for i, one in enumerate(spans):
        for j, other in enumerate(spans):
            if i < j and one[0] <= other[1] + 1 and other[0] <= one[1] + 1:
                rest = [span for k, span in enumerate(spans) if k not in (i, j)]
                return blocks([*rest, (min(one[0], other[0]), max(one[1], other[1]))])
    return spans


def written(operation: Operation) -> str:
    """Return an operation as a model writes it."""
    name, first, second = operation
    if name == "normalize":
        return f'normalize(source_str="{first}", target_str="{second}")'
    return f"remove_lines(start={first}, end={second})" if name == "remove_lines" else ALL


ALL = "remove_lines(all=True)"
_words = st.sampled_from(["a", "b", "home", "share it", "\u4e2d", "e\u0301", "nav|"])
_line = st.lists(_words, max_size=6).map(" ".join)
plain_text = st.lists(_line, min_size=1, max_size=15).map("\n".join)
_number = st.integers(0, 18)
_spans = st.tuples(st.just("remove_lines"), _number, st.integers(0, 6)).map(
    lambda made: (made[0], made[1], made[1] + made[2])
)
_strings = st.sampled_from(["", " ", "a", "b", "home", "a b", "\u4e2d", "|"])
_normalizations = st.tuples(st.just("normalize"), _strings, _strings)
plain_operations = st.lists(
    st.one_of(_spans, _spans, _normalizations, st.just(("remove_all", 0, 0))), max_size=5
)
