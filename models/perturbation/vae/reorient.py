"""Turning the latent space so that the shifts are sparse along its axes.

Where basal state and shift share one space (join "sum") the likelihood and the prior N(0, I) of z
do not change when that space is rotated and its origin moved: networks can undo both. Only the
sparse prior of the shifts knows the axes, by a fraction of a nat per cell, and gradients take very
long to follow it. So the rotation is found directly: the one that makes the targets' shifts most
sparse under a Cauchy law. (Varimax, which looks at fourth powers, is led astray by the largest
shifts.) The origin is moved to the median shift of each axis, for most targets leave most axes
alone. Masks start anew after that.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
import torch

from models.perturbation.vae.module import PerturbationVae
from models.screen import FloatArray, ScreenError

STARTS = 4
ITERATIONS = 1500
RATE = 0.06
TOLERANCE = 1e-6
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
    ``table @ R - b`` ``(t, m)``; b is the median of each axis, the best of several starts is taken.

    Descent along rotations: R exp(-rate A) with A the skew part of the gradient. ``width``: size
    below which a value counts as none; 1 is the standard deviation of basal states.
    """
    rng = np.random.default_rng(seed)
    found = [_descend(table, _random_rotation(table.shape[1], rng), width) for _ in range(STARTS)]
    return min(found, key=lambda axes: sparsity_loss(table @ axes[0] - axes[1], width))


def _descend(table: FloatArray, turn: FloatArray, width: float) -> tuple[FloatArray, FloatArray]:
    for _ in range(ITERATIONS):
        turned = table @ turn
        away = turned - np.median(turned, axis=0)
        pull = table.T @ (away / (away**2 + width**2))
        slope = turn.T @ pull
        step = RATE / len(table) * (slope - slope.T)
        turn = turn @ scipy.linalg.expm(-step)
        if np.abs(step).max() < TOLERANCE:
            break
    return turn, np.asarray(np.median(table @ turn, axis=0))


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
