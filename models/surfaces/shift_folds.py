"""Shifts as a block would have had them, had it not been seen itself: by folds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from models.screen import (
    FloatArray,
    IntArray,
    ProgressCallback,
    StopCallback,
    Stopped,
    never_stop,
    no_progress,
)
from models.surfaces.blocks import Blocks
from models.surfaces.scales import DoseScale
from models.surfaces.shifts import KINDS, Rows, Shifts, Sizes, fit_shifts

FOLDS = 3

Keys = Callable[[Blocks, int], IntArray]


def pair_keys(blocks: Blocks, n_compounds: int) -> IntArray:
    """``(b,)`` one number for each unordered pair."""
    low, high = blocks.compounds.min(axis=1), blocks.compounds.max(axis=1)
    return np.asarray(low * n_compounds + high)


def line_keys(blocks: Blocks, n_compounds: int) -> IntArray:
    """``(b,)`` the cell line."""
    return blocks.cell_line


def block_keys(blocks: Blocks, n_compounds: int) -> IntArray:
    """``(b,)`` one number for each block."""
    return np.asarray(blocks.cell_line * n_compounds**2 + pair_keys(blocks, n_compounds))


HELD: Mapping[str, Keys] = MappingProxyType(
    {"pair": pair_keys, "cell-line": line_keys, "block": block_keys}
)
"""What is held out together, by its name."""


@dataclass(frozen=True)
class ShiftFolds:
    """``whole``: learned from all blocks. ``folds``: each without some. ``fold_of``: by block key,
    which of them has not seen the block."""

    whole: Shifts
    folds: tuple[Shifts, ...]
    fold_of: Mapping[int, int]

    def of(self, blocks: Blocks) -> tuple[FloatArray, FloatArray]:
        """Parts ``(b, m, n, 4)``, counts ``(b, 3)``; of the fold without it for a known block."""
        keys = block_keys(blocks, self.whole.sizes.compounds).tolist()
        fold = np.array([self.fold_of.get(key, -1) for key in keys], np.int64)
        parts = np.zeros((len(blocks), *blocks.shape, len(KINDS)))
        counts = np.zeros((len(blocks), 3))
        for number in np.unique(fold).tolist():
            at = fold == number
            shifts = self.whole if number < 0 else self.folds[number]
            parts[at], counts[at] = (
                shifts.parts(blocks.select(at)),
                shifts.counts(blocks.select(at)),
            )
        return parts, counts


def fit_shift_folds(
    tables: Sequence[Blocks],
    scale: DoseScale,
    sizes: Sizes,
    seed: int,
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> ShiftFolds:
    """Learn from all measured blocks, and once without each fold of them."""
    folds = fold_numbers(tables, "block", sizes.compounds, seed)
    rows = Rows.of(tables, scale, sizes)
    found = without_folds(rows, folds, on_progress, should_stop)
    keys = np.concatenate([block_keys(blocks, sizes.compounds) for blocks in tables])
    known = dict(zip(keys.tolist(), np.concatenate(folds).tolist(), strict=True))
    return ShiftFolds(fit_shifts(rows), found, known)


def without_folds(
    rows: Rows,
    folds: Sequence[IntArray],
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> tuple[Shifts, ...]:
    """One fit for each fold number, of all blocks but its own."""
    found, numbers = [], np.concatenate(folds)
    for number in range(FOLDS):
        if should_stop():
            raise Stopped
        on_progress("learning shifts", number, FOLDS)
        found.append(fit_shifts(rows, numbers != number))
    return tuple(found)


def fold_numbers(
    tables: Sequence[Blocks], held: str, n_compounds: int, seed: int
) -> tuple[IntArray, ...]:
    """For each table ``(b,)`` numbers below ``FOLDS``: what ``held`` names stays together."""
    keys = [HELD[held](blocks, n_compounds) for blocks in tables]
    names = np.unique(np.concatenate(keys))
    number = np.random.default_rng([seed, 17]).permutation(len(names)) % FOLDS
    return tuple(number[np.searchsorted(names, key)] for key in keys)
