"""Blocks that read as if nothing had been dispensed, and where more of them are to be expected.

A failed transfer leaves a whole block at the level of untreated wells although the compounds kill
alone. Such a block says nothing of synergy, so it must not teach the model; but its neighbours
on the same plate probably failed as well, and a forecast of what *will be measured* has to know.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.screen import BoolArray, FloatArray
from models.synergy.gaussian_process.kernel import Rows, Tables, mixed_product

LEAST_GAP = 0.22
"""Mean viability above the Bliss reference that no biology is assumed to give."""
LEAST_SHARE = 0.5
"""Share of the way from the reference to untreated."""
WEIGHTS = (1e-4, 1e-3, 4e-3)
"""Prior variances of the failed share: of a line, of a compound in it, of a plate in it."""
NOISE = 2e-3


@dataclass(frozen=True)
class Failures:
    """``failed``: ``(m,)`` share of each training block that failed. ``weight``: ``(m,)`` weights
    of the regression that spreads it over plates; ``base``: its mean."""

    failed: Tensor
    weight: Tensor
    base: float

    @classmethod
    def find(cls, rows: Rows, tables: Tables, mean_viability: FloatArray) -> Failures:
        """Failed blocks and the regression on them.

        ``mean_viability``: ``(m,)`` of each block's wells, NaN where unknown (taken as fine).
        """
        reference = untreated_gap(rows, tables)
        failed = torch.as_tensor(
            failed_share(mean_viability, 1.0 - reference.cpu().numpy()), dtype=torch.float64
        )
        base = float(failed.mean()) if len(failed) else 0.0
        weight = torch.zeros_like(failed)
        for line in torch.unique(rows.line[failed.to(rows.line.device) > 0]).tolist():
            at = torch.nonzero(rows.line == line)[:, 0]
            own = rows.select(at)
            kernel = _covariance(own, own, tables).double().cpu()
            kernel.diagonal().add_(NOISE)
            weight[at.cpu()] = torch.linalg.solve(kernel, failed[at.cpu()] - base)
        return cls(failed, weight, base)

    @property
    def usable(self) -> BoolArray:
        """``(m,)`` blocks that may teach the model."""
        return np.asarray(self.failed.numpy() < LEAST_SHARE)

    def probability(self, rows: Rows, training: Rows, tables: Tables) -> Tensor:
        """``(len(rows),)`` float32 probability that a block reads as untreated."""
        result = torch.full((len(rows),), min(self.base, 1.0))
        lines = torch.unique(training.line[self.weight.to(training.line.device) != 0])
        for line in lines.tolist():
            wanted = torch.nonzero(rows.line == line)[:, 0]
            known = torch.nonzero(training.line == line)[:, 0]
            if not len(wanted):
                continue
            cross = _covariance(rows.select(wanted), training.select(known), tables)
            mean = cross.cpu().double() @ self.weight[known.cpu()] + self.base
            result[wanted.cpu()] = mean.clamp(0.0, 1.0).float()
        return result


def failed_share(mean_viability: FloatArray, reference: FloatArray) -> FloatArray:
    """``(m,)`` 0 for a sound block, else its share of the way from the reference to untreated."""
    gap = mean_viability - reference
    share = np.clip(gap / np.maximum(1.0 - reference, 1e-6), 0.0, 1.0)
    return np.where((gap > LEAST_GAP) & (share > LEAST_SHARE), share, 0.0)


def untreated_gap(rows: Rows, tables: Tables) -> Tensor:
    """``(m,)`` one minus the mean Bliss reference of a block: what failing takes from a score."""
    return 1.0 - tables.level[rows.cell_a] * tables.level[rows.cell_b]


def _covariance(first: Rows, second: Rows, tables: Tables) -> Tensor:
    """Of blocks in one line: line, compounds, plates."""
    same = tables.compounds[1]
    shared = sum(
        (same[one][:, other] for one in (first.a, first.b) for other in (second.a, second.b)),
        torch.zeros(()),
    )
    plates = 0.5 * mixed_product(same, tables.groups, first, second)
    return WEIGHTS[0] + WEIGHTS[1] * shared + WEIGHTS[2] * plates
