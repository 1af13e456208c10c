"""The curve of a campaign that is still running, against the same number of random measurements.

curve = live_curve(scores, rounds, threshold=10.0, hit_probability=of_what_is_left)

Nobody knows how many hits a running campaign could find. The model does have a forecast: with N
blocks in all, h of them hits among the n measured ones and S among the others, a random order
finds after m blocks a hypergeometric number of the H = h + S hits,

    P(X = x) = sum_s P(S = s) C(H, x) C(N - H, m - x) / C(N, m),      E X = m (h + E S) / N.

P(S) is what the caller says of it: draws of S from a posterior's whole functions, where blocks
err together, or else independent blocks, for which S is nearly normal (Poisson binomial, mean
sum p, variance sum p (1 - p)).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats

from models.bayes.forecast import number
from models.screen import FloatArray, IntArray, ScreenError

BAND = (0.05, 0.95)
STEPS = 41
"""Equally likely values that stand for P(S) of independent blocks."""


@dataclass(frozen=True)
class LiveRound:
    """After a round of a live campaign. ``measured`` blocks and ``found`` hits so far;
    ``random``: hits expected of a random order, ``random_low`` and ``random_high`` the ends of its
    90 % band; ``enrichment``: found over expected, ``None`` where nothing is expected."""

    number: int
    measured: int
    found: int
    random: float
    random_low: int
    random_high: int
    enrichment: float | None

    def to_json(self) -> dict[str, Any]:
        """For an endpoint."""
        return {**vars(self), "random": number(self.random), "enrichment": number(self.enrichment)}


def live_curve(
    scores: FloatArray,
    rounds: IntArray,
    threshold: float,
    hit_probability: FloatArray,
    *,
    hits_left: IntArray | None = None,
) -> list[LiveRound]:
    """One entry a round, in ascending order.

    ``scores``, ``rounds``: ``(n,)`` measured score and round number of each measured block;
    a hit has a score above ``threshold``. ``hit_probability``: ``(r,)`` forecast for every block
    that could still be measured. ``hits_left``: ``(s,)`` draws of the number of hits among these,
    which then replace the assumption that blocks are independent. Raises :class:`ScreenError` for
    numbers that do not fit together.
    """
    _check(scores, rounds, threshold, hit_probability, hits_left)
    hit, left = scores > threshold, len(hit_probability)
    values = _hits_left(hit_probability) if hits_left is None else np.asarray(hits_left)
    expected_left = float(hit_probability.sum() if hits_left is None else values.mean())
    total, known = len(scores) + left, int(hit.sum())
    curve = []
    for now in np.unique(rounds):
        done = rounds <= now
        measured, found = int(done.sum()), int(hit[done].sum())
        expected = measured * (known + expected_left) / total
        low, high = _band(total, known + values, measured)
        curve.append(
            LiveRound(
                number=int(now),
                measured=measured,
                found=found,
                random=expected,
                random_low=low,
                random_high=high,
                enrichment=found / expected if expected > 0 else None,
            )
        )
    return curve


def _hits_left(p: FloatArray) -> IntArray:
    """``(STEPS,)`` equally likely whole numbers of hits among independent blocks."""
    sd = math.sqrt(float(np.sum(p * (1 - p))))
    middle = (np.arange(STEPS) + 0.5) / STEPS
    values = np.rint(float(p.sum()) + sd * scipy.stats.norm.ppf(middle))
    return np.asarray(np.clip(values, 0, len(p)), dtype=np.int64)


def _band(total: int, hits: IntArray, measured: int) -> tuple[int, int]:
    """Smallest x with P(X <= x) at least each end of ``BAND``, over the numbers of hits."""
    values, counts = np.unique(hits, return_counts=True)
    weights = counts / counts.sum()

    def below(x: int) -> float:
        return float(weights @ scipy.stats.hypergeom.cdf(x, total, values, measured))

    low, high = (_first(below, share, measured) for share in BAND)
    return low, high


def _first(below: Callable[[int], float], share: float, most: int) -> int:
    """Smallest whole number from 0 to ``most`` whose distribution function reaches ``share``."""
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        if below(middle) >= share - 1e-12:
            high = middle
        else:
            low = middle + 1
    return low


def _check(
    scores: FloatArray,
    rounds: IntArray,
    threshold: float,
    p: FloatArray,
    hits_left: IntArray | None,
) -> None:
    if len(scores) != len(rounds) or not len(scores):
        raise ScreenError("a live curve needs measured blocks, and a round for each of them")
    if not (np.all(np.isfinite(scores)) and math.isfinite(threshold)):
        raise ScreenError("scores of measured blocks and the hit threshold must be finite")
    if not np.all((p >= 0) & (p <= 1)):
        raise ScreenError("hit probabilities must lie between 0 and 1")
    if hits_left is not None and (
        not len(hits_left) or np.min(hits_left) < 0 or np.max(hits_left) > len(p)
    ):
        raise ScreenError(f"the hits left must be draws from 0 to {len(p)}, the blocks left")
