"""Members with frozen random priors, trained together (Osband et al., NeurIPS 2018, section 3).

Member ``s`` predicts ``f_theta + beta * p_phi / sd``: a trained network and a frozen one of the
same shape, the latter brought to unit standard deviation on reference inputs, because as drawn it
is next to nothing. Its targets carry noise of their own, drawn once, and its weights of blocks are
one draw of the Bayesian bootstrap over plates or blocks (Rubin, Ann Stat 9 (1981), 130). All that
is a member's own comes from (seed, s); batches and masks are the same for all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from models.bayes.training import NonFiniteLossError
from models.screen import IntArray, ProgressCallback, StopCallback, Stopped
from models.surfaces.inputs import Channels, Encoded, channels
from models.surfaces.kriging import Field
from models.surfaces.masks import draw_masks
from models.surfaces.network import Parameters, Sizes, draw_parameters, forward

SMALLEST_BATCH, LARGEST_BATCH, BATCHES = 48, 192, 20
"""Blocks of a step: one in ``BATCHES`` of those that are learned from, within these ends."""
LEARNING_RATE = 0.015
WARM_UP_STEPS, LAST_RATE = 30, 0.02
UNKNOWN_SHARE = 0.08
"""How often a compound or cell line is shown as an unknown one in training."""
LARGEST_GRADIENT = 5.0
NOISE_DF = 6.0
"""Degrees of freedom of a well around a member's surface in training."""
_LOG_SD = (-0.4, 2.5)  # start and reach of the log standard deviation
_REFERENCE_BLOCKS = 128


@dataclass(frozen=True)
class Lessons:
    """What one shape of blocks teaches.

    ``encoded``: the blocks. ``parts``, ``counts``: ``(r, b, m, n, 4)`` and ``(r, b, 3)`` the shifts
    as they would be had the block's pair, its cell line or only the block not been seen.
    ``line_hidden``: ``(r,)`` whether that hides the cell line. ``group``: ``(b,)`` plate or block,
    numbered over all shapes.
    """

    encoded: Encoded
    parts: Tensor
    counts: Tensor
    line_hidden: Tensor
    group: IntArray


@dataclass(frozen=True)
class Ensemble:
    """``k`` members. ``theta``, ``prior``: weights with the members first; ``prior_scale``: one
    over the standard deviation of each frozen network on the reference inputs; ``beta``: ``(k,)``
    size of the prior in units of the residuals; ``unit``: what that unit is, a viability."""

    sizes: Sizes
    theta: Parameters
    prior: Parameters
    prior_scale: Tensor
    beta: Tensor
    unit: float
    structured: bool = True

    def __len__(self) -> int:
        return len(self.beta)

    def select(self, members: Sequence[int]) -> Ensemble:
        """Some of the members."""
        at = torch.tensor(list(members))
        return replace(
            self,
            theta={name: value[at] for name, value in self.theta.items()},
            prior={name: value[at] for name, value in self.prior.items()},
            prior_scale=self.prior_scale[at],
            beta=self.beta[at],
        )

    def outputs(self, encoded: Encoded, at: Channels) -> tuple[Tensor, Tensor]:
        """Surfaces ``(k, b, m, n)`` and scales of a well around them, both as viabilities."""
        learned = forward(self.theta, self.sizes, encoded, at)
        correction, log_sd = learned[..., 0], learned[..., 1]
        if bool((self.beta > 0).any()):
            with torch.no_grad():
                frozen = forward(self.prior, self.sizes, encoded, at)[..., 0]
            size = (self.beta * self.prior_scale)[:, None, None, None]
            correction = correction + size * frozen
        start, reach = _LOG_SD
        scale = self.unit * torch.exp(reach * torch.tanh((log_sd + start) / reach))
        if not self.structured:
            return 0.5 + correction, scale
        return at.base + at.free * (self.unit * correction), scale


@dataclass(frozen=True)
class Members:
    """Which members are made: numbers (each with the seed its own source of chance) and betas."""

    numbers: tuple[int, ...]
    betas: tuple[float, ...]

    @classmethod
    def of(cls, n: int, beta: float) -> Members:
        """``n`` members of one beta."""
        return cls(tuple(range(n)), (beta,) * n)


def member_generator(seed: int, number: int, purpose: int) -> torch.Generator:
    """The source of chance of member ``number`` for one purpose."""
    state = np.random.SeedSequence([seed, number, purpose]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 31 ^ int(state[1]))


def start_ensemble(
    sizes: Sizes,
    members: Members,
    lessons: Sequence[Lessons],
    field: Field,
    unit: float,
    seed: int,
    *,
    structured: bool = True,
) -> Ensemble:
    """Draw all weights; bring frozen networks to unit standard deviation on reference inputs."""
    theta = [draw_parameters(sizes, member_generator(seed, s, 1)) for s in members.numbers]
    prior = [draw_parameters(sizes, member_generator(seed, s, 2)) for s in members.numbers]
    for one in theta:  # trained networks begin near no correction
        one["last"] = 0.1 * one["last"]
    ensemble = Ensemble(
        sizes,
        _stacked(theta),
        _stacked(prior),
        torch.ones(len(theta)),
        torch.tensor(members.betas, dtype=torch.float32),
        unit,
        structured=structured,
    )
    return replace(ensemble, prior_scale=_prior_scale(ensemble, lessons, field, seed))


def _prior_scale(ensemble: Ensemble, lessons: Sequence[Lessons], field: Field, seed: int) -> Tensor:
    rng = np.random.default_rng([seed, 3])
    values = []
    for lesson in lessons:
        b = min(_REFERENCE_BLOCKS, len(lesson.encoded))
        rows = torch.from_numpy(np.sort(rng.choice(len(lesson.encoded), b, replace=False)))
        some = lesson.encoded.select(rows)
        mask = torch.from_numpy(draw_masks("mixed", b, some.shape, rng)) * (some.n_wells > 0)
        at = channels(some, mask.float(), field, ensemble.unit, structured=ensemble.structured)
        with torch.no_grad():
            frozen = forward(ensemble.prior, ensemble.sizes, some, at)[..., 0]
        values.append(frozen.reshape(len(ensemble), -1))
    return 1.0 / torch.cat(values, dim=1).std(dim=1).clamp(min=1e-6)


@dataclass
class _Own:
    """What members have of their own, for one shape: weights of blocks and noise of targets."""

    weight: Tensor
    noise: Tensor


def train_ensemble(
    ensemble: Ensemble,
    members: Members,
    lessons: Sequence[Lessons],
    field: Field,
    *,
    steps: int,
    seed: int,
    random_targets: bool = True,
    on_progress: ProgressCallback,
    should_stop: StopCallback,
) -> Ensemble:
    """Minimise, for each member, its weighted negative log likelihood of wells that were not shown
    plus the negative log prior of its weights over the number of wells.

    Raises :class:`NonFiniteLossError` and :class:`models.screen.Stopped`.
    """
    own = _own(members, lessons, field, seed, random_targets)
    theta = {name: value.clone().requires_grad_(True) for name, value in ensemble.theta.items()}
    working = replace(ensemble, theta=theta)
    optimizer = torch.optim.Adam(list(theta.values()), lr=LEARNING_RATE, fused=True)
    rng = np.random.default_rng([seed, 5])
    n_wells = sum(float((lesson.encoded.n_wells > 0).sum()) for lesson in lessons)
    share = np.array([len(lesson.encoded) for lesson in lessons], np.float64)
    for step in range(steps):
        if should_stop():
            raise Stopped
        if step % 10 == 0:
            on_progress("training the operator", step, steps)
        for group in optimizer.param_groups:
            group["lr"] = _rate(step, steps)
        which = int(rng.choice(len(lessons), p=share / share.sum()))
        loss = _loss(working, lessons[which], own[which], field, rng)
        loss = loss + _prior_penalty(working) / n_wells
        if not math.isfinite(loss.item()):
            raise NonFiniteLossError(f"the loss is {loss.item()} at step {step + 1} of training")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        _clip(theta)
        optimizer.step()
    return replace(ensemble, theta={name: value.detach() for name, value in theta.items()})


def _loss(
    ensemble: Ensemble, lesson: Lessons, own: _Own, field: Field, rng: np.random.Generator
) -> Tensor:
    """Sum over members of the mean loss over hidden wells."""
    b = batch_blocks(len(lesson.encoded))
    rows = torch.from_numpy(np.sort(rng.choice(len(lesson.encoded), b, replace=False)))
    some = _as_if_unseen(lesson, rows, rng)
    masks = torch.from_numpy(draw_masks("mixed", b, some.shape, rng))
    mask = (masks & (some.n_wells > 0)).float()
    at = channels(some, mask, field, ensemble.unit, structured=ensemble.structured)
    surface, scale = ensemble.outputs(some, at)
    target = some.viability + own.noise[:, rows]
    asked = (some.n_wells > 0).float() * (1.0 - mask)
    weight = own.weight[:, rows][:, :, None, None] * asked
    nats = negative_log_density(target - surface, scale, NOISE_DF)
    return (weight * nats).sum() / asked.sum().clamp(min=1)


def batch_blocks(n_blocks: int) -> int:
    """How many blocks a step sees of a shape with ``n_blocks``."""
    return min(n_blocks, LARGEST_BATCH, max(SMALLEST_BATCH, n_blocks // BATCHES))


def negative_log_density(residual: Tensor, scale: Tensor, df: float) -> Tensor:
    """Of the Student-t distribution, nats, up to a constant."""
    return torch.log(scale) + 0.5 * (df + 1) * torch.log1p((residual / scale).square() / df)


def _as_if_unseen(lesson: Lessons, rows: Tensor, rng: np.random.Generator) -> Encoded:
    """Blocks with the shifts of a regime each, some compounds and lines shown as unknown."""
    some = lesson.encoded.select(rows)
    regime = torch.from_numpy(rng.integers(len(lesson.parts), size=len(rows)))
    hidden = torch.from_numpy(rng.random((len(rows), 3)) < UNKNOWN_SHARE)
    hide_line = lesson.line_hidden[regime] | hidden[:, 2]
    zero = torch.zeros((), dtype=torch.int64)
    return replace(
        some,
        parts=lesson.parts[regime, rows],
        counts=lesson.counts[regime, rows],
        compound=torch.where(hidden[:, :2], zero, some.compound),
        line=torch.where(hide_line, zero, some.line),
    )


def _own(
    members: Members, lessons: Sequence[Lessons], field: Field, seed: int, random_targets: bool
) -> list[_Own]:
    n_groups = max(int(lesson.group.max()) for lesson in lessons) + 1
    generators = [member_generator(seed, s, 4) for s in members.numbers]
    k = len(generators)
    if random_targets:
        by_group = torch.stack(
            [torch.empty(n_groups).exponential_(generator=each) for each in generators]
        )
    else:
        by_group = torch.ones(k, n_groups)
    found = []
    for lesson in lessons:
        level = lesson.encoded.reference.numpy().astype(np.float64)
        replicates = np.maximum(lesson.encoded.n_wells.numpy(), 1.0)
        sd = torch.from_numpy((field.noise_sd(level) / np.sqrt(replicates)).astype(np.float32))
        if random_targets:
            noise = torch.stack([torch.randn(sd.shape, generator=each) * sd for each in generators])
        else:
            noise = torch.zeros(1, *sd.shape).expand(k, *sd.shape)
        found.append(_Own(by_group[:, torch.from_numpy(lesson.group)], noise))
    return found


def _prior_penalty(ensemble: Ensemble) -> Tensor:
    """Minus the log prior of all members' weights, up to a constant."""
    total = torch.zeros(())
    for name, (_, sd) in ensemble.sizes.shapes().items():
        total = total + 0.5 * ensemble.theta[name].square().sum() / sd**2
    return total


def _clip(theta: Parameters) -> None:
    """Shorten each member's gradient by itself: members must not notice each other."""
    squares = torch.stack(
        [g.grad.reshape(len(g), -1).square().sum(1) for g in theta.values() if g.grad is not None]
    ).sum(0)
    factor = (LARGEST_GRADIENT / squares.sqrt().clamp(min=1e-12)).clamp(max=1.0)
    for value in theta.values():
        if value.grad is not None:
            value.grad.mul_(factor.reshape(-1, *([1] * (value.ndim - 1))))


def _rate(step: int, steps: int) -> float:
    warm = min(1.0, (step + 1) / WARM_UP_STEPS)
    cosine = 0.5 * (1 + math.cos(math.pi * step / max(steps, 1)))
    return LEARNING_RATE * warm * (LAST_RATE + (1 - LAST_RATE) * cosine)


def _stacked(members: Sequence[Parameters]) -> Parameters:
    return {name: torch.stack([one[name] for one in members]) for name in members[0]}
