"""The regression behind a scorecard, before it is rounded to points.

    log-odds = intercept + b (categories) + b (bins of numbers) + c (history)

in two stages: categories and numbers first, on out-of-fold encodings, so that a pair of new
compounds is judged by what such pairs do; then history as a correction, which is exactly 0 for
them. A column whose coefficient is not positive contradicts its own evidence and is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.screen import FloatArray, IntArray, StopCallback, Stopped, never_stop
from models.triage.binning import FEWEST, Bins, Cut, choose_bins
from models.triage.encoding import CATEGORIES, Encoder, encode_out_of_fold
from models.triage.features import BlockTable
from models.triage.history import History, compounds_out_of_fold, pairs_out_of_fold
from models.triage.logistic import LogisticFit, Penalty, fit_logistic
from models.triage.splines import PRIOR_SD, fit_curves_of

HISTORY = ("compound_history", "pair_history")


@dataclass(frozen=True)
class Plan:
    """What a first fit has found and later ones keep: ``penalties`` of the curves and the number
    of ``bins`` by variable."""

    penalties: Mapping[str, FloatArray]
    bins: Mapping[str, int]


@dataclass(frozen=True)
class Core:
    """``coefficients`` ``(1 + q,)`` of the intercept and of ``columns`` ``(q,)``, names of
    categories and numbers, with their ``covariance``; those left out are not among them.
    ``history_weight`` ``(2,)``: of compounds and of pairs, 0 where left out."""

    encoder: Encoder
    bins: Mapping[str, Bins]
    columns: tuple[str, ...]
    coefficients: FloatArray
    covariance: FloatArray
    history: History
    history_weight: FloatArray
    plan: Plan

    def values(self, table: BlockTable) -> dict[str, FloatArray]:
        """``(n,)`` evidence of each used column, before its coefficient."""
        evidence = self.encoder.evidence(table)
        found = dict(zip(CATEGORIES, evidence.T, strict=True))
        found |= {name: bins.of(table.numbers[name]) for name, bins in self.bins.items()}
        return {name: found[name] for name in self.columns}

    def base(self, table: BlockTable) -> FloatArray:
        """``(n,)`` log-odds without history."""
        columns = [np.ones(len(table)), *self.values(table).values()]
        return np.asarray(np.column_stack(columns) @ self.coefficients, dtype=np.float64)

    def logits(self, table: BlockTable) -> FloatArray:
        """``(n,)`` log-odds of a hit."""
        both = self.history.compounds.added[table.compounds].sum(axis=1)
        pair = self.history.pairs.added[self.history.find(table)]
        shown = self.history_weight[0] * both + self.history_weight[1] * pair
        return np.asarray(self.base(table) + shown, dtype=np.float64)


def fit_core(
    table: BlockTable,
    hit: FloatArray,
    weight: FloatArray,
    fold: IntArray,
    seed: int,
    plan: Plan | None = None,
    should_stop: StopCallback = never_stop,
) -> Core:
    """Fit to measured blocks; ``hit``, ``weight`` ``(n,)``, ``fold`` ``(n_compounds,)``.

    ``plan``: of an earlier fit, to save what costs most.
    """
    encoded = encode_out_of_fold(table, hit, weight, fold)
    if should_stop():
        raise Stopped
    smooth = fit_curves_of(
        encoded, table.numbers, hit, weight, known=None if plan is None else plan.penalties
    )
    cuts = {name: Cut.of(curve, table.numbers[name]) for name, curve in smooth.curves.items()}
    if should_stop():
        raise Stopped
    if plan is None:
        chosen = choose_bins(cuts, table.numbers, encoded, hit, weight)
        plan = Plan(smooth.penalties, chosen)
    bins = {name: cut.bins(plan.bins.get(name, FEWEST)) for name, cut in cuts.items()}
    values = dict(zip(CATEGORIES, encoded.T, strict=True))
    values |= {name: one.of(table.numbers[name]) for name, one in bins.items()}
    columns, fit = _positive(values, hit, weight)
    kept = [np.ones(len(table)), *(values[name] for name in columns)]
    base = np.column_stack(kept) @ fit.coefficients
    share = _history_weight(table, hit, weight, base, fold, seed)
    return Core(
        Encoder.fit(table, hit, weight),
        bins,
        columns,
        fit.coefficients,
        fit.covariance,
        History.of(table, hit, weight, base, float(share[0])),
        share,
        plan,
    )


def _positive(
    values: Mapping[str, FloatArray], hit: FloatArray, weight: FloatArray
) -> tuple[tuple[str, ...], LogisticFit]:
    """The regression without the columns whose coefficients are not positive, worst first."""
    kept = [name for name, column in values.items() if np.ptp(column) > 0]
    while True:
        design = np.column_stack([np.ones(len(hit)), *(values[name] for name in kept)])
        q = len(kept)
        penalty = [Penalty(1, np.eye(q) / PRIOR_SD**2, q, 1.0)] if q else []
        fit = fit_logistic(design, hit, weight, penalty)
        if not q or fit.coefficients[1:].min() > 0:
            return tuple(kept), fit
        kept.pop(int(np.argmin(fit.coefficients[1:])))


def _history_weight(
    table: BlockTable, hit: FloatArray, weight: FloatArray, base: FloatArray, fold: IntArray,
    seed: int,
) -> FloatArray:  # fmt: skip
    """Weights of what compounds and pairs have shown: first the one, then the other beyond it."""
    share = np.zeros(2)
    both = compounds_out_of_fold(table, hit, weight, base, fold)
    share[0] = _one_weight(both, base, hit, weight)
    base = base + share[0] * both
    share[1] = _one_weight(pairs_out_of_fold(table, hit, weight, base, seed), base, hit, weight)
    return share


def _one_weight(column: FloatArray, base: FloatArray, hit: FloatArray, weight: FloatArray) -> float:
    if not np.ptp(column):
        return 0.0
    design = np.column_stack([np.ones(len(hit)), column])
    penalty = Penalty(1, np.eye(1) / PRIOR_SD**2, 1, 1.0)
    fit = fit_logistic(design, hit, weight, [penalty], offset=base)
    return max(float(fit.coefficients[1]), 0.0)
