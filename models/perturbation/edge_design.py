"""The units in which edges are sampled, and first guesses of the true responses.

Predictors are in pushes: -1 is a gene as its own strongest intervention leaves it, by convention
downwards. Targets are in noise standard deviations. So an effect says how many standard
deviations the target falls when the regulator is switched off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from models.perturbation.interventions import InterventionTable
from models.screen import BoolArray, FloatArray

LEAST_PUSH = 3.0
"""A unit of a predictor is at least this many of its noise standard deviations."""

RAISED = 1.0
"""A gene that rises by so many pushes has effects of its rise: switching it off tests no more."""

FIRST_SHARE, FIRST_SPREAD, FIRST_ROUNDS = 0.1, 5.0, 50


@dataclass(frozen=True)
class Design:
    """``x``: ``(n, g)`` first guess of the true responses, exact where targeted. ``read``:
    ``(n, g)`` the readings in the same unit. ``y``: ``(n, g)`` readings over their noise.
    ``x_sd``: ``(g,)`` noise of ``read``. ``free``: ``(n, g)``, true where not targeted.
    """

    x: FloatArray
    read: FloatArray
    y: FloatArray
    x_sd: FloatArray
    free: BoolArray


def shrink(values: FloatArray, free: BoolArray) -> FloatArray:
    """Posterior means of effects read with noise N(0, 1), mostly none at all; ``(n, g)``.

    Each is 0 with probability 1 - p, else N(0, s^2); p and s by expectation-maximisation over
    the ``free`` entries. Entries that are not free come back as they were.
    """
    share, spread = FIRST_SHARE, FIRST_SPREAD**2
    for _ in range(FIRST_ROUNDS):
        real = _responsibility(values[free], share, spread)
        kept = spread / (1 + spread)
        total = max(float(real.sum()), 1.0)
        spread = float((real * ((kept * values[free]) ** 2 + kept)).sum()) / total
        spread = max(spread, 1.0)
        share = float(real.mean() * (1 - 1e-6) + 0.5e-6)
    real = _responsibility(values, share, spread)
    return np.where(free, real * values * spread / (1 + spread), values)


def _responsibility(values: FloatArray, share: float, spread: float) -> FloatArray:
    gain = 0.5 * values**2 * spread / (1 + spread) - 0.5 * np.log1p(spread)
    return np.asarray(expit(gain + np.log(share / (1 - share))))


def make_design(table: InterventionTable) -> Design:
    """The design of a table; a gene without an intervention has the noise unit."""
    free = ~table.targeted
    y = table.responses / table.noise_sd
    unit = np.maximum(table.pushes(), LEAST_PUSH * table.noise_sd)
    read = table.responses / unit
    x_sd = table.noise_sd / unit
    return Design(shrink(y, free) * x_sd, read, y, x_sd, free)


def rises(design: Design) -> FloatArray:
    """``(g,)`` highest first guess of each gene's responses in pushes; 0 for less than RAISED."""
    highest = np.where(design.free, design.x, 0.0).max(axis=0)
    return np.where(highest >= RAISED, highest, 0.0)
