"""The single agents that a measured score is compared with: curves of single-agent wells alone.

A campaign's score is ``reference - viability`` with the reference read off curves that were fitted
to single agents only (:mod:`models.pharmacology.dose_response`). Where these disagree with what the
combination wells say of the same compound, as plates of different days do, the disagreement is
part of every score of that compound in that cell line, measured or yet to be measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.pharmacology.dose_response import fit_curves
from models.pharmacology.hill import hill
from models.screen import BoolArray, FloatArray, IntArray, Wells

_NAMES = ("log_c", "log_h", "emax", "measured")


@dataclass(frozen=True)
class ReferenceCurves:
    """Modes of the curves, ``(n_compounds, n_cell_lines)``; ``measured``: false without wells."""

    log_c: FloatArray
    log_h: FloatArray
    emax: FloatArray
    measured: BoolArray

    @classmethod
    def of(cls, wells: Wells, shape: tuple[int, int]) -> ReferenceCurves:
        """Fitted to the single agents among the wells."""
        table = fit_curves(wells, *shape)
        return cls(table.log_c, table.log_h, table.emax, table.measured)

    def replace(
        self, draws: Tensor, compound: IntArray, line: IntArray, dose_um: FloatArray
    ) -> Tensor:
        """``(r, n)`` draws of single viabilities with the curves' values where there are any."""
        at = (compound, line)
        value = hill(dose_um, self.log_c[at], self.log_h[at], self.emax[at])
        fixed = torch.from_numpy(value.astype(np.float32))[:, None].expand_as(draws)
        return torch.where(torch.from_numpy(self.measured[at])[:, None], fixed, draws)

    def save(self) -> dict[str, Tensor]:
        """As tensors."""
        return {f"reference.{k}": torch.from_numpy(getattr(self, k).copy()) for k in _NAMES}

    @classmethod
    def load(cls, tensors: Mapping[str, Tensor]) -> ReferenceCurves:
        """Inverse of :meth:`save`."""
        log_c, log_h, emax, measured = (tensors[f"reference.{k}"].cpu().numpy() for k in _NAMES)
        return cls(log_c, log_h, emax, measured)
