"""Cells as the tensors that training reads: standardised inputs, plates, counterfactuals."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from models.perturbation.vae.cells import CellTable
from models.perturbation.vae.doses import pairs_of
from models.perturbation.vae.masks import plate_weights
from models.screen import FloatArray

MOST_FAILED = 50
"""Failed cells of a condition whose median stands for its failed likeness."""


@dataclass(frozen=True)
class InputScaling:
    """Per readout ``(g,)``: inputs are ``(x - centre) / spread``, of log1p(x) for counts."""

    centre: FloatArray
    spread: FloatArray

    @classmethod
    def of(cls, cells: CellTable) -> InputScaling:
        """From the training cells."""
        raw = _input_values(cells)
        spread = np.nanstd(raw, axis=0)
        return cls(np.nanmean(raw, axis=0), np.where(spread > 0, spread, 1.0))

    def inputs(self, cells: CellTable) -> FloatArray:
        """``(n, g)`` standardised; missing values stand at the centre."""
        return self.standard(_input_values(cells))

    def standard(self, raw: FloatArray) -> FloatArray:
        """Standardise ``raw`` ``(n, g)``, 0 where missing."""
        scaled = (raw - self.centre) / self.spread
        return np.asarray(np.where(np.isnan(raw), 0.0, scaled))


@dataclass(frozen=True)
class Rows:
    """Tensors with a row per cell (or for some of them).

    ``inputs``, ``values`` and ``likeness`` ``(n, g)``: standardised, raw, and the failed likeness;
    ``library``, ``flag`` and ``has_likeness`` ``(n,)``; ``doses`` ``(n, p)``; ``plates`` ``(n, t)``
    and ``artifact_plate`` ``(n,)``: shares of the KL; ``change`` ``(n, m)``: what the network is
    aligned to, NaN where unknown (all of it without an alignment).
    """

    inputs: Tensor
    values: Tensor
    likeness: Tensor
    library: Tensor
    flag: Tensor
    has_likeness: Tensor
    doses: Tensor
    plates: Tensor
    artifact_plate: Tensor
    change: Tensor

    def __len__(self) -> int:
        return len(self.values)

    def select(self, index: Tensor) -> Rows:
        """The rows at ``index``."""
        return Rows(*(getattr(self, field.name)[index] for field in fields(self)))


@dataclass(frozen=True)
class Prepared:
    """Rows of a table, and the pairs ``(k, 2)`` of compounds that occur together."""

    rows: Rows
    pairs: Tensor

    @classmethod
    def of(
        cls, cells: CellTable, scaling: InputScaling, seed: int, change: FloatArray | None, m: int
    ) -> Prepared:
        """``change`` ``(n, m)`` as in :class:`Rows`, or ``None``."""
        likeness, known = failed_likeness(cells, seed)
        failed = cells.low_quality.astype(np.float64)[:, None]
        if change is None:
            change = np.full((len(cells), m), np.nan)
        rows = Rows(
            _tensor(scaling.inputs(cells)),
            _tensor(cells.values),
            _tensor(scaling.standard(likeness)),
            _tensor(cells.library),
            _tensor(failed[:, 0]),
            _tensor(known),
            _tensor(cells.doses),
            plate_weights(_tensor(cells.target_presence())),
            plate_weights(_tensor(failed))[:, 0],
            _tensor(change),
        )
        return cls(rows, pairs_of(rows.doses))


def failed_likeness(cells: CellTable, seed: int) -> tuple[FloatArray, FloatArray]:
    """For each good cell the readout-wise median of at most 50 random failed cells of the same
    doses, ``(n, g)`` on the scale of the inputs, and whether there are any, ``(n,)`` 0 or 1."""
    rng = np.random.default_rng(seed)
    raw = _input_values(cells)
    likeness, known = np.zeros_like(raw), np.zeros(len(cells))
    if not cells.low_quality.any():
        return likeness, known
    _, group = np.unique(cells.doses, axis=0, return_inverse=True)
    group = group.reshape(-1)
    for number in range(group.max() + 1):
        failed = np.flatnonzero((group == number) & cells.low_quality)
        good = (group == number) & ~cells.low_quality
        if not len(failed) or not good.any():
            continue
        picked = rng.permutation(failed)[:MOST_FAILED]
        likeness[good] = np.median(np.where(np.isnan(raw[picked]), 0.0, raw[picked]), axis=0)
        known[good] = 1.0
    return likeness, known


def _input_values(cells: CellTable) -> FloatArray:
    return cells.values if cells.observation == "continuous" else np.log1p(cells.values)


def _tensor(values: np.ndarray) -> Tensor:
    return torch.tensor(np.asarray(values, np.float32))
