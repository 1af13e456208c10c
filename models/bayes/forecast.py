"""Everything that is said of one forecast: accuracy, density, coverage where it matters, the top.

A forecast is ``draws`` ``(n, m)`` of the noise-free values with their observation noise, see
:mod:`models.bayes.predictive`. All reports are JSON-able; a number that so few observations
cannot give is ``None``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.bayes.predictive import (
    LEVELS,
    Noise,
    log_predictive_density,
    pearson,
    probability_below,
    rmse,
    spearman,
)
from models.screen import FloatArray, IntArray

TOP_SHARE = 0.05
THIRDS = ("low", "middle", "high")
COLUMNS = 2048
"""Candidates whose densities are worked out at once: bounds memory."""


@dataclass(frozen=True)
class Marks:
    """Per observation, ``(m,)``: ``log_density`` of what was observed (nats), ``position``
    P(measurement <= observed), predictive ``mean`` and ``sd`` (noise included)."""

    log_density: FloatArray
    position: FloatArray
    mean: FloatArray
    sd: FloatArray


def mark(draws: FloatArray, observed: FloatArray, noise: Noise) -> Marks:
    """What each observation says of the forecast."""
    density, position = np.empty(len(observed)), np.empty(len(observed))
    for start in range(0, len(observed), COLUMNS):
        part = np.arange(start, min(start + COLUMNS, len(observed)))
        at = (draws[:, part], observed[part], noise.select(part))
        density[part] = log_predictive_density(*at)
        position[part] = probability_below(*at)
    mean = np.asarray(draws.mean(axis=0), np.float64)
    return Marks(density, position, mean, np.sqrt(draws.var(axis=0) + noise.sd() ** 2))


def score_forecast(draws: FloatArray, observed: FloatArray, noise: Noise) -> dict[str, Any]:
    """See :func:`score_marks`."""
    return score_marks(mark(draws, observed, noise), observed)


def score_marks(marks: Marks, observed: FloatArray, *, low_is_best: bool = False) -> dict[str, Any]:
    """``elpd`` (nats per observation), ``rmse``, ``pearson``, ``spearman``, ``coverage`` by level
    in percent, the same in the low, middle and high third of the observed and of the predicted
    values (``coverage_by_observed``, ``coverage_by_predicted``), ``predictive_sd`` (mean) and
    ``top`` (see :func:`top_recall`; of the lowest values where ``low_is_best``).

    Thirds of the observed values choose observations by their own noise: even a perfect forecast
    covers less in the outer two when noise is large. Thirds of the predicted values do not.

    A density from finitely many draws is too low where the noise is much narrower than the draws'
    spread: with 256 draws by 0.002 nats at half the spread, by 0.07 at a tenth.
    """
    inside, sign = np.abs(marks.position - 0.5), -1.0 if low_is_best else 1.0
    return {
        "elpd": number(float(marks.log_density.mean())) if len(observed) else None,
        "rmse": number(rmse(marks.mean, observed)) if len(observed) else None,
        "pearson": number(pearson(marks.mean, observed)),
        "spearman": number(spearman(marks.mean, observed)),
        "coverage": _coverage(inside),
        "coverage_by_observed": _by_third(inside, observed),
        "coverage_by_predicted": _by_third(inside, marks.mean),
        "predictive_sd": number(float(marks.sd.mean())) if len(observed) else None,
        "top": {"share": TOP_SHARE, **top_recall(sign * marks.mean, sign * observed, TOP_SHARE)},
    }


def thirds(values: FloatArray) -> tuple[IntArray, ...]:
    """Rows of the low, middle and high third by rank; ties in the order of the rows."""
    return tuple(
        np.sort(rows) for rows in np.array_split(np.argsort(values, kind="stable"), len(THIRDS))
    )


def top_recall(predicted: FloatArray, observed: FloatArray, share: float) -> dict[str, Any]:
    """``recall``: share of the best ``share`` of the observations among equally many best
    predictions; ``enrichment``: that over what chance finds. ``None`` where nothing is ranked."""
    count = round(share * len(observed))
    if count < 1 or np.ptp(predicted) == 0:
        return {"recall": None, "enrichment": None}
    best, chosen = (np.argsort(-v, kind="stable")[:count] for v in (observed, predicted))
    recall = float(np.isin(best, chosen).mean())
    return {"recall": number(recall), "enrichment": number(recall * len(observed) / count)}


def noise_ceiling(observed: FloatArray, noise_sd: FloatArray) -> float | None:
    """Expected Pearson correlation of the true values with ``observed``, sqrt(V_true / V_total).

    V_total is the variance of the observations, V_true what is left of it without the mean of
    their squared known standard errors; 0 where these alone explain all. ``None`` for fewer than
    three observations or equal ones.
    """
    if len(observed) < 3 or np.ptp(observed) == 0:
        return None
    share = 1.0 - float(np.mean(noise_sd**2)) / float(np.var(observed, ddof=1))
    return number(math.sqrt(max(share, 0.0)))


def number(value: float | None) -> float | None:
    """Rounded, and ``None`` rather than NaN or infinity: JSON has neither."""
    return round(value, 6) if value is not None and math.isfinite(value) else None


def _coverage(inside: FloatArray) -> dict[str, float | None]:
    """Share of observations in the central interval of each level, keys in percent."""
    return {
        f"{100 * q:.0f}": number(float(np.mean(inside <= q / 2))) if len(inside) else None
        for q in LEVELS
    }


def _by_third(inside: FloatArray, values: FloatArray) -> dict[str, dict[str, float | None]]:
    return {
        name: _coverage(inside[rows]) for name, rows in zip(THIRDS, thirds(values), strict=True)
    }
