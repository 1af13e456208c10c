"""Noise of plates from their controls: shrunk by what they rest on, in any order and unit."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import polygamma

from models.pharmacology.noise import NoiseModel, gather_replicates, learn_noise, robust_means
from models.pharmacology.plate_noise import (
    USUAL_SPREAD,
    _inverse_trigamma,
    describe_plates,
    plate_scales,
    well_scales,
)
from models.screen import ABSENT, FloatArray, PlateTable, ScreenError, Wells

FLAT = NoiseModel(0.05, 0.0, "test")


def plates(sd: FloatArray | list[float], dof: FloatArray | float) -> PlateTable:
    n = len(sd)
    return PlateTable(
        tuple(f"P{row}" for row in range(n)), np.array(sd), np.broadcast_to(dof, n).astype(float)
    )


def shown(true: FloatArray, dof: float, seed: int) -> FloatArray:
    """What controls of ``dof`` degrees of freedom show of these standard deviations."""
    rng = np.random.default_rng(seed)
    return np.asarray(true * np.sqrt(rng.chisquare(dof, len(true)) / dof))


def one_treatment(y: list[float], plate: list[int], table: PlateTable) -> Wells:
    n = len(y)
    nothing = np.full((n, 3), ABSENT, np.int64)
    at = np.array(plate, np.int64)
    return Wells(np.zeros(n, np.int64), nothing, np.zeros((n, 3)), np.array(y), at, table)


def test_one_plate_alone_is_usual() -> None:
    assert plate_scales(plates([0.3], 3.0)).tolist() == [1.0]
    assert len(plate_scales(plates([], 1.0))) == 0


def test_many_controls_are_believed_and_few_are_not() -> None:
    believed = plate_scales(plates([0.05, 0.15], 1e4))
    assert believed[1] / believed[0] == pytest.approx(3.0, rel=1e-2)
    doubted = plate_scales(plates([0.05, 0.15], 2.0))
    assert 1.0 < doubted[1] / doubted[0] < 1.3


def test_the_plate_with_three_controls_gives_way_to_the_others() -> None:
    true = np.r_[np.full(12, 1.0), np.full(12, 2.0)]
    sd = np.r_[shown(true, 15.0, seed=1), 6.0, 6.0]
    scale = plate_scales(plates(sd, np.r_[np.full(24, 15.0), 2.0, 15.0]))
    usual = np.exp(np.log(scale[:24]).mean())
    assert usual < 0.7 * scale[24]  # noisier, but ...
    assert scale[24] < 0.75 * scale[25]  # ... less than the same scatter of sixteen controls says


def test_equal_plates_stay_equal_although_their_controls_scatter() -> None:
    for dof in (2.0, 5.0, 15.0):
        sd = shown(np.ones(200), dof, seed=2)
        scale = plate_scales(plates(sd, dof))
        assert np.std(np.log(scale)) < 0.12 * np.std(np.log(sd))


@pytest.mark.parametrize("dof", [3.0, 8.0, 30.0])
def test_the_truth_is_met_better_than_by_the_controls_alone_or_by_one_noise(dof: float) -> None:
    rng = np.random.default_rng(3)
    true = np.exp(rng.normal(0.0, 0.4, 300))
    sd = shown(true, dof, seed=4)
    scale = np.log(plate_scales(plates(sd, dof)))
    centred = np.log(true) - np.log(true).mean()

    def error(guess: FloatArray) -> float:
        return float(np.sqrt(np.mean((guess - guess.mean() - centred) ** 2)))

    assert error(scale) < error(np.log(sd))
    assert error(scale) < 0.85 * error(np.zeros(300))


def test_smyths_posterior_with_equal_controls() -> None:
    """With plates enough the prior is that of the moments, and each plate its posterior mean."""
    rng = np.random.default_rng(5)
    prior, dof, n = 6.0, 10.0, 4000
    variance = prior / rng.chisquare(prior, n)
    sd = shown(np.sqrt(variance), dof, seed=6)
    exact = np.sqrt((prior + dof * sd**2) / (prior + dof))
    found = plate_scales(plates(sd, dof))
    ratio = found / exact
    assert np.std(np.log(ratio)) < 0.02


def test_order_and_unit_change_nothing() -> None:
    rng = np.random.default_rng(7)
    sd, dof = np.exp(rng.normal(-3, 0.5, 30)), rng.integers(1, 20, 30).astype(float)
    scale = plate_scales(plates(sd, dof))
    order = rng.permutation(30)
    assert np.array_equal(plate_scales(plates(sd[order], dof[order])), scale[order])
    for unit in (1e-9, 100.0, 1e9):
        assert plate_scales(plates(unit * sd, dof)) == pytest.approx(scale, rel=1e-9)


def test_inverse_of_trigamma() -> None:
    for x in (1e-2, 0.3, 1.0, 7.0, 300.0):
        assert _inverse_trigamma(float(polygamma(1, x))) == pytest.approx(x, rel=1e-9)
    assert _inverse_trigamma(USUAL_SPREAD) > 5


def test_wells_without_a_plate_are_usual() -> None:
    table = plates([0.05, 0.5], 20.0)
    wells = one_treatment([1.0, 1.0, 1.0], [1, ABSENT, 0], table)
    low, high = plate_scales(table)
    assert well_scales(wells).tolist() == [high, 1.0, low]
    assert well_scales(replace(wells, plate=None, plates=None)).tolist() == [1.0] * 3
    assert well_scales(wells.select(np.array([2]))).tolist() == [low]


def test_replicates_count_by_the_inverse_variance_of_their_plates() -> None:
    wells = one_treatment([0.8, 1.0], [0, 1], plates([0.01, 0.03], 1e6))
    replicates = gather_replicates(wells)
    ratio = np.prod(plate_scales(wells.plates)[[1]] / plate_scales(wells.plates)[[0]]) ** -2
    mean = robust_means(replicates, wells.viability[replicates.order], FLAT)
    assert mean[0] == pytest.approx((0.8 + ratio * 1.0) / (1.0 + ratio))
    low, high = plate_scales(wells.plates)
    assert replicates.precision[0] == pytest.approx(0.5 * (low**-2 + high**-2))


def test_an_outlier_of_a_quiet_plate_is_one_and_that_of_a_noisy_plate_is_not() -> None:
    table = plates([0.01, 0.3], 1e6)
    y, noise = [1.0, 1.0, 1.0, 1.0, 1.5], NoiseModel(0.03, 0.0, "test")
    for at, moved in ((0, 0.06), (1, 0.01)):
        wells = one_treatment(y, [0, 0, 0, 0, at], table)
        replicates = gather_replicates(wells)
        mean = robust_means(replicates, wells.viability[replicates.order], noise)
        assert 1.0 <= mean[0] < 1.0 + moved


def test_noise_is_learned_for_a_usual_plate_from_replicates_on_any() -> None:
    rng = np.random.default_rng(8)
    table = plates(np.where(np.arange(20) % 2, 0.02, 0.08), 1e6)
    scale = plate_scales(table)
    n, replicates = 3000, 3
    line = np.repeat(np.arange(n), replicates)
    at = rng.integers(0, 20, n * replicates)
    truth = np.repeat(rng.uniform(0.0, 1.1, n), replicates)
    sd = scale[at] * np.sqrt(0.02**2 + (0.08 * truth) ** 2)
    nothing = np.full((len(line), 3), ABSENT, np.int64)
    y = truth + sd * rng.standard_normal(len(line))
    wells = Wells(line, nothing, np.zeros((len(line), 3)), y, at, table)
    learned = learn_noise(wells, gather_replicates(wells))
    assert learned is not None
    assert learned.additive_sd == pytest.approx(0.02, rel=0.25)
    assert learned.proportional_sd == pytest.approx(0.08, rel=0.07)


def test_noisy_plates_are_named_worst_first() -> None:
    table = plates([0.04, 0.04, 0.04, 0.4, 0.2], 50.0)
    wells = one_treatment([1.0] * 5, [0, 1, 2, 4, 3], table)
    said = describe_plates(wells)
    assert said is not None
    assert [one["plate"] for one in said["noisy"]] == ["P3", "P4"]
    assert (said["plates"], said["wells"]) == (5, 5)
    assert "P3 (" in said["words"]
    assert said["noisiest"] == said["noisy"][0]["scale"]
    here = describe_plates(wells.select(np.array([0, 1])))
    assert here is not None
    assert (here["noisy"], here["words"], here["plates"]) == ([], "", 2)


def test_nothing_is_said_where_nothing_is_known() -> None:
    wells = one_treatment([1.0, 0.9], [ABSENT, ABSENT], plates([0.1], 5.0))
    assert describe_plates(wells) is None
    assert describe_plates(replace(wells, plate=None, plates=None)) is None


@pytest.mark.parametrize("sd", [0.0, -0.1, np.nan, np.inf])
def test_a_plate_without_a_noise_cannot_be_listed(sd: float) -> None:
    with pytest.raises(ScreenError, match="left out of the table"):
        plates([0.1, sd], 5.0)


def test_wells_must_point_into_their_plates() -> None:
    table = plates([0.1], 5.0)
    for plate, words in (([1], "outside"), ([0, 0], "rows")):
        with pytest.raises(ScreenError, match=words):
            one_treatment([1.0], plate, table)
    with pytest.raises(ScreenError, match="both"):
        replace(one_treatment([1.0], [0], table), plates=None)
    with pytest.raises(ScreenError, match="twice"):
        PlateTable(("A", "A"), np.ones(2), np.ones(2))
