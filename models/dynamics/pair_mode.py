"""The mode of a drug pair's posterior, whose landscape has long curved valleys.

Levenberg & Marquardt steps cross what is curved, quasi-Newton steps finish it: chains that start
below the summit wander for ever. Spreads and noise follow by turns; a turn may lose what another
gained, so the best place counts, not the last.

Scores compare between noises and weights: the evidence with Student-t noise bounded from below by
the weighted normal one that is tangent to it, log t(z) >= log t(z0) + w (z0^2 - z^2) / 2 (Lange,
Little & Taylor 1989, JASA 84).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from models.dynamics.hmc import NotFiniteError, curvature, maximum, whitener
from models.dynamics.pair_marginal import Given, Linear, PairMarginal
from models.screen import ProgressCallback, StopCallback, Stopped, never_stop, no_progress

MOST_ROUNDS = 9
WORTH_A_ROUND = 1.0
"""A search ends where two rounds gain less, nats."""
ENOUGH = 0.01
"""A climb ends where a step could gain less, nats."""
HOT = 2.0
"""Noise at the start, in standard deviations of its prior above the median: it flattens the land,
so that parameters are not drawn into corners by noise that is far too small."""
EARLY: tuple[tuple[int, ...], ...] = ((30, 8), (8, 8), (8, 8))
"""Steps of Levenberg & Marquardt, climb by climb, of the first rounds: no summit is worth reaching
before the noise is known."""
LATE, FINISH = (12, 12), 60
"""Steps of each kind, climb by climb, of later rounds."""
FAR, NEAR = 4.0, 1.5
"""Furthest that early and late rounds move spreads and noise, in standard deviations of their
prior."""


@dataclass(frozen=True)
class Mode:
    """Where a search ended: the density ``given`` spreads and noise, its mode ``point`` ``(X,)``,
    the weights of readings, and the ``score`` (nats) of it all."""

    given: Given
    point: Tensor
    weights: Tensor
    score: float


def settled(
    marginal: PairMarginal,
    *,
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> tuple[Given, Tensor, Tensor]:
    """The marginal density at the best spreads and noise, its mode ``(X,)`` and its curvature: by
    turns the parameters, the effects of pairs, spreads and noise, and weights. Raises
    :class:`NotFiniteError`, :class:`Stopped`."""
    model, hyper = marginal.model, marginal.prior_mean.clone()
    hyper[marginal.noise_places] += HOT * marginal.prior_sd[marginal.noise_places]
    marginal.unweigh()
    point = torch.zeros(len(model.free), dtype=torch.float64)
    offset = torch.zeros(len(model.pair_of_cell), len(model.misfits), dtype=torch.float64)
    found: list[Mode] = []
    for number in range(MOST_ROUNDS):
        early = number < len(EARLY)
        for steps in EARLY[number] if early else LATE:
            linear = marginal.linear(point, hyper, offset)
            given = Given(marginal, linear, hyper)
            if early:
                point = climbed(marginal, given, linear, steps, should_stop)[0].point
            else:
                point = summit(marginal, given, linear, steps, should_stop)
            offset = given.offset(point)
        linear = marginal.linear(point, hyper, given.offset_of_lines)
        found.append(Mode(given, point, marginal.weights, marginal.score(linear, hyper)))
        on_progress("searching the mode", number + 1, MOST_ROUNDS)
        if not early and _no_more(found[len(EARLY) :]):
            break
        if number > 0:
            hyper = marginal.weigh(given, point)
        reach = (FAR if early else NEAR) * marginal.prior_sd
        moved = _better_hyper(marginal, linear, hyper, reach, should_stop)
        point, hyper = marginal.rescaled(point, hyper, moved), moved
    best = max(found[len(EARLY) :], key=lambda mode: mode.score)
    marginal.weights = best.weights
    hessian = curvature(best.given.log_density, best.point, should_stop=should_stop)
    return best.given, best.point, hessian


def _no_more(found: list[Mode]) -> bool:
    """Whether neither of the last two rounds was worth it."""
    earlier = [mode.score for mode in found[:-2]]
    return bool(earlier) and max(m.score for m in found[-2:]) < max(earlier) + WORTH_A_ROUND


def _better_hyper(
    marginal: PairMarginal, linear: Linear, hyper: Tensor, reach: Tensor, should_stop: StopCallback
) -> Tensor:
    """Spreads and noise ``(H,)`` of the highest evidence around ``linear``, no further than
    ``reach`` ``(H,)`` from where they were: beyond, straight lines say nothing."""

    def at(z: Tensor) -> Tensor:
        return hyper + reach * torch.tanh(z)

    def density(rows: Tensor) -> Tensor:
        return marginal.evidence(linear, at(rows[0]))[None]

    start, eye = torch.zeros_like(hyper), torch.eye(len(hyper), dtype=hyper.dtype)
    return at(maximum(density, start, eye, iterations=20, should_stop=should_stop))


def summit(
    marginal: PairMarginal,
    given: Given,
    linear: Linear,
    steps: int,
    should_stop: StopCallback = never_stop,
) -> Tensor:
    """Where the density is highest near ``linear.point``, ``(X,)``."""
    climbed_to, hessian = climbed(marginal, given, linear, steps, should_stop)
    return maximum(
        given.log_density, climbed_to.point, whitener(hessian),
        iterations=FINISH, should_stop=should_stop,
    )  # fmt: skip


def climbed(
    marginal: PairMarginal,
    given: Given,
    linear: Linear,
    steps: int,
    should_stop: StopCallback = never_stop,
) -> tuple[Linear, Tensor]:
    """Uphill from ``linear.point`` (slopes there, and the curvature ``(X, X)``), by the method of
    Levenberg & Marquardt, until a full step could gain no more. Raises :class:`NotFiniteError`."""
    damping = 0.1
    with torch.no_grad():
        value = float(given.log_density(linear.point[None]))
        if not math.isfinite(value):
            raise NotFiniteError(f"the log density is {value} where the search for its mode began")
        slope, hessian = given.slope_and_curvature(linear)
        for _ in range(steps):
            if should_stop():
                raise Stopped
            # Half of this is what a full step gains where the lines are straight.
            if float(slope @ torch.linalg.solve(hessian, slope)) < 2 * ENOUGH:
                break
            stiff = hessian + damping * torch.diag(hessian.diagonal())
            moved = linear.point + torch.linalg.solve(stiff, slope)
            after = float(given.log_density(moved[None]))
            if not after > value:
                damping *= 4
                continue
            value, damping = after, damping / 4
            linear = marginal.linear(moved, linear.hyper, linear.offset)
            slope, hessian = given.slope_and_curvature(linear)
    return linear, hessian
