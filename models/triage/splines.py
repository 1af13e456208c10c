"""Smooth terms of a logistic regression: P-splines with standard errors.

Cubic B-splines on equally spaced knots with a penalty on second differences of neighbouring
coefficients (Eilers & Marx 1996), each term with mean zero over the rows, and a second penalty on
its straight line so that a term can vanish (Marra & Wood 2011). How smooth each one is follows from
the marginal likelihood, see :mod:`models.triage.logistic`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import BSpline

from models.screen import BoolArray, FloatArray, ScreenError
from models.triage.logistic import LogisticFit, Penalty, fit_logistic

DEGREE = 3
FUNCTIONS = 10
"""B-splines of a term, before its mean is taken away."""
PRIOR_SD = 1.0
"""Of the coefficients of columns that are no curves: evidence counts once or not at all."""


@dataclass(frozen=True)
class Basis:
    """Functions of one variable. ``low``, ``high``: its range in the rows, at whose ends curves go
    on flat. ``rotation`` ``(FUNCTIONS, d)``: onto functions of mean zero, the straight line last.
    ``bent`` ``(d, d)``: penalty on second differences."""

    low: float
    high: float
    rotation: FloatArray
    bent: FloatArray

    @classmethod
    def of(cls, values: FloatArray, weight: FloatArray) -> Basis:
        """From the rows ``(n,)``; a value that is not known is NaN. Raises :class:`ScreenError`
        where fewer than two values differ."""
        known = np.isfinite(values)
        if len(np.unique(values[known])) < 2:
            raise ScreenError("a curve needs at least two different values")
        low, high = float(values[known].min()), float(values[known].max())
        raw = _splines(values[known], low, high)
        mean = (weight[known] @ raw) / weight[known].sum()
        # Columns after the first of this rotation are all that is orthogonal to the mean.
        free = np.linalg.qr(mean[:, None], mode="complete")[0][:, 1:]
        difference = np.diff(np.eye(FUNCTIONS), 2, axis=0) @ free
        value, vector = np.linalg.eigh(difference.T @ difference)
        order = np.argsort(value)[::-1]
        value = np.where(value[order] > 1e-9, value[order], 0.0)
        return cls(low, high, free @ vector[:, order], np.diag(value))

    def design(self, values: FloatArray) -> FloatArray:
        """``(n, d)``; a row of zeros where the value is not known."""
        known = np.isfinite(values)
        held = np.clip(np.where(known, values, self.low), self.low, self.high)
        return np.where(known[:, None], _splines(held, self.low, self.high) @ self.rotation, 0.0)

    def penalties(self, first: int, weights: FloatArray | None = None) -> tuple[Penalty, Penalty]:
        """On bends and on the straight line; learned where no ``weights`` ``(2,)`` are given."""
        d = len(self.bent)
        line = np.diag(np.where(np.diag(self.bent) > 0, 0.0, 1.0))
        rank = int((np.diag(self.bent) > 0).sum())
        bends, lines = (None, None) if weights is None else map(float, weights)
        return Penalty(first, self.bent, rank, bends), Penalty(first, line, d - rank, lines)


@dataclass(frozen=True)
class Curve:
    """One fitted term. ``freedom``: its effective degrees of freedom."""

    basis: Basis
    coefficients: FloatArray
    covariance: FloatArray
    freedom: float

    def at(self, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """``(n,)`` log-odds that it adds, and standard errors; both 0 where not known."""
        design = self.basis.design(values)
        variance = np.einsum("nd,de,ne->n", design, self.covariance, design)
        return design @ self.coefficients, np.sqrt(np.maximum(variance, 0.0))


@dataclass(frozen=True)
class Smooth:
    """Curves by the name of their variable, of one regression; ``fit``: the regression, whose
    first columns are the intercept and the plain ones; ``penalties`` ``(2,)`` of each curve."""

    curves: Mapping[str, Curve]
    fit: LogisticFit
    penalties: Mapping[str, FloatArray]


def fit_curves_of(
    plain: FloatArray,
    numbers: Mapping[str, FloatArray],
    hit: FloatArray,
    weight: FloatArray,
    *,
    known: Mapping[str, FloatArray] | None = None,
) -> Smooth:
    """Hits on ``plain`` ``(n, q)`` columns and one curve of every variable in ``numbers``.

    Variables with fewer than two known values have no curve. ``known``: weights of the penalties
    by variable, as another fit found them; learned where not given.
    """
    bases = {name: Basis.of(v, weight) for name, v in numbers.items() if _varies(v)}
    n, q = plain.shape
    columns = [np.ones((n, 1)), plain]
    penalties = [Penalty(1, np.eye(q) / PRIOR_SD**2, q, 1.0)] if q else []
    first = 1 + q
    for name, basis in bases.items():
        columns.append(basis.design(numbers[name]))
        penalties += basis.penalties(first, (known or {}).get(name))
        first += columns[-1].shape[1]
    fit = fit_logistic(np.concatenate(columns, axis=1), hit, weight, penalties)
    curves, learned, first = {}, {}, 1 + q
    for k, (name, basis) in enumerate(bases.items()):
        learned[name] = fit.weights[len(penalties) - 2 * len(bases) + 2 * k :][:2]
        at = slice(first, first + basis.rotation.shape[1])
        curves[name] = Curve(
            basis, fit.coefficients[at], fit.covariance[at, at], float(fit.freedom[at].sum())
        )
        first = at.stop
    return Smooth(curves, fit, learned)


def _varies(values: FloatArray) -> bool:
    known: BoolArray = np.isfinite(values)
    return bool(known.any() and values[known].min() < values[known].max())


def _splines(values: FloatArray, low: float, high: float) -> FloatArray:
    """``(n, FUNCTIONS)`` cubic B-splines on equal steps of the range."""
    inner = np.linspace(low, high, FUNCTIONS - DEGREE + 1)
    step = inner[1] - inner[0]
    before = inner[0] - step * np.arange(DEGREE, 0, -1)
    after = inner[-1] + step * np.arange(1, DEGREE + 1)
    knots = np.concatenate([before, inner, after])
    inside = np.clip(values, low, high - 1e-12 * (high - low))
    return np.asarray(BSpline.design_matrix(inside, knots, DEGREE).toarray(), dtype=np.float64)
