from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.arrow import bytes_and_offsets, to_strings
from curation.kernels.sentences import cut_sentences
from tests.oracles.text import hard_text


def sentences(*texts: str) -> list[list[str]]:
    data, offset = bytes_and_offsets(to_strings(texts))
    owns, start, stop = cut_sentences(data, offset[:-1], offset[1:])
    cut = [bytes(data[a:b]).decode() for a, b in zip(start, stop, strict=True)]
    return [cut[owns[n] : owns[n + 1]] for n in range(len(texts))]


@pytest.mark.parametrize(
    "cut",
    [
        "One is here.|Two is there!|Is three?|yes.",
        "a line\n|another.|line",
        "Dr. Ames met Prof. Doe.|They spoke.",
        "See Fig. 2 and fig. 3.|Then stop.",
        "It is no. 5 of them.|He said no.|Then he left.",
        "Smith et al. found it.|Smith et al.|The end.",
        "By J. R. Doe, M. Well.",
        "It was I.|The end.",
        "At 5 p.m. we met.|At 5 p.m.|They left.",
        "In the U.S. law it is.|In the U.S.|The law is.",
        "Values, i.e. numbers, e.g. These, are 4.5.|Next.",
        "1. First item\n|12. Second item",
        "It costs 15.|Then 16.",
        "He waited... and waited...|Then he left.",
        "Stop! he said.|Stop!|He said.",
        'He said "Go. Now!"|Then he left.',
        'The "A. B. c. d" case.|End.',
        "It (see there. Or here.) is so.|End.",
        "(It is so. It is.)|End of it.",
        "So it is.[12]|The next.",
        "So it is.12|The next.",
        "So it is.(Ames 2001)|The next.",
        "A ( never closed.|Next.\n|Line (too.|Next.",
        "\u201cOne. Two.\u201d|Three \u00aba. b\u00bb c.|d.",
        "\u4e00\u4e8c\u3002|\u4e09\uff01|\u56db",
        "Visit example.org for v1.2.|It is there.",
        "Is it?!|Yes.",
    ],
)
def test_a_sentence_ends_where_a_reader_ends_it(cut: str) -> None:
    """Half a sentence would be asked for, and the wrong half be given as the answer."""
    text = cut.replace("\n|", "\n").replace("\u3002|", "\u3002").replace("\uff01|", "\uff01")
    wanted = [part.strip() for part in cut.split("|")]
    assert sentences(text.replace("|", " ")) == [wanted]


@settings(deadline=None)
@given(
    st.lists(hard_text | st.text("ab. !?\"'()[]\n\u201c\u2019\u3002Dr1", max_size=60), max_size=4)
)
def test_sentences_lose_nothing_but_white_space(texts: list[str]) -> None:
    """A completion would be asked for with words missing between its halves."""
    for text, cut in zip(texts, sentences(*texts), strict=True):
        assert "".join("".join(cut).split()) == "".join(text.split())
        assert all(cut)


def test_a_document_is_cut_as_if_it_were_alone() -> None:
    """A bracket left open in one document would swallow the sentences of the next."""
    texts = ["An (open bracket. It", "is. Here) it. Is", "", "x"]
    assert sentences(*texts) == [sentences(text)[0] for text in texts]


def test_unclosed_marks_cost_one_search_a_line() -> None:
    """A page of brackets that nothing closes would hold up a worker for hours."""
    assert len(sentences("[ a. \u201c b. \u00ab c. " * 50_000)[0]) == 150_000
