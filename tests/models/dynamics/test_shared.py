"""The posterior of shared unknowns: closed-form divergences, chained priors."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from models.dynamics.parameters import GroupEffect, Hierarchy, Parameter, Prior, Spread
from models.dynamics.shared import Knowledge, SharedPosterior
from models.screen import ScreenError


def hierarchy(plates: tuple[str, ...] = ("A", "B"), doubt: float = 0.0) -> Hierarchy:
    """``doubt`` 0: spreads are known, so that the posterior is normal."""
    effect = GroupEffect("plate", Spread(0.5, doubt))
    rate = Parameter("r", Prior.lognormal(-1.0, 0.3), 1, (effect,), Spread(0.1, doubt))
    return Hierarchy((rate,), {"plate": plates})


def moved(known: Knowledge | None = None, doubt: float = 0.0) -> SharedPosterior:
    posterior = SharedPosterior(hierarchy(doubt=doubt), known).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in posterior.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=generator))
    return posterior


def distributions(posterior: SharedPosterior) -> tuple[MultivariateNormal, MultivariateNormal]:
    return (
        MultivariateNormal(posterior.mean, scale_tril=posterior.factor()),
        MultivariateNormal(posterior.prior_mean, scale_tril=posterior.prior_factor),
    )


def test_divergence_and_log_ratio_are_those_of_two_normals() -> None:
    posterior = moved()
    q, prior = distributions(posterior)
    assert posterior.kl().item() == pytest.approx(kl_divergence(q, prior).item(), rel=1e-9)
    noise = torch.randn(3, 4, len(posterior.mean), generator=torch.Generator().manual_seed(1))
    sampled = posterior.sample(noise.double())
    expected = prior.log_prob(sampled) - q.log_prob(sampled)
    torch.testing.assert_close(posterior.log_ratio(sampled, noise.double()), expected)


def test_what_is_known_becomes_the_prior_and_costs_nothing_unchanged() -> None:
    first = moved()
    known = first.knowledge()
    second = SharedPosterior(hierarchy(), known).double()
    _, prior = distributions(second)
    unit = second.unit.double()
    covariance = prior.covariance_matrix * unit[:, None] * unit
    torch.testing.assert_close(covariance, known.covariance, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(second.inner(second.prior_mean), known.mean, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        second.log_sd.copy_(torch.log(torch.diagonal(second.prior_factor)))
        relative = second.prior_factor / torch.diagonal(second.prior_factor)[:, None]
        second.lower.copy_(torch.tril(relative, -1))
    assert second.kl().item() == pytest.approx(0.0, abs=1e-6)


def test_a_new_plate_takes_the_population_and_not_the_old_plates() -> None:
    known = moved().knowledge()
    later = SharedPosterior(hierarchy(("C",)), known)
    row = later.names.index("r.plate=C")
    assert later.prior_mean[row].item() == 0.0
    assert later.prior_factor[row, row].item() == pytest.approx(1.0)
    at = later.names.index("r")
    learned = known.mean[known.names.index("r")].item()
    assert later.inner(later.prior_mean)[at].item() == pytest.approx(learned, rel=1e-5)


def test_nothing_is_known_of_other_names() -> None:
    known = moved().knowledge()
    assert known.select(("r",)).covariance.shape == (1, 1)
    with pytest.raises(ScreenError, match="nothing is known"):
        known.select(("q",))


def bent() -> SharedPosterior:
    """Spreads are to be learned, and wide enough to bend what depends on them."""
    posterior = moved(doubt=1.0)
    with torch.no_grad():
        posterior.log_sd.add_(2.0)
    return posterior


def test_where_spreads_are_learned_the_density_is_that_of_the_sampled_point() -> None:
    posterior = bent()
    noise = torch.randn(5, generator=torch.Generator().manual_seed(3)).double()
    slopes = torch.autograd.functional.jacobian(posterior.sample, noise)
    standard = posterior.sample(noise)
    base = -0.5 * noise.square().sum() - 2.5 * math.log(2 * math.pi)
    log_q = base - torch.linalg.slogdet(slopes)[1]
    expected = posterior.log_prior(standard) - log_q
    torch.testing.assert_close(posterior.log_ratio(standard, noise), expected)
    # Unlike a normal's, its slopes are not the same everywhere.
    elsewhere = torch.autograd.functional.jacobian(posterior.sample, noise + 1)
    assert (elsewhere - slopes).abs().max() > 0.05


def test_its_divergence_is_the_mean_of_the_log_ratio() -> None:
    posterior = bent()
    noise = torch.randn(200_000, 5, generator=torch.Generator().manual_seed(4)).double()
    with torch.no_grad():
        each = -posterior.log_ratio(posterior.sample(noise), noise)
        partly_closed = posterior.kl(noise)
        by_default = posterior.kl()
    error = each.std() / math.sqrt(len(each))
    assert abs(partly_closed - each.mean()) < 4 * error
    assert by_default.item() == pytest.approx(partly_closed.item(), abs=0.3)


def test_what_is_known_of_bent_unknowns_is_their_mean_and_covariance() -> None:
    posterior = bent()
    noise = torch.randn(100_000, 5, generator=torch.Generator().manual_seed(5)).double()
    with torch.no_grad():
        drawn = posterior.inner(posterior.sample(noise))
    known = posterior.knowledge()
    sd = drawn.std(0)
    torch.testing.assert_close((known.mean - drawn.mean(0)) / sd, torch.zeros(5).double(),
                               atol=0.06, rtol=0)  # fmt: skip
    relative = (known.covariance - torch.cov(drawn.T)) / (sd[:, None] * sd)
    assert relative.abs().max() < 0.12
    assert SharedPosterior(hierarchy(doubt=1.0), known).chained
    assert not posterior.chained
