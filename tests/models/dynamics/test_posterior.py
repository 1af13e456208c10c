"""Posteriors: exact marginals, calibration by simulation, bands, outliers, what is left."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import chi2, multivariate_normal

from models.dynamics.inference import Fit, Training, build
from models.dynamics.posterior import OUTLYING, DynamicPosterior
from models.dynamics.series import TimeCourses
from models.dynamics.solver import Solver
from models.screen import ScreenError, Stopped
from tests.models.dynamics.toys import (
    GROUP_SD,
    MEAN_SD,
    NOISE_SD,
    OWN_SD,
    TIMES,
    Level,
    drawn_series,
    known_noise,
    level_series,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def posterior() -> DynamicPosterior:
    series = drawn_series(60, 6, 0)
    model = build(series, Level(), known_noise(), Solver("exact"), 0)
    Fit(model, series, Training(steps=300, series=60, samples=8, rate=0.02, warm_up=20), 0).run()
    return DynamicPosterior(model, series)


def about(posterior: DynamicPosterior, series: TimeCourses) -> DynamicPosterior:
    return DynamicPosterior(posterior.model, series)


def test_the_bound_against_the_prior_is_the_marginal_of_three_levels(
    posterior: DynamicPosterior,
) -> None:
    few = posterior.series.select(np.arange(5))
    ones = np.ones((len(TIMES), len(TIMES)))
    covariance = (MEAN_SD**2 + GROUP_SD**2 + OWN_SD**2) * ones + NOISE_SD**2 * np.eye(len(TIMES))
    exact = multivariate_normal(np.zeros(len(TIMES)), covariance).logpdf(few.values[:, 0])
    # Shared unknowns are drawn from their own priors here, so that the weights are tame.
    wide = about(posterior, few)
    state = {k: v.clone() for k, v in posterior.model.shared.state_dict().items()}
    with torch.no_grad():
        posterior.model.shared.mean.zero_()
        posterior.model.shared.log_sd.zero_()
        posterior.model.shared.lower.zero_()
    # Unrefined: q of a level is narrow, which K = 200,000 makes up for.
    wide.local = type(wide.local)(
        wide.local.mean, torch.full_like(wide.local.sd, 0.8), wide.local.ways * 0
    )
    weights, _ = wide.log_weights(200_000, 1, against_prior=True)
    posterior.model.shared.load_state_dict(state)
    found = torch.logsumexp(weights.double(), 0) - math.log(len(weights))
    np.testing.assert_allclose(found.numpy(), exact, atol=0.1)


def test_ranks_of_the_truth_are_uniform_at_each_level(posterior: DynamicPosterior) -> None:
    """Simulation-based calibration: truths from what was learned, readings from the truths."""
    n, draws = 400, 39
    model = posterior.model
    generator = torch.Generator().manual_seed(3)
    plates = [f"p{i % 6}" for i in range(n)]
    blank = level_series(np.zeros(n), plates, 0)
    index = torch.from_numpy(blank.factor("plate").index)
    with torch.no_grad():
        noise = model.normal(1, n, model.hierarchy.shared_size, generator=generator)
        shared = model.shared.inner(model.shared.sample(noise))
        location, sd = model.hierarchy.moments(shared, {"plate": index})
        truth = location[0, :, 0] + sd[0, :, 0] * torch.randn(n, generator=generator)
    told = about(posterior, level_series(truth.numpy(), plates, 7))
    refined = told.refined(steps=60, seed=0)
    elements = refined.elements(draws, 11)[..., 0]
    ranks = (elements < truth).sum(0).numpy()
    counts = np.bincount(ranks // 5, minlength=8)
    statistic = ((counts - n / 8) ** 2 / (n / 8)).sum()
    assert statistic < chi2.ppf(0.999, 7)


def test_bands_cover_new_readings(posterior: DynamicPosterior) -> None:
    series = drawn_series(300, 6, 21)
    readings = series.values.copy()
    readings[:, :, -1] = np.nan
    part = TimeCourses(
        series.times, readings, series.channels, series.names, series.inputs, (), series.factors
    )
    bands = about(posterior, part).refined(steps=60).predict(level=0.9)
    inside = (series.values >= bands.lower) & (series.values <= bands.upper)
    # The reading that was hidden: 300 of them, sd 1.7 %.
    assert inside[:, 0, -1].mean() == pytest.approx(0.9, abs=0.06)
    assert (bands.lower < bands.mean).all()
    assert bands.mean.shape == (300, 1, 3)


def test_levels_have_more_and_more_spread(posterior: DynamicPosterior) -> None:
    population = posterior.population(400)["level"]
    group = posterior.group("plate", "p0", 400)["level"]
    individual = posterior.individual(200)["level"]
    assert population.shape == (400,)
    assert individual.shape == (200, 60)
    of_plate = posterior.series.values[posterior.series.factor("plate").index == 0].mean()
    assert group.mean() == pytest.approx(of_plate, abs=0.35)
    assert individual.std(axis=0).mean() < group.std() < population.std() + 0.1
    with pytest.raises(ScreenError, match="no group 'p9'"):
        posterior.group("plate", "p9")


def test_scores_and_their_diagnostics(posterior: DynamicPosterior) -> None:
    scores = posterior.scores(500)
    again = posterior.scores(500)
    np.testing.assert_array_equal(scores.bound, again.bound)
    assert scores.readings.tolist() == [3] * 60
    assert (scores.pareto_k < 0.7).mean() > 0.9
    described = scores.describe()
    assert described["series"] == 60
    assert described["share_reliable"] > 0.9
    with pytest.raises(Stopped):
        posterior.scores(500, should_stop=lambda: True)


def test_an_odd_series_is_an_outlier(posterior: DynamicPosterior) -> None:
    series = drawn_series(40, 4, 5)
    values = series.values.copy()
    values[7, 0] += [2.0, -2.0, 2.0]
    odd = TimeCourses(
        series.times, values, series.channels, series.names, series.inputs, (), series.factors
    )
    z = about(posterior, odd).outliers()
    assert z[7] < -OUTLYING
    assert (z < -OUTLYING).sum() <= 3


def test_what_is_left_to_learn_is_the_information_of_the_next_readings(
    posterior: DynamicPosterior,
) -> None:
    told = about(posterior, drawn_series(8, 4, 6)).refined(steps=100)
    left = told.left_to_learn(4.0, every=1.0, draws=400)
    variance = told.elements(400, 0)[..., 0].var(0).numpy()
    exact = 0.5 * np.log1p(2 * variance / NOISE_SD**2)
    np.testing.assert_allclose(left, exact, rtol=0.15)
    assert (told.left_to_learn(2.0 + 20, every=1.0) > left).all()
    with pytest.raises(ScreenError, match="nothing can be read"):
        told.left_to_learn(2.0)


def test_chained_inference_begins_with_what_was_learned(posterior: DynamicPosterior) -> None:
    later = drawn_series(6, 1, 30)
    first = build(later, Level(), known_noise(), Solver("exact"), 0)
    chained = build(later, Level(), known_noise(), Solver("exact"), 0, posterior.knowledge())
    at = first.shared.names.index("level")
    learned = posterior.knowledge().select(("level",)).mean.item()
    assert chained.shared.inner(chained.shared.mean)[at].item() == pytest.approx(learned, abs=1e-5)
    assert first.shared.inner(first.shared.mean)[at].item() == 0.0
    assert chained.shared.prior_factor[at, at] < 0.6


def test_a_plate_never_seen_is_drawn_from_its_prior(posterior: DynamicPosterior) -> None:
    new = level_series(np.array([0.5, 0.5]), ["p0", "new"], 0)
    told = about(posterior, new)
    assert told.batch.groups["plate"].tolist() == [0, -1]
    assert np.isfinite(told.refined(steps=30).scores(200).bound).all()
