"""Turning the latent space so that the shifts are sparse along its axes.

Where basal state and shift share one space (join "sum") the likelihood and the prior N(0, I) of z
do not change when that space is rotated and its origin moved: networks can undo both. Only the
sparse prior of the shifts knows the axes, by a fraction of a nat per cell, and gradients take very
long to follow it. So rotation and origin are found directly: those that make the targets' shifts
most sparse under a Cauchy law. (Varimax, which looks at fourth powers, is led astray by the largest
shifts.) Masks start anew after that.
"""

from __future__ import annotations

import numpy as np
import torch

from models.perturbation.vae.module import PerturbationVae
from models.screen import FloatArray, ScreenError

STARTS = 30
"""Every third start or so ends in a poor local optimum, and one takes milliseconds."""
ITERATIONS = 500
FIRST_STEP, LEAST_STEP = 0.5, 1e-4
TOLERANCE = 1e-7
LOGIT_START = 2.0
LEAST_SHIFT = 1.5
"""Masks begin mostly on where the shift is larger than this many basal standard deviations and
mostly off elsewhere; both are free to change."""


def sparsity_loss(turned: FloatArray, width: float = 1.0) -> float:
    """``sum log(1 + y^2 / width^2)``: a heavy-tailed law, whose few large values cost little."""
    return float(np.log1p((turned / width) ** 2).sum())


def sparsest_axes(
    table: FloatArray, seed: int, width: float = 1.0
) -> tuple[FloatArray, FloatArray]:
    """Rotation R ``(m, m)`` and origin b ``(m,)`` of least :func:`sparsity_loss` of
    ``table @ R - b`` ``(t, m)``; the best of several starts is taken.

    ``width``: size below which a value counts as none; 1 is the standard deviation of basal states.
    """
    rng = np.random.default_rng(seed)
    middle = np.median(table, axis=0)
    starts = [_random_rotation(table.shape[1], rng) for _ in range(STARTS)]
    found = [_descend(table - middle, turn, width) for turn in starts]
    turn, origin, _ = min(found, key=lambda axes: axes[2])
    return turn, origin + middle @ turn


def _descend(
    table: FloatArray, turn: FloatArray, width: float
) -> tuple[FloatArray, FloatArray, float]:
    """Rotation, origin and loss of a local optimum.

    Steps along the skew part of the gradient stay rotations by Cayley's transform and shrink until
    the loss falls. The origin takes a step of iterated reweighting each time, which cannot raise
    the loss; at its optimum the pull on all rows sums to 0, so that nothing depends on where the
    table lies.
    """
    unit, rate = np.eye(len(turn)), FIRST_STEP
    origin = np.median(table @ turn, axis=0)
    loss = sparsity_loss(table @ turn - origin, width)
    for _ in range(ITERATIONS):
        away = table @ turn - origin
        weight = 1 / (away**2 + width**2)
        slope = turn.T @ (table.T @ (away * weight))
        skew = (slope - slope.T) / (2 * len(table))
        shifted = origin + (away * weight).sum(axis=0) / weight.sum(axis=0)
        while True:
            new = turn @ np.linalg.solve(unit + rate * skew, unit - rate * skew)
            value = sparsity_loss(table @ new - shifted, width)
            if value < loss or rate < LEAST_STEP:
                break
            rate /= 2
        if loss - value < TOLERANCE * loss:
            break
        turn, origin, loss, rate = new, shifted, value, 1.5 * rate
    return turn, origin, loss


def _random_rotation(width: int, rng: np.random.Generator) -> FloatArray:
    return np.asarray(np.linalg.qr(rng.standard_normal((width, width)))[0])


@torch.no_grad()
def reorient(model: PerturbationVae, seed: int) -> None:
    """Rotate and move the latent space of ``model``; its masks start anew, all else follows.

    Raises :class:`ScreenError` unless basal state and shift share one space.
    """
    if model.settings.join != "sum":
        raise ScreenError("named coordinates cannot be rotated: only summed latents can")
    effects, encoder, first = model.effects, model.encoder, model.decoder.trunk.enter
    dense = effects.effect_moments(torch.ones_like(effects.logits))[0]
    axes, middle = sparsest_axes(dense.double().numpy(), seed)
    turn, origin = (torch.tensor(values, dtype=torch.float32) for values in (axes, middle))
    shift = dense @ turn
    m = len(turn)
    effects.mean.copy_(shift - origin)
    effects.to_mean.weight.zero_()
    effects.to_mean.bias.zero_()
    large = (shift - origin).abs() > LEAST_SHIFT
    effects.logits.copy_(torch.where(large, LOGIT_START, -LOGIT_START))
    # The encoder's mean in the new axes and from the new origin; the decoder turns it back.
    encoder.mean.weight.copy_(encoder.mean.weight @ turn)
    encoder.mean.bias.copy_(encoder.mean.bias @ turn - origin)
    old = first.weight[:m].clone()
    first.bias.copy_(first.bias + (origin @ turn.T) @ old)
    first.weight[:m] = turn.T @ old
    inputs = encoder.trunk.enter.weight
    rows = slice(model.n_readouts, model.n_readouts + m)
    seen = inputs[rows].clone()
    encoder.trunk.enter.bias.copy_(encoder.trunk.enter.bias + (origin @ turn.T) @ seen)
    inputs[rows] = turn.T @ seen
