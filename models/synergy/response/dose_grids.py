"""At which doses a pair is, or would be, measured: a score summarises over those."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.screen import ABSENT, Candidates, FloatArray, IntArray, Wells

MOST_DOSES = 8
"""Doses of one compound that a pair without wells is given; of more, so many are picked evenly."""


@dataclass(frozen=True)
class DoseGrids:
    """``pair_keys``: ``(p,)`` ascending, first compound * n + second; ``pair_starts``: ``(p + 1,)``
    where the rows of each start in ``pair_doses`` ``(t, 2)``. ``own_starts``: ``(n + 1,)`` where
    the rows of each compound start in ``own_doses`` ``(s,)``. All micromolar."""

    pair_keys: IntArray
    pair_starts: IntArray
    pair_doses: FloatArray
    own_starts: IntArray
    own_doses: FloatArray

    @classmethod
    def of(cls, wells: Wells, n_compounds: int) -> DoseGrids:
        """Learn them: the dose pairs of each measured pair, in any cell line; and the doses that
        each compound has in combinations, else alone, else what is usual around the middle."""
        pairs = wells.select(wells.n_compounds == 2)
        key = pairs.compounds[:, 0] * n_compounds + pairs.compounds[:, 1]
        rows = np.unique(np.column_stack([key, pairs.doses_um[:, :2]]), axis=0)
        keys, starts = np.unique(rows[:, 0].astype(np.int64), return_index=True)
        own = _own_doses(wells, n_compounds)
        return cls(
            pair_keys=keys,
            pair_starts=np.append(starts, len(rows)).astype(np.int64),
            pair_doses=np.ascontiguousarray(rows[:, 1:]),
            own_starts=np.cumsum([0, *(len(d) for d in own)]).astype(np.int64),
            own_doses=np.concatenate([*own, np.empty(0)]),
        )

    def rows(self, candidates: Candidates) -> tuple[IntArray, FloatArray]:
        """Candidate ``(r,)`` and dose pair ``(r, 2)`` of every well of the candidates' blocks."""
        n = len(self.own_starts) - 1
        keys = candidates.compounds[:, 0] * n + candidates.compounds[:, 1]
        distinct, where = np.unique(keys, return_inverse=True)
        grids = [self._grid(int(key) // n, int(key) % n, int(key)) for key in distinct]
        count = np.array([len(grid) for grid in grids], dtype=np.int64)[where]
        owner = np.repeat(np.arange(len(candidates)), count)
        doses = [grids[k] for k in where]
        return owner, np.concatenate(doses) if doses else np.empty((0, 2))

    def _grid(self, first: int, second: int, key: int) -> FloatArray:
        at = int(np.searchsorted(self.pair_keys, key))
        if at < len(self.pair_keys) and self.pair_keys[at] == key:
            return self.pair_doses[self.pair_starts[at] : self.pair_starts[at + 1]]
        one, two = (
            self.own_doses[self.own_starts[c] : self.own_starts[c + 1]] for c in (first, second)
        )
        return np.column_stack([np.repeat(one, len(two)), np.tile(two, len(one))])

    def save(self) -> dict[str, Tensor]:
        """As tensors."""
        return {f"grids.{k}": torch.from_numpy(v.copy()) for k, v in vars(self).items()}

    @classmethod
    def load(cls, tensors: Mapping[str, Any]) -> DoseGrids:
        """Inverse of :meth:`save`."""
        names = ("pair_keys", "pair_starts", "pair_doses", "own_starts", "own_doses")
        return cls(*(tensors[f"grids.{name}"].numpy() for name in names))


def _own_doses(wells: Wells, n_compounds: int) -> list[FloatArray]:
    """Ascending doses of each compound."""
    found: list[FloatArray] = [np.empty(0)] * n_compounds
    for rows in (wells.n_compounds == 1, wells.n_compounds > 1):
        compounds, doses = wells.compounds[rows], wells.doses_um[rows]
        present = compounds != ABSENT
        table = np.unique(np.column_stack([compounds[present], doses[present]]), axis=0)
        bounds = np.searchsorted(table[:, 0], np.arange(n_compounds + 1))
        for c in np.flatnonzero(np.diff(bounds)):
            found[c] = _thinned(table[bounds[c] : bounds[c + 1], 1])
    usual = _usual(found)
    return [doses if len(doses) else usual for doses in found]


def _thinned(doses: FloatArray) -> FloatArray:
    if len(doses) <= MOST_DOSES:
        return doses
    return doses[np.round(np.linspace(0, len(doses) - 1, MOST_DOSES)).astype(np.int64)]


def _usual(found: list[FloatArray]) -> FloatArray:
    """As many doses as most compounds have, over their typical range."""
    known = [doses for doses in found if len(doses)]
    if not known:
        return np.array([1.0])
    count = int(np.median([len(doses) for doses in known]))
    low = float(np.median([np.log(doses[0]) for doses in known]))
    high = float(np.median([np.log(doses[-1]) for doses in known]))
    return np.asarray(np.exp(np.linspace(low, high, count)), dtype=np.float64)
