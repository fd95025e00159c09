"""What ProX's released executor made of programs, and what ours makes of them.

The results were recorded from ``execute_meta_operations`` and ``execute_operations`` of
utils/chunk_utils.py, GAIR-NLP/ProX, commit b3fcbb2. ``benchmarks/rewrite_prox.py --reference PATH``
compares with the file itself on tens of thousands of pairs, and explains each difference.
"""

from __future__ import annotations

import pytest

from curation.rewrite.programs import execute, parse

PAGE = "\n".join(
    [
        "Home | About | Contact",
        "Ports of common services",
        "Redis listens on port 6379 unless it is told otherwise.",
        "PostgreSQL listens on port 5432, and MySQL on 3306.",
        "",
        "Share on Facebook",
        "Copyright 2024",
    ]
)
LONG = "\n".join(f"word{n}" for n in range(400))
TWO_ERRORS = "\nremove_lines(start=)\nremove_lines(end=)"


def lines(*numbers: int, of: str = PAGE) -> str:
    return "\n".join(of.split("\n")[at] for at in numbers)


#: Document, program, the recorded text ("" where it was dropped) and the recorded error count.
RECORDED = [
    (PAGE, "remove_lines(start=0, end=0)", lines(1, 2, 3, 4, 5, 6), 0),
    (PAGE, "remove_lines(start=0, end=0)\nremove_lines(start=5, end=6)", lines(1, 2, 3, 4), 0),
    (PAGE, "remove_lines(start=5, end=9)", lines(0, 1, 2, 3, 4), 1),
    (PAGE, "remove_lines(start=5, end=9)\nremove_lines(start=7, end=8)", lines(0, 1, 2, 3, 4), 1),
    (PAGE, "remove_lines(start=7, end=8)", PAGE, 1),
    (PAGE, "remove_lines(start=5, end=9)\nremove_lines(start=20, end=21)", PAGE, 2),
    (PAGE, "remove_lines(start=2, end=3)", lines(0, 1, 4, 5, 6), 0),
    (PAGE, "remove_lines(start=5, end=2)", PAGE, 0),
    (PAGE, "remove_lines(start=-3, end=0)", lines(1, 2, 3, 4, 5, 6), 0),
    (PAGE, "remove_lines(all=True)", "", 0),
    (PAGE, "keep_all()", PAGE, 0),
    (PAGE, "", PAGE, 0),
    (PAGE, "remove_lines(1, 2)\nremove_lines(start=0)", PAGE, 2),
    (
        PAGE,
        "remove_lines(start=a, end=2)\nremove_lines(start=0, end=0)",
        lines(1, 2, 3, 4, 5, 6),
        1,
    ),
    (
        PAGE,
        'normalize(source_str=" | ", target_str=" ")',
        PAGE.replace(" | ", " "),
        0,
    ),
    (
        PAGE,
        'normalize(source_str="Share on Facebook")\nremove_lines(start=0, end=0)',
        lines(1, 2, 3, 4, 4, 6),
        0,
    ),
    (
        PAGE,
        'normalize(source_str="Home", target_str="Share")\n'
        'normalize(source_str="Share", target_str="Follow")',
        PAGE.replace("Home", "Follow").replace("Share", "Follow"),
        0,
    ),
    (
        PAGE,
        'remove_lines(start=6, end=6)\nnormalize(source_str="Copyright 2024", target_str="")',
        lines(0, 1, 2, 3, 4, 5),
        0,
    ),
    (
        PAGE,
        'normalize(source_str="", target_str="x")\nnormalize(source_str=" ", target_str="")',
        PAGE,
        0,
    ),
    (LONG, "remove_lines(start=0, end=379)", "", 0),
    (LONG, "remove_lines(start=0, end=378)", lines(*range(379, 400), of=LONG), 0),
    (LONG, f"remove_lines(start=0, end=379){TWO_ERRORS}", LONG, 2),
    (LONG, f"remove_lines(start=0, end=395){TWO_ERRORS}", "", 2),
]


@pytest.mark.parametrize(("text", "program", "wanted", "errors"), RECORDED)
def test_programs_do_what_the_released_executor_does(
    text: str, program: str, wanted: str, errors: int
) -> None:
    """The published gains are those of these rules."""
    made = execute(text, parse(program))
    assert ("" if made.verdict == "dropped" else made.text) == wanted
    assert made.error_count == errors


@pytest.mark.parametrize(
    ("program", "released", "wanted"),
    [
        (  # cut at the comma: three arguments, which the released executor passes over
            'normalize(source_str="5432, and MySQL", target_str="5432 and MySQL")',
            PAGE,
            PAGE.replace("5432, and", "5432 and"),
        ),
        (  # cut at the first closing parenthesis: the operation keeps "Share on Facebook"
            'normalize(source_str="2024", target_str="(c) 2024")',
            PAGE.replace("2024", "(c"),
            PAGE.replace("2024", "(c) 2024"),
        ),
        (  # broken off: carried out all the same, less its last character
            "remove_lines(start=5, end=56",
            lines(0, 1, 2, 3, 4, 6),
            PAGE,
        ),
    ],
)
def test_faults_of_the_released_executor_are_not_ours(
    program: str, released: str, wanted: str
) -> None:
    """Half a string replaced leaves the other half as debris in the corpus."""
    made = execute(PAGE, parse(program))
    assert made.text == wanted != released
