"""Cells that fail, and genes that get a coordinate."""

from __future__ import annotations

import numpy as np
import pytest

from models.perturbation.vae.cells import CellTable
from models.perturbation.vae.quality import failed_cells, shift_columns
from models.screen import ScreenError


def _cells(values: np.ndarray, doses: np.ndarray | None = None) -> CellTable:
    return CellTable.of(
        perturbations=["g0"],
        doses=np.zeros((len(values), 1)) if doses is None else doses,
        readouts=[f"g{i}" for i in range(values.shape[1])],
        values=values,
        observation="counts",
    )


def test_each_reason_to_fail_is_seen() -> None:
    rng = np.random.default_rng(0)
    values = rng.poisson(50, (100, 20)).astype(float) * (rng.random((100, 20)) < 0.9)
    values[:, 0] = 50
    values[3] = np.round(values[3] / 10)
    values[4, 5:] = 0
    values[4, 1:5] += 200
    values[5, 0] = 900
    few = failed_cells(_cells(values), {})
    mask = np.zeros(20, bool)
    mask[0] = True
    with_set = failed_cells(_cells(values), {"mitochondrial": mask})
    assert few[[3, 4]].all()
    assert not few[5]
    assert with_set[[3, 4, 5]].all()
    assert with_set.mean() < 0.12


def test_genes_must_change_strongly_and_surely_unless_perturbed() -> None:
    """The published filter let every gene of large change in, significant or not."""
    rng = np.random.default_rng(0)
    rate = np.full((80, 6), 100.0)
    doses = np.repeat([0.0, 1.0], 40)[:, None]
    rate[40:, 1] *= 32
    rate[40:, 2] *= 1.3
    values = rng.poisson(rate).astype(float)
    # One wild cell moves the mean of gene 3 but is no sure change.
    values[:, 3] = 0
    values[79, 3] = 1e8
    found = shift_columns(_cells(values, doses), ("g0",), least_change=0.25)
    assert found[0] == "g0"
    assert "g1" in found
    assert "g3" not in found
    assert shift_columns(_cells(values, doses), ("g1", "q"), least_change=3.0)[:2] == ("g1", "q")


def test_quality_needs_counts_and_controls() -> None:
    values = np.ones((4, 3))
    with pytest.raises(ScreenError, match="control cells"):
        shift_columns(_cells(values, np.ones((4, 1))), ())
    continuous = CellTable.of(
        perturbations=["a"],
        doses=np.zeros((4, 1)),
        readouts=["x", "y", "z"],
        values=values,
        observation="continuous",
    )
    with pytest.raises(ScreenError, match="counts"):
        failed_cells(continuous, {})
