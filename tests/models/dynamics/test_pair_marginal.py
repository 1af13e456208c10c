"""Integrating small effects out: against the same normal distribution written out in full."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from models.dynamics.drug_pair import PairData, PairModel, PairOptions
from models.dynamics.pair_marginal import Given, Linear, PairMarginal
from models.dynamics.pair_mode import climbed
from models.dynamics.series import GroupFactor, TimeCourses
from models.dynamics.systems.growth_death import CHANNELS

TIMES = np.array([0.0, 10.0, 24.0, 48.0])


def series(*, gap: bool = False) -> TimeCourses:
    rng = np.random.default_rng(0)
    doses = np.array([[0.0, 0.0], [0.0, 0.0], [2.0, 0.0], [0.0, 1.0], [2.0, 1.0], [2.0, 1.0]])
    values = np.exp(rng.normal(size=(6, 3, 4)) / 3) * np.array([20.0, 1.0, 1.0])[:, None]
    if gap:
        values[4, 1, 2] = np.nan
    factor = GroupFactor.of("plate", ["one", "two"] * 3)
    names = tuple("abcdef")
    return TimeCourses(TIMES, values, CHANNELS, names, doses, ("A", "B"), (factor,))


def prepared(*, gap: bool = False) -> tuple[PairMarginal, Linear]:
    marginal = PairMarginal(PairModel(PairData.of(series(gap=gap)), PairOptions()))
    model = marginal.model
    marginal.weights = 1 + torch.arange(72).double().reshape(6, 3, 4) / 72
    offset = torch.zeros(len(model.pair_of_cell), len(model.misfits), dtype=torch.float64)
    point = 0.1 * torch.ones(len(model.free), dtype=torch.float64)
    return marginal, marginal.linear(point, marginal.prior_mean, offset)


def in_full(marginal: PairMarginal, linear: Linear) -> tuple[Tensor, Tensor, Tensor]:
    """Readings seen, and their covariance from all effects and noise; columns of parameters."""
    hyper, cell = linear.hyper, marginal.model.cell
    by_point, by_pair, by_well, size = marginal.scaled(linear, hyper)
    n, j = len(cell), len(size)
    eye = torch.eye(j, dtype=torch.float64)
    white = marginal.whiten(eye.unflatten(0, (3, -1)).expand(n, -1, -1, -1), hyper)
    seen = marginal.observed.flatten(1) > 0
    covariance = torch.zeros(n, j, n, j, dtype=torch.float64)
    for a in range(n):
        own = torch.diag_embed((~seen[a]).double()) + white[a]
        covariance[a, :, a] += torch.linalg.inv(own.T @ own) + by_well[cell[a]] @ by_well[cell[a]].T
        for b in range(n):
            covariance[a, :, b] += torch.diag(size**2)
            pairs = [int(marginal.model.pair_of_cell[cell[k]]) for k in (a, b)]
            if min(pairs) >= 0:
                alike = marginal.covariance[:, pairs[0], pairs[1]]
                covariance[a, :, b] += by_pair[cell[a]] * alike @ by_pair[cell[b]].T
    keep = seen.flatten()
    flat = covariance.reshape(n * j, n * j)[keep][:, keep]
    columns = by_point[cell].reshape(n * j, -1)[keep]
    return keep, flat, columns


@pytest.mark.parametrize("gap", [False, True])
def test_density_of_parameters_is_that_of_the_full_covariance(gap: bool) -> None:
    marginal, linear = prepared(gap=gap)
    given = Given(marginal, linear, linear.hyper)
    keep, covariance, _ = in_full(marginal, linear)
    points = torch.stack([linear.point, -linear.point])
    found = given.log_density(points)
    rest = marginal.values.flatten(1) - given.expected(points)[:, marginal.model.cell]
    rest = rest.flatten(1)[:, keep]
    inverse = torch.linalg.inv(covariance)
    expected = -0.5 * torch.einsum("ki,ij,kj->k", rest, inverse, rest)
    expected = expected - 0.5 * points.square().sum(1)
    torch.testing.assert_close(found[1] - found[0], expected[1] - expected[0], rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("gap", [False, True])
def test_evidence_changes_with_the_spreads_as_the_full_normal_density_does(gap: bool) -> None:
    marginal, linear = prepared(gap=gap)
    hyper = linear.hyper + 0.2 * torch.sin(torch.arange(len(linear.hyper)).double())
    found, expected = [], []
    for at in (linear.hyper, hyper):
        found.append(marginal.evidence(linear, at))
        keep, covariance, _ = in_full(marginal, replace(linear, hyper=at))
        columns = marginal.scaled(linear, at)[0][marginal.model.cell]
        rest = marginal.values.flatten(1) - linear.centre[marginal.model.cell]
        rest = rest + linear.by_point[marginal.model.cell] @ linear.point
        flat = columns.flatten(0, 1)[keep]
        law = torch.distributions.MultivariateNormal(
            torch.zeros(int(keep.sum())).double(), covariance + flat @ flat.T
        )
        prior = -0.5 * ((at - marginal.prior_mean) / marginal.prior_sd).square().sum()
        expected.append(law.log_prob(rest.flatten()[keep]) + prior)
    torch.testing.assert_close(found[1] - found[0], expected[1] - expected[0], rtol=1e-6, atol=1e-6)


def test_slope_is_that_of_the_density_and_steps_go_up() -> None:
    marginal, linear = prepared()
    given = Given(marginal, linear, linear.hyper)
    leaf = linear.point[None].clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(given.log_density(leaf).sum(), leaf)
    found, hessian = given.slope_and_curvature(linear)
    torch.testing.assert_close(found, slope[0], rtol=1e-2, atol=1e-2)
    assert torch.linalg.eigvalsh(hessian).min() > 0.999
    moved, _ = climbed(marginal, given, linear, 10)
    with torch.no_grad():
        before, after = given.log_density(torch.stack([linear.point, moved.point]))
    assert after > before


def test_effects_drawn_scatter_around_their_mean() -> None:
    marginal, linear = prepared()
    given = Given(marginal, linear, linear.hyper)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        middle = given.effects(linear.point[None], None)
        drawn = given.effects(linear.point.expand(2000, -1), generator)
    for mean, draws in zip(middle, drawn, strict=True):
        error = draws.std(0) / 2000**0.5
        assert ((draws.mean(0) - mean[0]).abs() < 5 * error).all()
        assert (draws.std(0) < 2).all()
