"""Is a posterior honest? Ranks of the truth among its draws, and replicas of the data.

Simulation-based calibration (Talts et al. 2018): for parameters from the prior and data simulated
from them, the rank of each parameter among posterior draws is uniform. It is so for the prior
itself, too: ranks catch what is false, not what is vague. A posterior predictive check asks
whether data like those observed come out again where the posterior is believed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.stats

from models.screen import FloatArray, IntArray, ScreenError


@dataclass(frozen=True)
class RankCheck:
    """``ranks`` ``(N, P)`` of 0 to ``draws``; ``p`` ``(P,)`` chance of ranks as uneven as these if
    uniform; ``coverage_90`` ``(P,)`` how many central 90 % intervals held the truth; ``sound``
    whether none is below 1 % after correction for their number."""

    ranks: IntArray
    draws: int
    p: FloatArray
    coverage_90: FloatArray

    @property
    def sound(self) -> bool:
        """Whether no parameter's ranks are uneven at 1 %, Bonferroni's share for each."""
        return bool(self.p.min() * len(self.p) >= 0.01)


def check_ranks(truth: FloatArray, draws: FloatArray, seed: int = 0, bins: int = 20) -> RankCheck:
    """Ranks of ``truth`` ``(N, P)`` among ``draws`` ``(S, N, P)``, ties broken at random;
    chi-square over ``bins``. Raises :class:`ScreenError` for fewer than five expected in a bin."""
    s, n, _ = draws.shape
    if n < 5 * bins:
        raise ScreenError(f"{n} simulations are too few for {bins} bins of ranks")
    generator = np.random.default_rng(seed)
    below, ties = (draws < truth).sum(axis=0), (draws == truth).sum(axis=0)
    ranks = below + generator.integers(0, ties + 1)
    # A rank is uniform on 0..s; a random place within makes it uniform on the unit interval.
    unit = (ranks + generator.uniform(size=ranks.shape)) / (s + 1)
    counts = np.stack([np.histogram(column, bins, (0.0, 1.0))[0] for column in unit.T])
    p = np.array([scipy.stats.chisquare(row).pvalue for row in counts])
    inside = np.abs(unit - 0.5) <= 0.45
    return RankCheck(ranks, s, p, inside.mean(axis=0))


def predictive_p(observed: FloatArray, replicas: FloatArray) -> FloatArray:
    """``(m,)`` two-sided chances of discrepancies ``(m,)`` as far out as observed among those of
    ``(S, m)`` replicas; counted with the observed one, so never 0."""
    if replicas.ndim != 2 or replicas.shape[1:] != observed.shape:
        raise ScreenError("replicas are rows of what was observed")
    s = len(replicas)
    above = (1 + (replicas >= observed).sum(axis=0)) / (s + 1)
    below = (1 + (replicas <= observed).sum(axis=0)) / (s + 1)
    return np.asarray(np.minimum(1.0, 2 * np.minimum(above, below)))
