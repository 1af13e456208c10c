"""From a fitted curve to a few bins with one value each, as published, and how many.

The curve is read at up to ``CELLS`` places. *Constrained* bins are the best runs along the
variable, each place weighed by ``rows / max(s.e.^2, ..)``; *unconstrained* ones are clusters of
the curve's values by weighted k-means, and a bin may consist of several runs. Breaks lie in the
middle between neighbouring places, a bin's value is the weighted mean of the curve in it.

The number of bins, 2 to 10 for each variable, is that of least AIC of the logistic regression on
binned values. As published that counts one degree of freedom for each variable, though its bins
were drawn after a curve that had seen the outcomes: too hopeful. Here a variable costs what its
bins can adapt, ``k - 1`` values and ``k - 1`` breaks, at most all that the curve adapted (its
effective degrees of freedom), and one more for its slope in the regression on bins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.screen import FloatArray, IntArray
from models.triage.logistic import Penalty, fit_logistic
from models.triage.segments import Segments, best_segments, cluster_values, segment_means
from models.triage.splines import PRIOR_SD, Curve

CELLS = 200
FEWEST, MOST = 2, 10
LEAST_GAIN = 1.0
"""By so much AIC must fall before one more bin is worth its line on a card."""
_SWEEPS = 3


@dataclass(frozen=True)
class Bins:
    """Runs of a variable between ``breaks`` ``(r - 1,)``, the bin of each run ``(r,)``, and of
    each bin ``(k,)``: its ``value`` (log-odds), standard ``error`` and share of the ``rows``. A
    value that is not known adds 0. ``freedom``: degrees of freedom they cost."""

    breaks: FloatArray
    run: IntArray
    value: FloatArray
    error: FloatArray
    rows: FloatArray
    freedom: float

    def find(self, values: FloatArray) -> IntArray:
        """``(n,)`` bin of each value, -1 where it is not known."""
        run = np.searchsorted(self.breaks, values, side="right")
        return np.where(np.isfinite(values), self.run[np.minimum(run, len(self.run) - 1)], -1)

    def of(self, values: FloatArray) -> FloatArray:
        """``(n,)`` log-odds of each value's bin."""
        return np.append(self.value, 0.0)[self.find(values)]


@dataclass(frozen=True)
class Cut:
    """One curve read at its places, and every way to cut it."""

    places: FloatArray
    rows: FloatArray
    height: FloatArray
    weight: FloatArray
    error: FloatArray
    freedom: float
    segments: Segments
    order: IntArray

    @classmethod
    def of(cls, curve: Curve, values: FloatArray, *, constrained: bool = True) -> Cut:
        """``values`` ``(n,)`` of the rows, NaN where not known."""
        places, rows = _places(values[np.isfinite(values)])
        height, error = curve.at(places)
        # Near its mean a centred curve is known all too well: one place must not outweigh all.
        weight = rows / np.maximum(error, 0.1 * error.max() + 1e-9) ** 2
        if constrained:
            segments, order = best_segments(height, weight, MOST), np.arange(len(places))
        else:
            segments, order = cluster_values(height, weight, MOST)
        return cls(places, rows, height, weight, error, curve.freedom, segments, order)

    @property
    def most(self) -> int:
        """Most bins there can be."""
        return len(self.segments.cost)

    def bins(self, k: int) -> Bins:
        """``k`` bins, or as many as there are places."""
        label = self.segments.labels(min(k, self.most))[self.order]
        value = segment_means(self.height, self.weight, label)
        error = np.sqrt(segment_means(self.error**2, self.weight, label))
        changes = np.flatnonzero(label[1:] != label[:-1])
        breaks = 0.5 * (self.places[changes] + self.places[changes + 1])
        run = label[np.concatenate([changes, [len(label) - 1]])]
        rows = np.bincount(label, self.rows)
        return Bins(breaks, run, value, error, rows / rows.sum(), self.cost(k))

    def cost(self, k: int) -> float:
        """Degrees of freedom of ``k`` bins; see the module's text."""
        return 1.0 + min(2.0 * (min(k, self.most) - 1), self.freedom)


def choose_bins(
    cuts: Mapping[str, Cut],
    numbers: Mapping[str, FloatArray],
    plain: FloatArray,
    hit: FloatArray,
    weight: FloatArray,
) -> dict[str, int]:
    """The number of bins of each variable, of least AIC jointly but for ``LEAST_GAIN``.

    One variable after the other, from few bins up, until none changes, three times at most."""
    chosen = {name: min(FEWEST, cut.most) for name, cut in cuts.items()}
    binned = {name: cuts[name].bins(chosen[name]).of(numbers[name]) for name in cuts}
    start: FloatArray | None = None
    best = np.inf
    for _ in range(_SWEEPS):
        before = dict(chosen)
        for name, cut in cuts.items():
            kept, kept_values = chosen[name], binned[name]
            for k in range(min(FEWEST, cut.most), cut.most + 1):
                binned[name] = cut.bins(k).of(numbers[name])
                freedom = sum(
                    cuts[other].cost(k if other == name else chosen[other]) for other in cuts
                )
                aic, found = _aic(plain, list(binned.values()), hit, weight, freedom, start)
                if aic < best - LEAST_GAIN:
                    best, kept, kept_values, start = aic, k, binned[name], found
            chosen[name], binned[name] = kept, kept_values
        if chosen == before:
            break
    return chosen


def _aic(
    plain: FloatArray, binned: list[FloatArray], hit: FloatArray, weight: FloatArray,
    freedom: float, start: FloatArray | None,
) -> tuple[float, FloatArray]:  # fmt: skip
    design = np.column_stack([np.ones(len(hit)), plain, *binned])
    p = design.shape[1] - 1
    penalty = Penalty(1, np.eye(p) / PRIOR_SD**2, p, 1.0)
    fit = fit_logistic(design, hit, weight, [penalty], start=start, tolerance=1e-6)
    return fit.deviance + 2 * (1 + plain.shape[1] + freedom), fit.coefficients


def _places(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Up to ``CELLS`` places, each the mean of as many rows, and the rows of each."""
    unique, count = np.unique(values, return_counts=True)
    if len(unique) <= CELLS:
        return unique, count.astype(np.float64)
    rank = np.cumsum(count) - 0.5 * count
    cell = np.minimum((rank * CELLS / len(values)).astype(np.int64), CELLS - 1)
    _, cell = np.unique(cell, return_inverse=True)
    rows = np.asarray(np.bincount(cell, count), dtype=np.float64)
    return np.bincount(cell, count * unique) / rows, rows
