"""Tensors of cells: standardised inputs and likenesses of failed cells."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.perturbation.vae.cells import CellTable
from models.perturbation.vae.prepared import InputScaling, Prepared, failed_likeness
from tests.models.perturbation.vae.small import counts


def test_inputs_have_mean_0_and_deviation_1() -> None:
    cells = counts()
    inputs = InputScaling.of(cells).inputs(cells)
    assert inputs.mean(axis=0) == pytest.approx(np.zeros(8), abs=1e-10)
    assert inputs.std(axis=0) == pytest.approx(np.ones(8))


def test_missing_values_stand_at_the_centre_and_constants_divide_by_one() -> None:
    values = np.array([[1.0, 5.0], [np.nan, 5.0], [3.0, 5.0]])
    cells = CellTable.of(
        perturbations=["a"],
        doses=np.zeros((3, 1)),
        readouts=["x", "y"],
        values=values,
        observation="continuous",
    )
    assert InputScaling.of(cells).inputs(cells).tolist() == [[-1, 0], [0, 0], [1, 0]]


def test_the_likeness_is_the_median_of_failed_cells_of_the_same_doses() -> None:
    cells = counts(200)
    likeness, known = failed_likeness(cells, 0)
    row = int(np.flatnonzero(~cells.low_quality & ~cells.is_control)[0])
    same = (cells.doses == cells.doses[row]).all(axis=1) & cells.low_quality
    assert likeness[row] == pytest.approx(np.median(np.log1p(cells.values[same]), axis=0))
    assert not known[cells.low_quality].any()
    assert known[row] == 1


def test_without_failed_cells_nothing_has_a_likeness() -> None:
    cells = counts()
    _, known = failed_likeness(cells.select(~cells.low_quality), 0)
    assert not known.any()


def test_rows_are_selected_together() -> None:
    cells = counts()
    data = Prepared.of(cells, InputScaling.of(cells), 0, None, 8)
    some = data.rows.select(torch.tensor([5, 2]))
    assert torch.equal(some.values, data.rows.values[[5, 2]])
    assert some.change.isnan().all()
