"""Cells: conversion from and to conditions, dose rows over targets, and refusals."""

from __future__ import annotations

import numpy as np
import pytest

from models.perturbation.vae.cells import CellTable, condition_name, from_responses
from models.screen import ScreenError


def _counts(**changes) -> CellTable:
    fields = {
        "perturbations": ["a", "b"],
        "doses": np.array([[0, 0], [1, 0], [1, 0.5]]),
        "readouts": ["x", "y", "z"],
        "values": np.array([[1, 2, 3], [4, 0, 0], [5, 5, 5.0]]),
        "observation": "counts",
    }
    return CellTable.of(**(fields | changes))


def test_libraries_are_the_sums_of_counts() -> None:
    cells = _counts()
    assert cells.library.tolist() == [6, 4, 15]
    assert cells.is_control.tolist() == [True, False, False]


def test_profiles_are_logarithms_of_counts_in_ten_thousand() -> None:
    assert _counts().profiles()[0] == pytest.approx(np.log1p(1e4 * np.array([1, 2, 3]) / 6))


def test_conditions_and_cells_convert_both_ways() -> None:
    cells = _counts(low_quality=np.array([False, True, False]))
    table = cells.responses()
    assert table.kind == "counts"
    assert table.conditions == ("control", "a", "a + b (0.5)")
    back = from_responses(table)
    assert back.observation == "counts"
    for name in ("doses", "values", "low_quality", "affinity", "library"):
        assert np.array_equal(getattr(back, name), getattr(cells, name))


def test_log_ratios_become_continuous_and_keep_their_gaps() -> None:
    values = np.array([[0.5, np.nan], [1.0, 2.0], [0.0, -1.0]])
    cells = _counts(observation="continuous", readouts=["x", "y"], values=values)
    assert from_responses(cells.responses()).observation == "continuous"
    assert np.array_equal(from_responses(cells.responses()).values, values, equal_nan=True)
    assert cells.library.tolist() == [1, 1, 1]


def test_dose_rows_are_over_targets() -> None:
    affinity = np.array([[1.0, 0.5, 0], [0, 1.0, 0]])
    cells = _counts(targets=["t", "u", "v"], affinity=affinity)
    assert cells.target_presence().tolist() == [[0, 0, 0], [1, 1, 0], [1, 1, 0]]
    assert cells.target_rows()[2].tolist() == [1.0, 1.5, 0.0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"values": np.array([[1, 2, 3], [4, 0.5, 0], [5, 5, 5]])}, "counts must be"),
        ({"values": np.array([[1, 2, 3], [0, 0, 0], [5, 5, 5.0]])}, "no molecules"),
        ({"values": np.array([[1, 2, np.nan]] * 3)}, "no value in any cell"),
        ({"readouts": ["x", "x", "z"]}, "readout is listed twice"),
        ({"doses": np.array([[0, 0], [-1, 0], [1, 1.0]])}, "0 or positive"),
        ({"targets": ["t"], "affinity": np.array([[1.0], [0.0]])}, "no target"),
        ({"targets": ["t"]}, "both the targets"),
        ({"observation": "reads"}, "not one of"),
        ({"library": np.ones(2)}, "library has shape"),
    ],
)
def test_bad_tables_are_refused_in_words(changes, words) -> None:
    with pytest.raises(ScreenError, match=words):
        _counts(**changes)


def test_conditions_are_named_by_perturbation_and_dose() -> None:
    assert condition_name(["a", "b"], np.array([1.0, 0.25])) == "a + b (0.25)"
    assert condition_name(["a", "b"], np.zeros(2)) == "control"
