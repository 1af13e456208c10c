"""Hamiltonian Monte Carlo for some dozens of unknowns and many chains at once.

All chains run as one batch. The posterior is whitened by its curvature at the mode, then twice by
the covariance that the chains find while they warm up, so that a trajectory of a few steps gives
an almost independent draw; the second half of the warm-up is for the step size alone.
Sources: Neal 2011 (Handbook of MCMC, ch. 5); Hoffman & Gelman 2014 (JMLR 15) for the step size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.screen import (
    ProgressCallback,
    ScreenError,
    StopCallback,
    Stopped,
    never_stop,
    no_progress,
)

LogDensity = Callable[[Tensor], Tensor]
"""log p ``(K,)`` up to a constant at ``K`` points ``(K, dim)``, differentiable."""

ACCEPTANCE = 0.9
LONGEST = 24
"""Most leapfrog steps of one trajectory."""
TRAJECTORY = (1.5, 3.5)
"""Shortest and longest trajectory in whitened units: about a quarter turn of a normal density."""
SOFTEST, STIFFEST = 0.3, 1e8
"""Bounds of the curvature that whitens; a standard normal prior alone has curvature 1."""
_NUDGE = 1e-4
_CHUNK = 32


class NotFiniteError(ArithmeticError):
    """The log density is not finite where it must be; the message says where."""


@dataclass(frozen=True)
class Settings:
    """Length of a run: ``draws`` of each of ``chains`` after ``warm_up`` trajectories."""

    chains: int = 16
    warm_up: int = 150
    draws: int = 200

    def __post_init__(self) -> None:
        if self.chains < 2 or self.warm_up < 20 or self.draws < 4:
            raise ScreenError("sampling needs 2 chains, 20 trajectories of warm-up and 4 draws")


@dataclass(frozen=True)
class Sampled:
    """``draws``: ``(chains, draws, dim)``. ``acceptance``: mean probability after warm-up.
    ``step``: step size in whitened units. ``divergent``: share of trajectories that broke off."""

    draws: Tensor
    acceptance: float
    step: float
    divergent: float


def sample(
    log_density: LogDensity,
    start: Tensor,
    settings: Settings,
    generator: torch.Generator,
    *,
    hessian: Tensor | None = None,
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> Sampled:
    """Draws from ``log_density``, whose unknowns should be of the order of 1 a priori.

    ``start``: ``(dim,)``, the mode or a point near it; ``hessian``: about minus the Hessian there
    ``(dim, dim)``, worked out if ``None``. Raises :class:`NotFiniteError` if the
    density is not finite there, :class:`Stopped` if asked to.
    """
    if hessian is None:
        hessian = curvature(log_density, start, should_stop=should_stop)
    runner = _Runner(log_density, start, whitener(hessian), settings, generator)
    runner.start()
    rescaling = (settings.warm_up // 5, settings.warm_up // 2)
    total = settings.warm_up + settings.draws
    kept: list[Tensor] = []
    for turn in range(total):
        if should_stop():
            raise Stopped
        runner.turn(adapt=turn < settings.warm_up)
        kept.append(runner.position() if turn >= settings.warm_up else runner.z)
        if turn + 1 in rescaling:
            runner.rescale(torch.stack(kept[len(kept) // 3 :]))
            kept = []
        if turn + 1 == settings.warm_up:
            runner.settle()
            kept = []
        on_progress("sampling", turn + 1, total)
    draws = torch.stack(kept, dim=1)
    return Sampled(draws, runner.acceptance(), runner.step, runner.divergent())


def maximum(
    log_density: LogDensity,
    start: Tensor,
    along: Tensor,
    *,
    iterations: int,
    should_stop: StopCallback = never_stop,
) -> Tensor:
    """Where the density is highest among x = ``start`` + ``along`` z, ``(dim,)``, by L-BFGS.

    ``along``: ``(dim, m)``. Raises :class:`NotFiniteError`, :class:`Stopped`.
    """
    z = torch.zeros(along.shape[1], dtype=start.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [z], max_iter=iterations, history_size=20, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        """Negative log density at z, its gradient left in ``z.grad``."""
        if should_stop():
            raise Stopped
        optimizer.zero_grad()
        value = -log_density((start + along @ z)[None]).sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value.detach()

    found = float(optimizer.step(loss))  # type: ignore[no-untyped-call]
    if not math.isfinite(found) or not bool(torch.isfinite(z).all()):
        raise NotFiniteError(f"the log density is {-found} where the search for its mode began")
    return (start + along @ z).detach()


def curvature(
    log_density: LogDensity, mode: Tensor, *, should_stop: StopCallback = never_stop
) -> Tensor:
    """Minus the Hessian at ``mode``, ``(dim, dim)``, by central differences of gradients."""
    rows = []
    for part in torch.eye(len(mode), dtype=mode.dtype).split(_CHUNK):  # type: ignore[no-untyped-call]
        if should_stop():
            raise Stopped
        ahead, behind = (gradient(log_density, mode + way * part)[1] for way in (_NUDGE, -_NUDGE))
        rows.append((behind - ahead) / (2 * _NUDGE))
    found = torch.cat(rows)
    if not bool(torch.isfinite(found).all()):
        raise NotFiniteError("the curvature at the mode is not finite")
    return 0.5 * (found + found.T)


def gradient(log_density: LogDensity, points: Tensor) -> tuple[Tensor, Tensor]:
    """log p ``(K,)`` and its gradient ``(K, dim)`` at ``points``."""
    leaf = points.detach().requires_grad_(True)
    value = log_density(leaf)
    (slope,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), slope


def whitener(hessian: Tensor) -> Tensor:
    """W with W W^T the inverse of the curvature, whose eigenvalues are kept within bounds."""
    values, vectors = torch.linalg.eigh(hessian)
    found: Tensor = vectors * values.clamp(SOFTEST, STIFFEST).rsqrt()
    return found


class _Runner:
    """The chains: positions z in whitened units, x = mode + W z."""

    def __init__(
        self,
        log_density: LogDensity,
        mode: Tensor,
        whitener: Tensor,
        settings: Settings,
        generator: torch.Generator,
    ) -> None:
        self._density, self._mode, self._w = log_density, mode, whitener
        self._generator = generator
        self.z = 0.5 * self._normal(settings.chains, len(mode))
        self.step, self._target = 0.2, math.log(0.2)
        self._reset()
        self._accepted: list[float] = []
        self._broken: list[float] = []

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._generator, dtype=torch.float64)

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self._generator, dtype=torch.float64)

    def _reset(self) -> None:
        """Begin the averaging of the step size anew (Hoffman & Gelman 2014, section 3.2)."""
        self._target = math.log(10 * self.step)
        self._count, self._error, self._average = 0, 0.0, 0.0

    def start(self) -> None:
        """Density at the first positions."""
        self._value, self._slope = self._at(self.z)
        if not bool(torch.isfinite(self._value).all()):
            self.z = torch.zeros_like(self.z)
            self._value, self._slope = self._at(self.z)
        if not bool(torch.isfinite(self._value).all()):
            raise NotFiniteError("the log density is not finite at its mode")

    def _at(self, z: Tensor) -> tuple[Tensor, Tensor]:
        value, slope = gradient(self._density, self._mode + z @ self._w.T)
        return value, slope @ self._w

    def position(self) -> Tensor:
        """Positions of the chains in the unknowns, ``(chains, dim)``."""
        return self._mode + self.z @ self._w.T

    def turn(self, *, adapt: bool) -> None:
        """One trajectory of all chains, and its acceptance."""
        momentum = self._normal(*self.z.shape)
        low, high = TRAJECTORY
        length = low + (high - low) * float(self._uniform(1))
        steps = min(LONGEST, max(1, round(length / self.step)))
        z, value, slope, moved = self.z, self._value, self._slope, momentum
        for _ in range(steps):
            moved = moved + 0.5 * self.step * slope
            z = z + self.step * moved
            value, slope = self._at(z)
            moved = moved + 0.5 * self.step * slope
        gain = value - self._value + 0.5 * (momentum.square() - moved.square()).sum(1)
        gain = torch.where(torch.isfinite(gain), gain, torch.full_like(gain, -math.inf))
        chance = torch.exp(gain.clamp_max(0))
        taken = self._uniform(len(chance)) < chance
        self.z = torch.where(taken[:, None], z, self.z)
        self._value = torch.where(taken, value, self._value)
        self._slope = torch.where(taken[:, None], slope, self._slope)
        mean = float(chance.mean())
        if adapt:
            self._adapt(mean)
        else:
            self._accepted.append(mean)
            self._broken.append(float((gain < -100).double().mean()))

    def _adapt(self, chance: float) -> None:
        self._count += 1
        t = self._count
        self._error += (ACCEPTANCE - chance - self._error) / (t + 10)
        log_step = self._target - math.sqrt(t) / 0.05 * self._error
        self._average += t**-0.75 * (log_step - self._average)
        self.step = min(math.exp(log_step), 1.5)

    def rescale(self, past: Tensor) -> None:
        """Whiten anew by the covariance that the chains found, ``past`` ``(turns, K, dim)``, drawn
        towards the one there was as if that had been seen ``dim`` times."""
        points = past.flatten(0, 1)
        dim = points.shape[1]
        eye = torch.eye(dim, dtype=points.dtype)
        share = len(points) / (len(points) + dim)
        root = torch.linalg.cholesky(share * torch.cov(points.T) + (1 - share) * eye)
        centre = points.mean(0)
        self._mode = self._mode + self._w @ centre
        self.z = torch.linalg.solve_triangular(root, (self.z - centre).T, upper=False).T
        self._w = self._w @ root
        self._value, self._slope = self._at(self.z)
        self._reset()

    def settle(self) -> None:
        """Keep the averaged step size from here on."""
        self.step = min(math.exp(self._average), 1.5)

    def acceptance(self) -> float:
        """Mean chance of acceptance of the turns after the adaptation."""
        return sum(self._accepted) / len(self._accepted)

    def divergent(self) -> float:
        """Share of their proposals that lost more than 100 nats or were not finite."""
        return sum(self._broken) / len(self._broken)
