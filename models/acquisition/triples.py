"""Sums over all triples of worlds: log sum d_ij K_ij K_ik K_jk with K = exp(-D / 6).

The sum over ordered triples of different worlds is sum_ij d_ij K_ij (K K)_ij for a K with zeros
on its diagonal. D may be thousands, so that K leaves the range of float64: K is scaled by the
closest triple, and where that does not save it the sum is done in logarithms.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from models.acquisition.draws import AcquisitionError

WORLDS = 3
"""Fewest worlds of which a triple can be made."""
NATS = 100.0
"""How far below the closest triple others are looked at first, in logarithms."""
PAIRS_AT_ONCE = 1 << 12
_TINY = torch.finfo(torch.float64).tiny
_EXACT = 1e12
"""How far a sum must be above all that underflow may have taken from it."""


def distinct_triples(n: int) -> int:
    """Ordered triples of different worlds among ``n``."""
    if n < WORLDS:
        raise AcquisitionError(f"{n} draw(s) make no triple; need {WORLDS}")
    return n * (n - 1) * (n - 2)


def shift_of(apart: Tensor) -> Tensor:
    """``(plates,)`` about a third of the smallest D_ij + D_ik + D_jk; ``apart`` ``(plates, n, n)``.

    Of each world with its two nearest. At most three times too large, by the triangle inequality.
    """
    far = apart.clone()
    far.diagonal(dim1=1, dim2=2).fill_(math.inf)
    near = far.topk(2, largest=False)
    j, k = near.indices.unbind(-1)
    plate = torch.arange(len(apart))[:, None]
    return (near.values.sum(-1) + apart[plate, j, k]).min(-1).values / 3


def log_triples(apart: Tensor, distance: Tensor, shift: float) -> Tensor:
    """``(plates,)`` log of the sum over triples of ``distance`` ``(n, n)`` times K K K.

    ``apart`` ``(plates, n, n)``: the squared distances D, float64. ``shift``: a guess of
    :func:`shift_of`, which where it proves wrong is found anew for each plate.
    """
    result, sure = _sums(apart, distance, apart.new_full((len(apart),), shift))
    if not bool(sure.all()):
        rest = torch.nonzero(~sure)[:, 0]
        result[rest], sure[rest] = _sums(apart[rest], distance, shift_of(apart[rest]))
    for plate in torch.nonzero(~sure)[:, 0].tolist():
        result[plate] = _in_logarithms(apart[plate], distance)
    return result


def _sums(apart: Tensor, distance: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """The logarithms by matrix products, and which of them underflow cannot have touched."""
    kernel = (shift[:, None, None] - apart).div_(6.0).exp_()
    faintest = kernel.amin((1, 2))
    kernel.diagonal(dim1=1, dim2=2).zero_()
    total = torch.bmm(kernel, kernel).mul_(kernel).mul_(distance).sum((1, 2))
    lost = _lost(kernel.amax((1, 2)), faintest, shift) * (distance.max() * len(distance) ** 3)
    return total.log() - 0.5 * shift, total.isfinite() & (total > _EXACT * lost)


def _lost(strongest: Tensor, faintest: Tensor, shift: Tensor) -> Tensor:
    """The most that underflow can have taken from one triple.

    A product K_ik K_jk below the range times K_ij; and an entry below the range times two others,
    of which D_ij + D_jk >= D_ik / 2 by the triangle inequality.
    """
    entry = torch.minimum(_TINY * strongest**2, (0.25 * shift + 1.5 * math.log(_TINY)).exp())
    return _TINY * strongest + entry * (faintest < _TINY)


def _in_logarithms(apart: Tensor, distance: Tensor) -> Tensor:
    """The same for one plate, ``apart`` ``(n, n)``, by log-sum-exp over triples.

    First over pairs that may be in a triple near the closest one: k is no nearer to i than its
    nearest neighbour. Over all pairs where those left out might count.
    """
    far = apart.clone().fill_diagonal_(math.inf)
    nearest = far.amin(1)
    cut = 3.0 * shift_of(apart[None])[0] + 6.0 * NATS
    result = _over_pairs(far, distance, far + nearest[:, None] + nearest <= cut)
    missed = distance.max().log() + 3.0 * math.log(len(apart)) - cut / 6.0
    if float(result - missed) > math.log(_EXACT):
        return result
    return _over_pairs(far, distance, torch.isfinite(far))


def _over_pairs(far: Tensor, distance: Tensor, kept: Tensor) -> Tensor:
    """Log of the sum over the pairs ``kept`` and every third; ``far`` is infinite on its
    diagonal."""
    kernel = far / -6.0
    first, second = torch.nonzero(kept & (distance > 0), as_tuple=True)
    at = torch.split(torch.arange(len(first)), PAIRS_AT_ONCE)
    thirds = [torch.logsumexp(kernel[first[part]] + kernel[second[part]], 1) for part in at]
    of_pairs = kernel[first, second] + distance[first, second].log()
    return torch.logsumexp(of_pairs + torch.cat([*thirds, of_pairs[:0]]), 0)
