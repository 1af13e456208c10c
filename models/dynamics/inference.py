"""Fitting a dynamic model: the loss, the schedule, and stopping and going on to the bit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.bayes.channel_health import ChannelHealth
from models.bayes.training import NonFiniteLossError
from models.dynamics.encoder import SeriesFeatures
from models.dynamics.local import Local
from models.dynamics.model import Batch, DynamicModel
from models.dynamics.objective import bound, surrogate
from models.dynamics.observation import Observation
from models.dynamics.series import TimeCourses
from models.dynamics.shared import Knowledge
from models.dynamics.solver import Solver
from models.dynamics.systems.protocol import System
from models.screen import (
    ProgressCallback,
    ScreenError,
    StopCallback,
    Stopped,
    never_stop,
    no_progress,
)

Checkpoint = dict[str, Tensor]
"""Everything a fit needs to go on: weights, moments of the optimiser, generator, step."""

DRAWS = 64
"""Draws of the shared unknowns a step for their divergence from the prior, where it needs any."""
REFINED_AT_ONCE = 128
"""Series refined at a time: what is kept for a gradient does not grow with the series."""
LARGEST_GRADIENT = 20.0
"""Longer gradients (of the loss per series) are shortened to this: one bad draw must not undo
an hour. Part of the optimiser, not of the model."""


@dataclass(frozen=True)
class Training:
    """How to fit: ``steps`` of ``series`` each, ``samples`` (K) of each; the learning rate rises
    over ``warm_up`` steps to ``rate`` and falls by a cosine to ``last`` of it. ``decay``: weight
    decay of the encoder an optimiser step, in units of the rate."""

    steps: int = 1500
    series: int = 128
    samples: int = 10
    rate: float = 0.01
    warm_up: int = 50
    last: float = 0.02
    decay: float = 0.02

    def __post_init__(self) -> None:
        if min(self.steps, self.series, self.samples) < 1 or not self.rate > 0:
            raise ScreenError(f"a fit needs steps, series, samples and a rate above 0: {self}")

    def rate_at(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        warm = min(1.0, (step + 1) / max(1, self.warm_up))
        cosine = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.rate * warm * (self.last + (1 - self.last) * cosine)


class Fit:
    """One optimisation of one model; deterministic under its seed on one device.

    ``health``: which channels of its encoder were active.
    """

    def __init__(
        self, model: DynamicModel, series: TimeCourses, training: Training, seed: int
    ) -> None:
        if len(series) < 2:
            raise ScreenError(f"a fit needs at least two series, there are {len(series)}")
        self.model, self.training = model, training
        self.batch = model.batch(series)
        self.generator = torch.Generator().manual_seed(seed)
        self.step = 0
        self.health = ChannelHealth()
        encoder = list(model.encoder.parameters())
        known = {id(weight) for weight in encoder}
        rest = [weight for weight in model.parameters() if id(weight) not in known]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": encoder, "weight_decay": training.decay, "share": 0.3},
                {"params": rest, "weight_decay": 0.0, "share": 1.0},
            ],
            lr=training.rate,
        )

    def run(
        self,
        on_progress: ProgressCallback = no_progress,
        should_stop: StopCallback = never_stop,
        on_checkpoint: Callable[[Checkpoint], None] | None = None,
        checkpoint_seconds: float = 30.0,
    ) -> None:
        """Take the steps that are left. Raises ``Stopped`` and :class:`NonFiniteLossError`."""
        with self.health.watch(self.model.encoder):
            self._steps(on_progress, should_stop, on_checkpoint, checkpoint_seconds)
        self.model.eval()

    def _steps(
        self,
        on_progress: ProgressCallback,
        should_stop: StopCallback,
        on_checkpoint: Callable[[Checkpoint], None] | None,
        checkpoint_seconds: float,
    ) -> None:
        saved = time.monotonic()
        while self.step < self.training.steps:
            if should_stop():
                raise Stopped
            self._take()
            on_progress("training", self.step, self.training.steps)
            if on_checkpoint and time.monotonic() - saved >= checkpoint_seconds:
                on_checkpoint(self.checkpoint())
                saved = time.monotonic()

    def _take(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.training.rate_at(self.step) * group["share"]
        loss = self._loss(self._pick())
        if not math.isfinite(loss.item()):
            raise NonFiniteLossError(f"the loss is {loss.item()} at step {self.step + 1}")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        weights = [w for group in self.optimizer.param_groups for w in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(weights, LARGEST_GRADIENT)
        if not math.isfinite(norm.item()):
            raise NonFiniteLossError(f"the gradient is {norm.item()} at step {self.step + 1}")
        self.optimizer.step()
        self.step += 1

    def _pick(self) -> Batch:
        n = len(self.batch)
        if n <= self.training.series:
            return self.batch
        return self.batch.select(
            torch.randperm(n, generator=self.generator)[: self.training.series]
        )

    def _loss(self, batch: Batch) -> Tensor:
        """Minus the bound a series; its gradient is DReG's for q(u) and the plain one for G."""
        model = self.model
        log_weights, sampled = sample_weights(
            model, batch, model.local(batch), self.training.samples, self.generator
        )
        total = surrogate(log_weights, sampled).mean()
        penalty = self._divergence() / len(self.batch)
        weights = model.system.log_penalty()
        if weights is not None:
            penalty = penalty - weights / len(self.batch)
        return penalty - total

    def _divergence(self) -> Tensor:
        shared = self.model.shared
        if not shared.funnel.bends:
            return shared.kl()
        size = self.model.hierarchy.shared_size
        return shared.kl(self.model.normal(DRAWS, size, generator=self.generator))

    def checkpoint(self) -> Checkpoint:
        """The state of the fit as plain tensors."""
        found = {f"model.{k}": v.detach().clone() for k, v in self.model.state_dict().items()}
        for i, moments in self.optimizer.state_dict()["state"].items():
            found |= {f"adam.{i}.{k}": torch.as_tensor(v).clone() for k, v in moments.items()}
        found |= {f"channels.{k}": v for k, v in self.health.state().items()}
        found["generator"] = self.generator.get_state()
        found["step"] = torch.tensor(self.step)
        return found

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on where ``checkpoint`` was taken: the same numbers follow, to the bit."""
        state = {k[6:]: v for k, v in checkpoint.items() if k.startswith("model.")}
        self.model.load_state_dict(state)
        whole = self.optimizer.state_dict()
        whole["state"] = {}
        for key, value in checkpoint.items():
            if key.startswith("adam."):
                _, i, name = key.split(".")
                whole["state"].setdefault(int(i), {})[name] = value.clone()
        self.optimizer.load_state_dict(whole)
        self.health.restore({k[9:]: v for k, v in checkpoint.items() if k.startswith("channels.")})
        self.generator.set_state(checkpoint["generator"])
        self.step = int(checkpoint["step"])


def sample_weights(
    model: DynamicModel,
    batch: Batch,
    local: Local,
    samples: int,
    generator: torch.Generator,
    *,
    shared_each: bool = False,
) -> tuple[Tensor, Tensor]:
    """Log weights ``(K, N)`` under one draw of the shared unknowns a series (or, for the bound of
    a new series alone, one for each sample, the same of all series), and the sampled coordinates;
    log q has its own parameters detached, as the DReG gradient needs."""
    n, size = len(batch), model.hierarchy.shared_size
    shape = (samples, 1, size) if shared_each else (1, n, size)
    shared = model.shared.sample(model.normal(*shape, generator=generator))
    moments = model.moments(shared.expand(-1, n, -1), batch, generator)
    sampled = local.sample(model.normal(samples, n, local.noise_size, generator=generator))
    return model.terms(batch, local.detach(), sampled, moments).log_weights(), sampled


def build(
    series: TimeCourses,
    system: System,
    observation: Observation,
    solver: Solver,
    seed: int,
    known: Knowledge | None = None,
) -> DynamicModel:
    """A model of ``series`` before its fit; ``known``: what an earlier experiment ended with."""
    factors = {factor.name: factor.labels for factor in series.factors}
    generator = torch.Generator().manual_seed(seed)
    features = SeriesFeatures.learn(series)
    return DynamicModel(system, observation, solver, factors, features, generator, known)


def refine(
    model: DynamicModel,
    batch: Batch,
    *,
    steps: int = 150,
    samples: int = 8,
    rate: float = 0.03,
    seed: int = 0,
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> Local:
    """Improve each series' own posterior from the encoder's, all else as it is.

    The bound holds for any q, so it can only get tighter in expectation: a series unlike those
    the encoder was trained with does not pay for that (Kim et al. 2018, arXiv 1802.02550).
    """
    generator = torch.Generator().manual_seed(seed)
    parts = torch.arange(len(batch), device=batch.features.device).split(REFINED_AT_ONCE)  # type: ignore[no-untyped-call]
    found = []
    for number, rows in enumerate(parts):

        def progress(stage: str, done: int, total: int, before: int = number * steps) -> None:
            on_progress(stage, before + done, total * len(parts))

        part = batch.select(rows)
        found.append(_refine(model, part, steps, samples, rate, generator, progress, should_stop))
    return Local(*(torch.cat(each) for each in zip(*found, strict=True)))


def _refine(
    model: DynamicModel,
    batch: Batch,
    steps: int,
    samples: int,
    rate: float,
    generator: torch.Generator,
    on_progress: ProgressCallback,
    should_stop: StopCallback,
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, sd and ways of one part."""
    with torch.no_grad():
        start = model.local(batch)
    free = [start.mean.clone(), torch.log(start.sd), start.ways.clone()]
    for tensor in free:
        tensor.requires_grad_(True)
    optimizer = torch.optim.Adam(free, lr=rate)
    for step in range(steps):
        if should_stop():
            raise Stopped
        for group in optimizer.param_groups:
            group["lr"] = rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        local = Local(free[0], torch.exp(free[1]), free[2])
        log_weights, sampled = sample_weights(
            model, batch, local, samples, generator, shared_each=True
        )
        loss = -surrogate(log_weights, sampled).sum()
        if not math.isfinite(loss.item()):
            raise NonFiniteLossError(f"the loss is {loss.item()} at step {step + 1} of refining")
        gradients = torch.autograd.grad(loss, free)
        for tensor, gradient in zip(free, gradients, strict=True):
            tensor.grad = gradient
        optimizer.step()
        on_progress("refining", step + 1, steps)
    return free[0].detach(), torch.exp(free[1]).detach(), free[2].detach()


def mean_bound(
    model: DynamicModel, batch: Batch, local: Local, samples: int, generator: torch.Generator
) -> float:
    """The bound of the individual part a series, nats: for progress reports."""
    with torch.no_grad():
        return float(bound(sample_weights(model, batch, local, samples, generator)[0]).mean())
