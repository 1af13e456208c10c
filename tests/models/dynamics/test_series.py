"""Time courses: what is refused, ragged times, selections."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.dynamics.series import GroupFactor, TimeCourses, from_ragged
from models.screen import ScreenError
from tests.models.dynamics.toys import drawn_series


def test_ragged_series_share_the_union_of_their_times() -> None:
    first = (np.array([0.0, 2.0]), np.array([[1.0, 2.0]]))
    second = (np.array([1.0, 2.0, 5.0]), np.array([[3.0, 4.0, 5.0]]))
    table = from_ragged([first, second], ("od",), ("a", "b"))
    assert table.times.tolist() == [0, 1, 2, 5]
    np.testing.assert_array_equal(table.values[0, 0], [1, np.nan, 2, np.nan])
    np.testing.assert_array_equal(table.values[1, 0], [np.nan, 3, 4, 5])
    assert table.observed.sum() == 5


def test_a_selection_keeps_times_and_group_labels() -> None:
    table = drawn_series(6, 3, 0)
    part = table.select(np.array([4, 1]))
    assert part.names == ("s4", "s1")
    assert part.factor("plate").labels == ("p0", "p1", "p2")
    assert part.factor("plate").index.tolist() == [1, 1]
    np.testing.assert_array_equal(part.values, table.values[[4, 1]])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"times": np.array([0.0, 2.0, 1.0])}, "ascend"),
        ({"times": np.array([-1.0, 0.0, 1.0])}, "not be negative"),
        ({"values": np.zeros((4, 2, 3))}, "4 series x 1 channels"),
        ({"values": np.full((4, 1, 3), np.inf)}, "infinite"),
        ({"values": np.full((4, 1, 3), np.nan)}, "'s0' has no reading"),
        ({"names": ("a", "a", "b", "c")}, "named twice"),
        ({"inputs": np.full((4, 1), np.nan), "input_names": ("dose",)}, "NaN"),
        ({"factors": (GroupFactor("plate", ("a",), np.zeros(3, np.int64)),)}, "3 of 4"),
    ],
)
def test_what_no_model_may_see(change: dict, words: str) -> None:
    table = drawn_series(4, 2, 0)
    with pytest.raises(ScreenError, match=words):
        replace(table, **change)


def test_factors_are_checked_and_found_by_name() -> None:
    with pytest.raises(ScreenError, match="twice"):
        GroupFactor("plate", ("a", "a"), np.zeros(1, np.int64))
    with pytest.raises(ScreenError, match="outside"):
        GroupFactor("plate", ("a",), np.array([1]))
    with pytest.raises(ScreenError, match="no group factor 'donor'"):
        drawn_series(4, 2, 0).factor("donor")


def test_ragged_readings_must_fit_their_times() -> None:
    with pytest.raises(ScreenError, match="'a' is not channels x its times"):
        from_ragged([(np.array([0.0]), np.zeros((1, 2)))], ("od",), ("a",))


def test_empty_tables_are_allowed() -> None:
    table = TimeCourses(np.array([0.0]), np.zeros((0, 1, 1)), ("od",), (), np.zeros((0, 0)))
    assert len(table) == 0
