"""Robust centres and spreads of a handful of wells."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from models.screen import FloatArray

MAD_TO_SD = 1.4826
"""Standard deviation of a normal variable over its median absolute deviation."""

FEWEST_FOR_MAD = 8
"""With fewer wells the median deviation is noisier than what it guards against."""

_CUT = 2.0
_CUT_VARIANCE = float(norm.cdf(_CUT) - norm.cdf(-_CUT) - 2 * _CUT * norm.pdf(_CUT)) + float(
    2 * _CUT**2 * norm.sf(_CUT)
)
"""Variance of a standard normal variable that is cut there."""

_ROUNDS = 40


def mad_sd(values: FloatArray) -> float:
    """1.4826 times the median absolute deviation of ``values`` ``(n,)``, n >= 1."""
    return float(MAD_TO_SD * np.median(np.abs(values - np.median(values))))


def well_sd(values: FloatArray) -> float | None:
    """Standard deviation of one well, from ``values`` ``(n,)``; None for fewer than two.

    Robust (:func:`mad_sd`) from ``FEWEST_FOR_MAD`` wells on, unless more than half of them are
    equal to the digit; the ordinary one with ``n - 1`` otherwise.
    """
    if len(values) < 2:
        return None
    robust = mad_sd(values) if len(values) >= FEWEST_FOR_MAD else 0.0
    return robust if robust > 0 else float(np.std(values, ddof=1))


def well_sd_dof(n: int) -> float:
    """Degrees of freedom that :func:`well_sd` of ``n >= 2`` normal wells is worth.

    ``n - 1`` for the ordinary one. The median deviation knows less: from ``FEWEST_FOR_MAD`` wells
    on the logarithm of its square scatters as with ``0.375 (n - 1) + 0.6``, give or take a tenth.
    """
    return n - 1.0 if n < FEWEST_FOR_MAD else 0.375 * (n - 1) + 0.6


class WellNoise(NamedTuple):
    """Standard deviation of one well, and the degrees of freedom that it rests on."""

    sd: float
    dof: float


def well_noise(values: FloatArray) -> WellNoise | None:
    """Scatter of one well, from ``values`` ``(n,)``, for those who weigh by it; None for fewer than
    two, and where it is 0: wells equal to the last digit are a saturated reader.

    From ``FEWEST_FOR_MAD`` wells on Huber's proposal 2 (Ann Math Stat 35, 1964, 73-101) with
    deviations cut at ``_CUT``: worth nine tenths of the wells where :func:`well_sd` is worth four,
    and one wild well among sixteen makes it 1.2 times too large. The ordinary one otherwise.
    """
    n = len(values)
    if n < 2:
        return None
    if n < FEWEST_FOR_MAD:
        sd = float(np.std(values, ddof=1))
        return WellNoise(sd, n - 1.0) if sd > 0 else None
    centre, sd = float(np.median(values)), well_sd(values) or 0.0
    for _ in range(_ROUNDS):
        if not sd > 0:
            return None
        cut = np.clip((values - centre) / sd, -_CUT, _CUT)
        centre += sd * float(np.mean(cut))
        sd *= float(np.sqrt(np.sum(cut**2) / ((n - 1) * _CUT_VARIANCE)))
    # In normal wells the variance comes out 1 + 1 / 2n times too large.
    return WellNoise(sd / float(np.sqrt(1.0 + 0.5 / n)), 0.9 * (n - 1))


def median_sd(values: FloatArray) -> float | None:
    """Standard error of the median of ``values`` ``(n,)``; None for fewer than two.

    ``sd * sqrt(median_variance(n))``, which is the ``sqrt(pi / 2n)`` of large ``n``.
    """
    sd = well_sd(values)
    return None if sd is None else sd * float(np.sqrt(median_variance(len(values))))


def median_variance(n: int) -> float:
    """Variance of the median of ``n`` standard normal values, to within 0.01 for odd ``n``.

    ``(pi / 2) / (n + pi / 2 - 1)``: exact for 1 and in the limit; up to a fifth too large for
    small even ``n``, where the median averages two values.
    """
    half_pi = float(np.pi / 2)
    return half_pi / (n + half_pi - 1.0)
