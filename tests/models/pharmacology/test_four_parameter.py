"""Four-parameter fits: exact posteriors, coverage, and what they admit not to know."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from models.pharmacology.four_parameter import FLAGS, HillFits, curve_data, fit_hill
from models.pharmacology.hill_posterior import NOISE_DOF, CurveData, Prior, log_posterior
from models.pharmacology.noise import NoiseModel
from models.pharmacology.simulate import simulate_screen
from models.screen import FloatArray, ScreenError, Stopped

DOSES = 10.0 ** np.linspace(-3.0, 1.0, 8)
SD = 0.04


def levels(theta: FloatArray, dose: FloatArray = DOSES) -> FloatArray:
    e0, emax, log_c, log_h = (theta[..., k, None] for k in range(4))
    x = (dose / np.exp(log_c)) ** np.exp(log_h)
    return np.asarray(e0 + (emax - e0) * x / (1.0 + x))


def measured(theta: FloatArray, seed: int, dose: FloatArray = DOSES, sd: float = SD) -> CurveData:
    truth = levels(np.atleast_2d(theta), dose)
    noise = sd * np.random.default_rng(seed).standard_normal(truth.shape)
    return CurveData(np.broadcast_to(dose, truth.shape).copy(), truth + noise, truth * 0 + sd)


def many(n: int, seed: int) -> FloatArray:
    rng = np.random.default_rng(seed)
    columns = [rng.normal(1.0, 0.05, n), rng.uniform(0.0, 0.8, n)]
    columns += [rng.uniform(np.log(1e-3), np.log(30.0), n), rng.normal(0.2, 0.5, n)]
    return np.stack(columns, axis=-1)


CLEAR = np.array([1.0, 0.2, np.log(0.1), np.log(1.5)])
WEAK = np.array([1.0, 0.2, np.log(40.0), np.log(1.5)])


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Truths and noise scales from the prior: then every interval is right on average."""
    rng, n = np.random.default_rng(0), 800
    flat = np.ones((n, 8))
    prior = Prior.of(CurveData(DOSES * flat, flat, flat))
    truth = prior.mean + prior.sd * rng.standard_normal((n, 4))
    scale = np.sqrt(NOISE_DOF / rng.chisquare(NOISE_DOF, (n, 1)))
    viability = levels(truth) + SD * scale * rng.standard_normal((n, 8))
    found = fit_hill(CurveData(DOSES * flat, viability, SD * flat), seed=2)
    inside = (found.low <= truth) & (truth <= found.high)
    # Three standard errors of a share of 800.
    assert inside.mean(axis=0) == pytest.approx(0.9, abs=0.032)
    clear = ~found.unconstrained
    assert 0.1 < clear.mean() < 0.6
    assert inside[clear].mean(axis=0) == pytest.approx(0.9, abs=0.06)


def weighed(log: FloatArray, draws: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """Mean and standard deviation of weighted draws, and how many equal ones they are worth."""
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    mean = weight @ draws
    return mean, np.sqrt(weight @ (draws - mean) ** 2), float(1.0 / np.square(weight).sum())


def test_the_posterior_of_a_clear_curve_is_that_of_a_grid() -> None:
    data = measured(CLEAR, 3)
    found = fit_hill(data, seed=1)
    ends = found.mean[0] + np.multiply.outer([-5.0, 5.0], found.sd[0])
    axes = [np.linspace(*ends[:, k], 25) for k in range(4)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 4)
    mean, sd, _ = weighed(log_posterior(data, grid[None])[0], grid)
    # Of 400 draws, a mean is known to 0.05 and a standard deviation to 4 % of itself.
    assert np.abs((found.mean[0] - mean) / sd).max() < 0.15
    assert found.sd[0] == pytest.approx(sd, rel=0.12)


def test_the_posterior_of_a_half_open_curve_is_that_of_weighted_prior_draws() -> None:
    data = measured(WEAK, 3)
    found = fit_hill(data, seed=1)
    prior, rng = Prior.of(data), np.random.default_rng(5)
    drawn = prior.mean[0] + prior.sd[0] * rng.standard_normal((1_000_000, 4))
    likelihood = log_posterior(data, drawn[None])[0]
    likelihood += 0.5 * np.square((drawn - prior.mean[0]) / prior.sd[0]).sum(-1)
    mean, sd, worth = weighed(likelihood, drawn)
    assert worth > 1000
    assert np.abs((found.mean[0] - mean) / sd).max() < 0.15
    assert found.sd[0] == pytest.approx(sd, rel=0.12)


def test_the_scale_of_the_noise_is_integrated_out() -> None:
    data = measured(CLEAR, 4)
    theta = np.stack([CLEAR, CLEAR + 0.1])[None]

    def likelihood(at: FloatArray) -> float:
        def integrand(log_scale: float) -> float:
            scale = np.exp(log_scale)
            density = norm.logpdf(data.viability[0], levels(at), SD * np.sqrt(scale)).sum()
            # nu / scale is chi-square; per unit of log scale.
            prior = -0.5 * NOISE_DOF * (log_scale + 1.0 / scale)
            return float(np.exp(density + prior))

        return quad(integrand, -4.0, 4.0)[0]

    prior = [norm.logpdf(t, [1.0, 0.3], [0.1, 0.5]).sum() for t in theta[0, :, :2]]
    low, high = np.log(DOSES[[0, -1]])
    centre, spread = 0.5 * (low + high) + 0.2 * (high - low), 0.75 * (high - low)
    prior += norm.logpdf(theta[0, :, 2], centre, spread) + norm.logpdf(theta[0, :, 3], 0.2, 0.6)
    expected = np.log([likelihood(t) for t in theta[0]]) + prior
    got = log_posterior(data, theta)[0]
    assert got[1] - got[0] == pytest.approx(expected[1] - expected[0], abs=1e-5)


def test_a_clear_curve_is_found_and_has_nothing_to_confess() -> None:
    found = fit_hill(measured(CLEAR, 5, sd=0.01))
    assert np.abs(found.mean[0] - CLEAR).max() < 0.15
    assert found.words(0) == ()
    assert not found.unconstrained[0]


def test_an_ec50_above_the_doses_is_only_a_bound() -> None:
    found = fit_hill(measured(WEAK + np.array([0, 0, 1.0, 0]), 6))
    assert FLAGS["ec50_above"] in found.words(0)
    assert found.high[0, 2] - found.low[0, 2] > 1.0
    assert found.high[0, 2] > np.log(40.0)


def test_an_ec50_below_the_doses_is_only_a_bound() -> None:
    found = fit_hill(measured(np.array([1.0, 0.2, np.log(1e-5), 0.2]), 7))
    assert FLAGS["ec50_below"] in found.words(0)


def test_inert_compounds_have_no_ec50() -> None:
    found = fit_hill(measured(np.tile([1.0, 1.0, 0.0, 0.2], (100, 1)), 8))
    assert found.flags["no_effect"].mean() > 0.8
    quiet = np.flatnonzero(found.flags["no_effect"])
    assert FLAGS["no_effect"] in found.words(quiet[0])
    assert np.median((found.high - found.low)[quiet, 2]) > 5.0


def test_a_step_between_two_doses_has_no_slope() -> None:
    found = fit_hill(measured(np.array([1.0, 0.1, np.log(0.1), np.log(20.0)]), 9))
    assert found.high[0, 3] - found.low[0, 3] > 0.8


def test_a_curve_that_does_not_fit_is_uncertain() -> None:
    data = measured(CLEAR, 10)
    zigzag = data.viability + 0.2 * (-1.0) ** np.arange(8)
    one, two = fit_hill(data), fit_hill(CurveData(data.dose_um, zigzag, data.sd))
    assert one.noise_factor[0] < 1.5
    assert two.noise_factor[0] > 2.5
    assert np.all(two.sd[0] > one.sd[0])


def test_the_untreated_level_is_free_but_near_one() -> None:
    low = fit_hill(measured(np.array([0.85, 0.2, np.log(0.1), 0.4]), 11, sd=0.01))
    assert low.mean[0, 0] == pytest.approx(0.85, abs=0.02)
    # Of a single dose the prior is all that says where the curve starts.
    lone = fit_hill(CurveData(np.array([[1.0]]), np.array([[0.5]]), np.array([[0.04]])))
    assert lone.mean[0, 0] == pytest.approx(1.0, abs=0.06)
    assert lone.unconstrained[0]


def test_units_do_not_matter() -> None:
    data = measured(many(20, 12), 13)
    one, two = fit_hill(data), fit_hill(CurveData(data.dose_um * 1e3, data.viability, data.sd))
    shift = np.array([0.0, 0.0, np.log(1e3), 0.0])
    assert two.mean == pytest.approx(one.mean + shift, abs=1e-5)
    assert two.high == pytest.approx(one.high + shift, abs=1e-5)


def test_a_curve_does_not_notice_the_others() -> None:
    data = measured(many(300, 14), 15)
    whole, alone = fit_hill(data), fit_hill(data.select(slice(280, 290)))
    assert alone.mean == pytest.approx(whole.mean[280:290], abs=1e-9)
    assert np.array_equal(alone.unconstrained, whole.unconstrained[280:290])


def test_padding_and_order_change_nothing() -> None:
    data = measured(CLEAR, 16)
    order = np.array([3, 1, 7, 0, 2, 6, 4, 5])
    wide = [
        np.concatenate([t[:, order], np.full((1, 3), v)], axis=1)
        for t, v in ((data.dose_um, 1.0), (data.viability, 0.0), (data.sd, np.inf))
    ]
    one, two = fit_hill(data), fit_hill(CurveData(*wide))
    assert two.mean == pytest.approx(one.mean, abs=1e-7)
    assert two.noise_factor == pytest.approx(one.noise_factor, abs=1e-7)


def test_curves_of_a_screen() -> None:
    simulated = simulate_screen(5, 3, 4, 0.05, seed=1)
    wells = simulated.single_agents(3, seed=2)
    compound, line, data = curve_data(wells, NoiseModel(0.05, 0.0, "test"), 5)
    assert sorted(zip(compound.tolist(), line.tolist(), strict=True)) == [
        (c, k) for c in range(5) for k in range(3)
    ]
    row = (wells.compounds[:, 0] == compound[4]) & (wells.cell_line == line[4])
    assert np.sort(data.dose_um[4]) == pytest.approx(np.unique(wells.doses_um[row, 0]))
    assert data.sd == pytest.approx(0.05 / np.sqrt(3))
    found: HillFits = fit_hill(data)
    truth = simulated.log_c[compound, line]
    sure = ~found.unconstrained
    assert np.abs(found.mean[sure, 2] - truth[sure]).max() < 1.5


def test_bad_tables_are_refused() -> None:
    good = np.ones((1, 2))
    for dose, viability, sd, words in (
        (good, good, np.ones((1, 3)), "one shape"),
        (good, np.full((1, 2), np.nan), good, "finite"),
        (-good, good, good, "not negative"),
        (0 * good, good, good, "no dose above 0"),
        (good, good, 0 * good, "errors positive"),
    ):
        with pytest.raises(ScreenError, match=words):
            CurveData(dose, viability, sd)
    with pytest.raises(ScreenError, match="no curves"):
        fit_hill(CurveData(*(np.ones((0, 2)) for _ in range(3))))


def test_it_can_be_stopped() -> None:
    with pytest.raises(Stopped):
        fit_hill(measured(CLEAR, 1), should_stop=lambda: True)
