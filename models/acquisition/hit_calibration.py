"""Hit probabilities mended by what became of earlier ones.

A model may order candidates well and still promise too many hits. Among the thousands it thinks
little of, each may be a little too likely; and the best of many forecasts are those whose errors
happen to point upwards, so that a batch finds less than it promised. Forecasts ``p`` that were
made before their blocks were measured (a held-out fifth, batches of past rounds) tell:

    logit p' = a + b log p - c log(1 - p),    a, log b, log c ~ N(0, 1/4)

by the maximum of the posterior, with its Laplace approximation for what few blocks leave open.
Small and large probabilities have slopes of their own, since batches teach of the large ones and
say little of the rest of the pool. The order of candidates does not change. Source: beta
calibration, Kull, Silva Filho & Flach, Electron. J. Statist. 11 (2017), 5052; with b = c it is
that of Cox, Biometrika 45 (1958), 562, and Platt (1999).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.optimize
import scipy.special

from models.acquisition.draws import AcquisitionError
from models.screen import BoolArray, FloatArray, IntArray

PRIOR_SD = np.array([0.5, 0.5, 0.5])
"""Of ``a``, ``log b`` and ``log c``."""
DRIFT_SD = 0.1
"""Of each of the three: what a law learned from some rounds and batches misses in the next, and in
the rest of the pool. Judged on replays of a measured screen, as ``FADING`` was."""
FADING = 0.7
"""What a forecast counts for after one more round: models change while a campaign goes on."""
_LEAST = 1e-6
"""Forecasts nearer to 0 or 1 teach no more than this."""
_TINY = 1e-300


@dataclass(frozen=True, eq=False)
class ForecastHistory:
    """Forecasts of blocks that earlier rounds chose, made before they were measured.

    ``chance``: ``(k,)`` P(hit) as the model had stated it, not mended. ``hit``: ``(k,)`` bool,
    what was measured. ``rounds_ago``: ``(k,)`` rounds between that round and the latest, 0 for the
    latest; ``None`` counts all alike. Raises ``AcquisitionError`` for what is no probability.
    """

    chance: FloatArray
    hit: BoolArray
    rounds_ago: IntArray | None = None

    def __post_init__(self) -> None:
        _check(self.chance, self.hit)
        if self.rounds_ago is not None and (
            self.rounds_ago.shape != self.chance.shape or np.any(self.rounds_ago < 0)
        ):
            raise AcquisitionError("a forecast needs a number of rounds since, not below 0")

    def __len__(self) -> int:
        return len(self.chance)

    @classmethod
    def none(cls) -> ForecastHistory:
        """Nothing was forecast yet."""
        return cls(np.empty(0), np.empty(0, dtype=bool))

    @property
    def weight(self) -> FloatArray:
        """``(k,)`` what each forecast counts for, at most 1."""
        if self.rounds_ago is None:
            return np.ones(len(self))
        return np.asarray(FADING ** self.rounds_ago.astype(np.float64))


@dataclass(frozen=True)
class HitCalibration:
    """``shift`` ``a``, ``log_low`` ``log b`` and ``log_high`` ``log c``; ``factor``: the rows of
    the lower triangle of a square root of their covariance, with that of ``DRIFT_SD``.
    ``n_blocks``, ``n_hits``: learned from so many; ``expected_hits``: what the forecasts had
    promised of these."""

    shift: float
    log_low: float
    log_high: float
    factor: tuple[float, float, float, float, float, float]
    n_blocks: int
    n_hits: int
    expected_hits: float

    @classmethod
    def of(
        cls, chance: FloatArray, hit: BoolArray, weight: FloatArray | None = None
    ) -> HitCalibration:
        """Learn from forecasts ``chance`` ``(k,)`` and whether each was measured as a ``hit``.

        ``weight``: ``(k,)`` what each counts for, 1 without it. The forecasts must not have seen
        the measurements. Nothing to learn from gives the prior, whose best guess changes nothing.
        Raises ``AcquisitionError`` for what is no probability.
        """
        _check(chance, hit)
        counts = np.ones(len(chance)) if weight is None else weight
        if counts.shape != chance.shape or not np.all((counts >= 0) & np.isfinite(counts)):
            raise AcquisitionError("every forecast needs a weight that is not negative")
        bounded = np.clip(chance, _LEAST, 1.0 - _LEAST)
        low, high = np.log(bounded), -np.log1p(-bounded)
        found = scipy.optimize.minimize(
            _loss, np.zeros(3), (low, high, hit.astype(np.float64), counts), jac=True, method="BFGS"
        ).x
        shift, log_low, log_high = found.tolist()
        slopes = np.exp(found[1:])
        p = scipy.special.expit(found[0] + slopes[0] * low + slopes[1] * high)
        design = np.stack([np.ones_like(low), slopes[0] * low, slopes[1] * high], axis=1)
        information = design.T @ (design * (counts * p * (1.0 - p))[:, None])
        covariance = np.linalg.inv(np.diag(PRIOR_SD**-2) + information)
        root = np.linalg.cholesky(covariance + DRIFT_SD**2 * np.eye(3))
        a, b, c, d, e, f = root[np.tril_indices(3)].tolist()
        return cls(
            shift=shift,
            log_low=log_low,
            log_high=log_high,
            factor=(a, b, c, d, e, f),
            n_blocks=len(chance),
            n_hits=int(hit.sum()),
            expected_hits=float(chance.sum()),
        )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> HitCalibration:
        """Inverse of :meth:`as_dict`."""
        kept = {field.name: data[field.name] for field in dataclasses.fields(cls)}
        a, b, c, d, e, f = (float(entry) for entry in kept["factor"])
        return cls(**{**kept, "factor": (a, b, c, d, e, f)})

    def as_dict(self) -> dict[str, Any]:
        """JSON-able: the fields, and ``reason`` in words."""
        return {
            **dataclasses.asdict(self),
            "factor": list(self.factor),
            "reason": f"H{self.describe()[1:]}.",
        }

    def apply(self, chance: FloatArray) -> FloatArray:
        """Mended probabilities at the best guess; same shape."""
        low, high = _logs(chance)
        z = self.shift + np.exp(self.log_low) * low + np.exp(self.log_high) * high
        return np.asarray(scipy.special.expit(z))

    def worlds(self, chance: FloatArray, n: int) -> FloatArray:
        """``(n, m)`` mended probabilities ``(m,)`` in ``n`` worlds that differ in a, b and c.

        The same ``n`` triples whatever is asked, so blocks of one pool belong together.
        """
        root = np.zeros((3, 3))
        root[np.tril_indices(3)] = self.factor
        z = np.random.default_rng(n).normal(size=(n, 3)) @ root.T
        z += np.array([self.shift, self.log_low, self.log_high])
        low, high = _logs(chance)
        slopes = np.exp(z[:, 1:])
        # Without BLAS: a column must not depend on the others of its block.
        mended = z[:, :1] + slopes[:, :1] * low + slopes[:, 1:] * high
        return np.asarray(scipy.special.expit(mended))

    def describe(self) -> str:
        """What it was learned from, in words."""
        return (
            f"hit probabilities are mended by {self.n_blocks} forecasts, which promised "
            f"{self.expected_hits:.1f} hits where {self.n_hits} were found"
        )


def learn_calibration(
    held_out: Mapping[str, Any] | None, history: ForecastHistory, threshold: float
) -> HitCalibration | None:
    """From a model's held-out blocks and from what became of earlier batches; ``None`` where there
    is neither.

    ``held_out``: ``hit_forecast`` of :func:`models.synergy.evidence.measure_evidence`. A held-out
    block counts fully: it was forecast by the same model on the same data. Past batches are what a
    batch is like, so they count too, the less the older; they fade by ``FADING`` a round.
    Raises ``AcquisitionError`` where the held-out blocks were judged by another ``threshold``.
    """
    if held_out is None:
        held_out = {"threshold": threshold, "chance": [], "hit": []}
    if held_out["threshold"] != threshold:
        raise AcquisitionError(
            f"held-out blocks were hits above {held_out['threshold']:g}, now {threshold:g} is "
            f"asked for: fit the round again"
        )
    chance = np.concatenate([history.chance, np.array(held_out["chance"], np.float64)])
    hit = np.concatenate([history.hit, np.array(held_out["hit"], bool)])
    if not len(chance):
        return None
    weight = np.ones(len(chance))
    weight[: len(history)] = history.weight
    return HitCalibration.of(chance, hit, weight)


def mend(chances: FloatArray, before: FloatArray, after: FloatArray) -> FloatArray:
    """``chances`` ``(n, m)`` of hits in each world, moved so that ``before`` becomes ``after``.

    ``before`` ``(m,)`` are their means, ``after`` ``(n, m)`` the wanted ones. Chances shrink
    towards 0, or what they miss of 1 shrinks, in proportion: what worlds say of each other stays.
    """
    down, up = np.minimum(after / np.maximum(before, _LEAST), 1.0), 1.0 - before
    rise = np.where(after > before, (1.0 - after) / np.maximum(up, _LEAST), 1.0)
    return np.asarray(np.where(after > before, 1.0 - (1.0 - chances) * rise, chances * down))


def _check(chance: FloatArray, hit: BoolArray) -> None:
    if chance.shape != hit.shape or chance.ndim != 1 or not np.all((chance >= 0) & (chance <= 1)):
        raise AcquisitionError("a calibration needs one probability and one outcome per block")


def _loss(
    theta: FloatArray, low: FloatArray, high: FloatArray, y: FloatArray, weight: FloatArray
) -> tuple[float, FloatArray]:
    """Negative log posterior and its gradient."""
    b, c = np.exp(theta[1:])
    z = theta[0] + b * low + c * high
    loss = weight @ (np.logaddexp(0.0, z) - y * z) + 0.5 * np.sum((theta / PRIOR_SD) ** 2)
    off = weight * (scipy.special.expit(z) - y)
    gradient = np.array([off.sum(), b * (off @ low), c * (off @ high)]) + theta / PRIOR_SD**2
    return float(loss), gradient


def _logs(chance: FloatArray) -> tuple[FloatArray, FloatArray]:
    """``log p`` and ``-log(1 - p)``, finite: no order is lost but at 0 and 1 themselves."""
    return np.log(np.maximum(chance, _TINY)), -np.log(np.maximum(1.0 - chance, _TINY))
