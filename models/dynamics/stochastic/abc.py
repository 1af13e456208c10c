"""Approximate Bayesian computation by rejection and by sequential Monte Carlo: the falsifier.

Both ask nothing of the simulator but simulations, and are judged by a distance alone: where they
and an amortised posterior disagree, one of them is wrong. Rejection keeps the nearest; the
sequential one (Beaumont et al. 2009, Biometrika 96, 983; Toni et al. 2009) moves particles with a
Gaussian kernel of twice their weighted covariance, lowers epsilon to a quantile of the distances
it has, and weights each by prior / sum_j w_j K(theta | theta_j). Distances are scaled once, by
simulations from the prior, so that epsilon means the same in every round.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.dynamics.stochastic.priors import Prior
from models.screen import (
    ProgressCallback,
    ScreenError,
    StopCallback,
    Stopped,
    never_stop,
    no_progress,
)

Summarise = Callable[[Tensor, torch.Generator], Tensor]
"""Summaries ``(N, H)`` of one simulation for each parameter ``(N, P)``."""

TRIES = 200
"""A round that has not filled up after so many batches is the last."""


@dataclass(frozen=True)
class Particles:
    """Weighted draws: ``theta`` ``(M, P)``, ``weights`` ``(M,)`` that add up to 1, ``distance``
    ``(M,)``, the ``epsilon`` they meet, and the ``simulations`` that all of it took."""

    theta: Tensor
    weights: Tensor
    distance: Tensor
    epsilon: float
    simulations: int

    def mean(self) -> Tensor:
        """``(P,)``."""
        return self.weights @ self.theta

    def sd(self) -> Tensor:
        """``(P,)``."""
        return torch.sqrt(self.weights @ (self.theta - self.mean()).square())

    def effective(self) -> float:
        """Effective number of draws, 1 / sum of squared weights."""
        return float(1 / self.weights.square().sum())


def scale_of(prior: Prior, summarise: Summarise, generator: torch.Generator, n: int) -> Tensor:
    """``(H,)`` median absolute deviation of each summary under the prior, 1 where it is 0."""
    drawn = summarise(prior.sample(n, generator), generator)
    spread = (drawn - drawn.median(dim=0).values).abs().median(dim=0).values
    return torch.where(spread > 0, spread, torch.ones_like(spread))


def nearest(theta: Tensor, summaries: Tensor, observed: Tensor, keep: int) -> Particles:
    """Rejection from simulations that are there already: the ``keep`` nearest of ``(N, H)``
    summaries, distance scaled by their median absolute deviation. Ties at the end are cut in
    order. Raises :class:`ScreenError` unless 1 <= keep <= N."""
    if not 1 <= keep <= len(theta):
        raise ScreenError(f"keep 1 to {len(theta)} simulations, not {keep}")
    spread = (summaries - summaries.median(dim=0).values).abs().median(dim=0).values
    scale = torch.where(spread > 0, spread, torch.ones_like(spread))
    distance = ((summaries - observed) / scale).square().mean(dim=1).sqrt()
    order = torch.argsort(distance, stable=True)[:keep]
    weights = torch.full((keep,), 1 / keep, dtype=torch.float64)
    return Particles(theta[order], weights, distance[order], float(distance[order[-1]]), len(theta))


def rejection(
    prior: Prior,
    summarise: Summarise,
    observed: Tensor,
    *,
    epsilon: float,
    particles: int,
    seed: int,
    batch: int = 1000,
    most: int = 1_000_000,
    should_stop: StopCallback = never_stop,
) -> Particles:
    """Draws of the prior whose simulation lies within ``epsilon`` of ``observed`` ``(H,)``.

    An infinite ``epsilon`` gives the prior. Raises :class:`ScreenError` if ``most`` simulations do
    not give ``particles``.
    """
    generator = torch.Generator().manual_seed(seed)
    scale = scale_of(prior, summarise, generator, batch)
    kept: list[tuple[Tensor, Tensor]] = []
    found, done = 0, 0
    while found < particles:
        if should_stop():
            raise Stopped
        if done >= most:
            raise ScreenError(
                f"{done:,} simulations gave {found} of {particles} within {epsilon:g}: raise it"
            )
        theta, distance = _tried(prior.sample(batch, generator), summarise, observed, scale,
                                 generator)  # fmt: skip
        inside = distance <= epsilon
        kept.append((theta[inside], distance[inside]))
        found, done = found + int(inside.sum()), done + batch
    theta = torch.cat([t for t, _ in kept])[:particles]
    distance = torch.cat([d for _, d in kept])[:particles]
    weights = torch.full((particles,), 1 / particles, dtype=torch.float64)
    return Particles(theta, weights, distance, epsilon, done)


@dataclass(frozen=True)
class Sequence:
    """``particles`` a round, at most ``rounds``; epsilon falls to the ``quantile`` of the distances
    until it meets ``target``, or fewer than ``acceptance`` of the tries are taken."""

    particles: int = 500
    rounds: int = 8
    quantile: float = 0.4
    target: float = 0.0
    acceptance: float = 0.005
    batch: int = 1000

    def __post_init__(self) -> None:
        if not (0 < self.quantile < 1 and self.particles > 1 and self.rounds > 0):
            raise ScreenError("a sequence needs particles, rounds and a quantile between 0 and 1")


def sequential(
    prior: Prior,
    summarise: Summarise,
    observed: Tensor,
    options: Sequence,
    *,
    seed: int,
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> Particles:
    """Sequential Monte Carlo; the particles of the last round that filled up."""
    generator = torch.Generator().manual_seed(seed)
    scale = scale_of(prior, summarise, generator, options.batch)
    now = rejection(
        prior, summarise, observed, epsilon=math.inf, particles=options.particles, seed=seed,
        batch=options.batch, should_stop=should_stop,
    )  # fmt: skip
    spent = now.simulations
    for at in range(options.rounds):
        on_progress("approximate Bayesian computation", at, options.rounds)
        if now.epsilon <= options.target:
            break
        quantile = float(torch.quantile(now.distance, options.quantile))
        epsilon = max(options.target, quantile)
        if epsilon >= now.epsilon:
            break
        found = _round(prior, summarise, observed, scale, now, epsilon, options, generator,
                       should_stop)  # fmt: skip
        if found is None:
            break
        spent += found.simulations
        now = Particles(found.theta, found.weights, found.distance, epsilon, spent)
    on_progress("approximate Bayesian computation", options.rounds, options.rounds)
    return now


def _round(
    prior: Prior,
    summarise: Summarise,
    observed: Tensor,
    scale: Tensor,
    before: Particles,
    epsilon: float,
    options: Sequence,
    generator: torch.Generator,
    should_stop: StopCallback,
) -> Particles | None:
    factor = kernel_factor(before)
    kept: list[tuple[Tensor, Tensor]] = []
    found, tried = 0, 0
    for _ in range(TRIES):
        if should_stop():
            raise Stopped
        picked = torch.multinomial(before.weights, options.batch, True, generator=generator)
        step = torch.randn((options.batch, len(factor)), generator=generator, dtype=torch.float64)
        moved = before.theta[picked] + step @ factor.T
        # Outside of the prior a particle's weight would be 0: no need to simulate it.
        theta, distance = _tried(moved[prior.contains(moved)], summarise, observed, scale,
                                 generator)  # fmt: skip
        inside = distance <= epsilon
        kept.append((theta[inside], distance[inside]))
        found, tried = found + int(inside.sum()), tried + options.batch
        if found >= options.particles:
            break
        if tried >= 10 * options.batch and found < options.acceptance * tried:
            return None
    if found < options.particles:
        return None
    theta = torch.cat([t for t, _ in kept])[: options.particles]
    distance = torch.cat([d for _, d in kept])[: options.particles]
    logs = prior.log_prob(theta) - log_proposal(theta, before, factor)
    return Particles(theta, torch.softmax(logs, 0), distance, epsilon, tried)


def kernel_factor(particles: Particles) -> Tensor:
    """``(P, P)`` Cholesky factor of twice the weighted covariance. Raises :class:`ScreenError`
    where the particles do not vary."""
    away = particles.theta - particles.mean()
    covariance = 2 * (away * particles.weights[:, None]).T @ away
    factor: Tensor
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if int(failed):
        raise ScreenError("the particles no longer vary: take more of them, or a larger epsilon")
    return factor


def log_proposal(theta: Tensor, before: Particles, factor: Tensor) -> Tensor:
    """``(M,)`` log of sum_j w_j K(theta | theta_j), up to a constant."""
    away = theta[:, None] - before.theta[None]
    white = torch.linalg.solve_triangular(factor, away.flatten(0, 1).T, upper=False).T
    squares = white.square().sum(dim=1).unflatten(0, (len(theta), len(before.theta)))
    return torch.logsumexp(before.weights.log() - 0.5 * squares, dim=1)


def _tried(
    theta: Tensor,
    summarise: Summarise,
    observed: Tensor,
    scale: Tensor,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    summaries = summarise(theta, generator)
    return theta, ((summaries - observed) / scale).square().mean(dim=1).sqrt()
