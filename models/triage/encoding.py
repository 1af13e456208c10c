"""Categories of blocks as log-odds, learned from rows that share no compound with the one encoded.

A category that is encoded by the very outcomes that it shall predict looks useful even where
labels are pure noise. Here compounds are dealt into folds, and a row whose compounds lie in folds i
and j is encoded by the rates of the rows that have no compound of i or j.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.screen import FloatArray, IntArray
from models.triage.features import BlockTable
from models.triage.rates import LabelRates, PairRates

CATEGORIES = ("target_pair", "mechanism_pair", "cell_line")
FOLDS = 5


def deal(present: IntArray, n: int, folds: int, seed: int) -> IntArray:
    """``(n,)`` fold of each of ``n`` things; those ``present`` are dealt evenly, the others are in
    none (-1). At most as many folds as there are things."""
    fold = np.full(n, -1, np.int64)
    unique = np.unique(present)
    order = np.random.default_rng([seed, len(unique)]).permutation(unique)
    fold[order] = np.arange(len(unique)) % max(min(folds, len(unique)), 1)
    return fold


@dataclass(frozen=True)
class Encoder:
    """Rates of the three kinds of categories."""

    target: PairRates
    mechanism: PairRates
    line: LabelRates

    @classmethod
    def fit(cls, table: BlockTable, hit: FloatArray, weight: FloatArray) -> Encoder:
        """From all rows of ``table``; ``hit``, ``weight`` ``(n,)``."""
        return cls(
            PairRates.fit(table.target, hit, weight, table.n_targets),
            PairRates.fit(table.mechanism, hit, weight, table.n_mechanisms),
            LabelRates.fit(table.cell_line, hit, weight, table.n_cell_lines),
        )

    def evidence(self, table: BlockTable) -> FloatArray:
        """``(n, 3)`` what each category adds to the log-odds; columns :data:`CATEGORIES`."""
        columns = [
            self.target.evidence(table.target),
            self.mechanism.evidence(table.mechanism),
            self.line.evidence(table.cell_line),
        ]
        return np.stack(columns, axis=1)

    def draws(self, table: BlockTable, n: int, seed: int) -> Sequence[FloatArray]:
        """``(n, rows)`` posterior draws of each column of :meth:`evidence`."""
        line = self.line.draws(n, 3 * seed + 2)
        return (
            self.target.draws(table.target, n, 3 * seed),
            self.mechanism.draws(table.mechanism, n, 3 * seed + 1),
            line[:, table.cell_line],
        )


def encode_out_of_fold(
    table: BlockTable, hit: FloatArray, weight: FloatArray, fold: IntArray
) -> FloatArray:
    """``(n, 3)`` as :meth:`Encoder.evidence`, every row by rows without its compounds' folds;
    ``fold``: ``(n_compounds,)``. 0 where no such rows are left."""
    pair = np.sort(fold[table.compounds], axis=1)
    evidence = np.zeros((len(table), len(CATEGORIES)))
    for i, j in np.unique(pair, axis=0).tolist():
        rows = np.flatnonzero((pair == [i, j]).all(axis=1))
        others = np.flatnonzero(~np.isin(pair, [i, j]).any(axis=1))
        if len(others):
            encoder = Encoder.fit(table.select(others), hit[others], weight[others])
            evidence[rows] = encoder.evidence(table.select(rows))
    return evidence
