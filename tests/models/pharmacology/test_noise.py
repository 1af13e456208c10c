"""Replicates: gathered whatever their order, averaged without their outliers, scatter learned."""

import numpy as np
import pytest

from models.pharmacology.noise import (
    NoiseModel,
    gather_replicates,
    learn_noise,
    robust_means,
)
from models.screen import ABSENT, Wells

FLAT = NoiseModel(0.05, 0.0, "test")


def wells_of(cell_line: list[int], compound: list[int], dose: list[float], y: list[float]) -> Wells:
    n = len(y)
    compounds = np.full((n, 3), ABSENT, np.int64)
    doses = np.zeros((n, 3))
    compounds[:, 0], doses[:, 0] = compound, dose
    return Wells(np.array(cell_line, np.int64), compounds, doses, np.array(y))


def test_replicates_share_line_compound_and_dose() -> None:
    wells = wells_of([0, 1, 0, 0, 0], [2, 2, 2, 2, 1], [0.1, 0.1, 0.1, 0.2, 0.1], [0.5] * 5)
    assert sorted(gather_replicates(wells).count) == [1, 1, 1, 2]


def test_controls_of_one_line_are_replicates() -> None:
    empty = np.full((4, 3), ABSENT, np.int64)
    wells = Wells(np.array([0, 0, 1, 1]), empty, np.zeros((4, 3)), np.ones(4))
    assert gather_replicates(wells).count.tolist() == [2, 2]


def test_no_wells_make_no_groups() -> None:
    wells = wells_of([], [], [], [])
    replicates = gather_replicates(wells)
    assert len(replicates) == 0
    assert len(robust_means(replicates, wells.viability, FLAT)) == 0
    assert learn_noise(wells, replicates) is None


def test_an_outlier_among_four_hardly_moves_the_mean() -> None:
    wells = wells_of([0] * 4, [0] * 4, [1.0] * 4, [0.78, 0.80, 0.82, 2.4])
    replicates = gather_replicates(wells)
    mean = robust_means(replicates, wells.viability[replicates.order], FLAT)
    assert mean[0] == pytest.approx(0.8, abs=0.02)


def test_two_replicates_are_simply_averaged() -> None:
    wells = wells_of([0, 0], [0, 0], [1.0, 1.0], [0.2, 0.9])
    replicates = gather_replicates(wells)
    mean = robust_means(replicates, wells.viability[replicates.order], FLAT)
    assert mean[0] == pytest.approx(0.55)


@pytest.mark.parametrize("n_replicates", [2, 5])
def test_both_noise_terms_are_recovered_despite_outliers(n_replicates: int) -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat(rng.uniform(0.0, 1.1, 2500), n_replicates)
    sd = np.sqrt(0.02**2 + (0.08 * truth) ** 2)
    y = truth + sd * rng.standard_normal(len(truth))
    y[rng.choice(len(y), 60, replace=False)] += 1.5
    groups = np.repeat(np.arange(2500), n_replicates)
    wells = wells_of([0] * len(y), groups.tolist(), [1.0] * len(y), y.tolist())
    learned = learn_noise(wells, gather_replicates(wells))
    assert learned is not None
    assert learned.additive_sd == pytest.approx(0.02, rel=0.3)
    assert learned.proportional_sd == pytest.approx(0.08, rel=0.1)
    assert learned.source == "replicate wells"
