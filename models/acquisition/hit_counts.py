"""How many hits a set of candidates holds: a distribution over worlds, not only its mean.

In world ``i`` candidate ``j`` is measured as a hit with probability ``p_ij = P(f_ij + e_j > t)``,
each on its own, so the count is Poisson-binomial given the world, and a mixture of those over
worlds: what candidates share (a compound that is better than thought) makes the spread that
independent candidates would not have. The distribution comes from its characteristic function

    phi(theta) = (1/n) sum_i exp(sum_j log(1 + p_ij (e^{i theta} - 1)))

at evenly spaced angles (Hong, Comput Stat Data Anal 59 (2013), 41), with the ``p_ij`` of each
world gathered in a histogram, fine towards 0 and 1, whose linear weights keep their sum: memory
does not grow with the pool, and probabilities are right to about 1e-6.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.acquisition.functions import AcquisitionError, require_draws
from models.acquisition.hit_calibration import HitCalibration, mend
from models.bayes.predictive import Noise, standard_cdf
from models.screen import FloatArray, IntArray

CHANCE_STEPS = 1023
"""Steps of the histogram of probabilities between 0 and 1; odd, so that 1/2 is no grid point."""
_GRID = np.sin(np.arange(CHANCE_STEPS + 1) * (np.pi / (2 * CHANCE_STEPS))) ** 2
MOST_EXACT = 4095
"""Up to so many hits in question the distribution is exact, beyond a mixture of normals."""
LEVEL = 0.9


@dataclass(frozen=True)
class HitForecast:
    """``probability`` ``(K,)`` of 0, 1, ... hits; ``level`` of the central interval."""

    probability: FloatArray
    level: float = LEVEL

    @property
    def expected(self) -> float:
        """Mean number of hits."""
        return float(self.probability @ np.arange(len(self.probability)))

    @property
    def interval(self) -> tuple[int, int]:
        """Fewest and most hits of the central interval that holds at least ``level``."""
        below = np.cumsum(self.probability)
        tail = (1.0 - self.level) / 2
        low, high = (int(np.searchsorted(below, q)) for q in (tail, 1.0 - tail))
        return low, min(high, len(below) - 1)

    def probability_at_most(self, count: float) -> float:
        """P(hits <= count)."""
        kept = self.probability[: max(0, math.floor(count + 1e-9) + 1)]
        return min(1.0, float(kept.sum()))

    def describe(self) -> str:
        """In words: the expectation and the interval."""
        low, high = self.interval
        return f"{_short(self.expected)} ({100 * self.level:.0f} % interval {low} to {high})"

    def as_dict(self) -> dict[str, Any]:
        """JSON-able numbers: ``expected``, ``low``, ``high``, ``level``."""
        low, high = self.interval
        return {"expected": self.expected, "low": low, "high": high, "level": self.level}


class HitCounter:
    """Counts block by block: give all candidates to :meth:`meet`, in any split, then ask.

    ``n``: worlds. ``calibration``: mends hit probabilities, its own uncertainty included.
    """

    def __init__(
        self, n: int, level: float = LEVEL, calibration: HitCalibration | None = None
    ) -> None:
        if n < 2:
            raise AcquisitionError(f"{n} draw(s) say nothing about uncertainty; need 2")
        if not 0 < level < 1:
            raise AcquisitionError(f"the level of an interval is {level}, must be between 0 and 1")
        self.n, self.level, self.calibration = n, level, calibration
        self._measured, self._true = _Chances(n), _Chances(n)

    def meet(self, draws: FloatArray, threshold: float, noise: Noise | None) -> FloatArray:
        """Take candidates ``draws`` ``(n, b)`` in; their hit probabilities ``(b,)``.

        Without ``noise`` a candidate is a hit or not in each world, by its noise-free value.
        """
        chances = hit_chances(draws, threshold, noise)
        return self.meet_chances(chances, (draws > threshold).astype(np.float64))

    def meet_chances(self, chances: FloatArray, true: FloatArray | None = None) -> FloatArray:
        """The same from ``chances`` ``(n, b)`` of each candidate to be measured as a hit in each
        world, and whether it is one without noise; :meth:`true` knows nothing of candidates for
        which that is ``None``."""
        if len(chances) != self.n:
            raise AcquisitionError(f"{len(chances)} draws, the other candidates have {self.n}")
        mean = np.asarray(chances.mean(axis=0))
        if self.calibration is not None:
            wanted = self.calibration.worlds(mean, self.n)
            chances = mend(chances, mean, wanted)
            true = None if true is None else mend(true, mean, wanted)
            mean = self.calibration.apply(mean)
        self._measured.add(chances)
        if true is not None:
            self._true.add(true)
        return mean

    def absorb(self, other: HitCounter) -> None:
        """Take in what another counter met, of the same worlds and calibration."""
        self._measured.absorb(other._measured)
        self._true.absorb(other._true)

    def measured(self) -> HitForecast:
        """Of the candidates that would be *measured* above the threshold."""
        return HitForecast(self._measured.distribution(), self.level)

    def true(self) -> HitForecast:
        """Of the candidates whose noise-free value is above it."""
        return HitForecast(self._true.distribution(), self.level)


class _Chances:
    """Histograms of the probabilities of each of ``n`` worlds."""

    def __init__(self, n: int) -> None:
        self.count = 0
        self.weight = np.zeros((n, CHANCE_STEPS + 1))
        self.variance = np.zeros(n)

    def add(self, chances: FloatArray) -> None:
        """``(n, b)``, between 0 and 1."""
        self.count += chances.shape[1]
        self.variance += (chances * (1.0 - chances)).sum(axis=1)
        place = np.arcsin(np.sqrt(chances)) * (2 * CHANCE_STEPS / np.pi)
        cell = np.minimum(place.astype(np.int64), CHANCE_STEPS - 1)
        upper = (chances - _GRID[cell]) / np.diff(_GRID)[cell]
        at = (cell + (CHANCE_STEPS + 1) * np.arange(len(chances))[:, None]).ravel()
        size = self.weight.size
        total = np.bincount(at, (1.0 - upper).ravel(), size)
        total += np.bincount(at + 1, upper.ravel(), size)
        self.weight += total.reshape(self.weight.shape)

    def absorb(self, other: _Chances) -> None:
        """Add what another one has met."""
        self.count += other.count
        self.weight += other.weight
        self.variance += other.variance

    def distribution(self) -> FloatArray:
        """Probabilities of 0, 1, ... hits."""
        mean, sd = self.weight @ _GRID, np.sqrt(self.variance)
        # So many that what lies beyond could not be told from rounding.
        length = 1 + min(self.count, math.ceil(float((mean + 12.0 * sd).max(initial=0.0))) + 24)
        if length > MOST_EXACT:
            return _normal_mixture(mean, sd, length)
        return _from_angles(self.weight, length)


def hit_chances(draws: FloatArray, threshold: float, noise: Noise | None) -> FloatArray:
    """``(n, m)`` P(measured above the threshold) in each world; 0 or 1 without noise."""
    checked = require_draws(draws)
    if not np.isfinite(threshold):
        raise AcquisitionError(f"the hit threshold is {threshold}")
    if noise is None:
        return (checked > threshold).astype(np.float64)
    return standard_cdf((checked - threshold) / noise.scale, noise.df)


def count_hits(
    draws: FloatArray,
    threshold: float,
    noise: Noise | None = None,
    *,
    level: float = LEVEL,
    calibration: HitCalibration | None = None,
) -> HitForecast:
    """Hits among the candidates of ``draws`` ``(n, m)``: as measured, or without noise."""
    counter = HitCounter(len(draws), level, calibration)
    counter.meet(draws, threshold, noise)
    return counter.measured()


def next_plates(
    draws: FloatArray,
    threshold: float,
    noise: Noise | None,
    size: int,
    plates: int = 1,
    *,
    level: float = LEVEL,
    calibration: HitCalibration | None = None,
) -> tuple[tuple[IntArray, HitForecast], ...]:
    """New hits of the next plates of ``size`` blocks, taken by falling hit probability.

    Rows of ``draws`` ``(n, m)`` and forecast of each plate; fewer plates where the pool ends.
    Later plates are forecast from what is known now: a model that learns from the first finds at
    least as many on average.
    """
    if size < 1 or plates < 1:
        raise AcquisitionError("the next plates need at least one plate of at least one block")
    chance = hit_chances(draws, threshold, noise).mean(axis=0)
    order = np.argsort(-chance, kind="stable")[: size * plates]
    chosen = [order[start : start + size] for start in range(0, len(order), size)]
    forecasts = (
        count_hits(
            draws[:, rows],
            threshold,
            noise and noise.select(rows),
            level=level,
            calibration=calibration,
        )
        for rows in chosen
    )
    return tuple(zip(chosen, forecasts, strict=True))


def _from_angles(weight: FloatArray, length: int) -> FloatArray:
    """``(length,)`` probabilities, the mean over worlds of their Poisson-binomial counts."""
    # An odd number of angles leaves out pi, where the logarithm of a probability 1/2 ends.
    count = length + 1 - length % 2
    angle = 2.0 * np.pi * np.arange(count // 2 + 1) / count
    table = np.log(1.0 + _GRID[:, None] * (np.exp(1j * angle) - 1.0))
    phi = np.exp(weight @ table.real + 1j * (weight @ table.imag)).mean(axis=0)
    probability = np.fft.irfft(np.conj(phi), count)[:length]
    # Rounding leaves values of the order of -1e-17 where the probability is zero.
    return _normalised(np.maximum(probability, 0.0))


def _normal_mixture(mean: FloatArray, sd: FloatArray, length: int) -> FloatArray:
    """The same with a normal count, rounded, in each world."""
    edges = np.arange(length) + 0.5
    below = np.zeros(length)
    for m, s in zip(mean, sd, strict=True):
        below += standard_cdf((edges - m) / max(s, 1e-9), math.inf)
    return _normalised(np.diff(below, prepend=0.0))


def _normalised(weights: FloatArray) -> FloatArray:
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def _short(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"
