"""Fits: exact posteriors of a Gaussian hierarchy, limits, invariances, stopping and going on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.bayes.training import NonFiniteLossError
from models.dynamics.inference import Fit, Training, build, refine, sample_weights
from models.dynamics.objective import bound
from models.dynamics.series import TimeCourses
from models.dynamics.solver import Solver
from models.screen import ScreenError, Stopped
from tests.models.dynamics.toys import (
    MEAN_SD,
    TIMES,
    Level,
    drawn_series,
    joint_covariance,
    known_noise,
    level_series,
)

SHORT = Training(steps=300, series=60, samples=8, rate=0.02, warm_up=20)


def fitted(series: TimeCourses, system: Level | None = None, training: Training = SHORT) -> Fit:
    model = build(series, system or Level(), known_noise(), Solver("exact"), 0)
    fit = Fit(model, series, training, 0)
    fit.run()
    return fit


@pytest.fixture(scope="module")
def fit() -> Fit:
    training = Training(steps=500, series=60, samples=8, rate=0.05, warm_up=20)
    return fitted(drawn_series(48, 6, 0), training=training)


def exact_mean(series: TimeCourses, group_sd: float) -> tuple[float, float, float]:
    """Mean and sd of the population level given all readings, and log p(all readings)."""
    covariance = joint_covariance(series, group_sd)
    readings = series.values.reshape(-1)
    gain = MEAN_SD**2 * np.linalg.solve(covariance, np.ones(len(readings)))
    variance = MEAN_SD**2 - MEAN_SD**2 * gain.sum()
    quadratic = readings @ np.linalg.solve(covariance, readings)
    log_det = np.linalg.slogdet(2 * np.pi * covariance)[1]
    return float(gain @ readings), float(np.sqrt(variance)), float(-0.5 * (quadratic + log_det))


@pytest.mark.slow
def test_the_posterior_of_the_population_is_the_conjugate_one(fit: Fit) -> None:
    mean, sd, _ = exact_mean(drawn_series(48, 6, 0), 0.7)
    known = fit.model.shared.knowledge().select(("level",))
    assert known.mean.item() == pytest.approx(mean, abs=0.5 * sd)
    assert known.covariance.sqrt().item() == pytest.approx(sd, rel=0.2)


@pytest.mark.slow
def test_the_bound_of_all_series_is_below_and_near_the_exact_density(fit: Fit) -> None:
    series = drawn_series(48, 6, 0)
    exact = exact_mean(series, 0.7)[2]
    generator = torch.Generator().manual_seed(5)
    found = []
    with torch.no_grad():
        local = fit.model.local(fit.batch)
        for _ in range(40):
            weights, _ = sample_weights(fit.model, fit.batch, local, 50, generator)
            found.append(bound(weights).sum().item())
        total = np.mean(found) - fit.model.shared.kl().item()
    error = np.std(found) / np.sqrt(40)
    assert total < exact + 3 * error
    assert total > exact - 4.0


@pytest.mark.slow
def test_tiny_group_spread_pools_and_huge_spread_separates() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat([-1.0, 1.0], 12) + rng.normal(0, 0.3, 24)
    series = level_series(truth, ["a"] * 12 + ["b"] * 12, 1)
    group_mean = series.values.reshape(2, -1).mean(axis=1)
    gaps = {}
    for spread in (1e-3, 3.0):
        model = fitted(series, Level(3.0, spread)).model
        with torch.no_grad():
            shared = model.shared.inner(model.shared.mean)[None, None]
            at = [model.hierarchy.typical(shared, {"plate": g})[0, 0, 0].item() for g in (0, 1)]
        gaps[spread] = at[1] - at[0]
        assert np.mean(at) == pytest.approx(group_mean.mean(), abs=0.15)
    assert gaps[1e-3] == pytest.approx(0.0, abs=0.02)
    assert gaps[3.0] == pytest.approx(group_mean[1] - group_mean[0], rel=0.12)


@pytest.mark.slow
def test_series_in_another_order_get_the_same_posteriors(fit: Fit) -> None:
    order = np.random.default_rng(0).permutation(48)
    moved = fit.model.batch(drawn_series(48, 6, 0).select(order))
    with torch.no_grad():
        here, there = fit.model.local(fit.batch), fit.model.local(moved)
    torch.testing.assert_close(here.mean[order], there.mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(here.sd[order], there.sd, rtol=1e-5, atol=1e-6)


def test_wells_that_change_places_within_a_group_leave_the_groups_alone() -> None:
    series = drawn_series(24, 3, 2)
    swapped = series.select(np.r_[3, 1, 2, 0, 4:24])
    assert swapped.factor("plate").index.tolist() == series.factor("plate").index.tolist()
    training = Training(steps=5, series=24, samples=4)
    models = []
    for table in (series, swapped):
        fit = Fit(build(table, Level(), known_noise(), Solver("exact"), 0), table, training, 0)
        noise = torch.randn(1, 1, 100, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            one = noise[..., : fit.model.hierarchy.shared_size].expand(1, 24, -1)
            shared = fit.model.shared.sample(one)
            local = fit.model.local(fit.batch)
            sampled = local.sample(torch.zeros(1, 24, local.noise_size))
        shared = shared.detach().requires_grad_(True)
        moments = fit.model.moments(shared, fit.batch)
        terms = fit.model.terms(fit.batch, local, sampled, moments)
        gradient = torch.autograd.grad(terms.log_weights().sum(), shared)[0].sum(1)
        models.append(gradient)
    torch.testing.assert_close(models[0], models[1], rtol=1e-4, atol=1e-4)


def test_a_fit_broken_off_goes_on_to_the_bit() -> None:
    series = drawn_series(20, 2, 3)
    training = Training(steps=30, series=8, samples=4)

    def start() -> Fit:
        return Fit(build(series, Level(), known_noise(), Solver("exact"), 1), series, training, 1)

    whole = start()
    whole.run()
    broken, kept = start(), []

    def stop_at_twelve() -> bool:
        if broken.step == 12:
            kept.append(broken.checkpoint())
        return broken.step == 12

    with pytest.raises(Stopped):
        broken.run(should_stop=stop_at_twelve)
    later = start()
    later.resume(kept[0])
    assert later.step == 12
    later.run()
    assert later.health.report() == whole.health.report()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, later.model.state_dict()[name]), name


def test_checkpoints_and_progress_are_reported() -> None:
    series = drawn_series(10, 2, 4)
    training = Training(steps=4, series=8, samples=4)
    fit = Fit(build(series, Level(), known_noise(), Solver("exact"), 0), series, training, 0)
    seen: list[tuple[str, int, int]] = []
    kept: list[dict] = []
    fit.run(lambda *report: seen.append(report), on_checkpoint=kept.append, checkpoint_seconds=0)
    assert seen == [("training", i, 4) for i in range(1, 5)]
    assert [int(checkpoint["step"]) for checkpoint in kept] == [1, 2, 3, 4]
    assert all(isinstance(value, torch.Tensor) for value in kept[0].values())


@pytest.mark.slow
def test_refinement_finds_the_exact_posterior_of_a_series(fit: Fit) -> None:
    """With the shared unknowns pinned, the posterior of a level is a known normal."""
    series = drawn_series(6, 6, 9)
    batch = fit.model.batch(series)
    local = refine(fit.model, batch, steps=150, samples=8, seed=0)
    with torch.no_grad():
        shared = fit.model.shared.inner(fit.model.shared.mean).expand(1, 6, -1)
        location, sd = fit.model.hierarchy.moments(shared, batch.groups)
    prior, own = location[0, :, 0].numpy(), sd[0, :, 0].numpy()
    precision = 1 / own**2 + len(TIMES) / 0.3**2
    mean = (prior / own**2 + series.values.sum(axis=(1, 2)) / 0.3**2) / precision
    found = fit.model.inner(local.mean)[:, 0].numpy()
    np.testing.assert_allclose(found, mean, atol=0.05)
    spread = fit.model.spread.item() * local.sd[:, 0] * torch.sqrt(1 + local.ways[:, 0, 0] ** 2)
    np.testing.assert_allclose(spread.numpy(), precision**-0.5, rtol=0.2)


def test_a_loss_that_is_no_number_is_named_with_its_step() -> None:
    series = drawn_series(10, 2, 4)
    fit = Fit(build(series, Level(), known_noise(), Solver("exact"), 0), series, SHORT, 0)
    fit._take()
    with torch.no_grad():
        fit.model.shared.mean.fill_(float("nan"))
    with pytest.raises(NonFiniteLossError, match="step 2"):
        fit._take()


def test_what_is_refused() -> None:
    series = drawn_series(4, 2, 0)
    with pytest.raises(ScreenError, match="above 0"):
        Training(steps=0)
    model = build(series, Level(), known_noise(), Solver("exact"), 0)
    with pytest.raises(ScreenError, match="two series"):
        Fit(model, series.select(np.array([0])), SHORT, 0)
    with pytest.raises(ScreenError, match="the observation in"):
        build(series, Level(), known_noise(channels=("od",)), Solver("exact"), 0)
