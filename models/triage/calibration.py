"""Chances that mean what they say: Platt's scaling of log-odds that held-out blocks were given.

Compounds are held out fold by fold, all blocks with any of them at once; the card is made from
the others and asked for these. A logistic regression of what was found on what was said gives a
shift and a slope (Platt 1999), with a prior around none, so few blocks change little. Both enter
the points of the card, so points still add up to the calibrated log-odds. An isotonic curve
(Zadrozny & Elkan 2002) would need more hits than a first round has, and points of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata

from models.screen import FloatArray, IntArray
from models.triage.features import BlockTable
from models.triage.logistic import Penalty, fit_logistic

FEWEST = 5
"""Held-out hits, and held-out misses, that a calibration needs."""
PRIOR_SD = 0.5
"""Of shift and slope around 0 and 1."""


@dataclass(frozen=True)
class Calibration:
    """``logit -> base + shift + slope (logit - base)``; ``held_out``: how the card did on compounds
    that it had not seen, JSON-able, ``None`` where there was nothing to ask; ``words``."""

    base: float
    shift: float
    slope: float
    held_out: dict[str, Any] | None
    words: str

    def apply(self, logits: FloatArray) -> FloatArray:
        """Calibrated log-odds, same shape."""
        return self.base + self.shift + self.slope * (logits - self.base)


def held_out_logits(
    table: BlockTable, fold: IntArray, predict: Callable[[IntArray, IntArray], FloatArray | None]
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Rows, log-odds and weights of blocks forecast without their compounds.

    ``fold`` ``(n_compounds,)``; ``predict(train, test)`` gives the log-odds of the rows ``test``
    from the rows ``train``, or ``None`` where these teach nothing. A block whose compounds lie in
    two folds is asked twice, and each time counts half.
    """
    at = fold[table.compounds]
    rows, logits = [np.zeros(0, np.int64)], [np.zeros(0)]
    for k in np.unique(at).tolist():
        inside = (at == k).any(axis=1)
        test = np.flatnonzero(inside)
        found = predict(np.flatnonzero(~inside), test)
        if found is not None:
            rows.append(test)
            logits.append(found)
    row = np.concatenate(rows)
    times = np.bincount(row, minlength=len(table))
    return row, np.concatenate(logits), 1.0 / np.maximum(times[row], 1)


def calibrate(base: float, logits: FloatArray, hit: FloatArray, weight: FloatArray) -> Calibration:
    """From held-out log-odds and outcomes, ``(r,)`` each; ``base``: log-odds that stay where they
    are but for the shift."""
    hits, misses = int(hit.sum()), int((1 - hit).sum())
    if min(hits, misses) < FEWEST:
        words = (
            f"Not calibrated: blocks of held-out compounds were {hits} hits and {misses} misses, "
            f"and {FEWEST} of each are needed."
        )
        return Calibration(base, 0.0, 1.0, None, words)
    design = np.column_stack([np.ones(len(logits)), logits - base])
    penalty = Penalty(0, np.eye(2) / PRIOR_SD**2, 2, 1.0)
    shift, slope = fit_logistic(design, hit, weight, [penalty], offset=logits).coefficients
    slope = max(1.0 + float(slope), 0.0)
    made = Calibration(base, float(shift), slope, None, "")
    after = made.apply(logits)
    held_out = {
        "n": round(float(weight.sum())),
        "auc": area_under_curve(logits, hit, weight),
        "log_loss": log_loss(after, hit, weight),
        "log_loss_before": log_loss(logits, hit, weight),
        "log_loss_of_base_rate": log_loss(np.full(len(hit), _base(hit, weight)), hit, weight),
    }
    if slope < 0.05:
        words = (
            "On compounds that it had not seen the card told hits from others no better than "
            "chance, so it says little more than the base rate."
        )
    else:
        change = "towards" if slope < 1 else "away from"
        words = (
            f"Calibrated on compounds held out in turn: log-odds times {slope:.2f} ({change} the "
            f"base rate); there its AUC is {held_out['auc']:.2f}."
        )
    return Calibration(base, float(shift), slope, held_out, words)


def log_loss(logits: FloatArray, hit: FloatArray, weight: FloatArray | None = None) -> float:
    """Mean of minus log probability of what was found, nats."""
    return float(np.average(np.logaddexp(0.0, logits) - hit * logits, weights=weight))


def area_under_curve(
    score: FloatArray, hit: FloatArray, weight: FloatArray | None = None
) -> float | None:
    """Probability that a hit scores above a miss, ties by half; ``None`` without both kinds."""
    positive = hit > 0.5
    if positive.all() or not positive.any():
        return None
    if weight is None or np.ptp(weight) == 0:
        rank = rankdata(score)
        n = int(positive.sum())
        return float((rank[positive].sum() - n * (n + 1) / 2) / (n * (len(hit) - n)))
    value, place = np.unique(score, return_inverse=True)
    up = np.bincount(place, weight * positive, len(value))
    down = np.bincount(place, weight * ~positive, len(value))
    below = np.cumsum(down) - down
    return float((up * (below + 0.5 * down)).sum() / (up.sum() * down.sum()))


def _base(hit: FloatArray, weight: FloatArray) -> float:
    rate = float(np.average(hit, weights=weight))
    return float(np.log(rate / (1 - rate)))


def isotonic(logits: FloatArray, hit: FloatArray, weight: FloatArray) -> FloatArray:
    """``(r,)`` probabilities by pool-adjacent-violators, to look beside Platt's line.

    The monotone step function of least weighted squared error (Ayer et al. 1955); rows of equal
    log-odds are one.
    """
    value, place = np.unique(logits, return_inverse=True)
    total = np.bincount(place, weight, len(value))
    rate = np.bincount(place, weight * hit, len(value)) / total
    levels: list[list[float]] = []
    for mean, mass in zip(rate.tolist(), total.tolist(), strict=True):
        levels.append([mean, mass, 1.0])
        while len(levels) > 1 and levels[-2][0] >= levels[-1][0]:
            mean_b, mass_b, n_b = levels.pop()
            mean_a, mass_a, n_a = levels.pop()
            both = mass_a + mass_b
            levels.append([(mean_a * mass_a + mean_b * mass_b) / both, both, n_a + n_b])
    steps = np.repeat([level[0] for level in levels], [int(level[2]) for level in levels])
    return np.asarray(steps[place], dtype=np.float64)
