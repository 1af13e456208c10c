"""Where a dose stands: relative to the doses that its compound has had in blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.screen import FloatArray, IntArray
from models.surfaces.blocks import Blocks

HATS = 4
"""Knots of the piecewise linear functions of a log dose."""
BASIS = HATS + 1
GATE = 0.05
"""Dose, as a share of a compound's lowest one, at which half of a correction is let through."""


@dataclass(frozen=True)
class DoseScale:
    """``low``, ``high``: ``(n_compounds,)`` natural logarithms of the doses in the blocks that were
    learned from; ``known``: whether there were any (a compound without takes those of a block)."""

    low: FloatArray
    high: FloatArray

    @classmethod
    def of(cls, tables: Sequence[Blocks], n_compounds: int) -> DoseScale:
        """The range of each compound's positive doses; NaN for a compound without."""
        low, high = np.full(n_compounds, np.inf), np.full(n_compounds, -np.inf)
        for blocks in tables:
            for side in (0, 1):
                doses = blocks.doses[side]
                log = np.log(np.where(doses > 0, doses, np.nan))
                np.fmin.at(low, blocks.compounds[:, side], np.nanmin(log, axis=1))
                np.fmax.at(high, blocks.compounds[:, side], np.nanmax(log, axis=1))
        known = np.isfinite(low)
        return cls(np.where(known, low, np.nan), np.where(known, high, np.nan))

    def range_of(self, compound: IntArray, doses: FloatArray) -> tuple[FloatArray, FloatArray]:
        """``(b,)`` ends of the log-dose range for each row of ``doses`` ``(b, m)``."""
        log = np.log(np.where(doses > 0, doses, np.inf))
        own_low = log.min(axis=1)
        own_high = np.log(np.maximum(doses.max(axis=1), np.finfo(float).tiny))
        own_low = np.where(np.isfinite(own_low), own_low, own_high)
        low, high = self.low[compound], self.high[compound]
        known = np.isfinite(low)
        return np.where(known, low, own_low), np.where(known, high, own_high)

    def position(self, compound: IntArray, doses: FloatArray) -> FloatArray:
        """``(b, m)`` 0 at the lowest log dose of the compound, 1 at the highest; the nearer end
        beyond them, and 0.5 for a compound of one dose."""
        low, high = (end[:, None] for end in self.range_of(compound, doses))
        log = np.log(np.where(doses > 0, doses, np.exp(low)))
        span = high - low
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(span > 0, (log - low) / span, 0.5)
        return np.asarray(np.minimum(np.maximum(share, 0.0), 1.0))

    def decades(self, compound: IntArray, doses: FloatArray) -> FloatArray:
        """``(b, m)`` decimal logarithm of the dose over the compound's lowest; a dose 0 counts as
        one decade below."""
        low, _ = self.range_of(compound, doses)
        floor = np.exp(low)[:, None] / 10.0
        return np.asarray(np.log10(np.where(doses > 0, doses, floor)) - low[:, None] / np.log(10.0))

    def gate(self, compound: IntArray, doses: FloatArray) -> FloatArray:
        """``(b, m)`` ``h(d) = d / (d + GATE * lowest)``: exactly 0 at dose 0."""
        low, _ = self.range_of(compound, doses)
        return np.asarray(doses / (doses + GATE * np.exp(low)[:, None]))


def basis(position: FloatArray) -> FloatArray:
    """``(..., BASIS)`` functions of positions from 0 to 1: a constant, then a hat for each knot.

    The constant ties the knots together: what is learned at one dose is partly expected at others.
    """
    at = position[..., None] * (HATS - 1) - np.arange(HATS)
    hats = np.maximum(0.0, 1.0 - np.abs(at))
    return np.concatenate([np.ones_like(hats[..., :1]), hats], axis=-1)
