"""What a sampler is told of a block, as a batch of tensors, and how the swap acts on it.

A surface is written as the Bliss surface of its margins moved on a bounded scale,

    viability = TOP * sigmoid(logit(bliss / TOP) + residual),

so that every residual gives a viability between 0 and :data:`TOP` and a residual of 0 is exactly
no interaction. Where a dose is 0 nothing is sampled: the surface is its margin
(:func:`with_margins`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.pharmacology.random_numbers import combine, normals
from models.screen import FloatArray, ScreenError
from models.surfaces.blocks import Blocks
from models.surfaces.symmetry import Batch, drug_permutations

TOP = 2.0
"""No sampled viability is above this, as a fraction of the vehicle control."""
LEAST = 1e-3
"""A reference below a thousandth of the control reads as a thousandth: nobody can tell them."""
OWN = 5
"""Columns that belong to one dose of one compound."""

CONDITION_SWAP = drug_permutations(2, exchanged=(("rows", "columns"),), grids={"reference": (1, 2)})
"""How a swap of the compounds acts on :func:`condition`."""
SURFACE_SWAP = drug_permutations(
    2,
    exchanged=(("rows", "columns"),),
    grids={"reference": (1, 2), "viability": (1, 2), "wells": (1, 2)},
)
"""The same for :func:`observe`."""


@dataclass(frozen=True)
class PairFeatures:
    """What else is known: ``compounds`` ``(n_compounds, f)`` and ``cell_lines``
    ``(n_cell_lines, g)``, finite, about unit size; either may have width 0."""

    compounds: FloatArray
    cell_lines: FloatArray

    @classmethod
    def none(cls) -> PairFeatures:
        """Nothing beyond the margins."""
        return cls(np.zeros((0, 0)), np.zeros((0, 0)))

    @property
    def widths(self) -> tuple[int, int]:
        """Columns of compounds and of cell lines."""
        return self.compounds.shape[1], self.cell_lines.shape[1]


def condition(blocks: Blocks, features: PairFeatures) -> Batch:
    """A batch of float32 tensors for ``b`` blocks of ``m`` by ``n`` doses above 0.

    ``rows`` ``(b, m, p)`` and ``columns`` ``(b, n, p)``: the logit of the margin, the place of the
    dose in the block from -1 to 1, mean and lowest logit of that margin, 1, and the features of
    the compound. ``context`` ``(b, g)``: features of the cell line. ``reference`` ``(b, m, n)``:
    logit of Bliss over :data:`TOP`. Raises :class:`ScreenError` for doses of 0 and for margins
    that are negative or whose product lies above the top.
    """
    if any(np.any(doses == 0) for doses in blocks.doses):
        raise ScreenError("a sampler takes doses above 0; where a dose is 0 there is the margin")
    if any(np.any(margin < 0) for margin in blocks.margins):
        raise ScreenError("a margin is negative")
    reference = blocks.reference
    if np.any(reference >= TOP):
        raise ScreenError(f"margins multiply to {reference.max():.3g}, expected below {TOP:g}")
    sides = [
        _side(blocks.margins[k], features_of(features.compounds, blocks.compounds[:, k]))
        for k in (0, 1)
    ]
    context = features_of(features.cell_lines, blocks.cell_line)
    return {
        "rows": torch.from_numpy(sides[0]).float(),
        "columns": torch.from_numpy(sides[1]).float(),
        "context": torch.from_numpy(context).float(),
        "reference": torch.from_numpy(_logit(reference)).float(),
    }


def observe(blocks: Blocks, features: PairFeatures) -> Batch:
    """:func:`condition` with what was measured: ``viability`` ``(b, m, n)``, 0 where nothing was,
    and ``wells`` ``(b, m, n)``, how many replicates it is the mean of."""
    return {
        **condition(blocks, features),
        "viability": torch.from_numpy(np.nan_to_num(blocks.viability)).float(),
        "wells": torch.from_numpy(np.where(blocks.measured, blocks.n_wells, 0)).float(),
    }


def to_viability(reference: Tensor, residual: Tensor) -> Tensor:
    """Surfaces from residuals; both ``(..., m, n)`` on the logit scale."""
    return TOP * torch.sigmoid(reference + residual)


def to_residual(reference: Tensor, viability: Tensor) -> Tensor:
    """The residual nearest to a viability, which may lie outside the bounds: noise does that."""
    return torch.logit((viability / TOP).clamp(LEAST, 1 - LEAST)) - reference


def with_margins(surfaces: FloatArray, blocks: Blocks) -> FloatArray:
    """``(..., b, m + 1, n + 1)``: surfaces ``(..., b, m, n)`` with dose 0 first on both axes, where
    they are the margins, and 1 without any drug."""
    m, n = blocks.shape
    whole = np.ones((*surfaces.shape[:-2], m + 1, n + 1))
    whole[..., 1:, 1:] = surfaces
    whole[..., 1:, 0], whole[..., 0, 1:] = blocks.margins
    return whole


def drug_noise(blocks: Blocks, n: int, seed: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Standard normals ``(n, b, width)`` of the pair, of the row drug and of the column drug.

    Addressed by the pair and its cell line, and each drug's by the drug: draw ``i`` of a block is
    the same in any order of blocks, and swapping its drugs swaps its noise.
    """
    low, high = blocks.compounds.min(axis=1), blocks.compounds.max(axis=1)
    key = combine(low.astype(np.int64), high.astype(np.int64), blocks.cell_line.astype(np.int64))
    found = torch.from_numpy(normals(seed, key, n, 3 * width)).float()
    pair, first, second = (found[..., k * width : (k + 1) * width] for k in range(3))
    ascending = torch.from_numpy(blocks.compounds[:, 0] == low)[:, None]
    return pair, torch.where(ascending, first, second), torch.where(ascending, second, first)


def _side(margin: FloatArray, own: FloatArray) -> FloatArray:
    b, m = margin.shape
    logit = _logit(margin)
    place = np.broadcast_to(np.linspace(-1.0, 1.0, m) if m > 1 else np.zeros(1), (b, m))
    mean = np.broadcast_to(logit.mean(axis=1, keepdims=True), (b, m))
    lowest = np.broadcast_to(logit.min(axis=1, keepdims=True), (b, m))
    columns = np.stack([logit, place, mean, lowest, np.ones((b, m))], axis=2)
    more = np.broadcast_to(own[:, None], (b, m, own.shape[1]))
    return np.concatenate([columns, more], axis=2)


def features_of(table: FloatArray, rows: np.ndarray) -> FloatArray:
    """``(len(rows), f)`` of a table, width 0 for an empty one; :class:`ScreenError` beyond it."""
    if table.shape[1] == 0:
        return np.zeros((len(rows), 0))
    if len(rows) and rows.max() >= len(table):
        raise ScreenError(f"features are given for {len(table)} rows, asked for {rows.max() + 1}")
    return np.asarray(table[rows], dtype=np.float64)


def _logit(viability: FloatArray) -> FloatArray:
    share = np.maximum(viability, LEAST) / TOP
    return np.asarray(np.log(share) - np.log1p(-np.minimum(share, 1 - 1e-9)))
