"""Robust centres and spreads of a handful of wells."""

from __future__ import annotations

import numpy as np

from models.screen import FloatArray

MAD_TO_SD = 1.4826
"""Standard deviation of a normal variable over its median absolute deviation."""

FEWEST_FOR_MAD = 8
"""With fewer wells the median deviation is noisier than what it guards against."""


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
