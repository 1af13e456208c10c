"""Randomised priors of a linear model: members that are exact draws from the posterior.

For ``y = Phi w + e``, ``w ~ N(0, lambda I)``, ``e ~ N(0, sigma^2 I)`` and a frozen ``w0`` from the
prior, the minimiser of

    |y + sigma eps - Phi (w + w0)|^2 / sigma^2 + |w|^2 / lambda

gives ``w + w0`` with exactly the posterior mean and covariance (Osband et al., NeurIPS 2018, lemma
3). Without the noise ``eps`` the covariance is too small. It is the rule that
:mod:`models.surfaces.ensemble` follows with networks, and its test.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.screen import ScreenError


def linear_members(
    phi: Tensor,
    y: Tensor,
    *,
    prior_variance: float,
    noise_sd: float,
    n: int,
    generator: torch.Generator,
    random_targets: bool = True,
) -> Tensor:
    """``(n, d)`` weights ``w + w0`` of members for ``phi`` ``(m, d)`` and ``y`` ``(m,)``."""
    _require(phi, y, prior_variance, noise_sd)
    d = phi.shape[1]
    frozen = prior_variance**0.5 * torch.randn(n, d, generator=generator, dtype=phi.dtype)
    noise = torch.randn(n, len(y), generator=generator, dtype=phi.dtype)
    target = y + (noise_sd * noise if random_targets else 0.0 * noise)
    precision = _precision(phi, prior_variance, noise_sd)
    pull = (target - frozen @ phi.T) @ phi / noise_sd**2
    total: Tensor = frozen + torch.linalg.solve(precision, pull.T).T
    return total


def exact_posterior(
    phi: Tensor, y: Tensor, *, prior_variance: float, noise_sd: float
) -> tuple[Tensor, Tensor]:
    """Mean ``(d,)`` and covariance ``(d, d)`` of the weights in closed form."""
    _require(phi, y, prior_variance, noise_sd)
    covariance = torch.linalg.inv(_precision(phi, prior_variance, noise_sd))
    return covariance @ (phi.T @ y) / noise_sd**2, covariance


def _precision(phi: Tensor, prior_variance: float, noise_sd: float) -> Tensor:
    identity = torch.eye(phi.shape[1], dtype=phi.dtype)
    return phi.T @ phi / noise_sd**2 + identity / prior_variance


def _require(phi: Tensor, y: Tensor, prior_variance: float, noise_sd: float) -> None:
    if phi.ndim != 2 or y.shape != phi.shape[:1]:
        raise ScreenError(f"features {tuple(phi.shape)} and values {tuple(y.shape)} do not fit")
    if not (prior_variance > 0 and noise_sd > 0):
        raise ScreenError("the variance of the prior and the noise must be positive")
