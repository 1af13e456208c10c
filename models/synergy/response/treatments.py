"""Treatments in one order: what a response model is asked about, checked and sorted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from models.screen import ABSENT, MAX_COMPOUNDS, FloatArray, IntArray, ScreenError


@runtime_checkable
class ResponsePosterior(Protocol):
    """A posterior that predicts the viability of any treatment, single agents included."""

    def viability_draws(
        self, compounds: IntArray, doses_um: FloatArray, cell_line: IntArray, n: int, seed: int
    ) -> Tensor:
        """``(n, m)`` float32 draws of the true viability (fraction of the vehicle control).

        ``compounds``: ``(m, 3)`` in any order, ``ABSENT`` for none; ``doses_um``: ``(m, 3)``
        micromolar; ``cell_line``: ``(m,)``. Vehicle is exactly 1. Draw ``i`` under one seed is
        the same function however treatments are split into calls.
        """
        ...

    def well_noise_sd(self, viability: FloatArray) -> FloatArray:
        """Standard deviation of one well around a true viability; same shape."""
        ...


@dataclass(frozen=True)
class Treatments:
    """``compounds``: ``(m, k)`` ascending, empty slots last as ``ABSENT``; ``doses_um``:
    ``(m, k)``, 0 in empty slots; ``cell_line``: ``(m,)``. Build with :meth:`of`."""

    compounds: IntArray
    doses_um: FloatArray
    cell_line: IntArray

    @classmethod
    def of(
        cls,
        compounds: IntArray,
        doses_um: FloatArray,
        cell_line: IntArray,
        n_compounds: int,
        n_lines: int,
    ) -> Treatments:
        """Sorted copies; a compound at dose 0 is no compound.

        Raises :class:`ScreenError` for wrong shapes, indices outside the tables, doses that are
        negative, not finite or given without a compound, and a compound named twice in a row.
        """
        m = len(cell_line)
        if compounds.shape != doses_um.shape or compounds.ndim != 2 or len(compounds) != m:
            raise ScreenError(
                "treatments need equally many rows of compounds, doses and cell lines"
            )
        if compounds.shape[1] > MAX_COMPOUNDS:
            raise ScreenError(f"a treatment holds at most {MAX_COMPOUNDS} compounds")
        if np.any((doses_um < 0) | ~np.isfinite(doses_um)):
            raise ScreenError("doses must be finite and not negative")
        if np.any((doses_um > 0) & (compounds == ABSENT)):
            raise ScreenError("a dose is given without a compound")
        if m and (compounds.max(initial=-1) >= n_compounds or compounds.min(initial=0) < ABSENT):
            raise ScreenError("a treatment names a compound outside the table of the fit")
        if m and (cell_line.max() >= n_lines or cell_line.min() < 0):
            raise ScreenError("a treatment names a cell line outside the table of the fit")
        empty = doses_um == 0
        order = np.argsort(np.where(empty, n_compounds, compounds), axis=1, kind="stable")
        sorted_ = np.take_along_axis(np.where(empty, ABSENT, compounds), order, axis=1)
        twice = (sorted_[:, 1:] == sorted_[:, :-1]) & (sorted_[:, 1:] != ABSENT)
        if np.any(twice):
            raise ScreenError("a treatment names the same compound twice")
        doses = np.take_along_axis(np.asarray(doses_um, np.float64), order, axis=1)
        return cls(sorted_.astype(np.int64), doses, np.asarray(cell_line, np.int64))

    def __len__(self) -> int:
        return len(self.cell_line)

    def select(self, rows: slice) -> Treatments:
        """A run of rows."""
        return Treatments(self.compounds[rows], self.doses_um[rows], self.cell_line[rows])


def distinct(*columns: np.ndarray) -> tuple[tuple[np.ndarray, ...], IntArray]:
    """Distinct rows of the columns ``(m,)`` and the position of each row among them."""
    order = np.lexsort(columns[::-1])
    kept = [column[order] for column in columns]
    new = np.zeros(len(order), bool)
    new[:1] = True
    for column in kept:
        new[1:] |= column[1:] != column[:-1]
    position = np.empty(len(order), np.int64)
    position[order] = np.cumsum(new) - 1
    return tuple(column[new] for column in kept), position
