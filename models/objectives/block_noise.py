"""Noise of combination wells that the replicates of a screen cannot show by themselves.

Wells of one block sit on the same few plates, so they share an error of normalisation: the mean
of sixteen wells is not four times better than one. And a combination well may be worth more or
less than a single-agent well (a published median of replicates, another layout). Dose pairs at
which neither compound does anything alone tell both: there the true excess is close to zero, so
what scatters inside a block is well noise, and what scatters between blocks beyond it is shared.
True interactions at those doses count as noise: the shared part is an upper bound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.screen import BoolArray, FloatArray, IntArray

INACTIVE_ABOVE = 0.9
"""A compound counts as inactive at a dose where its single viability is at least this."""

FEWEST_BLOCKS = 5
"""Blocks with two or more inactive dose pairs that are needed to learn anything."""

USUAL_FACTOR = 0.25
"""Standard deviation of the logarithm of ``well_factor`` that is believed before any block is seen:
few quiet wells move it less than they say, a few dozen hardly less."""

_MAD_TO_SD = 1.4826
_MAD_VARIANCE = 1.36


@dataclass(frozen=True)
class BlockNoise:
    """``well_factor`` multiplies the standard deviation of the screen's wells for combinations.

    ``shared_sd`` is the relative error that all wells of a block share (fraction of viability).
    ``source`` says in words how both are known.
    """

    well_factor: float
    shared_sd: float
    source: str


def learn_block_noise(
    inactive: BoolArray,
    excess: FloatArray,
    well_sd: FloatArray,
    curve_variance: FloatArray,
    block: IntArray,
    *,
    alike: bool = True,
    level_variance: FloatArray | None = None,
) -> BlockNoise:
    """Learn the noise from the inactive dose pairs; all arguments are ``(t,)`` per dose pair.

    ``excess``, ``well_sd`` and the square root of ``curve_variance`` (that of the reference) are
    fractions. Medians keep strong interactions from counting. ``alike``: no plate is noisier than
    another, so that one median stands for the known variance of every block. ``level_variance``:
    what the controls of a block's plates say that its wells share; what is learned comes on top.
    """
    n_blocks = int(block.max(initial=-1)) + 1
    count = np.bincount(block[inactive], minlength=n_blocks)
    rows = inactive & (count[block] > 1)
    chosen = np.flatnonzero(count > 1)
    if len(chosen) < FEWEST_BLOCKS:
        return BlockNoise(1.0, 0.0, f"replicate wells only: {len(chosen)} blocks have quiet wells")
    mean = _block_means(excess, rows, block, n_blocks)
    spread = np.sqrt(count / np.maximum(count - 1.0, 1.0))[block]
    standard = ((excess - mean[block]) * spread / well_sd)[rows]
    freedom = float(np.sum(count[chosen] - 1))
    factor = _believed(float(_MAD_TO_SD * np.median(np.abs(standard))), freedom)
    wells = _block_means((factor * well_sd) ** 2, rows, block, n_blocks)[chosen] / count[chosen]
    known = wells + _block_means(curve_variance, rows, block, n_blocks)[chosen]
    if level_variance is not None:
        known = known + _block_means(level_variance, rows, block, n_blocks)[chosen]
    centred = mean[chosen] - np.median(mean[chosen])
    if alike:
        between = (_MAD_TO_SD * np.median(np.abs(centred))) ** 2
        shared = float(np.sqrt(max(between - np.median(known), 0.0)))
    else:
        shared = _shared_sd(centred, known)
    return BlockNoise(factor, shared, f"quiet wells of {len(chosen)} blocks")


def _believed(factor: float, freedom: float) -> float:
    """``factor``, seen with so many degrees of freedom, drawn towards 1 by ``USUAL_FACTOR``.

    The logarithm of a median deviation has the variance ``1.36 / freedom`` of normal wells.
    """
    if factor == 0.0:
        return factor
    weight = USUAL_FACTOR**2 / (USUAL_FACTOR**2 + _MAD_VARIANCE / freedom)
    return float(factor**weight)


def _shared_sd(centred: FloatArray, known: FloatArray) -> float:
    """What the means of blocks ``(b,)`` scatter by beyond their own known variances ``(b,)``.

    By bisection, so that the median standardised square is that of a normal variable.
    """
    low, high = 0.0, float(np.max(centred**2))
    for _ in range(50):
        middle = 0.5 * (low + high)
        ratio = float(np.median(centred**2 / (known + middle)))
        low, high = (middle, high) if ratio * _MAD_TO_SD**2 > 1.0 else (low, middle)
    return float(np.sqrt(low)) if low > 1e-12 else 0.0


def _block_means(values: FloatArray, rows: BoolArray, block: IntArray, n: int) -> FloatArray:
    """``(n,)`` mean of the chosen rows of each block, 0 where there are none."""
    total = np.bincount(block[rows], values[rows], n)
    return total / np.maximum(np.bincount(block[rows], minlength=n), 1)
