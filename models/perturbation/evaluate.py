"""How well responses are predicted that no model saw, and what an interaction is worth.

``m`` held-out conditions, ``g`` readouts. Conditions differ far more than models do, so models are
compared condition by condition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats

from models.bayes.predictive import pearson
from models.perturbation.data import ResponseTable, require_doses
from models.perturbation.forecast import forecast
from models.perturbation.learnable import learnable
from models.perturbation.protocol import ResponseModel, ResponsePosterior
from models.screen import (
    FloatArray,
    IntArray,
    ProgressCallback,
    ScreenError,
    StopCallback,
    Stopped,
    never_stop,
    no_progress,
)

RESAMPLES = 2000
LEVEL = 0.9


@dataclass(frozen=True)
class HeldOutResponses:
    """``rows`` ``(m,)`` of the table; ``observed``, forecast ``mean``, ``log_density`` and place
    in the forecast ``cdf``, ``(m, g)`` each."""

    rows: IntArray
    observed: FloatArray
    mean: FloatArray
    log_density: FloatArray
    cdf: FloatArray

    @property
    def squared_error(self) -> FloatArray:
        """``(m,)`` mean over readouts."""
        return np.asarray(np.square(self.mean - self.observed).mean(axis=1))

    @property
    def elpd(self) -> FloatArray:
        """``(m,)`` mean log density of a readout, nats."""
        return np.asarray(self.log_density.mean(axis=1))

    def scores(self) -> dict[str, Any]:
        """``pearson`` and ``mse`` over all conditions and readouts, ``elpd`` (nats per value) and
        ``coverage`` of the central 90 % intervals."""
        return {
            "pearson": pearson(self.mean.ravel(), self.observed.ravel()),
            "mse": float(self.squared_error.mean()),
            "elpd": float(self.elpd.mean()),
            "coverage": float(np.mean(np.abs(self.cdf - 0.5) <= LEVEL / 2)),
        }


def each_row(rows: IntArray) -> list[IntArray]:
    """Folds of one row each: leave one condition out."""
    return [np.array([row]) for row in rows]


def pairs_of_each(table: ResponseTable) -> list[IntArray]:
    """Folds of all pairs that hold one perturbation, for each that has any; its singles stay.
    A pair stands in two folds. The question of a new compound that was only tried alone."""
    pairs = table.n_present == 2
    folds = [np.flatnonzero(pairs & (column > 0)) for column in table.doses.T]
    return [fold for fold in folds if len(fold)]


def hold_out(
    model: ResponseModel,
    table: ResponseTable,
    folds: Sequence[IntArray],
    *,
    seed: int,
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> HeldOutResponses:
    """Fit without each fold of rows of ``table`` and predict them.

    ``table`` must be :func:`models.perturbation.learnable.learnable` already, so that no replicate
    of a held-out condition stays behind.
    """
    if len(learnable(table)) != len(table):
        raise ScreenError("replicates would be on both sides of a fold: average the table first")
    parts: list[list[FloatArray]] = [[], [], []]
    for done, fold in enumerate(folds):
        if should_stop():
            raise Stopped
        on_progress(f"{model.name}, held out", done, len(folds))
        train = table.select(np.setdiff1d(np.arange(len(table)), fold))
        posterior = model.fit(train, seed=seed, should_stop=should_stop)
        said = forecast(posterior, table.doses[fold])
        observed = table.values[fold]
        found = (said.mean, said.log_density(observed), said.cdf(observed))
        for part, value in zip(parts, found, strict=True):
            part.append(value)
    rows = np.concatenate(folds).astype(np.int64)
    return HeldOutResponses(rows, table.values[rows], *(np.concatenate(part) for part in parts))


def transfer(
    posterior: ResponsePosterior, table: ResponseTable, rows: IntArray
) -> HeldOutResponses:
    """``rows`` of ``table``, none of which ``posterior`` was fitted to."""
    said, observed = forecast(posterior, table.doses[rows]), table.values[rows]
    return HeldOutResponses(
        rows, observed, said.mean, said.log_density(observed), said.cdf(observed)
    )


def compare(first: FloatArray, second: FloatArray) -> dict[str, float]:
    """``mean`` of first minus second over conditions ``(m,)``, ``above``: how often first is the
    greater, and two-sided p values of the paired ``t`` and ``wilcoxon`` tests (1 where equal)."""
    difference = first - second
    if not np.any(difference):
        return {"mean": 0.0, "above": 0.0, "t": 1.0, "wilcoxon": 1.0}
    return {
        "mean": float(difference.mean()),
        "above": float((difference > 0).sum()),
        "t": float(scipy.stats.ttest_1samp(difference, 0.0).pvalue),
        "wilcoxon": float(scipy.stats.wilcoxon(difference).pvalue),
    }


@dataclass(frozen=True)
class Skill:
    """Share of the squared error of the best baseline that a model explains on conditions held
    out: 1 - mse / mse of the baseline, and by definition 0 where that is negative. ``low`` and
    ``high``: 90 % bootstrap over conditions. ``baseline``: the name of the best one."""

    value: float
    low: float
    high: float
    baseline: str


def skill(
    model: HeldOutResponses, baselines: dict[str, HeldOutResponses], *, seed: int = 0
) -> Skill:
    """Skill of ``model`` over the baseline of least squared error; all on the same rows."""
    if not baselines:
        raise ScreenError("skill is measured against a baseline, and none is given")
    for name, other in baselines.items():
        if not np.array_equal(other.rows, model.rows):
            raise ScreenError(f"baseline {name!r} was judged on other conditions than the model")
    best = min(baselines, key=lambda name: float(baselines[name].squared_error.mean()))
    own, against = model.squared_error, baselines[best].squared_error
    draws = np.random.default_rng(seed).integers(len(own), size=(RESAMPLES, len(own)))
    shares = np.concatenate([[_share(own, against)], _share(own[draws], against[draws])])
    shares = np.maximum(shares, 0.0)
    low, high = np.quantile(shares[1:], [0.05, 0.95])
    return Skill(float(shares[0]), float(low), float(high), best)


def _share(own: FloatArray, other: FloatArray) -> Any:
    below = other.mean(axis=-1)
    # Nothing is left to explain where the baseline makes no error.
    return np.where(below > 0, 1.0 - own.mean(axis=-1) / np.where(below > 0, below, 1.0), 0.0)


def interaction_draws(
    posterior: ResponsePosterior, doses: FloatArray, n: int, seed: int
) -> FloatArray:
    """``(n, m, g)`` draws of the interaction at ``doses`` ``(m, p)``: the response of the whole
    minus the sum of those of its parts, in one world each. Exactly 0 where fewer than two
    perturbations are present."""
    at = require_doses(doses, posterior.perturbations)
    row, column = np.nonzero(at)
    alone = np.zeros((len(row), at.shape[1]))
    alone[np.arange(len(row)), column] = at[row, column]
    worlds = posterior.draws(np.concatenate([at, alone]), n, seed)
    whole, parts = worlds[:, : len(at)], worlds[:, len(at) :]
    total = np.zeros_like(whole)
    for i in range(len(row)):
        total[:, row[i]] += parts[:, i]
    several = (at > 0).sum(axis=1) > 1
    return np.where(several[:, None], whole - total, 0.0)


@dataclass(frozen=True)
class InteractionScore:
    """Posterior of an interaction, ``(m,)`` each: mean, standard deviation, central 90 % interval
    and the probability that it is above 0."""

    mean: FloatArray
    sd: FloatArray
    low: FloatArray
    high: FloatArray
    above_zero: FloatArray


def interaction_score(
    posterior: ResponsePosterior, doses: FloatArray, weights: FloatArray, n: int, seed: int
) -> InteractionScore:
    """Interaction of the readouts weighted by ``weights`` ``(g,)``: one readout (viability) by a
    single 1, a signature by its loadings. Draws are joint over readouts, so the spread is right."""
    if weights.shape != (len(posterior.readouts),):
        raise ScreenError(
            f"{weights.shape} weights for {len(posterior.readouts)} readouts: one each is needed"
        )
    values = interaction_draws(posterior, doses, n, seed) @ weights
    low, high = np.quantile(values, [0.05, 0.95], axis=0)
    sd = values.std(axis=0, ddof=1)
    return InteractionScore(values.mean(axis=0), sd, low, high, (values > 0).mean(axis=0))
