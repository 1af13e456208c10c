"""Synthetic screens for trying out what comes after: worlds as likely as the data, and wilder ones.

A rule that chooses what to measure is tried on worlds in which the answer is known. ``stretch``
above 1 draws the hidden numbers further out, so that surfaces depart from Bliss more than any
measured block did, and still respect bounds, margins and the swap. Everything here is synthetic
and never stored as measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.screen import ABSENT, MAX_COMPOUNDS, FloatArray, ScreenError, Wells
from models.surfaces.blocks import Blocks
from models.surfaces.sampler.posterior import SurfaceSampler

MOST_STRETCH = 4.0


@dataclass(frozen=True)
class SyntheticWorld:
    """One world: ``surfaces`` ``(b, m, n)`` as they are in it, ``wells`` as they would be read."""

    surfaces: FloatArray
    wells: Wells
    synthetic: bool = True


def synthetic_worlds(
    sampler: SurfaceSampler, blocks: Blocks, n: int, seed: int, *, stretch: float = 1.0
) -> tuple[SyntheticWorld, ...]:
    """``n`` worlds of these pairs at these doses, one reading of each well.

    What the blocks measured is not looked at. Raises :class:`ScreenError` for a stretch that is
    not positive or above :data:`MOST_STRETCH`.
    """
    if not 0 < stretch <= MOST_STRETCH:
        raise ScreenError(f"stretch must lie above 0, up to {MOST_STRETCH:g}, not {stretch:g}")
    surfaces = sampler.draws(blocks, n, seed, stretch=stretch)
    readings = sampler.replicates(surfaces, blocks, seed)
    return tuple(
        SyntheticWorld(surface, wells_of(reading, blocks))
        for surface, reading in zip(surfaces, readings, strict=True)
    )


def wells_of(readings: FloatArray, blocks: Blocks) -> Wells:
    """Readings ``(b, m, n)`` of every well as a table of wells, compounds ascending."""
    b, m, n = readings.shape
    size = b * m * n
    pair = np.repeat(blocks.compounds, m * n, axis=0)
    rows = np.broadcast_to(blocks.doses[0][:, :, None], (b, m, n)).reshape(size)
    columns = np.broadcast_to(blocks.doses[1][:, None, :], (b, m, n)).reshape(size)
    dose = np.stack([rows, columns], axis=1)
    order = np.argsort(pair, axis=1)
    compounds = np.full((size, MAX_COMPOUNDS), ABSENT, np.int64)
    doses = np.zeros((size, MAX_COMPOUNDS))
    compounds[:, :2] = np.take_along_axis(pair, order, axis=1)
    doses[:, :2] = np.take_along_axis(dose, order, axis=1)
    return Wells(np.repeat(blocks.cell_line, m * n), compounds, doses, readings.reshape(size))
