import numpy as np
import pytest

from models.screen import ABSENT, ScreenError
from models.synergy.response.treatments import Treatments, distinct

LINE = np.zeros(1, np.int64)


def test_slots_are_sorted_and_dose_zero_is_nothing() -> None:
    found = Treatments.of(np.array([[4, 2, 3]]), np.array([[1.0, 0.0, 5.0]]), LINE, 5, 1)
    assert found.compounds.tolist() == [[3, 4, ABSENT]]
    assert found.doses_um.tolist() == [[5.0, 1.0, 0.0]]


@pytest.mark.parametrize(
    ("compounds", "doses", "line", "words"),
    [
        ([[0, 5]], [[1.0, 1.0]], [0], "compound outside"),
        ([[0, 1]], [[1.0, 1.0]], [1], "cell line outside"),
        ([[0, 0]], [[1.0, 1.0]], [0], "twice"),
        ([[0, ABSENT]], [[1.0, 1.0]], [0], "without a compound"),
        ([[0, 1]], [[1.0, -1.0]], [0], "not negative"),
        ([[0, 1]], [[1.0, np.nan]], [0], "finite"),
        ([[0, 1]], [[1.0]], [0], "equally many"),
        ([[0, 1, 2, 3]], [[1.0] * 4], [0], "at most 3"),
    ],
)
def test_bad_treatments_are_refused(
    compounds: list[list[int]], doses: list[list[float]], line: list[int], words: str
) -> None:
    with pytest.raises(ScreenError, match=words):
        Treatments.of(np.array(compounds), np.array(doses), np.array(line), 5, 1)


def test_distinct_rows_and_their_positions() -> None:
    first, second = np.array([2, 1, 2, 2]), np.array([0.5, 0.1, 0.5, 0.4])
    (a, b), where = distinct(first, second)
    assert a.tolist() == [1, 2, 2]
    assert b.tolist() == [0.1, 0.4, 0.5]
    assert where.tolist() == [2, 0, 2, 1]
