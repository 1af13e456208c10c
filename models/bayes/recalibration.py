"""Mending intervals that held-out data show to be too narrow or too wide, and saying so.

Two ways, both learned from observations that the fit did not see:

* a scale: one factor on the whole predictive spread, by maximum likelihood. The predictive density
  p becomes p_s(y) = p(mean + (y - mean) / s) / s: draws around their mean and noise alike.
* split conformal: for each level the quantile of |y - mean| / sd that makes the interval
  mean -+ q sd cover at least that share of new exchangeable observations, whatever the model
  (Vovk et al. 2005; Lei et al. 2018, theorem 2.2, with the scaled residual of their section 5.2).
  It promises nothing for compounds or cell lines unlike those it was learned from.

Neither is applied on its own: results are dataclasses that say what was done and what it changed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.optimize

from models.bayes.forecast import Marks, number
from models.bayes.predictive import LEVELS, Noise, log_predictive_density
from models.screen import FloatArray, ScreenError

SMALLEST, LARGEST = 0.05, 20.0
"""Factors outside this range mean that the forecast is broken, not that it needs a factor."""
FEWEST = 20
"""Held-out observations that a factor needs."""


@dataclass(frozen=True)
class ScaleRecalibration:
    """``factor`` on the predictive spread, learned from ``n`` held-out observations; log density
    (nats per observation) before and after, on those same observations."""

    factor: float
    n: int
    elpd_before: float
    elpd_after: float

    @property
    def words(self) -> str:
        """What was done, for people."""
        change = "widened" if self.factor > 1 else "narrowed"
        return (
            f"predictive spread {change} by the factor {self.factor:.3f}, learned from {self.n} "
            f"held-out blocks: log density {self.elpd_before:.3f} before, {self.elpd_after:.3f} "
            "after"
        )

    def report(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "kind": "scale",
            "factor": number(self.factor),
            "n": self.n,
            "elpd_before": number(self.elpd_before),
            "elpd_after": number(self.elpd_after),
            "words": self.words,
        }


def learn_scale(draws: FloatArray, observed: FloatArray, noise: Noise) -> ScaleRecalibration:
    """The factor of highest held-out likelihood; arguments as in :mod:`models.bayes.predictive`.

    Raises :class:`ScreenError` for fewer than :data:`FEWEST` observations, and where the best
    factor lies outside :data:`SMALLEST` to :data:`LARGEST`.
    """
    if len(observed) < FEWEST:
        raise ScreenError(
            f"a factor needs {FEWEST} held-out observations, there are {len(observed)}"
        )
    mean = draws.mean(axis=0)

    def loss(log_factor: float) -> float:
        """Negative mean log score, nats: observations over the factor, and the density's own
        change."""
        shrunk = mean + (observed - mean) * math.exp(-log_factor)
        return log_factor - float(log_predictive_density(draws, shrunk, noise).mean())

    low, high = math.log(SMALLEST), math.log(LARGEST)
    found = scipy.optimize.minimize_scalar(
        loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6}
    )
    best = float(found.x)
    if min(best - low, high - best) < 1e-3:
        raise ScreenError(
            f"the predictive spread is off by more than a factor {LARGEST:g}: this forecast needs "
            "another model, not a recalibration"
        )
    return ScaleRecalibration(math.exp(best), len(observed), -loss(0.0), -loss(best))


@dataclass(frozen=True)
class ConformalRecalibration:
    """``multipliers``: by level, how many predictive standard deviations the interval reaches to
    each side; ``None`` where ``n`` held-out observations are too few to promise that level."""

    multipliers: Mapping[float, float | None]
    n: int

    def interval(
        self, mean: FloatArray, sd: FloatArray, level: float
    ) -> tuple[FloatArray, FloatArray]:
        """Ends ``(m,)`` of the interval around ``mean``; raises :class:`ScreenError` where the
        level was not learned or cannot be promised."""
        if level not in self.multipliers:
            raise ScreenError(f"no interval was learned for the level {level:g}")
        multiplier = self.multipliers[level]
        if multiplier is None:
            needed = math.ceil(level / (1 - level))
            raise ScreenError(
                f"an interval of {level:.0%} needs {needed} held-out observations, there are "
                f"{self.n}"
            )
        return mean - multiplier * sd, mean + multiplier * sd

    def report(self) -> dict[str, Any]:
        """JSON-able; levels in percent."""
        return {
            "kind": "conformal",
            "n": self.n,
            "multipliers": {f"{100 * q:.0f}": number(v) for q, v in self.multipliers.items()},
        }


def learn_conformal(
    mean: FloatArray, sd: FloatArray, observed: FloatArray, levels: tuple[float, ...] = LEVELS
) -> ConformalRecalibration:
    """The ceil((n + 1) level)-th smallest |observed - mean| / sd for each level.

    New exchangeable observations then lie inside with probability at least ``level``, and at most
    1 / (n + 1) more where residuals are distinct. Raises :class:`ScreenError` where there is no
    observation, or an ``sd`` that is not positive.
    """
    if not len(observed) or not np.all(sd > 0):
        raise ScreenError("conformal intervals need observations and positive predictive sds")
    residual = np.sort(np.abs(observed - mean) / sd)
    n = len(residual)
    ranks = {level: math.ceil((n + 1) * level - 1e-9) for level in levels}
    return ConformalRecalibration(
        {q: float(residual[rank - 1]) if rank <= n else None for q, rank in ranks.items()}, n
    )


def describe_recalibration(
    draws: FloatArray, observed: FloatArray, noise: Noise, marks: Marks
) -> dict[str, Any] | None:
    """What recalibration on these observations would do, for reports; nothing is applied.

    ``marks``: of the same forecast, see :func:`models.bayes.forecast.mark`. ``None`` below
    :data:`FEWEST` observations. A forecast beyond repair says so in ``words``.
    """
    if len(observed) < FEWEST:
        return None
    conformal = learn_conformal(marks.mean, marks.sd, observed).report()
    try:
        scale = learn_scale(draws, observed, noise).report()
    except ScreenError as error:
        scale = {"kind": "scale", "factor": None, "n": len(observed), "words": str(error)}
    return {"applied": False, "scale": scale, "conformal": conformal}
