"""What a compound, or a pair, has shown so far, beyond what its attributes let expect.

Nested like the rates of categories: the hits of a compound A are Beta-binomial around the mean
``m_A`` that the card expects of those very blocks, and ``d_A = logit(posterior) - logit(m_A)``. A
pair in other cell lines comes after both of its compounds. A compound without a measured block adds
exactly nothing, so nothing is invented for a new one. In training a row (A, B) is told ``d_A`` from
blocks without any compound of B's fold, and the other way round, and a pair from cell lines of
other folds: never from itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from models.screen import ABSENT, BoolArray, FloatArray, IntArray
from models.triage.encoding import FOLDS, deal
from models.triage.features import BlockTable
from models.triage.rates import beta_log_odds, effective_counts, fit_strength


@dataclass(frozen=True)
class Shown:
    """Groups ``(g,)``: ``hits`` of ``rows``, the ``expected`` rate, and the ``strength`` (in rows)
    of that expectation."""

    hits: FloatArray
    rows: FloatArray
    expected: FloatArray
    strength: float

    @classmethod
    def of(
        cls, group: IntArray, hit: FloatArray, weight: FloatArray, chance: FloatArray, n: int,
        strength: float | None = None,
    ) -> Shown:  # fmt: skip
        """From rows: their group, outcome, weight and expected ``chance``, ``(r,)`` each."""
        hits, rows = effective_counts(group, hit, weight, n)
        total = np.bincount(group, weight, n)
        share = np.bincount(group, weight * chance, n)
        expected = np.divide(share, total, out=np.full(n, 0.5), where=total > 0)
        if strength is None:
            strength = fit_strength(hits, rows, expected)
        return cls(hits, rows, expected, strength)

    @property
    def added(self) -> FloatArray:
        """``(g + 1,)`` log-odds beyond the expected; 0 without rows and in the last place."""
        rate = (self.hits + self.expected * self.strength) / (self.rows + self.strength)
        return np.append(np.where(self.rows > 0, logit(rate) - logit(self.expected), 0.0), 0.0)

    def draws(self, n: int, seed: int) -> FloatArray:
        """``(n, g + 1)`` draws of :attr:`added` from the Beta posteriors."""
        known = np.flatnonzero(self.rows > 0)
        a = (self.hits + self.expected * self.strength)[known]
        b = (self.rows - self.hits + (1 - self.expected) * self.strength)[known]
        drawn = np.zeros((n, len(self.rows) + 1))
        start = logit(self.expected[known])
        drawn[:, known] = beta_log_odds(a[None], b[None], known, n, seed) - start
        return drawn


@dataclass(frozen=True)
class History:
    """``compounds``: of every compound; ``pairs``: of every measured pair, whose ``keys`` ``(p,)``
    ascend (first compound times the number of compounds plus second)."""

    compounds: Shown
    pairs: Shown
    keys: IntArray

    @classmethod
    def of(
        cls, table: BlockTable, hit: FloatArray, weight: FloatArray, logits: FloatArray,
        compound_share: float,
    ) -> History:  # fmt: skip
        """From all rows and what the card expects of them without history, ``logits`` ``(n,)``.
        ``compound_share``: how much of what compounds showed the pairs have to beat."""
        compounds = _of_compounds(table, hit, weight, logits)
        keys, group = np.unique(pair_keys(table), return_inverse=True)
        both = compounds.added[table.compounds].sum(axis=1)
        chance = expit(logits + compound_share * both)
        return cls(compounds, Shown.of(group, hit, weight, chance, len(keys)), keys)

    def find(self, table: BlockTable) -> IntArray:
        """``(n,)`` position of each block's pair in ``keys``, ``ABSENT`` where not measured."""
        wanted = pair_keys(table)
        place = np.minimum(np.searchsorted(self.keys, wanted), max(len(self.keys) - 1, 0))
        found = self.keys[place] == wanted if len(self.keys) else np.zeros(len(wanted), bool)
        return np.where(found, place, ABSENT).astype(np.int64)


def compounds_out_of_fold(
    table: BlockTable, hit: FloatArray, weight: FloatArray, logits: FloatArray, fold: IntArray
) -> FloatArray:
    """``(n,)`` what both compounds add, each from blocks without the other one's fold; ``fold``
    ``(n_compounds,)``."""
    strength = _of_compounds(table, hit, weight, logits).strength
    at = fold[table.compounds]
    total = np.zeros(len(table))
    for k in np.unique(at).tolist():
        left = ~(at == k).any(axis=1)
        shown = _of_compounds(table, hit, weight, logits, left, strength).added
        for side in (0, 1):
            rows = at[:, 1 - side] == k
            total[rows] += shown[table.compounds[rows, side]]
    return total


def pairs_out_of_fold(
    table: BlockTable, hit: FloatArray, weight: FloatArray, logits: FloatArray, seed: int
) -> FloatArray:
    """``(n,)`` what each pair adds beyond ``logits``, from its blocks in lines of other folds."""
    keys, group = np.unique(pair_keys(table), return_inverse=True)
    chance = expit(logits)
    strength = Shown.of(group, hit, weight, chance, len(keys)).strength
    fold = deal(table.cell_line, table.n_cell_lines, FOLDS, seed)[table.cell_line]
    total = np.zeros(len(table))
    for k in np.unique(fold).tolist():
        left, rows = fold != k, fold == k
        shown = Shown.of(group[left], hit[left], weight[left], chance[left], len(keys), strength)
        total[rows] = shown.added[group[rows]]
    return total


def pair_keys(table: BlockTable) -> IntArray:
    """``(n,)`` one integer for each pair of compounds."""
    return table.compounds @ np.array([table.n_compounds, 1], dtype=np.int64)


def _of_compounds(
    table: BlockTable, hit: FloatArray, weight: FloatArray, logits: FloatArray,
    rows: BoolArray | None = None, strength: float | None = None,
) -> Shown:  # fmt: skip
    """Every block counts for both of its compounds."""
    kept = np.ones(len(table), bool) if rows is None else rows
    twice = [np.concatenate([column[kept]] * 2) for column in (hit, weight, expit(logits))]
    group = table.compounds[kept].T.reshape(-1)
    return Shown.of(group, twice[0], twice[1], twice[2], table.n_compounds, strength)
