"""Wells that do not belong, and wells that have nothing left to tell.

Outliers are judged against what the fit predicts of *another* well of the same plate and dose
pair: the distance of a well's readings from that prediction, beside the distances of simulated
wells (a posterior predictive check; Gelman, Meng & Stern 1996). The value of further readings is
the part of a quantity's posterior variance that they are expected to remove, from joint draws of
both: for nearly normal draws the share explained by the best linear predictor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.stats

from models.dynamics.drug_pair import bends
from models.dynamics.pair_posterior import DrugPairPosterior
from models.screen import BoolArray, FloatArray, ScreenError

SHRINKAGE = 0.05
"""Weight of independence in the covariance of simulated wells."""
FEWEST_DRAWS = 50


@dataclass(frozen=True)
class WellCheck:
    """``names`` ``(N,)``; ``p`` ``(N,)`` chance of a well at least as far off; ``outlier`` ``(N,)``
    those taken out at the false discovery rate asked for."""

    names: tuple[str, ...]
    p: FloatArray
    outlier: BoolArray


def outlier_wells(
    posterior: DrugPairPosterior, *, false_discovery: float = 0.1, seed: int = 0
) -> WellCheck:
    """Wells of the fit that look like no other well of their plate and dose pair."""
    data = posterior.model.data
    doses, times = data.series.inputs, data.series.times
    plates = [data.plates[i] for i in data.plate.tolist()]
    mean = posterior.curves(doses, times, plates=plates, level="well", seed=seed)
    drawn = posterior.readings(mean, times, seed + 1)
    bend = bends(posterior.model.scale).numpy()[..., 0]
    values, simulated = np.arcsinh(data.values() / bend), np.arcsinh(drawn / bend)
    p = np.array([_tail(values[n].ravel(), _flat(simulated[:, n])) for n in range(len(values))])
    return WellCheck(data.series.names, p, discoveries(p, false_discovery))


def _flat(drawn: FloatArray) -> FloatArray:
    return drawn.reshape(len(drawn), -1)


def _tail(values: FloatArray, simulated: FloatArray) -> float:
    """Chance of a distance as large as that of ``values``: simulated log distances are normal."""
    seen = np.isfinite(values)
    drawn = simulated[:, seen]
    half = len(drawn) // 2
    centre = np.median(drawn[:half], axis=0)
    covariance = np.cov(drawn[:half].T)
    own = np.diag(np.diag(covariance))
    inverse = np.linalg.inv((1 - SHRINKAGE) * covariance + SHRINKAGE * own)

    def distance(rows: FloatArray) -> FloatArray:
        off = rows - centre
        return np.asarray(np.log(np.einsum("si,ij,sj->s", off, inverse, off)))

    usual = distance(drawn[half:])
    z = (distance(values[seen][None])[0] - usual.mean()) / usual.std(ddof=1)
    return float(scipy.stats.norm.sf(z))


def discoveries(p: FloatArray, rate: float) -> BoolArray:
    """Benjamini & Hochberg 1995: which of the chances ``(n,)`` to call, at this false discovery
    rate."""
    if not 0 < rate < 1:
        raise ScreenError(f"a false discovery rate lies between 0 and 1, got {rate}")
    order = np.argsort(p, kind="stable")
    passed = np.flatnonzero(p[order] <= rate * (np.arange(len(p)) + 1) / len(p))
    called = np.zeros(len(p), bool)
    if len(passed):
        called[order[: passed[-1] + 1]] = True
    return called


def expected_reduction(quantity: FloatArray, readings: FloatArray) -> float:
    """Share of the variance of ``quantity`` ``(S,)`` that readings ``(S, j)``, drawn with it, are
    expected to remove: 0 nothing, 1 everything.

    Ridge regression, judged on draws it has not seen (two halves in turn), so that noise counts
    for nothing; a share that comes out negative is 0. Raises :class:`ScreenError` for too few
    draws, draws that are not finite, or a quantity that does not vary.
    """
    if len(quantity) < FEWEST_DRAWS or readings.shape[:1] != quantity.shape:
        raise ScreenError(f"{FEWEST_DRAWS} joint draws of quantity and readings are needed")
    if not (np.all(np.isfinite(quantity)) and np.all(np.isfinite(readings))):
        raise ScreenError("draws hold NaN or infinity")
    if np.ptp(quantity) == 0:
        raise ScreenError("the quantity is known exactly: no reading can tell more of it")
    half = len(quantity) // 2
    first, second = np.arange(half), np.arange(half, len(quantity))
    left = sum(_missed(quantity, readings, a, b) for a, b in ((first, second), (second, first)))
    spread = ((quantity - quantity.mean()) ** 2).sum()
    return max(0.0, 1.0 - float(left / spread))


def _missed(quantity: FloatArray, readings: FloatArray, fit: np.ndarray, test: np.ndarray) -> float:
    """Squared error on ``test`` of the ridge regression of ``fit``, its penalty by generalised
    cross-validation."""
    centre, scale = readings[fit].mean(0), readings[fit].std(0)
    scale = np.where(scale > 0, scale, 1.0)
    x, y = (readings[fit] - centre) / scale, quantity[fit] - quantity[fit].mean()
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    best, weights = np.inf, np.zeros(x.shape[1])
    for penalty in len(fit) * np.logspace(-3, 3, 13):
        kept = s**2 / (s**2 + penalty)
        rest = y - u @ (kept * (u.T @ y))
        score = float(rest @ rest) / (1 - kept.sum() / len(fit)) ** 2 / len(fit)
        if score < best:
            best, weights = score, vt.T @ (s / (s**2 + penalty) * (u.T @ y))
    guess = quantity[fit].mean() + (readings[test] - centre) / scale @ weights
    return float(((quantity[test] - guess) ** 2).sum())


@dataclass(frozen=True)
class WellValue:
    """``names`` ``(N,)``; ``reduction`` ``(N,)`` expected share of variance removed by further
    readings of a well; ``exhausted`` ``(N,)`` those below the threshold."""

    names: tuple[str, ...]
    reduction: FloatArray
    exhausted: BoolArray


def worth_of_waiting(
    posterior: DrugPairPosterior,
    quantity: FloatArray,
    times: FloatArray,
    *,
    threshold: float = 0.01,
    seed: int = 0,
) -> WellValue:
    """What readings at further ``times`` of each well fitted would tell of ``quantity`` ``(S,)``,
    a function of the same draws (a viability, a synergy): "this well will not tell us more" where
    they are expected to remove less than ``threshold`` of its variance."""
    curves = posterior.wells(times)
    drawn = posterior.readings(curves, times, seed)
    bend = bends(posterior.model.scale).numpy()[..., 0]
    bent = np.arcsinh(drawn / bend)
    found = np.array(
        [expected_reduction(quantity, _flat(bent[:, n])) for n in range(bent.shape[1])]
    )
    return WellValue(posterior.well_names, found, found < threshold)
