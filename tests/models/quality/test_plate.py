"""Plates: what is refused, and what is the same however the wells are listed."""

import numpy as np
import pytest

from models.quality.plate import NO_TREATMENT, PlateReadings, Role, well_name
from models.screen import ScreenError


def plate_of(**changes: object) -> PlateReadings:
    table: dict[str, object] = {
        "row": np.array([0, 1, 1, 7]),
        "column": np.array([0, 2, 3, 11]),
        "value": np.array([5.0, np.nan, 3.0, 4.0]),
        "role": np.array([Role.VEHICLE, Role.SAMPLE, Role.SAMPLE, Role.EMPTY]),
        "excluded": np.array([False, False, True, False]),
        "n_rows": 8,
        "n_columns": 12,
        "treatment": np.array([7, 7, NO_TREATMENT, 7]),
    }
    return PlateReadings(**{**table, **changes})


def test_usable_wells_are_read_meant_and_not_excluded() -> None:
    plate = plate_of()
    assert plate.measured.tolist() == [True, False, True, False]
    assert plate.usable.tolist() == [True, False, False, False]
    assert plate.edge.tolist() == [True, False, False, True]


def test_content_numbers_treatments_and_controls() -> None:
    assert plate_of().content().tolist() == [0, 2, -1, -1]
    roles = np.array([Role.REFERENCE, Role.SINGLE, Role.POSITIVE, Role.BLANK])
    assert plate_of(role=roles).content().tolist() == [1, 2, -1, -1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"row": np.array([0, 1, 1, 8])}, "row 8, column 11 is off the 8 x 12 plate"),
        ({"column": np.array([0, -1, 3, 11])}, "off the"),
        ({"column": np.array([0, 3, 3, 11])}, "row 1, column 3 is listed twice"),
        ({"value": np.array([5.0, np.inf, 3.0, 4.0])}, "infinite"),
        ({"value": np.zeros(3)}, "value has shape"),
        ({"treatment": np.zeros(3, np.int64)}, "treatment has shape"),
        ({"role": np.array([0, 1, 2, 9])}, "roles are 0..6"),
        ({"excluded": np.zeros(4)}, "excluded"),
        ({"n_rows": 0}, "no wells"),
    ],
)
def test_impossible_plates_are_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ScreenError, match=words):
        plate_of(**changes)


def test_in_order_is_one_order_for_every_listing_and_can_be_undone() -> None:
    plate = plate_of()
    shuffle = np.array([2, 0, 3, 1])
    one, _ = plate.in_order()
    other, back = plate.select(shuffle).in_order()
    np.testing.assert_array_equal(one.value, other.value)
    np.testing.assert_array_equal(other.value[back], plate.value[shuffle])


def test_well_names() -> None:
    assert [well_name(*at) for at in [(0, 0), (15, 23), (26, 0), (31, 47)]] == [
        "A1",
        "P24",
        "AA1",
        "AF48",
    ]
