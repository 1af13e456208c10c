"""Numbers by which models and campaigns are compared.

Scores of one forecast (``pearson``, ``spearman``, ``rmse``, ``coverage``,
``log_predictive_density``) live in :mod:`models.bayes.predictive`, where fits use them too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.stats

from models.bayes.predictive import (
    coverage,
    log_predictive_density,
    pearson,
    rmse,
    spearman,
)
from models.screen import FloatArray, IntArray

__all__ = [
    "Interval",
    "bootstrap_interval",
    "coverage",
    "elpd",
    "log_predictive_density",
    "pearson",
    "rmse",
    "spearman",
    "t_interval",
    "top_rows",
    "top_share_found",
]

elpd = log_predictive_density


@dataclass(frozen=True)
class Interval:
    """A mean and the ends of its confidence interval."""

    mean: float
    low: float
    high: float


def top_rows(truth: FloatArray, share: float) -> IntArray:
    """Rows of the best ``share`` of the candidates (at least one), ties to the earlier row."""
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}, expected more than 0 and at most 1")
    count = max(1, round(share * len(truth)))
    return np.argsort(-truth, kind="stable")[:count].astype(np.int64)


def top_share_found(truth: FloatArray, measured: IntArray, share: float = 0.01) -> float:
    """Share of the best ``share`` of all candidates that is among the ``measured`` rows."""
    return float(np.isin(top_rows(truth, share), measured).mean())


def t_interval(values: FloatArray, level: float = 0.95) -> Interval:
    """Student-t interval of the mean over seeds; needs at least two."""
    if len(values) < 2:
        raise ValueError("an interval over seeds needs at least two of them")
    mean = float(np.mean(values))
    half = float(scipy.stats.t.ppf(0.5 + level / 2, len(values) - 1))
    half *= float(np.std(values, ddof=1)) / float(np.sqrt(len(values)))
    return Interval(mean, mean - half, mean + half)


def bootstrap_interval(
    values: FloatArray, seed: int, level: float = 0.95, resamples: int = 2000
) -> Interval:
    """Percentile bootstrap interval of the mean (Efron 1979)."""
    if len(values) < 2:
        raise ValueError("a bootstrap needs at least two values")
    picks = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    means = values[picks].mean(axis=1)
    low, high = np.quantile(means, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(float(values.mean()), float(low), float(high))
