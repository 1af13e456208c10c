"""Fitting the variational network: the loss, the schedule and when to stop.

Loss per row, for N training rows whatever the minibatch (Blundell et al. 2015, eq. 8, with the
KL spread evenly): mean over the minibatch of -log p(y | f) + KL / N. The KL stands with minus the
log prior of the few parameters that are point estimates (noise tails and the bend of the output).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.bayes.channel_health import ChannelHealth
from models.bayes.training import NonFiniteLossError, student_log_density
from models.screen import ProgressCallback, ScreenError, StopCallback, Stopped
from models.synergy.inputs import InputTables
from models.synergy.network import Network, Rows

BATCH_ROWS = 512
LEARNING_RATE = 0.01
WARM_UP_STEPS = 50
LAST_RATE = 0.02
"""The learning rate ends at this share of its height."""
MIN_STEPS = 200
"""Early stopping never answers before this: with few rows an epoch is a single step."""
CHECK_EVERY = 50
PATIENCE = 4
"""Checks without a better held-out likelihood after which the search stops."""


@dataclass(frozen=True)
class Schedule:
    """``steps`` taken of a cosine schedule of ``horizon`` steps."""

    steps: int
    horizon: int

    @classmethod
    def for_rows(cls, n: int) -> Schedule:
        """The whole horizon for ``n`` rows: 320 steps, and one more for each twenty rows."""
        horizon = min(320 + n // 20, 2000)
        return cls(horizon, horizon)

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        warm = min(1.0, (step + 1) / WARM_UP_STEPS)
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.horizon)))
        return LEARNING_RATE * warm * (LAST_RATE + (1 - LAST_RATE) * cosine)


@dataclass(frozen=True)
class Targets:
    """Training rows: indices, standardised scores and known standard errors, ``(rows,)`` each."""

    rows: Rows
    score: Tensor
    known_sd: Tensor

    def __len__(self) -> int:
        return len(self.score)

    def select(self, index: Tensor) -> Targets:
        """The rows at ``index``."""
        return Targets(self.rows.select(index), self.score[index], self.known_sd[index])


def noise_scale(learned: Tensor, known_sd: Tensor) -> Tensor:
    """Scale of the observation noise: learned and known parts add in squares."""
    return torch.sqrt(learned.square() + known_sd.square())


def negative_elbo(row_log_likelihood: Tensor, kl: Tensor, n_rows: int) -> Tensor:
    """Loss per training row in nats; its mean over equal minibatches is that of all rows."""
    return -row_log_likelihood.mean() + kl / n_rows


class Trainer:
    """One optimisation of one network. Deterministic under ``generator`` on one device.

    ``health``: which of its channels were active while it trained.
    """

    def __init__(
        self,
        network: Network,
        tables: InputTables,
        data: Targets,
        schedule: Schedule,
        generator: torch.Generator,
    ) -> None:
        self.network, self.tables, self.data = network, tables, data
        self.schedule, self.generator = schedule, generator
        self.health = ChannelHealth()
        self.optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, fused=True)

    def run(
        self,
        held_out: Callable[[], float] | None,
        on_progress: ProgressCallback,
        should_stop: StopCallback,
    ) -> int:
        """Train; with ``held_out`` (higher is better) stop early and restore the best weights.

        Returns the number of steps behind the weights that the network ends with.
        """
        with self.health.watch(self.network):
            return self._run(held_out, on_progress, should_stop)

    def _run(
        self,
        held_out: Callable[[], float] | None,
        on_progress: ProgressCallback,
        should_stop: StopCallback,
    ) -> int:
        best, best_step, best_state = -math.inf, 0, self.network.state_dict()
        for step in range(self.schedule.steps):
            if should_stop():
                raise Stopped
            self._step(step)
            if step % 10 == 0:
                on_progress("training", step, self.schedule.steps)
            if held_out is None or not self._is_check(step + 1):
                continue
            value = held_out()
            if value > best:
                best, best_step = value, step + 1
                best_state = copy.deepcopy(self.network.state_dict())
            elif step + 1 - best_step >= PATIENCE * CHECK_EVERY:
                break
        if held_out is None:
            return self.schedule.steps
        self.network.load_state_dict(best_state)
        return best_step

    def _is_check(self, done: int) -> bool:
        last = done == self.schedule.steps
        return last or (done >= MIN_STEPS and done % CHECK_EVERY == 0)

    def _step(self, step: int) -> None:
        batch = self._batch()
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(step)
        score = self.network(batch.rows, self.tables, self.generator)
        learned, df = self.network.noise()
        likelihood = student_log_density(
            batch.score - score, noise_scale(learned, batch.known_sd), df
        )
        prior = self.network.kl() + self.network.penalty()
        loss = negative_elbo(likelihood, prior, len(self.data))
        if not math.isfinite(loss.item()):
            raise NonFiniteLossError(f"the loss is {loss.item()} at step {step + 1} of training")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    def _batch(self) -> Targets:
        """All rows if they are few, else a draw with replacement."""
        n = len(self.data)
        if n <= BATCH_ROWS:
            return self.data
        picked = torch.randint(n, (BATCH_ROWS,), generator=self.generator)
        return self.data.select(picked.to(self.data.score.device))


def require_rows(n: int, least: int) -> None:
    """Refuse to fit to almost nothing."""
    if n < least:
        raise ScreenError(f"a model needs at least {least} measured blocks, the screen has {n}")
