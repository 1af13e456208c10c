"""Measured dose pairs: replicates of one treatment in one row, the rows of a block together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.pharmacology.noise import NoiseModel, gather_replicates, robust_means
from models.pharmacology.plate_noise import shared_level_sd
from models.screen import BoolArray, Candidates, FloatArray, IntArray, Wells


@dataclass(frozen=True)
class DosePairs:
    """Replicate means of pairs of compounds, rows of one block together.

    ``compounds``, ``doses_um``: ``(t, 2)``. ``cell_line``, ``viability`` (fraction), ``n_wells``,
    ``block``: ``(t,)``. ``first``: ``(m,)`` row where each block starts. ``precision``: ``(t,)``
    what one well is worth, in wells of a usual plate; ``None`` where all are usual. ``level_sd``:
    ``(t,)`` relative error that the wells of the row's block share because their plates do
    (:func:`models.pharmacology.plate_noise.shared_level_sd`); ``None`` where nothing is known.
    """

    compounds: IntArray
    cell_line: IntArray
    doses_um: FloatArray
    viability: FloatArray
    n_wells: IntArray
    block: IntArray
    first: IntArray
    precision: FloatArray | None = None
    level_sd: FloatArray | None = None

    @classmethod
    def of(cls, wells: Wells, noise: NoiseModel, n_compounds: int) -> DosePairs:
        """Replicates of one dose pair into one row; ``wells`` hold two compounds each."""
        replicates = gather_replicates(wells)
        rows = replicates.order[replicates.first]
        compounds, cell_line = wells.compounds[rows, :2], wells.cell_line[rows]
        starts = np.diff(Candidates(compounds, cell_line).keys(n_compounds), prepend=-1) != 0
        block = np.cumsum(starts) - 1
        of_well = np.empty(len(wells), np.int64)
        of_well[replicates.order] = block[replicates.group]
        level_sd = shared_level_sd(wells, of_well)
        return cls(
            compounds=compounds,
            cell_line=cell_line,
            doses_um=wells.doses_um[rows, :2],
            viability=robust_means(replicates, wells.viability[replicates.order], noise),
            n_wells=replicates.count,
            block=block,
            first=np.flatnonzero(starts),
            precision=replicates.precision,
            level_sd=None if level_sd is None else level_sd[block],
        )

    def __len__(self) -> int:
        return len(self.block)

    @property
    def usual_wells(self) -> FloatArray:
        """``(t,)`` how many wells of a usual plate the replicates are worth."""
        precision = 1.0 if self.precision is None else self.precision
        return np.asarray(self.n_wells * precision, dtype=np.float64)

    @property
    def candidates(self) -> Candidates:
        """``(m,)`` the blocks."""
        return Candidates(self.compounds[self.first], self.cell_line[self.first])

    def select(self, rows: BoolArray) -> DosePairs:
        """The rows of a mask; blocks without any row left are gone, the others renumbered."""
        block = self.block[rows]
        starts = np.diff(block, prepend=-1) != 0
        return DosePairs(
            self.compounds[rows],
            self.cell_line[rows],
            self.doses_um[rows],
            self.viability[rows],
            self.n_wells[rows],
            np.cumsum(starts) - 1,
            np.flatnonzero(starts),
            None if self.precision is None else self.precision[rows],
            None if self.level_sd is None else self.level_sd[rows],
        )


def same_dose(block: IntArray, dose: FloatArray) -> tuple[IntArray, IntArray]:
    """Group of each dose pair by (block, dose), and the block that each group belongs to."""
    order = np.lexsort([dose, block])
    new = (np.diff(block[order], prepend=-1) != 0) | (np.diff(dose[order], prepend=-1.0) != 0)
    group = np.empty_like(block)
    group[order] = np.cumsum(new) - 1
    return group, block[order[new]]


def padded_groups(group: IntArray) -> tuple[IntArray, BoolArray]:
    """``(g, d)`` rows of each group, padded with its first row, and which entries are real.

    ``group``: ``(t,)`` numbers from 0, none left out.
    """
    order = np.argsort(group, kind="stable")
    count = np.bincount(group)
    start = np.cumsum(count) - count
    width = int(count.max(initial=1))
    filled = np.arange(width) < count[:, None]
    place = start[:, None] + np.where(filled, np.arange(width), 0)
    return order[place].astype(np.int64), filled
