"""Texts that are hard on the kernels of words and lines, as columns cut out of larger ones."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import strategies as st

from tests.oracles.text import hard_text

#: Pieces that some rule looks at: ends of lines and sentences, marks, phrases, scripts, addresses.
PIECES = (
    *("the", "the", "and", "have", "of", "cat", "sat", "Mr.", "don't", "it’s", "U.S.A.", "3.14"),
    *(" ", " ", " ", "\n", "\n", "\n\n", "\n\n\n", "\r\n", "\r", "\t", "\v", "\f", "\x1c", "\x1d"),
    *("\x1e", "\x1f", "\x85", "\u2028", "\u2029", "\xa0", "\u3000", "\u200b", "\u00ad", "\x00"),
    *(".", "...", "..", "…", "?", "!", '"', "'", "”", "。", ",", ";", ":", "#", "##", "-", "—"),
    *("[1]", "[]", "[edit]", "[citation needed]", "[Edit]", "[1", "]", "[٣]", "[12a]", "{", "}"),
    *("javascript", "JavaScript", "java[2]script", "lorem ipsum", "Lorem  Ipsum", "LOREM IPSUM"),
    *("terms of use", "Privacy Policy", "cookie policy", "uses cookies", "use of cookies"),
    *("use cookies", "a cookie", "(", ")", "<", ">", "$5", "US$", "10km", "5%", "e-mail", "--"),
    *("中文字", "かな", "カタカナ", "ไทย", "ລາວ", "ខ្មែរ", "မြန်မာ", "한국어", "e\u0301", "\u0301"),
    *("é", "ß", "Ж", "أَب", "😀", "👩\u200d🔬", "\U0010ffff", "\ufffd", "·", "_", "a.b", "1,000"),
    *("http://a.co/x?y=1#z", "www.site.org", "me@site.org", ":-)", "'s", "n't", "1st", "•"),
    *("٣٤", "Ⅷ", "²", "•", "\u2019", "o'er", "٣.٤", "a·b"),
)

#: A few words and breaks again and again, for what counts repeats.
_AGAIN = ("a", "b", "the cat", "a b c", "\n", "\n\n", " ", " ", ".", "\n \n", "a b\n", "the sat\n")

#: What no UTF-8 has: bytes that continue nothing, characters cut short, halves of a pair.
BAD_BYTES = [
    b"\x80" * 500,
    b"\xff\xfe",
    b"a\xc3",
    b"\xe2\x80",
    b"caf\xe9 \xf0\x9f b",
    b"\xed\xa0\x80\xed\xb0\x80",
    b"\xf5\xbf\xbf\xbf\xf4\xbf\xbf\xbf.",
    b"(\xc3) \xe2\x80\n\xc2\n- \xe2\x80",
]

nasty_text = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=40).map("".join),
    st.lists(st.sampled_from(PIECES), max_size=30).map(" ".join),
    st.lists(st.sampled_from(_AGAIN), max_size=80).map("".join),
    hard_text,
)
nasty_texts = st.lists(nasty_text, max_size=5)


def column(texts: list[str] | list[str | None], lead: str = "é lead.") -> pa.Array:
    """Return texts as a column whose offsets do not start at 0: another row lies before them."""
    return pa.array([lead, *texts], pa.large_string())[1:]
