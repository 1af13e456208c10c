"""The scorecard: whole points for everything that is known of a block, which add up to its logit.

Twenty points double the odds of a hit. Each thing that is known is worth a whole number of points,
and the log-odds *are* ``(base + sum of points) ln 2 / 20``: sums of integers, exact in any order,
on a screen or with a pencil. The chance is that of these log-odds. Rounding moves them by at most
0.018 for each feature.

A pair of targets that was measured has points of its own; one that was not has those of its two
labels. Points of a compound's history count beside those of its partner's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np
from scipy.special import expit

from models.screen import ABSENT, FloatArray, IntArray
from models.triage.calibration import Calibration
from models.triage.encoding import CATEGORIES
from models.triage.features import NUMBERS, BlockTable
from models.triage.fitting import HISTORY, Core
from models.triage.history import Shown
from models.triage.rates import LabelRates, PairRates

DOUBLING = 20
"""Points that double the odds."""
LOGIT_PER_POINT = math.log(2.0) / DOUBLING
PAIRS = ("target_pair", "mechanism_pair")
DRAWS = 200
LEVEL = 0.9
_AT_ONCE = 4_000

WORDS: Mapping[str, str] = MappingProxyType(
    {
        "target_pair": "targets of the pair",
        "mechanism_pair": "mechanisms of the pair",
        "cell_line": "cell line",
        **NUMBERS,
        "compound_history": "what these compounds showed in other pairs",
        "pair_history": "what this pair showed in other cell lines",
    }
)
"""What each feature is called."""


@dataclass(frozen=True)
class Scored:
    """``n`` blocks. ``points`` ``(n, features)`` whole numbers in the order of the card's
    ``features``; ``total`` ``(n,)`` with the base; ``low``, ``high``: ends of the credible
    interval of the chance, ``(n,)``."""

    points: IntArray
    total: IntArray
    low: FloatArray
    high: FloatArray

    @property
    def logit(self) -> FloatArray:
        """``(n,)`` log-odds of a hit."""
        return np.asarray(self.total * LOGIT_PER_POINT, dtype=np.float64)

    @property
    def chance(self) -> FloatArray:
        """``(n,)`` probability of a hit."""
        return np.asarray(expit(self.logit), dtype=np.float64)


@dataclass(frozen=True)
class PairPoints:
    """Points of labels ``(labels + 1,)``, 0 in the last place, and of measured pairs
    ``(pairs + 1,)``, which take the place of their labels'."""

    rates: PairRates
    label: IntArray
    pair: IntArray

    def of(self, label: IntArray) -> IntArray:
        """``(n,)`` points of both sides' labels ``(n, 2)``."""
        place = self.rates.find(label)
        alone = self.label[label[:, 0]] + self.label[label[:, 1]]
        return np.where(place == ABSENT, alone, self.pair[place])


@dataclass(frozen=True)
class Scorecard:
    """A fitted ``core``, calibrated and rounded. ``features``: names in the order of the points;
    ``base``: points of a block of which nothing is known."""

    core: Core
    calibration: Calibration
    seed: int

    @cached_property
    def features(self) -> tuple[str, ...]:
        """Those that are worth a point anywhere."""
        used = [name for name, w in zip(HISTORY, self.core.history_weight, strict=True) if w > 0]
        return tuple(name for name in (*self.core.columns, *used) if self._worth(name).any())

    @cached_property
    def base(self) -> int:
        """Points of a block of which nothing is known."""
        start = np.array([self.core.coefficients[0]])
        return int(_rounded(self.calibration.apply(start))[0])

    def factor(self, feature: str) -> float:
        """What evidence of a feature is multiplied by."""
        if feature in HISTORY:
            own = float(self.core.history_weight[HISTORY.index(feature)])
        else:
            own = float(self.core.coefficients[1 + self.core.columns.index(feature)])
        return self.calibration.slope * own

    def pair_points(self, feature: str) -> PairPoints:
        """Of ``target_pair`` or ``mechanism_pair``."""
        rates = self.pair_rates(feature)
        factor, added = self.factor(feature), rates.labels.added
        own = rates.evidence(rates.pair)
        return PairPoints(
            rates,
            _rounded(factor * rates.weight * added),
            np.append(_rounded(factor * own), 0),
        )

    def pair_rates(self, feature: str) -> PairRates:
        """The rates behind ``target_pair`` or ``mechanism_pair``."""
        encoder = self.core.encoder
        return encoder.target if feature == "target_pair" else encoder.mechanism

    def line_points(self) -> IntArray:
        """``(cell lines + 1,)`` points of each."""
        rates: LabelRates = self.core.encoder.line
        return _rounded(self.factor("cell_line") * rates.added)

    def bin_points(self, feature: str) -> IntArray:
        """``(bins + 1,)`` points of a number's bins; the last is for a value not known."""
        return _rounded(self.factor(feature) * np.append(self.core.bins[feature].value, 0.0))

    def history_points(self, feature: str) -> IntArray:
        """``(groups + 1,)`` points of each compound, or each measured pair."""
        return _rounded(self.factor(feature) * self.shown(feature).added)

    def shown(self, feature: str) -> Shown:
        """The history behind ``compound_history`` or ``pair_history``."""
        history = self.core.history
        return history.compounds if feature == "compound_history" else history.pairs

    def points(self, table: BlockTable) -> IntArray:
        """``(n, features)`` points of each block."""
        columns = [self._column(name, table) for name in self.features]
        empty = np.zeros((len(table), 0), np.int64)
        return np.stack(columns, axis=1) if columns else empty

    def score(self, table: BlockTable) -> Scored:
        """Points, total and credible interval of every block; (A, B) is (B, A) to the bit."""
        points = self.points(table)
        total = self.base + points.sum(axis=1)
        low, high = np.empty(len(table)), np.empty(len(table))
        for start in range(0, len(table), _AT_ONCE):
            rows = np.arange(start, min(start + _AT_ONCE, len(table)))
            drawn = self.draws(table.select(rows))
            tail = (1 - LEVEL) / 2
            low[rows], high[rows] = expit(np.quantile(drawn, [tail, 1 - tail], axis=0))
        return Scored(points, total, low, high)

    def draws(self, table: BlockTable, n: int = DRAWS) -> FloatArray:
        """``(n, rows)`` posterior draws of the log-odds, before rounding: Beta posteriors of all
        rates, standard errors of bins and coefficients. One draw is one world."""
        core = self.core
        rng = np.random.default_rng([self.seed, 7])
        spread = np.linalg.cholesky(core.covariance + 1e-12 * np.eye(len(core.covariance)))
        coefficients = core.coefficients + rng.standard_normal((n, len(spread))) @ spread.T
        total = np.repeat(coefficients[:, :1], len(table), axis=1)
        drawn = dict(zip(CATEGORIES, core.encoder.draws(table, n, self.seed), strict=True))
        for k, name in enumerate(core.columns, 1):
            evidence = drawn.get(name)
            if evidence is None:
                bins = core.bins[name]
                error = rng.standard_normal((n, len(bins.value))) * bins.error
                values = np.concatenate([bins.value + error, np.zeros((n, 1))], axis=1)
                evidence = values[:, bins.find(table.numbers[name])]
            total = total + coefficients[:, k : k + 1] * evidence
        for k, name in enumerate(HISTORY):
            if core.history_weight[k] > 0:
                shown = self.shown(name).draws(n, 5 * self.seed + 3 + k)
                total = total + core.history_weight[k] * self._spread(name, table, shown)
        return self.calibration.apply(total)

    def _worth(self, name: str) -> IntArray:
        """All points that a feature can give."""
        if name in PAIRS:
            made = self.pair_points(name)
            return np.concatenate([made.label, made.pair])
        if name == "cell_line":
            return self.line_points()
        return self.history_points(name) if name in HISTORY else self.bin_points(name)

    def _column(self, name: str, table: BlockTable) -> IntArray:
        if name in PAIRS:
            return self.pair_points(name).of(label_of(name, table))
        if name == "cell_line":
            return self.line_points()[table.cell_line]
        if name in HISTORY:
            spread = self._spread(name, table, self.history_points(name)[None])
            return np.asarray(spread[0], dtype=np.int64)
        return self.bin_points(name)[self.core.bins[name].find(table.numbers[name])]

    def _spread(self, name: str, table: BlockTable, by_group: np.ndarray) -> np.ndarray:
        """``(d, groups + 1)`` to ``(d, rows)``: both compounds of a block, or its pair."""
        if name == "compound_history":
            a, b = table.compounds.T
            return np.asarray(by_group[:, a] + by_group[:, b])
        return np.asarray(by_group[:, self.core.history.find(table)])


def label_of(name: str, table: BlockTable) -> IntArray:
    """``(n, 2)`` labels of both sides for ``target_pair`` or ``mechanism_pair``."""
    return table.target if name == "target_pair" else table.mechanism


def _rounded(logits: FloatArray) -> IntArray:
    return np.rint(logits / LOGIT_PER_POINT).astype(np.int64)
