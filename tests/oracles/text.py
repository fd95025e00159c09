"""Strings that are hard on kernels over UTF-8: white space, near white space, many widths."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.oracles.spaces import WHITE_SPACE

#: Neighbours of the white space characters: other bytes after the same first ones.
_NEAR = "\x08\x0e\x1c\x1f\x84\x86\x9f\xa1\u167f\u1681\u1fff\u200b\u2027\u202a\u202e\u2030\u205e"
_NEAR += "\u2060\u2fff\u3001\u1000\uffff"
_WORDS = "aZ.!?\"')\u2019\u201d\u3002\uff01\uff1f\u4e2d\xe9\xc9\u0301\U0001f600\U0010ffff"

hard_text = st.text(st.sampled_from(WHITE_SPACE + _NEAR + _WORDS) | st.characters(codec="utf-8"))
_PARTS = ["\n", "\n\n", "\r\n", " ", "\u3000", "a", "ab", ".", "!'", "\u201d", "\u3002", "\u4e2d"]
#: Many breaks of every kind close together.
spaced_text = st.lists(st.sampled_from(_PARTS), min_size=8, max_size=40).map("".join)
