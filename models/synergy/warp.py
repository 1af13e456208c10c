"""The last step of the network: a learned monotone bend from its sum to a score.

Synergy is rare and multiplicative: a mechanism that meets its context makes a score of +30 where
almost all others lie within noise of 0. A network whose prior is near Gaussian cannot say that; it
calls such scores outliers. With the sum g of all its parts, the score is

    w(g) = (sinh(k g + d) - sinh(d)) / (k cosh(d)),

the sinh-arcsinh transformation of Jones and Pewsey (2009, doi:10.1093/biomet/asp053) without its
tail parameter, scaled so that w(0) = 0 and w'(0) = 1. k -> 0 is the identity, d > 0 stretches
synergy and compresses antagonism. Gaussian weights before w are heavy-tailed functions after it,
and their uncertainty grows with the score (warped Gaussian processes: Snelson et al. 2004).
Both parameters are learned under weak priors, so that each screen bends as far as its data say.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

BEND_START = 0.4
"""Median of the log-normal prior of k, and where it starts."""
BEND_LOG_SD = 0.7
SKEW_SD = 1.0
"""Standard deviation of the normal prior of d."""
LIMIT = 4.0
"""Beyond this argument ``sinh`` goes on as a straight line: no draw can overflow."""


class Warp(nn.Module):
    """See the module's text. Both parameters are point estimates: maximum a posteriori."""

    def __init__(self) -> None:
        super().__init__()
        self.log_bend = nn.Parameter(torch.tensor(math.log(BEND_START)))
        self.skew = nn.Parameter(torch.tensor(0.0))

    def forward(self, total: Tensor) -> Tensor:
        """Scores of any shape, elementwise and increasing, both in standardised units."""
        bend = torch.exp(self.log_bend)
        at = bend * total + self.skew
        inside = at.clamp(-LIMIT, LIMIT)
        bent = torch.sinh(inside) + math.cosh(LIMIT) * (at - inside)
        return (bent - torch.sinh(self.skew)) / (bend * torch.cosh(self.skew))

    def penalty(self) -> Tensor:
        """Minus the log prior of both parameters up to a constant; a scalar, nats."""
        bend = (self.log_bend - math.log(BEND_START)) / BEND_LOG_SD
        return 0.5 * (bend.square() + (self.skew / SKEW_SD).square())
