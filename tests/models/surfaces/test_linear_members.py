"""The oracle of randomised priors: members of a linear model are draws from its posterior."""

from __future__ import annotations

import pytest
import torch

from models.screen import ScreenError
from models.surfaces.linear_members import exact_posterior, linear_members

MEMBERS = 10_000
PRIOR, NOISE = 0.8, 0.3


def _problem() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    phi = torch.randn(12, 4, generator=generator, dtype=torch.float64)
    weights = torch.tensor([1.0, -0.5, 0.0, 0.3], dtype=torch.float64)
    return phi, phi @ weights + NOISE * torch.randn(12, generator=generator, dtype=torch.float64)


def _members(*, random_targets: bool = True) -> torch.Tensor:
    return linear_members(
        *_problem(),
        prior_variance=PRIOR,
        noise_sd=NOISE,
        n=MEMBERS,
        generator=torch.Generator().manual_seed(7),
        random_targets=random_targets,
    )


def test_members_have_the_mean_and_covariance_of_the_posterior() -> None:
    """Within four standard errors of Monte Carlo, every entry."""
    mean, covariance = exact_posterior(*_problem(), prior_variance=PRIOR, noise_sd=NOISE)
    found = _members()
    error = covariance.diagonal().sqrt() / MEMBERS**0.5
    assert torch.all((found.mean(0) - mean).abs() < 4 * error)
    spread = (found - found.mean(0)).T @ (found - found.mean(0)) / (MEMBERS - 1)
    own = covariance.diagonal()
    entry_error = ((covariance**2 + own[:, None] * own[None, :]) / MEMBERS).sqrt()
    assert torch.all((spread - covariance).abs() < 4 * entry_error)


def test_without_noise_of_their_own_members_are_too_sure() -> None:
    """What the reference code of the method does: too small a covariance in every direction."""
    _, covariance = exact_posterior(*_problem(), prior_variance=PRIOR, noise_sd=NOISE)
    narrow = _members(random_targets=False)
    spread = (narrow - narrow.mean(0)).T @ (narrow - narrow.mean(0)) / (MEMBERS - 1)
    assert torch.all(torch.linalg.eigvalsh(covariance - spread) > 0)
    assert torch.trace(spread) < 0.5 * torch.trace(covariance)


def test_far_from_the_data_members_spread_as_the_prior_does() -> None:
    """A direction that no row of the data has keeps its prior variance."""
    phi, y = _problem()
    wide = torch.cat([phi, torch.zeros(12, 1, dtype=phi.dtype)], dim=1)
    found = linear_members(
        wide, y, prior_variance=PRIOR, noise_sd=NOISE, n=MEMBERS,
        generator=torch.Generator().manual_seed(8),
    )  # fmt: skip
    assert abs(found[:, 4].var().item() / PRIOR - 1) < 4 * (2 / MEMBERS) ** 0.5


def test_what_cannot_be_is_refused() -> None:
    """Shapes and variances."""
    phi, y = _problem()
    for bad in ({"prior_variance": 0.0}, {"noise_sd": -1.0}):
        with pytest.raises(ScreenError, match="positive"):
            exact_posterior(phi, y, **({"prior_variance": 1.0, "noise_sd": 1.0} | bad))
    with pytest.raises(ScreenError, match="fit"):
        exact_posterior(phi, y[:3], prior_variance=1.0, noise_sd=1.0)
