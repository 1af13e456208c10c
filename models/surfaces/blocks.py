"""Blocks of one shape: doses, margins and what was measured, as tables.

The margins of a block are its two single-agent curves at its doses. The reference surface is their
product (Bliss), the surface of no interaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.pharmacology.dose_response import CurveTable
from models.screen import BoolArray, Candidates, FloatArray, IntArray, ScreenError, Wells

MOST_DOSES = 64
Shape = tuple[int, int]
BlockKey = tuple[int, int, int]
DoseGrid = tuple[FloatArray, FloatArray]


@dataclass(frozen=True)
class Blocks:
    """``b`` blocks of ``m`` by ``n`` doses.

    ``compounds``: ``(b, 2)`` row and column compound; ``cell_line``: ``(b,)``. ``doses``: the row
    doses ``(b, m)`` and the column doses ``(b, n)``, micromolar, ascending, 0 allowed first.
    ``margins``: viabilities of the single agents there, 1 at dose 0. ``viability``: ``(b, m, n)``
    mean over replicates, NaN where nothing was measured; ``n_wells``: ``(b, m, n)`` replicates.
    """

    compounds: IntArray
    cell_line: IntArray
    doses: tuple[FloatArray, FloatArray]
    margins: tuple[FloatArray, FloatArray]
    viability: FloatArray
    n_wells: IntArray

    def __post_init__(self) -> None:
        b, m, n = self.viability.shape
        expected = {
            "compounds": (self.compounds, (b, 2)),
            "cell_line": (self.cell_line, (b,)),
            "row doses": (self.doses[0], (b, m)),
            "column doses": (self.doses[1], (b, n)),
            "row margins": (self.margins[0], (b, m)),
            "column margins": (self.margins[1], (b, n)),
            "n_wells": (self.n_wells, (b, m, n)),
        }
        for name, (array, shape) in expected.items():
            if array.shape != shape:
                raise ScreenError(f"{name} of blocks have shape {array.shape}, expected {shape}")
        if max(m, n) > MOST_DOSES or min(m, n) < 1:
            raise ScreenError(f"a block has 1 to {MOST_DOSES} doses a side, not {m} by {n}")
        for doses in self.doses:
            if np.any(np.diff(doses, axis=1) <= 0) or np.any(doses < 0):
                raise ScreenError("doses of a block must ascend and not be negative")
        if not all(np.all(np.isfinite(each)) for each in (*self.doses, *self.margins)):
            raise ScreenError("doses and margins of a block must be finite")
        if np.any(np.isinf(self.viability)):
            raise ScreenError("a measured viability of a block is infinite")

    def __len__(self) -> int:
        return len(self.cell_line)

    @property
    def shape(self) -> Shape:
        """Doses of the rows and of the columns."""
        return self.viability.shape[1], self.viability.shape[2]

    @property
    def measured(self) -> BoolArray:
        """``(b, m, n)`` true where something was measured."""
        return np.asarray(~np.isnan(self.viability), dtype=np.bool_)

    @property
    def touched(self) -> BoolArray:
        """``(b,)`` true where any well was measured."""
        return np.asarray(self.measured.any(axis=(1, 2)), dtype=np.bool_)

    @property
    def reference(self) -> FloatArray:
        """``(b, m, n)`` Bliss surface of the margins."""
        return np.asarray(self.margins[0][:, :, None] * self.margins[1][:, None, :])

    def select(self, rows: BoolArray | IntArray) -> Blocks:
        """Some of the blocks."""
        return Blocks(
            self.compounds[rows],
            self.cell_line[rows],
            (self.doses[0][rows], self.doses[1][rows]),
            (self.margins[0][rows], self.margins[1][rows]),
            self.viability[rows],
            self.n_wells[rows],
        )

    def swapped(self) -> Blocks:
        """The same blocks with rows and columns exchanged."""
        return Blocks(
            self.compounds[:, ::-1],
            self.cell_line,
            (self.doses[1], self.doses[0]),
            (self.margins[1], self.margins[0]),
            self.viability.transpose(0, 2, 1),
            self.n_wells.transpose(0, 2, 1),
        )

    def seen_only(self, keep: BoolArray) -> Blocks:
        """The blocks as if only the wells of ``keep`` ``(b, m, n)`` had been measured."""
        left = keep & self.measured
        return replace(
            self,
            viability=np.where(left, self.viability, np.nan),
            n_wells=np.where(left, self.n_wells, 0),
        )

    @property
    def candidates(self) -> Candidates:
        """Pairs in cell lines, one for each block."""
        return Candidates.of(self.compounds[:, 0], self.compounds[:, 1], self.cell_line)


def empty_blocks(
    compounds: IntArray,
    cell_line: IntArray,
    doses: tuple[FloatArray, FloatArray],
    curves: CurveTable,
) -> Blocks:
    """Blocks at these doses in which nothing was measured; margins from the fitted curves."""
    shape = (len(cell_line), doses[0].shape[1], doses[1].shape[1])
    margins = tuple(
        curves.viability(compounds[:, side, None], cell_line[:, None], doses[side])
        for side in (0, 1)
    )
    return Blocks(
        compounds,
        cell_line,
        doses,
        (margins[0], margins[1]),
        np.full(shape, np.nan),
        np.zeros(shape, np.int64),
    )


def gather_blocks(
    wells: Wells, curves: CurveTable, grids: Mapping[BlockKey, DoseGrid] | None = None
) -> tuple[Blocks, ...]:
    """The measured blocks of a screen, one table for each shape, rows by ascending compound.

    Each block's grid is the doses that its wells have; where ``grids`` names the block (compound,
    compound, cell line; ascending) its doses join the grid. Replicates are averaged.
    """
    pairs = wells.n_compounds == 2
    compounds, lines = wells.compounds[pairs, :2], wells.cell_line[pairs]
    doses, viability = wells.doses_um[pairs, :2], wells.viability[pairs]
    names, block = np.unique(np.column_stack([compounds, lines]), axis=0, return_inverse=True)
    order = np.argsort(block.reshape(-1), kind="stable")
    ends = np.searchsorted(block.reshape(-1)[order], np.arange(len(names) + 1))
    found: dict[Shape, list[tuple[BlockKey, DoseGrid, IntArray]]] = {}
    for number, (a, b, line) in enumerate(names.tolist()):
        own = order[ends[number] : ends[number + 1]]
        more = (grids or {}).get((a, b, line), (np.empty(0), np.empty(0)))
        rows, columns = (np.unique(np.concatenate([doses[own, k], more[k]])) for k in (0, 1))
        found.setdefault((len(rows), len(columns)), []).append(((a, b, line), (rows, columns), own))
    return tuple(_table(found[shape], curves, doses, viability) for shape in sorted(found))


def _table(
    parts: Sequence[tuple[BlockKey, DoseGrid, IntArray]],
    curves: CurveTable,
    doses: FloatArray,
    viability: FloatArray,
) -> Blocks:
    key = np.array([part[0] for part in parts], dtype=np.int64)
    grid = np.stack([part[1][0] for part in parts]), np.stack([part[1][1] for part in parts])
    empty = empty_blocks(key[:, :2], key[:, 2], grid, curves)
    total = np.zeros(empty.viability.shape)
    for number, (_, (rows, columns), own) in enumerate(parts):
        at = np.searchsorted(rows, doses[own, 0]), np.searchsorted(columns, doses[own, 1])
        np.add.at(total[number], at, viability[own])
        np.add.at(empty.n_wells[number], at, 1)
    with np.errstate(invalid="ignore"):
        return replace(empty, viability=total / empty.n_wells)


def join_blocks(blocks: Iterable[Blocks]) -> Blocks:
    """Blocks of one shape as one table."""
    parts = list(blocks)
    return Blocks(
        np.concatenate([part.compounds for part in parts]),
        np.concatenate([part.cell_line for part in parts]),
        (
            np.concatenate([part.doses[0] for part in parts]),
            np.concatenate([part.doses[1] for part in parts]),
        ),
        (
            np.concatenate([part.margins[0] for part in parts]),
            np.concatenate([part.margins[1] for part in parts]),
        ),
        np.concatenate([part.viability for part in parts]),
        np.concatenate([part.n_wells for part in parts]),
    )
