"""How the misfits of dose pairs hang together: a Gaussian process over log doses.

What the dose curves of a model miss at one pair of doses, they miss at its neighbours too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

REACH = 2.5
"""Over how many doublings of a dose the misfit of the dose surface stays alike."""
NUGGET = 0.05
"""Part of the misfit's variance that neighbours do not share."""


@dataclass(frozen=True)
class Surface:
    """How alike the misfits of dose pairs are: Gaussian processes over log doses (Matern 3/2 of
    :data:`REACH`), 0 without drugs.

    ``joint`` False: the misfit of a pair is the sum of the misfits of its two drugs alone, so that
    it can not take the place of an interaction; True: one process over both doses. Besides, a part
    that neighbours do not share. ``places`` ``(C, 2)`` of the pairs fitted, ``least`` ``(2,)``
    lowest doses, ``covariance`` ``(C, C)`` and its lower ``root``.
    """

    places: Tensor
    least: Tensor
    joint: bool
    covariance: Tensor
    root: Tensor

    @classmethod
    def over(cls, doses: Tensor, *, joint: bool) -> Surface:
        """For dose pairs ``(C, 2)``."""
        least = torch.stack([column[column > 0].min() for column in doses.T])
        places = torch.log2(1 + doses / least)
        alike = _alike(places, places, joint) + NUGGET * torch.eye(len(doses), dtype=doses.dtype)
        return cls(places, least, joint, alike, torch.linalg.cholesky(alike))

    def further(self, doses: Tensor) -> tuple[Tensor, Tensor]:
        """Misfits at other pairs ``(m, 2)`` given those fitted: weights ``(m, C)`` and a root of
        the covariance that is left, ``(m, m)``."""
        places = torch.log2(1 + doses / self.least)
        across = _alike(places, self.places, self.joint)
        weights = torch.cholesky_solve(across.T, self.root).T
        left = _alike(places, places, self.joint) - weights @ across.T
        values, vectors = torch.linalg.eigh(
            0.5 * (left + left.T) + NUGGET * torch.eye(len(doses), dtype=doses.dtype)
        )
        return weights, vectors * values.clamp_min(0).sqrt()


def _alike(left: Tensor, right: Tensor, joint: bool) -> Tensor:
    """Covariance of misfits at log doses ``(n, 2)`` and ``(m, 2)``, given that of no drug is 0."""
    axes = [slice(0, 2)] if joint else [slice(0, 1), slice(1, 2)]
    found = torch.zeros(len(left), len(right), dtype=left.dtype)
    for axis in axes:
        a, b = left[:, axis], right[:, axis]
        origin = torch.zeros_like(a[:1])
        found = found + (_matern(a, b) - _matern(a, origin) * _matern(origin, b))
    return (1 - NUGGET) * found


def _matern(a: Tensor, b: Tensor) -> Tensor:
    far = math.sqrt(3) / REACH * torch.sqrt((a[:, None] - b[None]).square().sum(-1))
    return (1 + far) * torch.exp(-far)
