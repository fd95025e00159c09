from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from curation.evaluate.ring import Ring, rank


@given(st.sets(st.text(max_size=5), max_size=20), st.integers(0, 2**64 - 1))
def test_a_ring_is_gone_round_once(names: set[str], place: int) -> None:
    """A distractor would be drawn twice or never."""
    ring = Ring(names, 3)
    order = list(ring.after(place))
    assert sorted(order) == sorted(names)
    assert len(ring) == len(names)
    ranks = [(rank(3, name) - place) % 2**64 for name in order]
    assert ranks == sorted(ranks)


def test_a_new_name_leaves_the_others_order() -> None:
    """One more document would change every item of a probe."""
    names = [f"n{n}" for n in range(50)]
    before, after = (list(Ring(n, 0).after(2**63)) for n in (names, [*names, "new"]))
    assert [name for name in after if name != "new"] == before
    assert rank(0, "a", "b") != rank(0, "ab") != rank(1, "ab")
