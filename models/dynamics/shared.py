"""The posterior of all shared unknowns: one normal with full covariance.

Unknowns are standardised by their own priors, g = (G - mean) / sd, so that their prior is N(0, I),
or, in chained inference, the normal that an earlier experiment ended with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.dynamics.parameters import Hierarchy
from models.screen import ScreenError

START_SD = 0.05
"""Posterior sd of a shared unknown at the start, in units of its prior's sd."""
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class Knowledge:
    """A normal over named shared unknowns on the inner scale, not standardised.

    ``names``: ``(d,)``; ``mean``: ``(d,)``; ``covariance``: ``(d, d)``. The posterior of one
    experiment, as the prior of the next.
    """

    names: tuple[str, ...]
    mean: Tensor
    covariance: Tensor

    def select(self, names: tuple[str, ...]) -> Knowledge:
        """The marginal of some of them."""
        missing = [name for name in names if name not in self.names]
        if missing:
            raise ScreenError(f"nothing is known of {missing}")
        rows = torch.tensor([self.names.index(name) for name in names])
        return Knowledge(names, self.mean[rows], self.covariance[rows][:, rows])


class SharedPosterior(nn.Module):
    """q(G) = N(mean, L L^T) beside its prior, both of the standardised ``D`` unknowns."""

    def __init__(self, hierarchy: Hierarchy, known: Knowledge | None = None) -> None:
        super().__init__()
        d = hierarchy.shared_size
        self.centre: Tensor
        self.unit: Tensor
        self.prior_mean: Tensor
        self.prior_factor: Tensor
        self.names = tuple(c.name for c in hierarchy.coordinates)
        self.register_buffer("centre", torch.tensor([c.mean for c in hierarchy.coordinates]))
        self.register_buffer("unit", torch.tensor([c.sd for c in hierarchy.coordinates]))
        self.register_buffer("prior_mean", torch.zeros(d))
        self.register_buffer("prior_factor", torch.eye(d))
        self.mean = nn.Parameter(torch.zeros(d))
        self.log_sd = nn.Parameter(torch.full((d,), math.log(START_SD)))
        self.lower = nn.Parameter(torch.zeros(d, d))
        if known is not None:
            self._begin_with(known)

    def _begin_with(self, known: Knowledge) -> None:
        """Take what is known of unknowns of the same name as their prior, and start there."""
        rows = [i for i, name in enumerate(self.names) if name in known.names]
        part = known.select(tuple(self.names[i] for i in rows))
        index = torch.tensor(rows)
        unit = self.unit[index]
        covariance = torch.eye(len(self.names), dtype=part.covariance.dtype)
        covariance[index[:, None], index] = part.covariance / (unit[:, None] * unit)
        with torch.no_grad():
            self.prior_mean[index] = ((part.mean - self.centre[index]) / unit).float()
            self.prior_factor.copy_(torch.linalg.cholesky(covariance))
            self.mean.copy_(self.prior_mean)
            self.log_sd[index] = torch.minimum(
                self.log_sd[index], torch.log(torch.diagonal(self.prior_factor)[index])
            )

    def factor(self) -> Tensor:
        """Lower Cholesky factor ``(D, D)`` of the standardised posterior."""
        eye = torch.eye(len(self.mean), dtype=self.mean.dtype, device=self.mean.device)
        return torch.exp(self.log_sd)[:, None] * (eye + torch.tril(self.lower, -1))

    def inner(self, standard: Tensor) -> Tensor:
        """From standardised to inner-scale unknowns."""
        return self.centre + self.unit * standard

    def sample(self, noise: Tensor) -> Tensor:
        """Standardised unknowns from standard normal ``noise`` ``(..., D)``."""
        return self.mean + noise @ self.factor().T

    def log_ratio(self, standard: Tensor, noise: Tensor) -> Tensor:
        """log prior - log q at the *sampled* point, ``(...)`` nats; ``noise`` is what drew it."""
        return self.log_prior(standard) - (
            -0.5 * noise.square().sum(-1) - self.log_sd.sum() - len(self.mean) * HALF_LOG_2PI
        )

    def log_prior(self, standard: Tensor) -> Tensor:
        """log density of the prior, ``(...)`` nats."""
        centred = (standard - self.prior_mean).reshape(-1, len(self.mean))
        white = torch.linalg.solve_triangular(self.prior_factor, centred.T, upper=False)
        log_det = torch.log(torch.diagonal(self.prior_factor)).sum()
        constant = log_det + len(self.mean) * HALF_LOG_2PI
        density: Tensor = -0.5 * white.square().sum(0) - constant
        return density.reshape(standard.shape[:-1])

    def kl(self) -> Tensor:
        """KL[q || prior], a scalar in nats; closed form of two normals."""
        factor = self.factor()
        both = torch.cat([factor, (self.mean - self.prior_mean)[:, None]], dim=1)
        white = torch.linalg.solve_triangular(self.prior_factor, both, upper=False)
        log_det = torch.log(torch.diagonal(self.prior_factor)).sum() - self.log_sd.sum()
        divergence: Tensor = 0.5 * (white.square().sum() - len(self.mean)) + log_det
        return divergence

    def knowledge(self) -> Knowledge:
        """The posterior on the inner scale: the prior of a next experiment."""
        with torch.no_grad():
            factor = (self.unit[:, None] * self.factor()).double()
            return Knowledge(self.names, self.inner(self.mean).double(), factor @ factor.T)
