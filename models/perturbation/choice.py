"""Which models share in a stack, and how wide its intervals are, from conditions held out.

The weights maximise the log density of the mixture (:func:`models.bayes.stacking.stack`), each
model calibrated by itself first; then the mixture gets the tails of highest likelihood and one
factor on all spread with which the central 90 % intervals hold 90 % of what was held out. If the
mixture is worse than the baseline of least squared error, in that error or in log density, the
baseline takes all the weight: what is chosen is never worse than it on the conditions held out.

With too few conditions of several perturbations nothing says which model adds effects up best.
The weights are then equal over :data:`UNTOLD`, as no estimated weight beats that reliably
(Claeskens et al. 2016), and singles held out give tails and factor. Which two these are, and that
singles at the largest dose are no judges of width, was chosen on the CellBox screen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats

from models.bayes.stacking import stack
from models.perturbation.baselines import RULES
from models.perturbation.forecast import DFS, Forecast
from models.screen import FloatArray

STACKED = "stacked"
LEVEL = 0.9
SMALLEST_WEIGHT = 0.01
SMALLEST_FACTOR = 0.05
"""Even residuals that vanish do not make a model certain."""
UNTOLD = ("ridge", "pair_factors")
BASELINES = (*RULES, "ridge_singles", "ridge")


@dataclass(frozen=True)
class HeldOut:
    """What one member says of the judged conditions, in the order of their folds: mean
    and variance of the response and variance of the noise, ``(m, g)`` each."""

    mean: FloatArray
    variance: FloatArray
    noise: FloatArray


@dataclass(frozen=True)
class Learned:
    """``weights`` by member, the ``factor`` on all spread, tails ``df``, and the ``report``."""

    weights: dict[str, float]
    factor: float
    df: float
    report: dict[str, Any]


def learn(held_out: Mapping[str, HeldOut], observed: FloatArray, told: bool) -> Learned:
    """Weights, tails and factor from what each member said of ``observed`` ``(m, g)``.

    ``told``: the conditions tell how effects combine, and a baseline that is better takes all the
    weight; otherwise :data:`UNTOLD` share equally.
    """
    # Each as good as its own calibration makes it, or the widest would lose for its width.
    alone = {name: _calibrate(held_out, {name: 1.0}, observed) for name in held_out}
    scores = {name: said.score(observed) for name, said in alone.items()}
    chosen, shares = STACKED, _equal_shares(held_out)
    if told:
        shares = _best_shares({n: said.forecast for n, said in alone.items()}, observed)
    found = _calibrate(held_out, shares, observed)
    rivals = [name for name in held_out if name in BASELINES]
    if told and rivals:
        rival = min(rivals, key=lambda name: scores[name]["mse"])
        own = found.score(observed)
        if scores[rival]["mse"] < own["mse"] or scores[rival]["elpd"] > own["elpd"]:
            chosen, shares, found = rival, {rival: 1.0}, alone[rival]
    report = {
        "chosen": chosen,
        "weights": shares,
        "factor": found.factor,
        "held_out": {"members": scores, "chosen": found.score(observed)},
    }
    return Learned(shares, found.factor, found.forecast.df, report)


@dataclass(frozen=True)
class _Calibrated:
    """A forecast of the held-out conditions after ``factor`` widened it."""

    forecast: Forecast
    factor: float

    def score(self, observed: FloatArray) -> dict[str, float]:
        """Squared error and log density, means over all values."""
        return {
            "mse": float(np.square(self.forecast.mean - observed).mean()),
            "elpd": float(self.forecast.log_density(observed).mean()),
        }


def _equal_shares(held_out: Mapping[str, HeldOut]) -> dict[str, float]:
    present = [name for name in UNTOLD if name in held_out] or list(held_out)
    return {name: 1.0 / len(present) for name in present}


def _best_shares(said: Mapping[str, Forecast], observed: FloatArray) -> dict[str, float]:
    table = np.stack([forecast.log_density(observed).ravel() for forecast in said.values()])
    weights = stack(table).weights
    weights = np.where(weights >= SMALLEST_WEIGHT, weights, 0.0)
    return dict(zip(said, (weights / weights.sum()).tolist(), strict=True))


def _calibrate(
    held_out: Mapping[str, HeldOut], shares: Mapping[str, float], observed: FloatArray
) -> _Calibrated:
    """The mixture at the held-out conditions, widened: for each number of degrees of freedom the
    factor with which the intervals of :data:`LEVEL` hold that share, as if the mixture were one
    distribution of its mean and variance; of these the likeliest."""
    used = [(held_out[name], w) for name, w in shares.items() if w > 0]
    weights = np.array([w for _, w in used])
    noise = np.asarray(sum(w * h.noise for h, w in used))
    means = np.stack([h.mean for h, _ in used])
    scales = np.sqrt(np.stack([h.variance + noise for h, _ in used]))
    plain = Forecast(means, scales, weights, math.inf)
    between = np.tensordot(weights, np.square(means - plain.mean), 1)
    total = np.tensordot(weights, np.square(scales), 1) + between
    reach = float(np.quantile(np.abs(observed - plain.mean) / np.sqrt(total), LEVEL))
    found = []
    for df in DFS:
        factor = max(reach / float(scipy.stats.t.ppf(0.5 + LEVEL / 2, df)), SMALLEST_FACTOR)
        widened = Forecast(means, scales * factor, weights, df)
        found.append((float(widened.log_density(observed).mean()), factor, df))
    _, factor, df = max(found)
    return _Calibrated(Forecast(means, scales * factor, weights, df), factor)
