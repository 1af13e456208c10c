"""What is known exactly of growth by chance: moments, extinction, stationary laws.

Linear birth and death: Kendall 1948 (Ann. Math. Stat. 19, 1). With g = b - d and E = exp(g t),
one cell has no descendants at t with chance d (E - 1) / (b E - d), or b t / (1 + b t) if b = d;
cells are independent, so n have none with that chance to the n. Where cells also fall asleep, the
generating functions obey two differential equations, backward in time (Harris 1963, The Theory of
Branching Processes, ch. V).

All rates are an hour, times in hours; functions of arrays broadcast.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from models.screen import FloatArray, ScreenError

_Slope = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]


def birth_death_moments(
    cells: ArrayLike, division: ArrayLike, death: ArrayLike, time: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Mean and variance of the number of cells at ``time``, from ``cells`` at 0."""
    n, b, d, t = _checked(cells, division, death, time)
    growth = b - d
    mean = n * np.exp(growth * t)
    # (E - 1) / g, which is t where g = 0.
    return mean, np.asarray(mean * (b + d) * _integrated(growth, t))


def extinction(
    cells: ArrayLike, division: ArrayLike, death: ArrayLike, time: ArrayLike
) -> FloatArray:
    """Chance that no cell is left at ``time`` (infinite: ever)."""
    n, b, d, t = _checked(cells, division, death, time)
    growth = b - d
    finite = np.where(np.isfinite(t), t, 0.0)
    # Both parts divided by the larger of 1 and E: no overflow, and no 0 / 0 where b = d.
    up = growth > 0
    span = _integrated(np.where(up, -growth, growth), finite)
    rest = np.where(up, np.exp(-np.abs(growth) * finite), 1.0)
    chance = d * span / (rest + b * span)
    with np.errstate(divide="ignore", invalid="ignore"):
        ever = np.where(d > 0, np.where(up, d / b, 1.0), 0.0)
    return np.asarray(np.where(np.isfinite(t), chance, ever) ** n)


@dataclass(frozen=True)
class GrowthRates:
    """``division``, ``death``, ``asleep`` (falling asleep), ``awake`` (waking up): ``(S,)`` each,
    an hour, 0 or more. Raises :class:`ScreenError` for others."""

    division: FloatArray
    death: FloatArray
    asleep: FloatArray
    awake: FloatArray

    def __post_init__(self) -> None:
        shapes = {v.shape for v in (self.division, self.death, self.asleep, self.awake)}
        if len(shapes) != 1 or self.division.ndim != 1:
            raise ScreenError("rates of growth are four rows of equal length")
        for values in (self.division, self.death, self.asleep, self.awake):
            if not np.all(np.isfinite(values)) or np.any(values < 0):
                raise ScreenError("rates of growth must be finite and 0 or more")


def growth_extinction(
    rates: GrowthRates, dividing: ArrayLike, quiescent: ArrayLike, times: FloatArray
) -> FloatArray:
    """``(S, T)`` chance that neither dividing nor sleeping cells are left at ``times`` ``(T,)``
    (ascending, 0 or more), from as many of each at time 0 (scalars or ``(S,)``).

    The equations G' = b G^2 + d + q Q - (b + d + q) G and Q' = r (G - Q) of the chance that one
    dividing, one sleeping cell has no descendants; Runge-Kutta of fourth order.
    """
    if times.ndim != 1 or times[0] < 0 or np.any(np.diff(times) <= 0):
        raise ScreenError("times must ascend and begin at 0 or later")
    b, d, q, r = rates.division, rates.death, rates.asleep, rates.awake
    n, m = np.asarray(dividing, np.float64), np.asarray(quiescent, np.float64)
    fastest = float(np.max(b + d + q + r, initial=0.0))

    def slope(g: FloatArray, s: FloatArray) -> tuple[FloatArray, FloatArray]:
        return b * g * g + d + q * s - (b + d + q) * g, r * (g - s)

    one, other = np.zeros_like(b), np.zeros_like(b)
    found, before = [], 0.0
    for time in times.tolist():
        steps = int(np.ceil((time - before) * max(fastest, 1e-12) / 0.1)) if time > before else 0
        for _ in range(steps):
            one, other = _step(slope, one, other, (time - before) / steps)
        before = time
        found.append(one**n * other**m)
    return np.clip(np.stack(found, axis=1), 0.0, 1.0)


def _step(
    slope: _Slope, one: FloatArray, other: FloatArray, h: float
) -> tuple[FloatArray, FloatArray]:
    a1, b1 = slope(one, other)
    a2, b2 = slope(one + h / 2 * a1, other + h / 2 * b1)
    a3, b3 = slope(one + h / 2 * a2, other + h / 2 * b2)
    a4, b4 = slope(one + h * a3, other + h * b3)
    return (
        one + h / 6 * (a1 + 2 * a2 + 2 * a3 + a4),
        other + h / 6 * (b1 + 2 * b2 + 2 * b3 + b4),
    )


def telegraph_fano(on: float, off: float, transcription: float, decay: float) -> float:
    """Variance over mean of the messengers of a gene that switches, in the long run (Peccoud &
    Ycart 1995): 1 + k off / ((on + off) (on + off + decay))."""
    if min(on, off, transcription, decay) <= 0:
        raise ScreenError("the rates of the telegraph model must be above 0")
    return 1 + transcription * off / ((on + off) * (on + off + decay))


def _integrated(growth: FloatArray, time: FloatArray) -> FloatArray:
    """(exp(g t) - 1) / g, which is t where g = 0."""
    still = np.abs(growth * time) < 1e-12
    safe = np.where(still, 1.0, growth)
    return np.asarray(np.where(still, time, np.expm1(safe * time) / safe))


def _checked(*values: ArrayLike) -> tuple[FloatArray, ...]:
    arrays = np.broadcast_arrays(*(np.asarray(value, np.float64) for value in values))
    if any(np.any(np.isnan(a)) or np.any(a < 0) for a in arrays):
        raise ScreenError("cells, rates and times must be numbers, 0 or more")
    return tuple(arrays)
