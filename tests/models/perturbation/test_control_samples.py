"""Untreated samples that are as noisy as conditions are."""

from __future__ import annotations

import numpy as np
import pytest

from models.perturbation.control_samples import MOST, of_counts, of_log_ratios
from models.perturbation.data import ResponseTable
from models.perturbation.vae.cells import CellTable


def table(n_controls: int, replicates: int, n_genes: int = 40, seed: int = 0) -> ResponseTable:
    """Three conditions of so many replicates; everything is noise of one unit."""
    rng = np.random.default_rng(seed)
    doses = np.vstack([np.zeros((n_controls, 3)), np.repeat(np.eye(3), replicates, axis=0)])
    names = ["none"] * n_controls + [name for name in "abc" for _ in range(replicates)]
    return ResponseTable.of(
        perturbations=list("ABC"),
        readouts=[f"g{k}" for k in range(n_genes)],
        conditions=names,
        doses=doses,
        values=rng.standard_normal((len(names), n_genes)),
    )


@pytest.mark.parametrize("replicates", [1, 4])
def test_are_as_noisy_as_an_averaged_condition(replicates: int) -> None:
    found = of_log_ratios(table(120, replicates, n_genes=400), seed=1)
    assert found.shape == (min(120 // replicates, MOST), 400)
    # 12,000 values or more: the error of a standard deviation is 0.7 % of it.
    assert found.std() == pytest.approx(1.0 / np.sqrt(replicates), rel=0.03)


def test_fewer_controls_than_a_condition_has_make_no_sample() -> None:
    assert of_log_ratios(table(3, 4), seed=1).shape == (0, 40)
    assert of_log_ratios(table(0, 1), seed=1).shape == (0, 40)


def test_missing_and_bad_rows_do_not_count() -> None:
    plain = table(8, 2)
    values = plain.values.copy()
    values[0, 0] = np.nan
    values[1] = 1e6
    bad = np.zeros(len(values), bool)
    bad[1] = True
    odd = ResponseTable.of(
        perturbations=plain.perturbations,
        readouts=plain.readouts,
        conditions=plain.conditions,
        doses=plain.doses,
        values=values,
        low_quality=bad,
    )
    found = of_log_ratios(odd, seed=2)
    assert found.shape == (3, 40)
    assert np.isfinite(found).all()
    assert np.abs(found).max() < 10


def test_counts_scatter_as_pools_of_cells_do() -> None:
    rng = np.random.default_rng(3)
    n_controls, n_cells, mean = 600, 20, 5.0
    doses = np.vstack([np.zeros((n_controls, 2)), np.repeat(np.eye(2), n_cells, axis=0)])
    genes = 200
    cells = CellTable.of(
        perturbations=["A", "B"],
        doses=doses,
        readouts=[f"g{k}" for k in range(genes)],
        values=rng.poisson(mean, (len(doses), genes)).astype(float),
        observation="counts",
        library=np.full(len(doses), 10_000.0),
    )
    found = of_counts(cells, seed=4)
    assert found.shape == (30, genes)
    assert abs(found.mean()) < 0.01
    assert found.std() == pytest.approx(1 / np.sqrt(n_cells * mean), rel=0.06)
