"""Weight of evidence of the categories of one variable, shrunken and clustered as published.

The rule ("weight of evidence 2.0") mixes the rate of a category with that of all rows by the share
``b`` of least mean squared error:
``b_j = v_j (1 - q_j) / (v_j (1 - 2 q_j) + v + t2)`` and ``p_j <- (1 - b_j) p_j + b_j p``, where
``q_j`` is the category's share of the rows, ``v_j`` and ``v`` are the sampling variances of its
rate and of the global one, and ``t2`` the plain variance of the rates between categories. The
nested rates of :mod:`models.triage.rates` do better; this is the rule that they are judged by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from models.screen import FloatArray, IntArray, ScreenError
from models.triage.segments import cluster_values, segment_means

OFFSET = 0.01
"""A category without a hit counts as if it had this many; one of hits alone lacks as many."""
FEW_ROWS = 50
"""Below this a category's own rate says too little of its variance."""
MOST_CLUSTERS = 50
PENALTIES = (0.0, *np.exp(np.arange(-10.0, 1.0)).tolist())
"""What one more cluster costs, in the weighted sum of squares; AIC chooses."""


@dataclass(frozen=True)
class ShrunkenRates:
    """``rate`` ``(c,)`` of each category, ``share`` ``(c,)`` of the global rate in it (``b``),
    ``overall`` the global rate."""

    rate: FloatArray
    share: FloatArray
    overall: float


def shrink_rates(
    hits: FloatArray, rows: FloatArray, offset: float = OFFSET, *, pool_extremes: bool = False
) -> ShrunkenRates:
    """The published shrinkage; ``hits`` and ``rows`` ``(c,)`` of each category.

    The variance of a category with few rows is that of the global rate. The published text says
    the same of one whose rate is 0 or 1; the published numbers come out if that is asked after
    rates were moved off 0 and 1 by ``offset``, so never. ``pool_extremes`` asks it before.

    A category without rows gets the global rate, and counts for ``t2``, as published. ``b`` lies
    between 0 and 1 wherever its parts are true variances; with estimates it may not, and is held.
    Raises :class:`ScreenError` for no row at all, or more hits than rows.
    """
    if len(hits) != len(rows) or np.any(hits < 0) or np.any(hits > rows) or rows.sum() <= 0:
        raise ScreenError("rates need rows, and at most as many hits as rows in every category")
    n = float(rows.sum())
    overall = float(np.clip(hits.sum() / n, offset / n, 1 - offset / n))
    empty, safe = rows == 0, np.maximum(rows, 1e-300)
    share = rows / n
    raw = np.where(empty, overall, hits / safe)
    low = np.minimum(offset / safe, 0.5)
    rate = np.where(empty, overall, np.clip(raw, low, 1 - low))
    pooled = overall * (1 - overall)
    few = rows < FEW_ROWS
    if pool_extremes:
        few = few | (raw <= 0) | (raw >= 1)
    own = np.where(few, pooled, rate * (1 - rate)) / safe
    between = float(rate.var(ddof=1)) if len(rate) > 1 else 0.0
    top, below = own * (1 - share), own * (1 - 2 * share) + pooled / n + between
    # One category is all rows: its rate is the global one, whatever the share.
    mixed = np.divide(top, below, out=np.zeros_like(top), where=below > 0)
    mixed = np.where(empty, 1.0, np.clip(mixed, 0.0, 1.0))
    return ShrunkenRates((1 - mixed) * rate + mixed * overall, mixed, overall)


@dataclass(frozen=True)
class WeightOfEvidence:
    """``log_odds`` of each category by name; ``overall`` that of all rows, and of any category
    that was not seen."""

    log_odds: Mapping[str, float]
    overall: float

    @classmethod
    def fit(cls, categories: Sequence[str], hit: FloatArray) -> WeightOfEvidence:
        """From the category ``(n,)`` of each row and whether it is a hit ``(n,)``, 0 or 1."""
        names, code = np.unique(np.asarray(categories, dtype=str), return_inverse=True)
        rows = np.bincount(code, minlength=len(names)).astype(np.float64)
        shrunken = shrink_rates(np.bincount(code, hit, len(names)).astype(np.float64), rows)
        values = logit(shrunken.rate).tolist()
        return cls(dict(zip(names.tolist(), values, strict=True)), float(logit(shrunken.overall)))

    def of(self, categories: Sequence[str]) -> FloatArray:
        """``(n,)`` log-odds of each; the global ones for a category that was not seen."""
        return np.array([self.log_odds.get(name, self.overall) for name in categories])


@dataclass(frozen=True)
class Clusters:
    """``label`` ``(c,)`` cluster of each category, ``log_odds`` ``(k,)`` of each cluster, the
    ``penalty`` that was chosen and the ``aic`` with it, two for every cluster."""

    label: IntArray
    log_odds: FloatArray
    penalty: float
    aic: float


def cluster_evidence(hits: FloatArray, rows: FloatArray) -> Clusters:
    """Few clusters of categories: weighted k-means on the log-odds, ``k`` by AIC.

    Weights ``rows / (p (1 - p))`` as published. For each penalty ``l`` the ``k`` of least
    ``cost + k l``; of these the one of least AIC when every cluster has its mean log-odds, with
    one degree of freedom a cluster.
    """
    shrunken = shrink_rates(hits, rows)
    values = logit(shrunken.rate)
    weights = np.maximum(rows, OFFSET) / (shrunken.rate * (1 - shrunken.rate))
    segments, place = cluster_values(values, weights, MOST_CLUSTERS)
    number = np.arange(1, len(segments.cost) + 1)

    def made(penalty: float) -> Clusters:
        k = int(number[np.argmin(segments.cost + number * penalty)])
        label = segments.labels(k)[place]
        level = segment_means(values, weights, label)
        return Clusters(label, level, penalty, 2 * k + _deviance(hits, rows, level[label]))

    return min(map(made, PENALTIES), key=lambda one: one.aic)


def _deviance(hits: FloatArray, rows: FloatArray, log_odds: FloatArray) -> float:
    p = expit(log_odds)
    return float(-2 * (hits * np.log(p) + (rows - hits) * np.log1p(-p)).sum())
