"""What every model of responses has to beat: rules without parameters, with an honest spread.

* ``no_change``: every response is that of the control.
* ``mean``: the mean of all other conditions with as many perturbations (of all if none has).
* ``additive``: the sum of what each perturbation does alone.
* ``strongest``: in each readout the single effect that is largest in size.

A single effect at a dose that was not measured alone is interpolated linearly through 0 at dose 0,
and stays that of the largest dose beyond. A perturbation never measured alone has the expected
effect of none, 0. The rules say nothing about their own error: all of it is in the noise, learned
from the residuals of conditions held out (:func:`judged_rows`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from models.perturbation.data import ResponseTable, require_doses
from models.perturbation.forecast import fit_noise
from models.perturbation.learnable import learnable
from models.perturbation.saving import (
    df_from_json,
    df_to_json,
    head_of,
    read_head,
    to_arrays,
    to_tensors,
)
from models.screen import (
    FloatArray,
    IntArray,
    ProgressCallback,
    StopCallback,
    Stopped,
    never_stop,
    no_progress,
)

VERSION = 1
MIN_JUDGED = 10
"""Conditions of several perturbations from which a spread can be learned."""
MIN_INSIDE = 4

_ARRAYS = ("doses", "values", "noise_scale")

Rule = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]
"""``rule(doses (n, p), values (n, g), at (m, p)) -> (m, g)``."""


def judged_rows(table: ResponseTable) -> IntArray:
    """Rows on which predictions are judged.

    Conditions of several perturbations, if there are :data:`MIN_JUDGED`. Else treated conditions
    below the largest dose of each perturbation in them, if there are :data:`MIN_INSIDE`: a pair
    asks for doses that were measured, not for larger ones. Else all treated conditions.
    """
    several = np.flatnonzero(table.n_present > 1)
    if len(several) >= MIN_JUDGED:
        return several
    top = table.doses.max(axis=0)
    inside = ((table.doses == 0) | (table.doses < top)).all(axis=1) & ~table.is_control
    rows = inside if inside.sum() >= MIN_INSIDE else ~table.is_control
    return np.flatnonzero(rows)


def single_effects(
    doses: FloatArray, values: FloatArray, column: int, at: FloatArray
) -> FloatArray:
    """``(m, g)`` what the perturbation of ``column`` does alone at doses ``at`` ``(m,)``."""
    alone = (doses[:, column] > 0) & ((doses > 0).sum(axis=1) == 1)
    if not alone.any():
        return np.zeros((len(at), values.shape[1]))
    levels, level = np.unique(doses[alone, column], return_inverse=True)
    means = np.zeros((len(levels), values.shape[1]))
    np.add.at(means, level, values[alone])
    means /= np.bincount(level)[:, None]
    knots = np.concatenate([[0.0], levels])
    effects = np.concatenate([np.zeros((1, values.shape[1])), means])
    upper = np.clip(np.searchsorted(knots, at), 1, len(levels))
    share = np.minimum((at - knots[upper - 1]) / (knots[upper] - knots[upper - 1]), 1.0)
    return np.asarray(effects[upper - 1] * (1.0 - share[:, None]) + effects[upper] * share[:, None])


def no_change(doses: FloatArray, values: FloatArray, at: FloatArray) -> FloatArray:
    """Zeros."""
    return np.zeros((len(at), values.shape[1]))


def mean_of_others(doses: FloatArray, values: FloatArray, at: FloatArray) -> FloatArray:
    """Mean of the conditions with as many perturbations."""
    present, asked = (doses > 0).sum(axis=1), (at > 0).sum(axis=1)
    treated = present > 0
    out = np.zeros((len(at), values.shape[1]))
    for count in np.unique(asked[asked > 0]):
        alike = present == count
        out[asked == count] = values[alike if alike.any() else treated].mean(axis=0)
    return out


def additive(doses: FloatArray, values: FloatArray, at: FloatArray) -> FloatArray:
    """Sum of the single effects."""
    total = np.zeros((len(at), values.shape[1]))
    for column in np.flatnonzero(at.any(axis=0)):
        total += single_effects(doses, values, int(column), at[:, column])
    return total


def strongest(doses: FloatArray, values: FloatArray, at: FloatArray) -> FloatArray:
    """The single effect of largest size; of two of one size the greater."""
    low = np.zeros((len(at), values.shape[1]))
    high = low.copy()
    for column in np.flatnonzero(at.any(axis=0)):
        effect = single_effects(doses, values, int(column), at[:, column])
        low, high = np.minimum(low, effect), np.maximum(high, effect)
    return np.where(-low > high, low, high)


RULES: dict[str, Rule] = {
    "no_change": no_change,
    "mean": mean_of_others,
    "additive": additive,
    "strongest": strongest,
}


@dataclass(frozen=True)
class RulePosterior:
    """A rule, what it was given (``doses`` ``(n, p)``, ``values`` ``(n, g)``) and its noise."""

    model: str
    perturbations: tuple[str, ...]
    readouts: tuple[str, ...]
    doses: FloatArray
    values: FloatArray
    noise_scale: FloatArray
    noise_df: float

    def mean(self, doses: FloatArray) -> FloatArray:
        """``(m, g)`` what the rule says."""
        at = require_doses(doses, self.perturbations)
        return RULES[self.model](self.doses, self.values, at)

    def moments(self, doses: FloatArray) -> tuple[FloatArray, FloatArray]:
        """``(m, g)`` mean, and zeros: a rule has no doubt of its own."""
        mean = self.mean(doses)
        return mean, np.zeros_like(mean)

    def draws(self, doses: FloatArray, n: int, seed: int) -> FloatArray:
        """``(n, m, g)``: the mean, ``n`` times."""
        return np.repeat(self.mean(doses)[None], n, axis=0)

    def save(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and JSON-able metadata."""
        tensors = to_tensors({name: getattr(self, name) for name in _ARRAYS})
        head = head_of(self, self.model, VERSION)
        return tensors, head | {"noise_df": df_to_json(self.noise_df)}


@dataclass(frozen=True)
class RuleModel:
    """The rule called ``name``, one of :data:`RULES`."""

    name: str

    def fit(
        self,
        table: ResponseTable,
        *,
        seed: int,
        on_progress: ProgressCallback = no_progress,
        should_stop: StopCallback = never_stop,
    ) -> RulePosterior:
        """Each judged condition is predicted from all others; the residuals are the noise."""
        rows, rule = learnable(table), RULES[self.name]
        judged = judged_rows(rows)
        residuals = np.empty((len(judged), len(rows.readouts)))
        for done, row in enumerate(judged):
            if should_stop():
                raise Stopped
            on_progress(self.name, done, len(judged))
            kept = np.arange(len(rows)) != row
            # A rule that only looks at singles would still pay for copying the table.
            told = rule(rows.doses[kept], rows.values[kept], rows.doses[row : row + 1])
            residuals[done] = rows.values[row] - told[0]
        scale, df = fit_noise(residuals)
        return RulePosterior(
            self.name, rows.perturbations, rows.readouts, rows.doses, rows.values, scale, df
        )

    def load(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> RulePosterior:
        """Inverse of :meth:`RulePosterior.save`."""
        return RulePosterior(
            model=self.name,
            **read_head(metadata, self.name, VERSION),
            **to_arrays(tensors, _ARRAYS),
            noise_df=df_from_json(metadata["noise_df"]),
        )
