"""The posterior of all shared unknowns: a normal with full covariance that bends with the spreads.

Unknowns are standardised by their own priors, g = (G - mean) / sd, so that their prior is N(0, I),
or, in chained inference, the normal that an earlier experiment ended with. With L the factor of
the normal, whose rows of effects may use everything, rows of populations all but effects, and so
on (:mod:`models.dynamics.funnel` has the ranks), noise x gives

    g = c (mean + L_lower (w x) + p) + w L_own x,

L_own the columns of the same rank, L_lower those of lower ranks; c and w are 1 and p is 0 where no
spread is to be learned, else c and w are functions of the spreads and p of population values. Its
density is a normal one over w.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.dynamics.funnel import EFFECT, Funnel
from models.dynamics.parameters import Hierarchy
from models.screen import ScreenError

START_SD = 0.05
"""Posterior sd of a shared unknown at the start, in units of its prior's sd."""
DRAWS = 2048
"""Fixed draws (and as many mirrored) for moments and divergences that have no closed form."""
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
    """q(G), N(mean, L L^T) where no spread is learned, beside its prior, both of the standardised
    ``D`` unknowns."""

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
        self.funnel = Funnel(hierarchy)
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

    @property
    def chained(self) -> bool:
        """Whether the prior is what an earlier experiment ended with."""
        return not torch.equal(self.prior_factor, self._eye()) or bool(self.prior_mean.any())

    def factor(self) -> Tensor:
        """Root ``(D, D)`` of the standardised posterior's covariance where nothing bends: lower
        triangular in the order of ranks."""
        return torch.exp(self.log_sd)[:, None] * (self._eye() + self.lower * self._below())

    def _eye(self) -> Tensor:
        return torch.eye(len(self.mean), dtype=self.mean.dtype, device=self.mean.device)

    def _below(self) -> Tensor:
        """``(D, D)`` bool: whether the row may depend on the column."""
        rank, at = self.funnel.rank, torch.arange(len(self.mean), device=self.mean.device)
        order = rank * len(rank) + at
        return order[:, None] > order

    def inner(self, standard: Tensor) -> Tensor:
        """From standardised to inner-scale unknowns."""
        return self.centre + self.unit * standard

    def sample(self, noise: Tensor) -> Tensor:
        """Standardised unknowns from standard normal ``noise`` ``(..., D)``."""
        if not self.funnel.bends:
            return self.mean + noise @ self.factor().T
        parts = self._parts(noise)
        return parts.centre + parts.width * parts.own

    def _parts(self, noise: Tensor) -> _Parts:
        factor, rank = self.factor(), self.funnel.rank
        same = rank[:, None] == rank
        own = noise @ (factor * same).T
        bend, widen = self.funnel.factors(self.unit * own)
        width = torch.exp(widen)
        moved = (width * noise) @ (factor * ~same).T
        pull = self.funnel.pull(self.unit * (moved + width * own), self.inner(self.mean))
        centre = torch.exp(bend) * (self.mean + moved + pull)
        return _Parts(centre, width, own, widen.sum(-1), (factor * same).square().sum(-1))

    def log_ratio(self, standard: Tensor, noise: Tensor) -> Tensor:
        """log prior - log q at the *sampled* point, ``(...)`` nats; ``noise`` is what drew it."""
        log_q = -0.5 * noise.square().sum(-1) - self.log_sd.sum() - len(self.mean) * HALF_LOG_2PI
        if self.funnel.bends:
            log_q = log_q - self._parts(noise).log_width
        return self.log_prior(standard) - log_q

    def log_prior(self, standard: Tensor) -> Tensor:
        """log density of the prior, ``(...)`` nats."""
        centred = (standard - self.prior_mean).reshape(-1, len(self.mean))
        white = torch.linalg.solve_triangular(self.prior_factor, centred.T, upper=False)
        log_det = torch.log(torch.diagonal(self.prior_factor)).sum()
        constant = log_det + len(self.mean) * HALF_LOG_2PI
        density: Tensor = -0.5 * white.square().sum(0) - constant
        return density.reshape(standard.shape[:-1])

    def kl(self, noise: Tensor | None = None) -> Tensor:
        """KL[q || prior], a scalar in nats.

        Closed form of two normals where nothing bends; else the mean over ``noise`` ``(..., D)``
        (by default fixed draws) of what is closed given the draw.
        """
        if not self.funnel.bends:
            return self._kl_of_normals()
        noise = self._fixed_draws() if noise is None else noise
        if self.chained:
            return -self.log_ratio(self.sample(noise), noise).mean()
        parts = self._parts(noise)
        second = parts.centre.square() + parts.width.square() * parts.variance
        divergence: Tensor = (0.5 * (second - 1).sum(-1) - parts.log_width).mean()
        return divergence - self.log_sd.sum()

    def _kl_of_normals(self) -> Tensor:
        factor = self.factor()
        both = torch.cat([factor, (self.mean - self.prior_mean)[:, None]], dim=1)
        if self.chained:
            both = torch.linalg.solve_triangular(self.prior_factor, both, upper=False)
        log_det = torch.log(torch.diagonal(self.prior_factor)).sum() - self.log_sd.sum()
        divergence: Tensor = 0.5 * (both.square().sum() - len(self.mean)) + log_det
        return divergence

    def _fixed_draws(self) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        half = torch.randn(DRAWS, len(self.mean), generator=generator).to(self.mean)
        return torch.cat([half, -half])

    def knowledge(self) -> Knowledge:
        """Mean and covariance of the posterior on the inner scale: the prior of a next
        experiment."""
        with torch.no_grad():
            if not self.funnel.bends:
                factor = (self.unit[:, None] * self.factor()).double()
                return Knowledge(self.names, self.inner(self.mean).double(), factor @ factor.T)
            effects = self.funnel.rank == EFFECT
            parts = self._parts(self._fixed_draws())
            # The own noise of effects is known exactly: only what moves their centres is drawn.
            drawn = self.inner(parts.centre + parts.width * parts.own * ~effects).double()
            root = (self.factor() * effects * effects[:, None]).double()
            width = parts.width.double()
            together = (width.T @ width / len(width)) * (root @ root.T)
            unit = self.unit.double()
            covariance = torch.cov(drawn.T) + unit[:, None] * together * unit
            return Knowledge(self.names, drawn.mean(0), covariance)


@dataclass(frozen=True)
class _Parts:
    """Of draws: ``centre``, ``width`` and ``own`` noise ``(..., D)``, the sum of log widths
    ``(...)``; and the ``variance`` ``(D,)`` of own noise."""

    centre: Tensor
    width: Tensor
    own: Tensor
    log_width: Tensor
    variance: Tensor
