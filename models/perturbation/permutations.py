"""What the same analysis finds where the truth is known: in controls, and in rebuilt networks.

Two nulls. Controls: every condition's responses are replaced by those of an untreated sample
drawn at random, so that no edge is true and all that is found is noise. Rebuilds: responses are
computed from a network drawn from the posterior, with bent response curves that the sampler does
not know and the noise of controls, so that indirect effects are there to be mistaken for edges
and every mistake is seen. The first says how often noise passes; only the second says how often
an indirect effect does (a parametric bootstrap: Efron, Tibshirani 1993, ch. 6).
"""

from __future__ import annotations

import numpy as np

from models.perturbation.edge_design import LEAST_PUSH, make_design, rises
from models.perturbation.interventions import InterventionTable
from models.screen import FloatArray, ScreenError

BEND = 2.5
"""Powers of the response curves lie between 1 / BEND and BEND, uniform in their logarithm."""
SETTLE_STEPS, SETTLE_RATE = 80, 0.4
HIGHEST = 10.0
"""No response exceeds so many pushes: cells saturate, feedback loops do not run away."""


def control_noise(table: InterventionTable, rng: np.random.Generator) -> FloatArray:
    """``(n, g)`` readings of untreated samples with random signs.

    Whole samples, none twice, where there are enough of them, so that noise that genes share (a
    batch, a plate) stays shared. With fewer, each gene is permuted by itself: the same few
    samples again and again would look like a network.
    """
    n, c = len(table), len(table.controls)
    if c >= n:
        rows = rng.permutation(c)[:n]
        return np.asarray(table.controls[rows] * rng.choice(np.array([-1.0, 1.0]), size=(n, 1)))
    picked = rng.integers(c, size=(n, len(table.genes)))
    signs = rng.choice(np.array([-1.0, 1.0]), size=picked.shape)
    return np.asarray(np.take_along_axis(table.controls, picked, axis=0) * signs)


def control_table(table: InterventionTable, seed: int) -> InterventionTable:
    """The same interventions with responses of untreated samples: not one edge is true."""
    noise = control_noise(table, np.random.default_rng(seed))
    return table.with_responses(np.where(table.targeted, table.responses, noise))


def rebuilt_table(table: InterventionTable, effects: FloatArray, seed: int) -> InterventionTable:
    """The same interventions with responses that a known network gives, plus noise of controls.

    ``effects``: ``(2, g, g)``, regulators in rows, in noise standard deviations of the target: its
    fall when the regulator is switched off, and its rise when the regulator rises as far as it
    did here (used of genes that rise); the units of the sampler. Raises :class:`ScreenError` for
    effects of another shape.
    """
    g = len(table.genes)
    if effects.shape != (2, g, g):
        raise ScreenError(f"effects must be 2 x {g} x {g}, not {effects.shape}")
    highest = rises(make_design(table))
    rng = np.random.default_rng(seed)
    powers = BEND ** rng.uniform(-1, 1, size=(g, g))
    unit = np.maximum(table.pushes(), LEAST_PUSH * table.noise_sd)
    forced = table.responses / unit
    x = np.where(table.targeted, forced, 0.0)
    for _ in range(SETTLE_STEPS):
        settled = _felt(x, effects, powers, highest) * (table.noise_sd / unit)
        settled = np.clip(settled, -HIGHEST, HIGHEST)
        x = np.where(table.targeted, forced, x + SETTLE_RATE * (settled - x))
    readings = x * unit + control_noise(table, rng)
    return table.with_responses(np.where(table.targeted, table.responses, readings))


def _felt(
    x: FloatArray, effects: FloatArray, powers: FloatArray, highest: FloatArray
) -> FloatArray:
    """``(n, g)`` what regulators do to each gene when they respond by ``x``, in noise units."""
    y = np.zeros_like(x)
    for j in np.flatnonzero(effects.any(axis=(0, 2))):
        out = np.flatnonzero(effects[:, j].any(axis=0))
        response, power = x[:, [j]], powers[j, out]
        if highest[j]:
            rise = np.maximum(response, 0.0) / highest[j]
            y[:, out] += effects[1, j, out] * rise**power
            response = np.minimum(response, 0.0)
        y[:, out] += effects[0, j, out] * bent(response, power)
    return y


def bent(x: FloatArray, power: FloatArray) -> FloatArray:
    """(1 + x)^power - 1 above -1, x below: 0 at 0 and -1 at -1 whatever the power."""
    above = np.maximum(1 + x, 0.0) ** power - 1
    return np.asarray(np.where(x > -1, above, x))
