"""The posterior of a series' individual coordinates: a normal with shared directions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class Local:
    """u = mean + sd (e + W f) with e ~ N(0, I_Q) and f ~ N(0, I_R), for each of ``N`` series.

    ``mean`` and ``sd``: ``(N, Q)``; ``ways``: ``(N, Q, R)``, W: directions in which coordinates
    move together. Coordinates are standardised by the priors' medians. The density is evaluated
    at the very u that was sampled (Woodbury), so it holds whatever made that u.
    """

    mean: Tensor
    sd: Tensor
    ways: Tensor

    @property
    def noise_size(self) -> int:
        """Q + R: how many normal numbers make one sample."""
        return self.ways.shape[1] + self.ways.shape[2]

    def detach(self) -> Local:
        """The same numbers without gradients."""
        return Local(self.mean.detach(), self.sd.detach(), self.ways.detach())

    def select(self, rows: Tensor) -> Local:
        """The series at ``rows``."""
        return Local(self.mean[rows], self.sd[rows], self.ways[rows])

    def sample(self, noise: Tensor) -> Tensor:
        """Coordinates from standard normal ``noise`` ``(K, N, Q + R)``."""
        own, shared = noise[..., : self.ways.shape[1]], noise[..., self.ways.shape[1] :]
        return self.mean + self.sd * (own + torch.einsum("nqr,knr->knq", self.ways, shared))

    def log_density(self, sampled: Tensor) -> Tensor:
        """log q at ``sampled`` ``(K, N, Q)``; ``(K, N)`` nats."""
        white = (sampled - self.mean) / self.sd
        eye = torch.eye(self.ways.shape[2], dtype=white.dtype, device=white.device)
        inner = torch.linalg.cholesky(eye + self.ways.transpose(1, 2) @ self.ways)
        along = torch.einsum("nqr,knq->nrk", self.ways, white)
        explained = torch.linalg.solve_triangular(inner, along, upper=False).square().sum(1).T
        log_det = torch.log(torch.diagonal(inner, dim1=1, dim2=2)).sum(-1)
        log_det = log_det + torch.log(self.sd).sum(-1)
        count = self.mean.shape[1] * HALF_LOG_2PI
        density: Tensor = 0.5 * (explained - white.square().sum(-1)) - log_det - count
        return density
