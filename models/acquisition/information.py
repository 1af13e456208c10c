"""What a measurement would tell: about itself, about the function, about the number of hits.

``draws`` ``(n, m)``: noise-free scores f_ij of ``m`` candidates in ``n`` worlds. The measurement
of candidate j is y_j = f_j + e_j with e_j of the law ``noise``. Everything in nats.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.special
import scipy.stats
import torch
from torch import Tensor

from models.acquisition.draws import (
    AcquisitionError,
    require_draws,
    require_noise,
    require_number,
)
from models.bayes.predictive import Noise
from models.screen import FloatArray

STEP = 0.7
"""Of the grid, in scales of the noise: by trial the error is below 1e-3 nats."""
MARGIN = 2.0
"""How far beyond the outermost draws the grid stays dense, in scales of the noise."""
TAIL = 1e-6
"""Probability of the noise beyond the grid."""
FARTHEST = 160.0
"""Draws further apart, in scales of the noise, overlap so little that distance is no matter."""
ELEMENTS = 1 << 17
"""Draws times grid points at once: they stay in a core's cache."""


def entropy(draws: FloatArray, noise: Noise | None) -> FloatArray:
    """Entropy of a measurement: a_j = H[y_j] = -E log p(y_j), p = (1/n) sum_i t(y - f_ij).

    Numerical integral of the mixture itself, by the trapezoid rule on a grid with
    exponentially growing steps outside the draws, float32. Error below 1e-3 nats for any ``df``
    above 2; checked against adaptive quadrature. Ranks by total uncertainty, noise included.
    """
    checked, law = _checked(draws, noise)
    return _standard_entropy(checked / law.scale, law.df) + np.log(law.scale)


def bald(draws: FloatArray, noise: Noise | None) -> FloatArray:
    """Information of the measurement about the function (Houlsby et al. 2011, eq. 2).

    a_j = I(y_j; f) = H[y_j] - H[e_j]: mixture entropy as in :func:`entropy`, the noise's in
    closed form. Between 0 and log n, and 1/2 log(1 + var f_j / sigma_j^2) for Gaussians.
    """
    checked, law = _checked(draws, noise)
    return _standard_entropy(checked / law.scale, law.df) - noise_entropy(law.df)


def noise_entropy(df: float) -> float:
    """Entropy of Student's t with scale 1, Gaussian for infinite ``df``."""
    if math.isinf(df):
        return 0.5 * math.log(2 * math.pi * math.e)
    half = (df + 1) / 2
    slope = float(scipy.special.digamma(half) - scipy.special.digamma(df / 2))
    return half * slope + 0.5 * math.log(df) + float(scipy.special.betaln(df / 2, 0.5))


def hit_information(
    draws: FloatArray, threshold: float, noise: Noise | None, hits: FloatArray | None = None
) -> FloatArray:
    """Information of the measurement about the campaign's number of hits.

    a_j = -1/2 log(1 - rho_j^2), rho_j^2 = cov(f_j, N)^2 / ((var f_j + sd_j^2) var N), where
    N_i = #{j: f_ij > threshold} is the number of hits in world i and sd_j that of the noise:
    the mutual information I(y_j; N) if y_j and N are jointly Gaussian, and the best linear
    predictor's share of it else. With independent f_j and N the estimate is about
    1 / (2 (n - 1)) rather than 0: differences smaller than that say nothing.

    ``hits`` ``(n,)``: N, where ``draws`` are a part of the pool; counted in ``draws`` otherwise.
    All values are 0 where N is the same in all worlds: there is nothing to learn about it.
    """
    checked, law = _checked(draws, noise)
    limit = require_number("the hit threshold", threshold)
    number = (checked > limit).sum(axis=1).astype(np.float64) if hits is None else hits
    if number.shape != (len(checked),):
        raise AcquisitionError(f"hits have shape {number.shape}, expected ({len(checked)},)")
    about = number - number.mean()
    if not np.any(about):
        return np.zeros(checked.shape[1])
    away = checked - checked.mean(axis=0)
    divisor = len(checked) - 1
    variance = np.square(away).sum(axis=0) / divisor + np.square(law.sd())
    shared = np.square(np.einsum("i,ij->j", about, away) / divisor)
    return np.asarray(-0.5 * np.log1p(-shared / (variance * (about @ about) / divisor)))


def _checked(draws: FloatArray, noise: Noise | None) -> tuple[FloatArray, Noise]:
    checked = require_draws(draws)
    return checked, require_noise(noise, checked.shape[1])


def _standard_entropy(z: FloatArray, df: float) -> FloatArray:
    """``(m,)`` entropies of mixtures of noise with scale 1 at ``z`` ``(n, m)``, which is lost."""
    wide = np.ptp(z, axis=0) > FARTHEST
    z[:, wide] = _closer(z[:, wide])
    high, low = z.max(axis=0), z.min(axis=0)
    reach = 0.5 * (high - low) + MARGIN + _tail(df)
    centred = torch.as_tensor(z - 0.5 * (high + low), dtype=torch.float32)
    # Columns in groups of about equal width, for which one number of points does.
    group = np.ceil(2 * np.log2(reach)).astype(np.int64)
    result = np.empty(z.shape[1])
    for name in np.unique(group):
        columns = np.flatnonzero(group == name)
        points = math.ceil(2 * float(reach[columns].max()) / STEP) + 1
        width = max(1, ELEMENTS // (len(z) * points))
        for part in np.split(columns, range(width, len(columns), width)):
            half = torch.as_tensor(reach[part], dtype=torch.float32)
            result[part] = _integral(centred[:, torch.as_tensor(part)], half, points, df).numpy()
    return result


def _closer(z: FloatArray) -> FloatArray:
    """Draws with every gap at most ``FARTHEST``: the same entropy, a shorter grid."""
    ordered = np.sort(z, axis=0)
    gaps = np.diff(ordered, axis=0, prepend=ordered[:1])
    return np.asarray(np.cumsum(np.minimum(gaps, FARTHEST), axis=0))


def _tail(df: float) -> float:
    """Steps of the growing kind up to the ``TAIL`` quantile of the noise."""
    law = scipy.stats.norm if math.isinf(df) else scipy.stats.t(df)
    return max(1.5, math.log(float(law.isf(TAIL))))


def _integral(z: Tensor, reach: Tensor, points: int, df: float) -> Tensor:
    """-int p log p dy with y = u + exp(u - r) - exp(-u - r), r where the draws end.

    ``z`` ``(n, w)``; u runs evenly over [-reach, reach] ``(w,)``. With q proportional to p and
    Z = int q: H = log Z - (int q log q) / Z.
    """
    u = torch.linspace(-1.0, 1.0, points)[:, None] * reach
    edge = reach - _tail(df)
    right, left = torch.exp(u - edge), torch.exp(-u - edge)
    weight = (1 + right + left) * (2 * reach / (points - 1))
    square = ((u + right - left) - z[:, None]).square_()
    if math.isinf(df):
        # Numbers below the normal range are slow, and far too small to count.
        density = square.mul_(-0.5).clamp_(min=-80.0).exp_().mean(0)
    else:
        density = square.div_(df).log1p_().mul_(-0.5 * (df + 1)).exp_().mean(0)
    total = (weight * density).sum(0)
    return total.log() - (weight * torch.xlogy(density, density)).sum(0) / total
