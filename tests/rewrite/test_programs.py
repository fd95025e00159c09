"""Programs that models write: read, and carried out, and never more than that."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.rewrite.programs import (
    Normalize,
    Operation,
    Program,
    RemoveAll,
    RemoveLines,
    execute,
    joined,
    parse,
    parse_document,
)
from tests.oracles import prox
from tests.oracles.text import hard_text

#: Twelve words and more stay when a line goes, so that no rule about short texts is met.
TEXT = "Home | About\nOne two three four five six seven.\nEight nine ten eleven twelve.\nShare"


def normalize(source: str, target: str = "") -> Normalize:
    return Normalize((source, target), (source, target))


@given(prox.plain_text, prox.plain_operations, st.integers(0, 2))
def test_programs_do_what_the_slow_definition_does(
    text: str, operations: list[prox.Operation], wrong: int
) -> None:
    """A corpus refined by other rules than the published ones has another effect on a model."""
    lines = [prox.written(operation) for operation in operations] + ["nonsense"] * wrong
    made = execute(text, parse("\n".join(lines)))
    if not text.split():
        assert made.verdict == "dropped"
        return
    wanted, errors = prox.execute(text, operations, wrong)
    assert made.error_count == errors
    assert (made.verdict == "dropped") == (wanted == "")
    assert made.text == (wanted or text)


@given(hard_text, hard_text | st.lists(st.sampled_from(
    ["remove_lines(", "start=", "end=", "normalize(", "source_str=", '"', "'", ",", ")", "\\", "9",
     "all=True", "\n", " ", "a", "=", "#", "-", "target_str="]
)).map("".join), st.booleans())  # fmt: skip
def test_any_reply_is_a_program(text: str, reply: str, is_cut: bool) -> None:
    """A model may say anything; a reply that raises would take its document out of the corpus."""
    made = execute(text, parse(reply, is_cut=is_cut))
    assert made.error_count >= is_cut
    assert made.verdict == "refined" or made.text == text
    parse_document(reply, is_cut=is_cut)


@given(hard_text.filter(lambda text: "\n" not in text), hard_text)
def test_a_string_with_escapes_is_read_back_whole(source: str, target: str) -> None:
    """Commas, quotes and parentheses are what web debris is made of."""
    source, target = source.replace("\r", ""), target.replace("\n", "").replace("\r", "")
    quoted = [text.replace("\\", "\\\\").replace('"', '\\"') for text in (source, target)]
    line = f'normalize(source_str="{quoted[0]}", target_str="{quoted[1]}")'
    (operation,) = parse(line).operations
    assert isinstance(operation, Normalize)
    assert operation.resolved == (source, target)


@pytest.mark.parametrize(
    ("line", "operation"),
    [
        ("remove_lines(start=2, end=5)", RemoveLines(2, 5)),
        ("  remove_lines( end = 5 ,start= 2 ) ;", RemoveLines(2, 5)),
        ("remove_lines(start=2, end=5)  # the menu (top)\r", RemoveLines(2, 5)),
        ("remove_lines(start=000, end=1234,)", RemoveLines(0, 1234)),
        ("remove_lines(start=-1, end=3)", RemoveLines(-1, 3)),
        ("remove_lines(all=True)", RemoveAll()),
        ("remove_all()", RemoveAll()),
        ("drop()", RemoveAll()),
        ('normalize(source_str="a, b", target_str="c, d")', normalize("a, b", "c, d")),
        ('normalize(source_str="f(x)", target_str=")")', normalize("f(x)", ")")),
        ('normalize(source_str="a=b=c", target_str="=")', normalize("a=b=c", "=")),
        ('normalize(source_str="say "hi", all", target_str="")', normalize('say "hi", all')),
        ("normalize(source_str='it\"s', target_str=\"'\")", normalize('it"s', "'")),
        ('normalize(source_str="gone")', normalize("gone")),
        ('normalize(target_str="y", source_str="x")', normalize("x", "y")),
        ('normalize(source_str="#1) x", target_str="#")', normalize("#1) x", "#")),
        (
            r'normalize(source_str="a\nb", target_str="\"")',
            Normalize((r"a\nb", r"\""), ("a\nb", '"')),
        ),
    ],
)
def test_a_line_is_an_operation(line: str, operation: Operation) -> None:
    """What a model wrote in good order must be done, as it meant it."""
    assert parse(line) == Program((operation,), 0)


@pytest.mark.parametrize(
    "line",
    [
        "remove_lines(start=1, end=2",
        "remove_lines(start=1, end=",
        "remove_lines(1, 2)",
        "remove_lines(start=1)",
        "remove_lines(start=1, end=2, start=3)",
        "remove_lines(start='1', end=2)",
        "remove_lines(start=1.5, end=2)",
        "remove_lines(start=1, end=2) remove_lines(start=4, end=5)",
        "remove_lines(all=False)",
        "remove_lines()",
        "remove_lines(start=" + "9" * 5000 + ", end=2)",
        'normalize(source_str="a, target_str="b")x',
        'normalize(source_str="a", target_str="b',
        'normalize(source="a", target="b")',
        'normalize(source_str="a", target_str="b", count="1")',
        "normalize(source_str=a, target_str=b)",
        'normalize(target_str="b")',
        "normalize()",
        "delete_lines(start=1, end=2)",
        "drop(all=True)",
        "__import__('os').system('true')",
        "[003]remove_lines(start=0, end=999)",
        "I would remove the first line.",
    ],
)
def test_a_line_that_is_no_operation_is_counted_and_not_done(line: str) -> None:
    """Half an operation carried out takes away what the model did not mean."""
    assert parse(line) == Program((), 1)


@pytest.mark.parametrize("line", ["", "  ", "```", "```python", "keep_all()", "untouch_doc()"])
def test_fences_and_operations_that_keep_do_nothing(line: str) -> None:
    """A general model puts programs into code fences; that is no error of its program."""
    assert parse(line) == Program((), 0)


def test_the_last_line_of_a_cut_reply_is_not_done() -> None:
    """``end=12`` may be the beginning of ``end=127``, and the other way round."""
    program = parse("remove_lines(start=0, end=0)\nremove_lines(start=3, end=3)", is_cut=True)
    assert program == Program((RemoveLines(0, 0),), 1)
    assert parse("remove_lines(start=0, end=0)\n", is_cut=True).error_count == 1
    assert parse("", is_cut=True) == Program((), 1)


def test_normalisations_come_first_and_see_each_other() -> None:
    """Line numbers are those of the text that the model saw, whatever stands first in a program."""
    program = parse(
        'remove_lines(start=3, end=3)\nnormalize(source_str="One", target_str="Share")\n'
        'normalize(source_str="Share", target_str="Ten")'
    )
    made = execute(TEXT, program)
    assert made.text == "\n".join(TEXT.replace("One", "Ten").split("\n")[:3])
    assert (made.verdict, made.removed_line_count, made.normalize_count) == ("refined", 1, 3)


def test_an_interval_beyond_the_document_is_an_error_once() -> None:
    """Two such errors and the text stays as it was: a model that miscounts is not followed."""
    one = execute(TEXT, parse("remove_lines(start=3, end=9)\nremove_lines(start=4, end=12)"))
    assert (one.verdict, one.error_count, one.removed_line_count) == ("refined", 1, 1)
    two = execute(TEXT, parse("remove_lines(start=3, end=9)\nremove_lines(start=40, end=41)"))
    assert (two.verdict, two.error_count, two.text) == ("refused", 2, TEXT)


def words(count: int) -> str:
    return "\n".join(f"w{n}" for n in range(count))


@pytest.mark.parametrize(
    ("text", "program", "verdict"),
    [
        (words(400), "remove_lines(start=0, end=379)", "dropped"),  # 20 of 400: a twentieth
        (words(400), "remove_lines(start=0, end=378)", "refined"),
        (words(400), "remove_lines(start=0, end=379)\n?", "dropped"),
        (words(400), "remove_lines(start=0, end=379)\n?\n?", "refused"),
        (words(40), "remove_lines(start=0, end=29)", "dropped"),  # ten words left
        (words(40), "remove_lines(start=0, end=28)", "refined"),
        (words(40), "remove_lines(start=0, end=29)\n?\n?", "dropped"),
        (words(40), "remove_lines(all=True)", "dropped"),
        (words(40), "keep_all()", "kept"),
        (words(40), "?", "kept"),
        (words(40), "?\n?", "refused"),
        (words(10), "keep_all()", "dropped"),
        ("", "keep_all()", "dropped"),
        (" \n\t", "remove_lines(start=0, end=0)", "dropped"),
    ],
)
def test_the_published_rules_accept_or_drop(text: str, program: str, verdict: str) -> None:
    """Each rule decides about every document of a corpus."""
    made = execute(text, parse(program))
    assert made.verdict == verdict
    assert made.text == text or verdict == "refined"


def test_a_string_is_taken_as_written_where_only_that_is_in_the_text() -> None:
    """In mathematical text a backslash and an n are the beginning of \\neq, not a line feed."""
    text = r"if $a \neq b$ then one two three four five six seven eight nine ten"
    made = execute(text, parse(r'normalize(source_str="\neq b", target_str="\times b")'))
    assert made.text == text.replace(r"\neq", r"\times")
    lines = "Share\nTweet " + text
    made = execute(lines, parse(r'normalize(source_str="Share\nTweet ", target_str="")'))
    assert made.text == text


def test_a_normalisation_cannot_blow_a_text_up() -> None:
    """Six operations that each put ten letters for one would make a gigabyte of a kilobyte."""
    grows = 'normalize(source_str="e", target_str="eeeeeeeeee")\n' * 6
    made = execute("e " * 600, parse(grows))
    assert len(made.text) <= 2 * 1200
    assert (made.error_count, made.verdict) == (6, "refused")


@pytest.mark.parametrize(
    "line",
    [
        'normalize(source_str=""SPACES x',
        'normalize(source_str="a"SPACES,SPACES)SPACES;SPACES x',
        'normalize(source_str="a")SPACES;SPACESx',
        "remove_lines(start=1SPACES, end=2SPACES)SPACES x",
    ],
)
def test_white_space_in_a_program_is_read_once(line: str) -> None:
    """Half a megabyte of spaces, tried in every length, would hold a run up for an hour."""
    assert parse(line.replace("SPACES", " " * 500_000)) == Program((), 1)


@pytest.mark.parametrize("space", ["", " ", "  \t"])
def test_white_space_between_the_parts_of_an_operation_says_nothing(space: str) -> None:
    """An operation that is read in one hand and not in another is done by chance."""
    parts = ["normalize(", "source_str", "=", '"a"', ",", "target_str", "=", '"b"', ",", ")", ";"]
    wanted = Program((normalize("a", "b"),), 0)
    assert parse(space.join(parts)) == wanted
    assert parse(space.join([*parts[:-3], ")"])) == wanted
    assert parse(space.join([*parts, "# why"])) == wanted


def test_intervals_that_touch_or_overlap_are_one() -> None:
    """Their errors are counted as one, as published: two would refuse the program."""
    for second in ("start=9, end=12", "start=7, end=12", "start=4, end=12"):
        made = execute(TEXT, parse(f"remove_lines(start=3, end=8)\nremove_lines({second})"))
        assert (made.verdict, made.error_count) == ("refined", 1)
    apart = execute(TEXT, parse("remove_lines(start=3, end=8)\nremove_lines(start=10, end=12)"))
    assert (apart.verdict, apart.error_count) == ("refused", 2)


def test_great_line_numbers_cost_nothing() -> None:
    """The released executor lists every number of an interval: a trillion of them end the run."""
    made = execute(TEXT, parse("remove_lines(start=3, end=999999999999)"))
    assert made.removed_line_count == 1


def test_line_ends_of_windows_stay_with_their_lines() -> None:
    """A line removed must not leave half a line end behind."""
    text = TEXT.replace("\n", "\r\n")
    made = execute(text, parse("remove_lines(start=0, end=0)\r\nremove_lines(start=3, end=3)\r\n"))
    assert made.text == "\r\n".join(TEXT.split("\n")[1:3]) + "\r"


def test_programs_of_chunks_make_one() -> None:
    """Errors of all chunks count together, as published."""
    one, two = parse("remove_lines(start=0, end=0)\n?"), parse("remove_all()\n?")
    assert joined([one, two]) == Program((RemoveLines(0, 0), RemoveAll()), 2)
    assert joined([]) == Program()


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        ("drop_doc()", (True, 0)),
        ("Drop", (True, 0)),
        ("```\n`drop_doc()`\n```", (True, 0)),
        ("keep_doc()", (False, 0)),
        ("untouch_doc()\n", (False, 0)),
        ("The page is spam.\ndrop_doc().", (True, 0)),
        ("Do not drop this document: keep it.", (False, 1)),
        ("drop_doc()\nkeep_doc()", (False, 1)),
        ("", (False, 1)),
        ("raindrop", (False, 1)),
    ],
)
def test_a_document_is_dropped_by_a_line_that_says_so(reply: str, told: tuple[bool, int]) -> None:
    """A reply of "do not drop" would drop a document where the word alone decides."""
    assert parse_document(reply) == told


def test_a_cut_verdict_is_an_error() -> None:
    """What was cut off might have been the other verdict."""
    assert parse_document("drop_doc()", is_cut=True) == (False, 1)
    assert parse_document("drop_doc()\nbecause it", is_cut=True) == (True, 0)
