"""Which wells of a block to measure next: those that leave the least variance of its surface.

A surface is a Gaussian with the prediction's covariance ``C`` (between worlds, and the block's
own). A well ``j`` measured with noise variance ``v_j`` takes ``C_pj^2 / (C_jj + v_j)`` off the
variance at every ``p``. Wells are chosen one after the other, each given those before it; what was
measured already is in ``C``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.screen import BoolArray, FloatArray, IntArray, ScreenError
from models.surfaces.prediction import SurfacePrediction


@dataclass(frozen=True)
class NextWells:
    """Wells of one block, best first. ``rows``, ``columns``: ``(k,)`` positions. ``taken``:
    ``(k,)`` share of the surface's present variance that each takes off given those before it.
    ``left``: ``(k,)`` root mean square standard deviation of the surface after it."""

    rows: IntArray
    columns: IntArray
    taken: FloatArray
    left: FloatArray


def next_wells(
    prediction: SurfacePrediction, block: int, count: int, allowed: BoolArray | None = None
) -> NextWells:
    """The best ``count`` wells of block ``block`` of a prediction, among ``allowed`` ``(m, n)``.

    Fewer where fewer are allowed. Ties go to the earlier well. Raises :class:`ScreenError` for a
    negative ``count`` or a mask of another shape.
    """
    shape = prediction.scale.shape[1:]
    if count < 0 or (allowed is not None and allowed.shape != shape):
        raise ScreenError(f"ask for some wells of a block of {shape[0]} by {shape[1]}")
    covariance = prediction.select(np.array([block])).covariance()[0]
    noise = prediction.noise_sd[block].reshape(-1) ** 2
    free = np.ones(shape, bool) if allowed is None else allowed
    return _greedy(covariance, noise, free, count)


def _greedy(covariance: FloatArray, noise: FloatArray, free: BoolArray, count: int) -> NextWells:
    covariance, open_wells = covariance.copy(), free.reshape(-1).copy()
    total = float(np.trace(covariance))
    chosen, taken, left = [], [], []
    for _ in range(min(count, int(open_wells.sum()))):
        gain = variance_taken(covariance, noise)
        well = int(np.argmax(np.where(open_wells, gain, -np.inf)))
        covariance = given_well(covariance, noise, well)
        open_wells[well] = False
        chosen.append(well)
        taken.append(float(gain[well]) / total if total > 0 else 0.0)
        left.append(float(np.sqrt(max(np.trace(covariance), 0.0) / len(noise))))
    at = np.array(chosen, np.int64)
    return NextWells(at // free.shape[1], at % free.shape[1], np.array(taken), np.array(left))


def variance_taken(covariance: FloatArray, noise: FloatArray) -> FloatArray:
    """``(p,)`` how much each well would take off the trace of ``covariance`` ``(p, p)``."""
    own = np.diagonal(covariance) + noise
    squares = np.square(covariance).sum(axis=0)
    return np.asarray(np.divide(squares, own, out=np.zeros_like(own), where=own > 0))


def given_well(covariance: FloatArray, noise: FloatArray, well: int) -> FloatArray:
    """The covariance after ``well`` was measured once."""
    own = covariance[well, well] + noise[well]
    if own <= 0:
        return covariance
    return np.asarray(covariance - np.outer(covariance[:, well], covariance[well]) / own)
