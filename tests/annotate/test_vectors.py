from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from curation.annotate.vectors import Vectors, commonest_length

NAN, INF = float("nan"), float("inf")
KIND = pa.large_list(pa.float32())
ROWS = [[3.0, 4.0], None, [], [0.0, 0.0], [1.0, None], [NAN, 1.0], [INF, 1.0], [1.0, 2.0, 2.0]]


def test_rows_without_a_direction_are_found() -> None:
    """A vector of nothing divided by its length is nothing that compares."""
    vectors = Vectors.of(pa.array([*ROWS, [-0.0, 2.0]], KIND))
    assert vectors.norm_N.tolist() == [5.0, 0, 0, 0, 0, 0, 0, 3.0, 2.0]
    assert vectors.rows_of(2).tolist() == [0, 8]
    assert vectors.rows_of(3).tolist() == [7]
    unit = vectors.unit(vectors.rows_of(2), 2)
    assert unit == pytest.approx(np.array([[0.6, 0.8], [0.0, 1.0]]))
    assert not np.signbit(unit).any()


@pytest.mark.parametrize("start", [0, 1, 7, 8])
def test_a_slice_of_a_column_is_read_from_where_it_begins(start: int) -> None:
    """Batches are slices: another row's vector would be taken."""
    column = pa.array(ROWS, KIND).slice(start)
    vectors = Vectors.of(column)
    whole = Vectors.of(pa.array(ROWS[start:], KIND))
    assert vectors.norm_N.tolist() == whole.norm_N.tolist()
    row = vectors.rows_of(3)
    assert np.array_equal(vectors.unit(row, 3), whole.unit(row, 3))


def test_rows_that_are_not_wanted_have_no_direction() -> None:
    """A row marked as a copy would take part again."""
    wanted = np.array([False] * 7 + [True])
    assert Vectors.of(pa.array(ROWS, KIND), wanted).norm_N.tolist() == [0.0] * 7 + [3.0]
    assert not Vectors.of(pa.array(ROWS, KIND), wanted & False).norm_N.any()


def test_the_commonest_length_is_that_of_most_and_of_two_the_longer() -> None:
    """A stray vector of another model would decide for all others."""
    found = [Vectors.of(pa.array(rows, KIND)) for rows in ([[1.0]], [[1.0, 1.0], None])]
    assert commonest_length(found) == (2, 1)
    assert commonest_length([*found, found[0]]) == (1, 2)
    assert commonest_length([]) == (0, 0)
