"""Joint draws of the excess of whole blocks: curves, plate controls and wells in one world.

Draw ``i`` of a block holds one draw of each single-agent curve (the same in every block with that
compound in that cell line), one of where each single dose departs from its curve, one of the
vehicle control that scales all wells of the block, and one of each well's own noise. Singles and
combinations are never subtracted as if their intervals were independent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.pharmacology.curve_references import CurveReference, curve_reference
from models.pharmacology.dose_pairs import DosePairs, same_dose
from models.pharmacology.dose_response import CurveTable
from models.pharmacology.hill import hill
from models.pharmacology.random_numbers import combine, normals
from models.pharmacology.references import loewe_tensor
from models.screen import FloatArray, IntArray, ScreenError

ELEMENTS_AT_ONCE = 1 << 21
"""Dose pairs times draws held at once."""

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
        singles, shift, theta = self._singles(rows)
        wells = self._wells(grids.block, rows)
        if self.name == "zip":
            expected = singles[0] * singles[1]
            observed = self._smoothed(rows, real, wells, theta, shift)
        else:
            expected = self._expected(rows, real, singles, theta)
            observed = wells
        excess = 100.0 * (expected - observed)
        excess.masked_fill_(torch.from_numpy(~real)[..., None], torch.nan)
        return excess.reshape(*grids.rows.shape, self.n)

    def _expected(
        self, rows: IntArray, real: np.ndarray, singles: list[Tensor], theta: list[Tensor]
    ) -> Tensor:
        if self.name == "bliss":
            return singles[0] * singles[1]
        if self.name == "hsa":
            return torch.minimum(singles[0], singles[1])
        if self.name == "none":
            return torch.ones_like(singles[0])
        return self._loewe(rows[real], torch.from_numpy(real), theta)

    def _loewe(self, rows: IntArray, real: Tensor, theta: list[Tensor]) -> Tensor:
        """Solved for the real cells, NaN elsewhere."""
        dose = torch.from_numpy(np.log(self.pairs.doses_um[rows])).float()
        mine = [part[real] for part in theta]  # (r, n, 3)
        solved = loewe_tensor(
            torch.stack([dose[:, k, None] - mine[k][..., 0] for k in (0, 1)]),
            torch.stack([part[..., 1] for part in mine]),
            torch.stack([part[..., 2].exp() for part in mine]),
        )
        result = torch.full((*real.shape, self.n), torch.nan)
        result[real] = solved
        return result

    def _singles(self, rows: IntArray) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Per compound: viabilities ``(b, c, n)`` with misfit, the misfit, parameters
        ``(b, c, n, 3)`` (those only where the reference needs them)."""
        viability, shift, theta = [], [], []
        n_lines = self.curves.shape[1]
        for k in (0, 1):
            compound, dose = self.pairs.compounds[rows, k], self.pairs.doses_um[rows, k]
            key = compound * n_lines + self.pairs.cell_line[rows]
            curve, where = np.unique(key, return_inverse=True)
            drawn = self.curves.parameter_draws(
                curve // n_lines, curve % n_lines, self.n, self.seed
            )
            drawn = np.ascontiguousarray(drawn.transpose(1, 0, 2))
            distinct, well = np.unique(
                np.stack([where.ravel().astype(np.float64), dose.ravel()], axis=1),
                axis=0,
                return_inverse=True,
            )
            at = distinct[:, 0].astype(np.int64)
            level = hill(
                distinct[:, 1, None],
                drawn[at, :, 0],
                drawn[at, :, 1],
                np.exp(drawn[at, :, 2]),
            )
            name = combine(curve[at], distinct[:, 1])
            away = normals(self.seed + _MISFIT, name, self.n, 1)[..., 0].T
            away = away * self.curves.misfit_sd_at(level)
            well = well.reshape(rows.shape)
            shift.append(torch.from_numpy(away.astype(np.float32))[well])
            viability.append(torch.from_numpy((level + away).astype(np.float32))[well])
            if self.name in ("loewe", "zip"):
                place = torch.from_numpy(where.reshape(rows.shape))
                theta.append(torch.from_numpy(drawn.astype(np.float32))[place])
        return viability, shift, theta

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
        rows: IntArray,
        real: np.ndarray,
        wells: Tensor,
        theta: list[Tensor],
        shift: list[Tensor],
    ) -> Tensor:
        """ZIP's surface in each draw, linear in what moves it."""
        smooth = self.reference.smooth
        if smooth is None:
            raise ScreenError(f"the reference {self.name} has no fitted surface")
        measured = torch.from_numpy(self.pairs.viability[rows].astype(np.float32))[..., None]
        fit = torch.from_numpy(smooth.viability[rows].astype(np.float32))[..., None]
        hat = _hat_matrices(smooth.members, smooth.influence, rows, real)
        fit = fit + torch.from_numpy(hat) @ (wells - measured)
        for k in (0, 1):
            compound, line = self.pairs.compounds[rows, k], self.pairs.cell_line[rows]
            mode = np.stack(
                [
                    self.curves.log_c[compound, line],
                    self.curves.log_h[compound, line],
                    np.log(self.curves.emax[compound, line]),
                ],
                axis=-1,
            )
            away = theta[k] - torch.from_numpy(mode.astype(np.float32))[:, :, None]
            slope = torch.from_numpy(smooth.by_curve[rows, k].astype(np.float32))
            fit = fit + torch.einsum("bcni,bci->bcn", away, slope)
            by_single = torch.from_numpy(smooth.by_single[rows, k].astype(np.float32))
            fit = fit + by_single[..., None] * shift[k]
        return fit


def _hat_matrices(
    members: tuple[IntArray, IntArray],
    influence: tuple[FloatArray, FloatArray],
    rows: IntArray,
    real: np.ndarray,
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
    return curves.noise.sd(np.maximum(pairs.viability, 0.0)) / np.sqrt(pairs.n_wells)
