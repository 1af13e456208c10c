"""Which cells failed quality checks, and which genes are worth a coordinate of their own.

Cells: any of few molecules, few genes (below median - 3 MAD), or too large a share of
mitochondrial, ribosomal or haemoglobin molecules (above median + 3 MAD). Doublets are not looked
for. Genes: those perturbed, and those not perturbed that change strongly under some perturbation.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.stats

from models.perturbation.vae.cells import CellTable
from models.screen import BoolArray, FloatArray, ScreenError

MANY_MADS = 3.0


def failed_cells(cells: CellTable, gene_sets: Mapping[str, BoolArray]) -> BoolArray:
    """``(n,)`` cells that fail; ``gene_sets``: masks ``(g,)`` over readouts by name, each of which
    must not make up too much of a cell. Raises :class:`ScreenError` unless counts are observed."""
    if cells.observation != "counts":
        raise ScreenError("quality of cells is judged by counts of molecules")
    failed = _below(cells.values.sum(axis=1)) | _below((cells.values > 0).sum(axis=1))
    for mask in gene_sets.values():
        share = cells.values[:, mask].sum(axis=1) / cells.values.sum(axis=1)
        failed |= _below(-share)
    return np.asarray(failed, np.bool_)


def shift_columns(
    cells: CellTable, perturbed: tuple[str, ...], least_change: float = 3.0, level: float = 0.01
) -> tuple[str, ...]:
    """Names of the coordinates: perturbed genes, then readouts not among them whose mean log2
    profile changes by more than ``least_change`` with Benjamini-Hochberg p below ``level``
    (rank-sum test against the controls) under at least one perturbation.

    Both conditions hold for *every* readout added. Raises :class:`ScreenError` without controls.
    """
    good = cells.select(~cells.low_quality)
    profiles = good.profiles() / np.log(2.0) if good.observation == "counts" else good.values
    control = profiles[good.is_control]
    if not len(control):
        raise ScreenError("finding changed genes needs control cells of good quality")
    strong = np.zeros(len(good.readouts), np.bool_)
    doses = np.unique(good.doses[~good.is_control], axis=0)
    for dose in doses:
        treated = profiles[(good.doses == dose).all(axis=1)]
        change = treated.mean(axis=0) - control.mean(axis=0)
        p = scipy.stats.mannwhitneyu(treated, control, axis=0).pvalue
        adjusted = scipy.stats.false_discovery_control(np.nan_to_num(p, nan=1.0))
        strong |= (np.abs(change) > least_change) & (adjusted < level)
    named = set(perturbed)
    added = [name for name, on in zip(good.readouts, strong, strict=True) if on]
    return (*perturbed, *(name for name in added if name not in named))


def _below(values: FloatArray) -> BoolArray:
    """Values more than 3 MADs below the median. A MAD of 0 leaves only what lies below it."""
    middle = np.median(values)
    spread = np.median(np.abs(values - middle))
    return np.asarray(values < middle - MANY_MADS * spread, np.bool_)
