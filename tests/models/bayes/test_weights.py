"""Tensors of weights of every family: draws of the prior, Monte-Carlo KLs, exact posteriors."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.special import logsumexp
from scipy.stats import kstest, kurtosis, laplace, norm

from models.bayes.dropout import ArdWeight
from models.bayes.families import LAPLACE, LAPLACE_GAUSSIAN, WEIGHT_FAMILIES, WeightFamily
from models.bayes.layers import VariationalLinear
from models.bayes.weights import (
    GaussianWeight,
    LaplaceGaussianWeight,
    LaplaceWeight,
    MixtureWeight,
    VariationalWeight,
    total_kl,
)
from models.screen import ScreenError

FAMILIES = list(WEIGHT_FAMILIES.values())


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def set_posterior(weight: VariationalWeight, mean: float, sd: float) -> None:
    with torch.no_grad():
        weight.mean.fill_(mean)
        weight.log_sd.fill_(math.log(sd))


def mixture_logpdf(w: np.ndarray, weight: MixtureWeight) -> np.ndarray:
    share = float(weight.share)
    parts = [
        math.log(share) + norm.logpdf(w, 0, float(weight.slab_sd)),
        math.log1p(-share) + norm.logpdf(w, 0, float(weight.spike_sd)),
    ]
    return np.asarray(logsumexp(parts, axis=0))


@pytest.mark.parametrize(("mean", "sd"), [(0.0, 0.1), (0.2, 0.05), (-0.8, 0.5), (0.05, 1.5)])
def test_the_mixture_kl_is_unbiased(mean: float, sd: float) -> None:
    weight = MixtureWeight((4000,), 0.6, seeded())
    set_posterior(weight, mean, sd)
    q = norm(mean, sd)
    edges = mean + sd * np.array([-12, -3, 0, 3, 12])
    expected = sum(
        quad(lambda w: q.pdf(w) * (q.logpdf(w) - float(mixture_logpdf(w, weight))), a, b)[0]
        for a, b in pairwise(edges)
    )
    assert expected > 0
    g = seeded(5)
    estimates = np.array([weight.kl(g).item() / 4000 for _ in range(60)])
    error = estimates.std(ddof=1) / math.sqrt(60)
    assert abs(estimates.mean() - expected) < 4 * error + 1e-6
    assert error < 0.003 * max(expected, 1.0)


def test_antithetic_pairs_vary_less_than_independent_draws() -> None:
    """On the slab log p is nearly linear over the posterior, and pairs cancel linear parts."""
    weight = MixtureWeight((500,), 1.0, seeded())
    set_posterior(weight, 1.0, 0.1)
    g = seeded(1)
    with torch.no_grad():
        pairs = torch.stack([weight.kl(g) for _ in range(200)]).std().item()
        drawn = weight.sample(4 * 200, g).reshape(200, 4, 500).numpy()
    independent = mixture_logpdf(drawn, weight).mean(1).sum(1).std()
    assert pairs < 0.2 * independent


def test_a_mixture_needs_a_generator_for_its_kl_and_the_others_do_not() -> None:
    for family in FAMILIES:
        weight = family.weight((3, 2), 0.5, seeded())
        if isinstance(weight, MixtureWeight):
            with pytest.raises(ScreenError, match="pass a generator"):
                weight.kl()
            assert torch.equal(weight.kl(seeded(2)), weight.kl(seeded(2)))
        else:
            assert torch.equal(weight.kl(), weight.kl(seeded(2)))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_slopes_of_the_kl_equal_differences(family: WeightFamily) -> None:
    weight = family.weight((4, 3), 0.5, seeded(), 0.6, 0.5).double()
    weight.kl(seeded(9)).backward()
    for parameter in (weight.mean, weight.log_sd):
        assert parameter.grad is not None
        for at in ((0, 0), (1, 2), (3, 1)):
            values = []
            for step in (1e-5, -1e-5):
                with torch.no_grad():
                    parameter[at] += step
                    values.append(weight.kl(seeded(9)).item())
                    parameter[at] -= step
            slope = (values[0] - values[1]) / 2e-5
            assert parameter.grad[at].item() == pytest.approx(slope, rel=1e-4, abs=1e-6)


def test_draws_of_the_prior_have_the_stated_law() -> None:
    n, sd = 4000, 0.7
    mixture = MixtureWeight((5,), sd, seeded())
    ard = ArdWeight((5,), sd, seeded())
    set_posterior(ard, 0.3, 0.4)

    def mixture_cdf(w: np.ndarray) -> np.ndarray:
        parts = norm.cdf(w, 0, float(mixture.slab_sd)), norm.cdf(w, 0, float(mixture.spike_sd))
        return 0.25 * parts[0] + 0.75 * parts[1]

    tails = laplace(0, sd / math.sqrt(2)).cdf
    laws = [
        (GaussianWeight((5,), sd, seeded()), norm(0, sd).cdf),
        (mixture, mixture_cdf),
        (LaplaceWeight((5,), sd, seeded()), tails),
        (LaplaceGaussianWeight((5,), sd, seeded()), tails),
        (ard, norm(0, 0.5).cdf),
    ]
    for k, (weight, cdf) in enumerate(laws):
        drawn = weight.prior_sample(n, seeded(30 + k)).double().numpy()
        assert drawn.shape == (n, 5)
        assert kstest(drawn.ravel(), cdf).pvalue > 0.01, type(weight).__name__
        assert np.corrcoef(drawn.T)[0, 1] == pytest.approx(0, abs=0.06)
        if k:
            assert kstest(drawn.ravel(), norm(0, sd).cdf).pvalue < 1e-6


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_rows_given_back_to_the_prior_have_its_mean_and_variance(family: WeightFamily) -> None:
    weight = family.weight((3, 50), 0.6, seeded())
    before = weight.mean.detach().clone()
    if not family.proper:
        with pytest.raises(ScreenError, match="improper"):
            weight.reset_to_prior(torch.tensor([1]))
        with pytest.raises(ScreenError, match="improper"):
            weight.prior_sample(2, seeded())
        return
    weight.reset_to_prior(torch.tensor([False, True, False]))
    drawn = weight.sample(2000, seeded(1))[:, 1]
    assert drawn.mean().item() == pytest.approx(0, abs=0.01)
    assert drawn.std().item() == pytest.approx(0.6, rel=0.02)
    assert torch.equal(weight.mean[[0, 2]], before[[0, 2]])
    if family.name in ("gaussian", "laplace", "ard"):
        weight.reset_to_prior(torch.arange(3))
        assert weight.kl(seeded()).item() == pytest.approx(0, abs=1e-5)


def test_laplace_draws_are_laplace_and_their_sums_lose_kurtosis_as_stated() -> None:
    """Excess kurtosis 3 sum v^2 / (sum v)^2: what the Gaussian noise of training leaves out."""
    weight = LaplaceWeight((4,), 1.0, seeded())
    set_posterior(weight, 0.2, 0.5)
    drawn = weight.sample(100_000, seeded(3)).detach().double().numpy()
    assert kstest(drawn[:5000, 0], laplace(0.2, 0.5 / math.sqrt(2)).cdf).pvalue > 0.01
    x = np.array([1.0, 2.0, 0.5, 1.5])
    v = np.square(x)
    assert kurtosis(drawn @ x) == pytest.approx(3 * np.square(v).sum() / v.sum() ** 2, abs=0.12)


@pytest.mark.parametrize("prior_sd", [0.0, -1.0, math.inf, math.nan])
def test_a_scale_that_is_none_is_refused(prior_sd: float) -> None:
    with pytest.raises(ScreenError, match="prior scale of weights must be positive"):
        GaussianWeight((2,), prior_sd, seeded())


def test_total_kl_adds_every_weight_and_refuses_to_add_none() -> None:
    layers = torch.nn.ModuleList(VariationalLinear(3, 2, seeded(), family=f) for f in FAMILIES)
    g = seeded(4)
    assert total_kl(layers, seeded(4)).item() == pytest.approx(
        sum(layer.kl(g).item() for layer in layers), rel=1e-5
    )
    with pytest.raises(ScreenError, match="no variational weights"):
        total_kl(torch.nn.Linear(2, 2))


X = torch.tensor([[0.5], [-1.0], [0.8], [0.3], [1.2], [-0.4]])
Y = torch.tensor([0.9, -0.7, 0.6, -0.1, 1.0, 0.1])
NOISE = 0.6
PRIOR = 0.5


def log_likelihood(w: float) -> float:
    residual = (Y - w * X[:, 0]).double()
    constant = len(Y) * math.log(NOISE * math.sqrt(2 * math.pi))
    return -0.5 * float(residual.square().sum()) / NOISE**2 - constant


@pytest.mark.parametrize("family", [LAPLACE, LAPLACE_GAUSSIAN], ids=lambda f: f.name)
def test_a_laplace_prior_reaches_the_optimum_of_numerical_integration(family: WeightFamily) -> None:
    """One weight: the trained ELBO is the best one, and lies under the log evidence."""
    prior = laplace(0, PRIOR / math.sqrt(2))

    def posterior_family(mean: float, sd: float):
        return laplace(mean, sd / math.sqrt(2)) if family is LAPLACE else norm(mean, sd)

    def joint(w: float) -> float:
        return log_likelihood(w) + float(prior.logpdf(w))

    evidence = math.log(sum(quad(lambda w: math.exp(joint(w)), *ab)[0] for ab in ((-4, 0), (0, 4))))
    grid = np.linspace(-6, 7, 4001)
    log_joint = np.array([joint(w) for w in grid])

    def elbo(mean: float, log_sd: float) -> float:
        q = posterior_family(mean, math.exp(log_sd))
        return float(np.trapezoid(q.pdf(grid) * (log_joint - q.logpdf(grid)), grid))

    best = minimize(lambda p: -elbo(*p), [0.3, -1.0], method="Nelder-Mead", tol=1e-7)
    layer = VariationalLinear(1, 1, seeded(), gain=PRIOR, bias=False, family=family)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.03)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 500)
    for _ in range(500):
        mean, variance = layer.moments(X)
        error = ((Y - mean[:, 0]).square() + variance[:, 0]).sum() / (2 * NOISE**2)
        loss = error + layer.kl()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    trained = layer.weight.mean.item(), layer.weight.log_sd.item()
    assert trained == pytest.approx(best.x.tolist(), abs=2e-3)
    reached = -loss.item() - len(Y) * math.log(NOISE * math.sqrt(2 * math.pi))
    assert reached == pytest.approx(-best.fun, abs=1e-4)
    assert 0 < evidence - reached < 0.15
