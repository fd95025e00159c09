from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.arrow import bytes_and_offsets
from curation.kernels import lines as kernel
from curation.kernels.hashing import SEED_0
from curation.kernels.unicode import flag_table
from tests.oracles import lines as oracle
from tests.oracles.nasty import column, nasty_text, nasty_texts

Rows = list[tuple[float | None, ...]]


def rows(values: np.ndarray) -> Rows:
    """Return an array's rows as tuples, NaN as None."""
    return [tuple(None if x != x else x for x in row) for row in values.tolist()]


def cut(texts: list[str]) -> tuple[np.ndarray, np.ndarray, kernel.Lines]:
    data, offset = bytes_and_offsets(column(texts))
    return data, offset, kernel.split_lines(data, offset)


@settings(deadline=None)  # the first call compiles
@given(nasty_texts)
def test_lines_are_those_between_line_feeds(texts: list[str]) -> None:
    """Every rule on lines would count others than the published one."""
    data, _, lines = cut(texts)
    wanted = [text.split("\n") for text in texts]
    assert np.diff(lines.offset).tolist() == [len(row) for row in wanted]
    line_L = lines.line_L
    found = [bytes(data[line["start"] : line["stop"]]).decode() for line in line_L]
    flat = [line for row in wanted for line in row]
    assert found == flat
    assert line_L["chars"].tolist() == list(map(len, flat))
    chars = kernel.count_text_chars(lines.offset, line_L)
    assert chars.tolist() == list(map(len, texts))
    for bit, test in (
        (kernel.BLANK, oracle.blank),
        (kernel.TERMINATED, oracle.terminated),
        (kernel.BROKEN, oracle.broken),
    ):
        assert [bool(kind & bit) for kind in line_L["kind"].tolist()] == list(map(test, flat))


@settings(deadline=None)  # the first call compiles
@given(nasty_texts)
def test_lines_have_equal_hashes_where_they_are_equal(texts: list[str]) -> None:
    """A repeated line is known by its hash alone."""
    _, _, lines = cut(texts)
    flat = [line for text in texts for line in text.split("\n")]
    hashes = lines.line_L["hash"].tolist()
    assert len(set(zip(flat, hashes, strict=True))) == len(set(flat)) == len(set(hashes))


def test_a_line_is_hashed_with_the_published_function() -> None:
    """Another function would move every stored value that is made of it."""
    import xxhash

    _, _, lines = cut(["", "é line\n" + "x" * 1000])
    wanted = [xxhash.xxh64(line.encode(), int(SEED_0)).intdigest() for line in ("", "é line")]
    assert lines.line_L["hash"].tolist()[:2] == wanted


def ends(text: str) -> list[str]:
    """Return a text's lines as the kernel walks from one to the next."""
    data, found, at = np.frombuffer(text.encode(), dtype=np.uint8), [], 0
    while at < len(data):
        close, after = kernel.next_line(data, at, len(data))
        found.append(bytes(data[at:close]).decode())
        at = after
    return found


@settings(deadline=None)  # the first call compiles
@given(nasty_text)
def test_lines_end_where_python_ends_them(text: str) -> None:
    """C4 judges these lines; with others, other lines stay."""
    assert ends(text) == text.splitlines()


def test_lines_end_at_these_characters_and_at_no_others() -> None:
    """One end of a line among eleven is met by chance too seldom."""
    for code in [*range(0x300), *range(0x1FF0, 0x2070), 0x2828, 0x3000, 0xE000, 0x1F600]:
        text = f"one{chr(code)}two"
        assert ends(text) == text.splitlines(), hex(code)
        _, _, lines = cut([text])
        is_broken = bool(lines.line_L[0]["kind"] & kernel.BROKEN)
        assert is_broken == (chr(code) in oracle.OTHER_ENDS), hex(code)


@settings(deadline=None)  # the first call compiles
@given(nasty_text)
def test_white_space_at_the_ends_is_trimmed_as_python_strips_it(text: str) -> None:
    """A line that begins with a wide space and a bullet is a line of a list all the same."""
    data = np.frombuffer(("a" + text + "b").encode(), dtype=np.uint8)
    stop = len(data) - 1
    first = kernel.trim_start(data, 1, stop, flag_table())
    last = kernel.trim_end(data, 1, stop, flag_table())
    assert bytes(data[first:stop]).decode() == text.lstrip()
    assert bytes(data[1:last]).decode() == text.rstrip()


@settings(deadline=None)  # the first call compiles
@given(nasty_texts)
def test_bullets_and_ellipses_are_counted_on_the_lines_of_python(texts: list[str]) -> None:
    """Gopher's rule on lists would drop prose, or keep menus."""
    data, _, lines = cut(texts)
    made = kernel.gopher_lines(data, lines.offset, lines.line_L, flag_table())
    assert rows(made) == [oracle.gopher(text) for text in texts]


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("", (None, None)),
        ("\n", (0, 0)),
        ("- a\nb", (1 / 2, 0)),
        ("- a\r\nb\r\n", (1 / 2, 0)),
        ("- a\n\n\nb...", (1 / 4, 1 / 4)),
        (" • a\x85\u2028• b…\u2029", (2 / 3, 1 / 3)),
        ("a\v\n-b", (1 / 3, 0)),
        ("a\r\n\n-b\r", (1 / 3, 0)),
        ("- a... \x1c\r", (1 / 2, 1 / 2)),
        ("a..\n....\n.", (0, 1 / 3)),
        ("\u2027-\n\u2022\n\u2023", (1 / 3, 0)),
    ],
)
def test_lines_of_lists_are_counted_as_shown(text: str, shares: tuple[float, float]) -> None:
    """The corners where a line end stands beside another are met by chance too seldom."""
    data, _, lines = cut([text])
    made = kernel.gopher_lines(data, lines.offset, lines.line_L, flag_table())
    assert rows(made) == [shares] == [oracle.gopher(text)]


@settings(deadline=None)  # the first call compiles
@given(nasty_texts)
def test_number_signs_and_ellipses_are_counted(texts: list[str]) -> None:
    """Gopher's ratio of symbols to words is made of them."""
    data, offset, _ = cut(texts)
    assert rows(kernel.count_marks(data, offset)) == [oracle.marks(text) for text in texts]


def test_ellipses_do_not_overlap() -> None:
    """A table of contents has thousands of full stops in a row."""
    texts = ["." * n for n in range(10)] + ["……", "…...", ".…..", "..", "\u2025\u2027"]
    data, offset, _ = cut(texts)
    found = kernel.count_marks(data, offset)[:, 1].tolist()
    assert found == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 2, 2, 1, 0, 0]


@settings(deadline=None)  # the first call compiles
@given(nasty_texts, st.sampled_from([0, 3, 30]))
def test_fineweb_shares_are_those_of_the_definition(texts: list[str], short: int) -> None:
    """FineWeb's rules drop one page in five by these numbers."""
    _, _, lines = cut(texts)
    made = kernel.fineweb_lines(lines.offset, lines.line_L, short)
    assert rows(made) == [oracle.fineweb(text, short) for text in texts]


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.integers(0, 40) | st.integers(0, 2**64 - 1), max_size=60))
def test_a_set_tells_what_it_has_met(values: list[int]) -> None:
    """A line met twice would count once, or a new one as repeated; zero marks a free slot."""
    slots = kernel.room_for_set(np.array([0, len(values)]))
    slots[:] = 7
    mask = kernel.clear_set(slots, len(values))
    assert mask < len(slots)
    folded = [max(value, 1) for value in values]
    for n, value in enumerate(values):
        assert kernel.add_to_set(slots, mask, np.uint64(value)) == (folded[n] in folded[:n])
