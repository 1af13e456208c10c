"""Joint draws of the excess of whole blocks: curves, plate controls and wells in one world.

Draw ``i`` of a block holds one draw of each single-agent curve (the same in every block with that
compound in that cell line), one of where each single dose departs from its curve, one of the
vehicle control that scales all wells of the block, and one of each well's own noise. Singles and
combinations are never subtracted as if their intervals were independent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.pharmacology.curve_references import CurveReference, curve_reference
from models.pharmacology.dose_pairs import DosePairs, same_dose
from models.pharmacology.dose_response import CurveTable
from models.pharmacology.hill import hill
from models.pharmacology.loewe_solver import loewe_tensor
from models.pharmacology.random_numbers import combine, normals
from models.screen import BoolArray, FloatArray, IntArray, ScreenError

ELEMENTS_AT_ONCE = 1 << 21
"""Dose pairs times draws held at once."""

_CELLS_AT_ONCE = 1 << 16  # of them, those whose Loewe equations are solved together

_MISFIT, _CONTROL, _WELLS = 1, 2, 3  # added to the seed: streams that have nothing in common


@dataclass(frozen=True)
class BlockErrors:
    """``well_factor`` multiplies the standard deviation of the screen's wells for combinations;
    ``shared_sd`` is the relative error of the vehicle control that all wells of a block share."""

    well_factor: float = 1.0
    shared_sd: float = 0.0


@dataclass(frozen=True)
class Grids:
    """Blocks of one shape: ``rows`` ``(b, n1, n2)`` dose pairs, -1 where none was measured.

    ``block``: ``(b,)``. ``log_dose``: natural logarithms, ``(b, n1)`` and ``(b, n2)``.
    """

    block: IntArray
    rows: IntArray
    log_dose: tuple[FloatArray, FloatArray]

    def part(self, rows: slice) -> Grids:
        """A run of blocks."""
        one, two = self.log_dose
        return Grids(self.block[rows], self.rows[rows], (one[rows], two[rows]))


def dose_grids(pairs: DosePairs) -> Iterator[Grids]:
    """The blocks, those of one shape together, doses ascending."""
    ranks, counts, levels = zip(*(_ranks(pairs, k) for k in (0, 1)), strict=True)
    m = len(pairs.first)
    shapes, which = np.unique(np.stack(counts, axis=1), axis=0, return_inverse=True)
    for shape, (n1, n2) in enumerate(shapes):
        block = np.flatnonzero(which == shape)
        place = np.full(m, -1)
        place[block] = np.arange(len(block))
        mine = np.flatnonzero(place[pairs.block] >= 0)
        at = place[pairs.block[mine]]
        rows = np.full((len(block), n1, n2), -1)
        rows[at, ranks[0][mine], ranks[1][mine]] = mine
        doses = [np.zeros((len(block), n)) for n in (n1, n2)]
        for k in (0, 1):
            doses[k][at, ranks[k][mine]] = levels[k][mine]
        yield Grids(block.astype(np.int64), rows, (doses[0], doses[1]))


def _ranks(pairs: DosePairs, k: int) -> tuple[IntArray, IntArray, FloatArray]:
    """Rank ``(t,)`` of each dose of compound ``k`` in its block, doses ``(m,)``, logs ``(t,)``."""
    group, owner = same_dose(pairs.block, pairs.doses_um[:, k])
    count = np.bincount(owner, minlength=len(pairs.first))
    start = np.cumsum(count) - count
    return group - start[pairs.block], count, np.log(pairs.doses_um[:, k])


@dataclass(frozen=True)
class ExcessDraws:
    """Draws of excess of measured dose pairs under one reference, percentage points."""

    pairs: DosePairs
    curves: CurveTable
    name: str
    reference: CurveReference
    errors: BlockErrors
    n: int
    seed: int

    @classmethod
    def of(
        cls,
        pairs: DosePairs,
        curves: CurveTable,
        reference: str,
        errors: BlockErrors,
        n: int,
        seed: int,
    ) -> ExcessDraws:
        """Works out the reference at the modes of the curves."""
        sd = errors.well_factor * _well_sd(pairs, curves)
        found = curve_reference(reference, pairs, curves, sd)
        return cls(pairs, curves, reference, found, errors, n, seed)

    def measured(self) -> FloatArray:
        """``(t,)`` excess at the modes, NaN where undefined."""
        observed = self.reference.observed(self.pairs.viability)
        return 100.0 * (self.reference.viability - observed)

    def draw(self, grids: Grids) -> Tensor:
        """``(b, n1, n2, n)`` float32; NaN where nothing was measured or defined at the modes.

        Loewe is solved anew in each draw, NaN in draws where it is undefined. ZIP's rows and
        columns answer linearly to wells and curves, as they do at their modes.
        """
        flat = grids.rows.reshape(len(grids.rows), -1)
        real = (flat >= 0) & self.reference.defined[np.maximum(flat, 0)]
        rows = np.maximum(flat, 0)
        wells = self._wells(grids.block, rows)
        if self.name == "loewe":
            expected, observed = self._loewe(grids.block, rows, real), wells
        else:
            singles, shift = zip(*(self._singles(rows, k) for k in (0, 1)), strict=True)
            expected = self._expected(singles[0], singles[1])
            observed = wells
            if self.name == "zip":
                observed = self._smoothed(grids.block, rows, real, wells, shift)
        excess = 100.0 * (expected - observed)
        excess.masked_fill_(torch.from_numpy(~real)[..., None], torch.nan)
        return excess.reshape(*grids.rows.shape, self.n)

    def _expected(self, one: Tensor, two: Tensor) -> Tensor:
        """The reference of single viabilities."""
        if self.name == "hsa":
            return torch.minimum(one, two)
        return torch.ones_like(one) if self.name == "none" else one * two

    def _loewe(self, block: IntArray, rows: IntArray, real: BoolArray) -> Tensor:
        """``(b, c, n)`` solved for the real cells, NaN elsewhere; a few cells at a time, so that
        what the solver needs stays in the cache."""
        theta = [self._parameters(block, k) for k in (0, 1)]
        log_c = torch.stack([each[:, 0] for each in theta])
        h = torch.stack([each[:, 1].exp() for each in theta])
        emax = torch.stack([each[:, 2].exp() for each in theta])
        owner, cell = (torch.from_numpy(each) for each in np.nonzero(real))
        dose = torch.from_numpy(np.log(self.pairs.doses_um[rows[real]].T)).float()
        result = torch.full((*real.shape, self.n), torch.nan)
        width = max(1, _CELLS_AT_ONCE // self.n)
        for first in range(0, len(owner), width):
            some = slice(first, first + width)
            mine = owner[some]
            relative = dose[:, some, None] - log_c[:, mine]
            result[mine, cell[some]] = loewe_tensor(relative, h[:, mine], emax[:, mine])
        return result

    def _parameters(self, block: IntArray, k: int) -> Tensor:
        """``(b, 3, n)`` draws of the curve of compound ``k`` of each block."""
        pair, n_lines = self.pairs.first[block], self.curves.shape[1]
        key = self.pairs.compounds[pair, k] * n_lines + self.pairs.cell_line[pair]
        curve, where = np.unique(key, return_inverse=True)
        drawn = self.curves.parameter_draws(curve // n_lines, curve % n_lines, self.n, self.seed)
        table = np.ascontiguousarray(drawn.transpose(1, 2, 0), dtype=np.float32)
        return torch.from_numpy(table)[torch.from_numpy(where)]

    def _singles(self, rows: IntArray, k: int) -> tuple[Tensor, Tensor | None]:
        """Viabilities ``(b, c, n)`` of compound ``k`` with misfit, and the misfit for ZIP."""
        n_lines = self.curves.shape[1]
        compound, dose = self.pairs.compounds[rows, k], self.pairs.doses_um[rows, k]
        key = compound * n_lines + self.pairs.cell_line[rows]
        curve, where = np.unique(key, return_inverse=True)
        drawn = self.curves.parameter_draws(curve // n_lines, curve % n_lines, self.n, self.seed)
        drawn = np.ascontiguousarray(drawn.transpose(1, 0, 2))
        distinct, well = np.unique(
            np.stack([where.ravel().astype(np.float64), dose.ravel()], axis=1),
            axis=0,
            return_inverse=True,
        )
        at = distinct[:, 0].astype(np.int64)
        level = hill(
            distinct[:, 1, None], drawn[at, :, 0], drawn[at, :, 1], np.exp(drawn[at, :, 2])
        )
        name = combine(curve[at], distinct[:, 1])
        away = normals(self.seed + _MISFIT, name, self.n, 1)[..., 0].T
        away = away * self.curves.misfit_sd_at(level)
        place = torch.from_numpy(well.reshape(rows.shape))
        viability = torch.from_numpy((level + away).astype(np.float32))[place]
        if self.name != "zip":
            return viability, None
        return viability, torch.from_numpy(away.astype(np.float32))[place]

    def _wells(self, block: IntArray, rows: IntArray) -> Tensor:
        """``(b, c, n)`` true viabilities given the measured ones, their own and the control's
        noise; flat before the wells were seen."""
        pair = self.pairs.first[block]
        name = combine(
            self.pairs.compounds[pair, 0], self.pairs.compounds[pair, 1], self.pairs.cell_line[pair]
        )
        control = normals(self.seed + _CONTROL, name, self.n, 1)[..., 0].T
        viability = self.pairs.viability[rows]
        sd = self.errors.well_factor * _well_sd(self.pairs, self.curves)[rows]
        noise = torch.empty((*rows.shape, self.n))
        generator = torch.Generator()
        stream = combine(name, np.array([self.seed + _WELLS]))
        for k, word in enumerate(stream.tolist()):
            generator.manual_seed(word >> 1)
            noise[k].normal_(generator=generator)
        noise *= torch.from_numpy(sd.astype(np.float32))[..., None]
        scaled = self.errors.shared_sd * np.maximum(viability, 0.0)
        noise += (
            torch.from_numpy(scaled.astype(np.float32))[..., None]
            * torch.from_numpy(control.astype(np.float32))[:, None]
        )
        return noise.add_(torch.from_numpy(viability.astype(np.float32))[..., None])

    def _smoothed(
        self,
        block: IntArray,
        rows: IntArray,
        real: BoolArray,
        wells: Tensor,
        shift: Sequence[Tensor | None],
    ) -> Tensor:
        """ZIP's surface in each draw, linear in what moves it."""
        smooth = self.reference.smooth
        if smooth is None:
            raise ScreenError(f"the reference {self.name} has no fitted surface")
        measured = torch.from_numpy(self.pairs.viability[rows].astype(np.float32))[..., None]
        hat = _hat_matrices(smooth.members, smooth.influence, rows, real)
        fit = torch.from_numpy(smooth.viability[rows].astype(np.float32))[..., None]
        fit = torch.baddbmm(fit, torch.from_numpy(hat), wells - measured)
        pair = self.pairs.first[block]
        line = self.pairs.cell_line[pair]
        for k, misfit in enumerate(shift):
            compound = self.pairs.compounds[pair, k]
            mode = np.stack(
                [
                    self.curves.log_c[compound, line],
                    self.curves.log_h[compound, line],
                    np.log(self.curves.emax[compound, line]),
                ],
                axis=-1,
            )
            away = self._parameters(block, k)
            away -= torch.from_numpy(mode.astype(np.float32))[..., None]
            slope = torch.from_numpy(smooth.by_curve[rows, k].astype(np.float32))
            fit.baddbmm_(slope, away)
            if misfit is not None:
                by_single = torch.from_numpy(smooth.by_single[rows, k].astype(np.float32))
                fit.addcmul_(by_single[..., None], misfit)
        return fit


def _hat_matrices(
    members: tuple[IntArray, IntArray],
    influence: tuple[FloatArray, FloatArray],
    rows: IntArray,
    real: BoolArray,
) -> np.ndarray:
    """``(b, c, c)`` float32 answer of the fit at each cell to the well of each cell."""
    b, c = rows.shape
    place = np.zeros(int(rows.max(initial=0)) + 1, np.int64)
    block, cell = np.nonzero(real)
    place[rows[real]] = cell
    hat = np.zeros((b, c, c))
    for axis in (0, 1):
        mine = members[axis][rows[real]]
        into = (block[:, None], cell[:, None], place[mine])
        np.add.at(hat, into, influence[axis][rows[real]])
    return hat.astype(np.float32)


def _well_sd(pairs: DosePairs, curves: CurveTable) -> FloatArray:
    """``(t,)`` standard deviation of the replicate means, by the noise of the screen's wells."""
    return curves.noise.sd(np.maximum(pairs.viability, 0.0)) / np.sqrt(pairs.usual_wells)
