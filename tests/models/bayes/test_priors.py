"""Divergences of single weights: numerical integration, limits, signs and slopes."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm
from torch import Tensor

from models.bayes.priors import (
    ard_kl,
    expected_size,
    gaussian_kl,
    laplace_gaussian_kl,
    laplace_kl,
    log_alpha,
    mixture_log_density,
    mixture_scales,
    sparse_dropout_kl,
)
from models.screen import ScreenError

LogDensity = Callable[[float], float]
GRID = [(m, s, p) for m in (0.0, 0.1, -0.8, 3.0) for s in (0.02, 0.4, 1.3) for p in (0.05, 0.7)]


def double(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float64)


def kl_of(kl: Callable[..., Tensor], mean: float, sd: float, *prior: float) -> float:
    return float(kl(double(mean), double(math.log(sd)), *(double(p)[0] for p in prior)))


def log_normal(mean: float, sd: float) -> LogDensity:
    return lambda w: -0.5 * ((w - mean) / sd) ** 2 - math.log(sd * math.sqrt(2 * math.pi))


def log_laplace(mean: float, sd: float) -> LogDensity:
    """Written out: the library's underflows in the tails."""
    return lambda w: -abs(w - mean) * math.sqrt(2) / sd - math.log(sd * math.sqrt(2))


def integral(log_q: LogDensity, log_p: LogDensity, mean: float, sd: float) -> float:
    """KL[q || p], cut where either density may have a corner."""

    def inner(w: float) -> float:
        return math.exp(log_q(w)) * (log_q(w) - log_p(w))

    edges = sorted({mean + k * sd for k in (-40, -6, -2, 0, 2, 6, 40)} | {0.0})
    pairs = pairwise(edges)
    return math.fsum(quad(inner, a, b, epsabs=1e-9)[0] for a, b in pairs)


@pytest.mark.parametrize(("mean", "sd", "prior"), GRID)
def test_closed_forms_equal_numerical_integration(mean: float, sd: float, prior: float) -> None:
    normal, double_exponential = log_normal(mean, sd), log_laplace(mean, sd)
    cases = [
        (gaussian_kl, normal, log_normal(0.0, prior)),
        (laplace_kl, double_exponential, log_laplace(0.0, prior)),
        (laplace_gaussian_kl, normal, log_laplace(0.0, prior)),
    ]
    for kl, q, p in cases:
        expected = integral(q, p, mean, sd)
        assert kl_of(kl, mean, sd, prior) == pytest.approx(expected, rel=1e-7, abs=1e-8), kl


def test_laplace_kl_equals_the_number_found_by_others() -> None:
    """mean 0.1, s 0.011, b = exp(-4): 4.9697 nats (Monte Carlo 4.9699)."""
    root = math.sqrt(2)
    assert kl_of(laplace_kl, 0.1, 0.011 * root, math.exp(-4) * root) == pytest.approx(
        4.9697, abs=1e-4
    )


@given(st.floats(-5, 5), st.floats(0.01, 5), st.floats(0.05, 5))
def test_kls_from_proper_priors_are_never_negative(mean: float, sd: float, prior: float) -> None:
    for kl in (gaussian_kl, laplace_kl, laplace_gaussian_kl):
        assert kl_of(kl, mean, sd, prior) >= -1e-12
    assert kl_of(ard_kl, mean, sd) >= 0
    assert kl_of(sparse_dropout_kl, mean, sd) >= 0


@given(st.floats(-5, 5), st.floats(0.01, 5), st.floats(0.05, 5), st.floats(0.01, 100))
def test_kls_do_not_depend_on_the_unit(mean: float, sd: float, prior: float, k: float) -> None:
    for kl in (gaussian_kl, laplace_kl, laplace_gaussian_kl):
        assert kl_of(kl, k * mean, k * sd, k * prior) == pytest.approx(
            kl_of(kl, mean, sd, prior), rel=1e-9, abs=1e-9
        )
    for kl in (ard_kl, sparse_dropout_kl):
        assert kl_of(kl, k * mean, k * sd) == pytest.approx(kl_of(kl, mean, sd), rel=1e-9)


def test_kls_are_least_at_the_prior() -> None:
    assert kl_of(gaussian_kl, 0.0, 0.7, 0.7) == pytest.approx(0, abs=1e-14)
    assert kl_of(laplace_kl, 0.0, 0.7, 0.7) == pytest.approx(0, abs=1e-14)
    best = 0.7 * math.sqrt(math.pi) / 2
    least = kl_of(laplace_gaussian_kl, 0.0, best, 0.7)
    assert least == pytest.approx(math.log(2 / math.pi) + 0.5, abs=1e-12)
    for mean, sd in ((0.01, best), (0.0, best * 1.02), (0.0, best * 0.98)):
        assert kl_of(laplace_gaussian_kl, mean, sd, 0.7) > least


@pytest.mark.parametrize(("mean", "sd"), [(0.0, 1.0), (0.3, 0.1), (-2.0, 0.7), (5.0, 0.01)])
def test_expected_size_is_the_mean_of_a_folded_normal(mean: float, sd: float) -> None:
    expected = sum(
        quad(lambda w: abs(w) * norm.pdf(w, mean, sd), a, b)[0]
        for a, b in ((mean - 12 * sd, 0), (0, mean + 12 * sd))
        if a < b
    )
    if abs(mean) > 12 * sd:
        expected = abs(mean)
    assert float(expected_size(double(mean), double(math.log(sd)))) == pytest.approx(expected)


@pytest.mark.parametrize(("share", "spike"), [(0.25, 0.1), (0.5, math.exp(-6)), (0.9, 0.5)])
@pytest.mark.parametrize("prior", [0.05, 1.0])
def test_a_mixture_is_a_density_with_the_scale_of_its_layer(
    share: float, spike: float, prior: float
) -> None:
    slab_sd, spike_sd = mixture_scales(prior, share, spike)
    scales = [double(v)[0] for v in (share, slab_sd, spike_sd)]

    def moment(k: int) -> float:
        def inner(w: float) -> float:
            return w**k * math.exp(float(mixture_log_density(double(w), *scales)))

        edges = [0.0, *(m * spike_sd for m in (2, 8)), *(m * slab_sd for m in (1, 3, 10))]
        edges = sorted(edges)
        return 2 * sum(quad(inner, a, b)[0] for a, b in pairwise(edges))

    assert moment(0) == pytest.approx(1.0, rel=1e-7)
    assert math.sqrt(moment(2)) == pytest.approx(prior, rel=1e-6)


def test_a_mixture_of_far_tails_stays_finite() -> None:
    """No clamp: at 1,000 slab scales the density underflows, its log and slope do not."""
    w = torch.tensor([0.0, 1000.0], requires_grad=True)
    density = mixture_log_density(w, torch.tensor(0.25), torch.tensor(1.0), torch.tensor(1e-3))
    density.sum().backward()
    expected = math.log(0.25) - 0.5 * 1000.0**2 - 0.5 * math.log(2 * math.pi)
    assert density[1].item() == pytest.approx(expected, rel=1e-6)
    assert w.grad is not None
    assert w.grad.tolist() == pytest.approx([0.0, -1000.0])
    peak = math.log(0.25 + 0.75 * 1e3) - 0.5 * math.log(2 * math.pi)
    assert density[0].item() == pytest.approx(peak, rel=1e-6)


@pytest.mark.parametrize(("share", "spike"), [(0.0, 0.1), (1.0, 0.1), (0.25, 0.0), (0.25, 1.0)])
def test_a_mixture_of_one_part_is_refused(share: float, spike: float) -> None:
    with pytest.raises(ScreenError, match="share and spike between 0 and 1"):
        mixture_scales(1.0, share, spike)


def true_dropout_kl(log_alpha: float) -> float:
    """E log|e| - 0.5 log alpha + (gamma + log 2) / 2 for e ~ N(1, alpha); 0 at infinity."""
    sd = math.exp(log_alpha / 2)
    pole = -1 / sd

    def beside_the_pole(t: float, side: float) -> float:
        """z = pole + side t^3 takes the singularity of the logarithm away."""
        return norm.pdf(pole + side * t**3) * math.log(sd * t**3) * 3 * t**2 if t else 0.0

    def inner(z: float) -> float:
        return norm.pdf(z) * math.log(abs(1 + sd * z))

    if pole < -13:
        mean_log = quad(inner, -12, 0)[0] + quad(inner, 0, 12)[0]
    else:
        mean_log = sum(
            quad(beside_the_pole, 0, (12 - side * pole) ** (1 / 3), args=(side,), limit=200)[0]
            for side in (1.0, -1.0)
            if side * pole < 12
        )
    return mean_log - log_alpha / 2 + (np.euler_gamma + math.log(2)) / 2


@pytest.mark.parametrize(
    ("at", "true", "fitted"),
    [
        (-6, 3.634, 3.636),
        (-3, 2.108, 2.116),
        (0, 0.427, 0.431),
        (3, 0.025, 0.025),
        (6, 0.001, 0.001),
    ],
)
def test_sparse_dropout_kl_golden_numbers(at: float, true: float, fitted: float) -> None:
    assert true_dropout_kl(at) == pytest.approx(true, abs=6e-4)
    assert kl_of(sparse_dropout_kl, 2.0, 2.0 * math.exp(at / 2)) == pytest.approx(fitted, abs=6e-4)


def test_sparse_dropout_kl_is_within_the_published_error() -> None:
    grid = np.linspace(-8, 8, 65)
    fitted = [kl_of(sparse_dropout_kl, 1.0, math.exp(a / 2)) for a in grid]
    error = np.abs(np.array(fitted) - [true_dropout_kl(a) for a in grid])
    assert 0.008 < error.max() < 0.0095
    k1, k2, k3 = 0.63576, 1.87320, 1.48695
    published = k1 + 0.5 * np.log1p(np.exp(-grid)) - k1 / (1 + np.exp(-k2 - k3 * grid))
    assert fitted == pytest.approx(published.tolist(), rel=1e-12)


@pytest.mark.parametrize("kl", [sparse_dropout_kl, ard_kl])
def test_kls_that_prune_fall_with_alpha_to_zero(kl: Callable[..., Tensor]) -> None:
    values = [kl_of(kl, 1.0, math.exp(a / 2)) for a in np.linspace(-20, 20, 81)]
    assert np.all(np.diff(values) < 0)
    assert values[-1] == pytest.approx(0, abs=1e-8)
    excess = 0.63576 if kl is sparse_dropout_kl else 0.0
    assert values[0] == pytest.approx(10 + excess, abs=1e-6)


@given(st.floats(-5, 5), st.floats(0.01, 5))
def test_ard_is_the_best_gaussian_prior_of_each_weight(mean: float, sd: float) -> None:
    best = math.hypot(mean, sd)
    least = kl_of(ard_kl, mean, sd)
    assert kl_of(gaussian_kl, mean, sd, best) == pytest.approx(least, rel=1e-9, abs=1e-12)
    assert kl_of(gaussian_kl, mean, sd, best * 1.1) > least
    assert kl_of(gaussian_kl, mean, sd, best / 1.1) > least


def test_log_alpha_comes_from_the_mean() -> None:
    mean, sd = torch.tensor([0.5, -0.5, 0.0]), torch.tensor([0.1, 1.0, 1.0])
    found = log_alpha(mean, sd.log()).tolist()
    assert found[:2] == pytest.approx([2 * math.log(0.2), 2 * math.log(2.0)], rel=1e-6)
    assert found[2] == math.inf


@pytest.mark.parametrize("kl", [gaussian_kl, laplace_kl, laplace_gaussian_kl])
def test_slopes_equal_differences(kl: Callable[..., Tensor]) -> None:
    mean = torch.tensor([0.0, 0.3, -2.0, 0.01], dtype=torch.float64, requires_grad=True)
    log_sd = torch.tensor([-1.0, 0.2, -3.0, -0.5], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda m, s: kl(m, s, double(0.4)[0]), (mean, log_sd))


@pytest.mark.parametrize("kl", [sparse_dropout_kl, ard_kl])
def test_slopes_of_kls_that_prune_equal_differences(kl: Callable[..., Tensor]) -> None:
    mean = torch.tensor([0.3, -2.0, 0.01], dtype=torch.float64, requires_grad=True)
    log_sd = torch.tensor([0.2, -3.0, -0.5], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(kl, (mean, log_sd))
    zero = torch.zeros(1, requires_grad=True)
    kl(zero, torch.zeros(1)).backward()
    assert zero.grad is not None
    assert zero.grad.item() == 0.0
