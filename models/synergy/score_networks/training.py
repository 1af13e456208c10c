"""Training a score network: the losses of its forms, early stopping, and going on after a kill.

The noise is a Student-t, fitted to the *detached* residuals; the weights are fitted under the
Gaussian of the same variance. Under the Student-t itself the far-out scores of a screen stay
unexplained though they repeat from pair to pair: once they are called outliers, their gradient is
gone (O'Neil, 12,000 blocks: correlation 0.72 against 0.77 on held-out ones).

Loss of one member with N training rows, whatever the minibatch: mean of -log p(y | f) plus minus
log prior / N (ensembles), or KL / N (posteriors). Both grow to their full weight over the first
half of the horizon, before early stopping may answer: from the start they would take away weights
whose use shows late (at full weight at once, concatenation networks learn little).

All members see the same minibatches and differ by their starts, and in randomised-prior form by
their fixed networks and their own noise on the targets.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from models.bayes.channel_health import ChannelHealth
from models.bayes.dropout import warm_up
from models.bayes.ensembles import log_density
from models.bayes.training import NonFiniteLossError, student_log_density
from models.screen import ProgressCallback, ScreenError, StopCallback, Stopped
from models.synergy import training as shared
from models.synergy.inputs import InputTables
from models.synergy.score_networks.architecture import Outputs, Rows
from models.synergy.score_networks.network import Form, ScoreModule
from models.synergy.training import Schedule, noise_scale

BATCH_ROWS = 512
WARM_UP_SHARE = 0.5
"""Share of the horizon over which priors grow to their full weight."""
SAVE_EVERY = 100
"""Steps between checkpoints."""


class Checkpoint(Protocol):
    """Where an unfinished fit is kept."""

    def load(self) -> dict[str, Tensor] | None:
        """The last state saved, or ``None``."""
        ...

    def save(self, state: dict[str, Tensor]) -> None:
        """Keep ``state`` instead of any before, all of it or nothing."""
        ...


@dataclass(frozen=True)
class Data:
    """Training rows in standardised units, ``(rows,)`` each.

    ``fixed``: scores of the fixed prior networks and ``noise``: standard normal numbers for the
    targets, ``(members, rows)`` each in randomised-prior form.
    """

    rows: Rows
    score: Tensor
    known_sd: Tensor
    fixed: Tensor | None = None
    noise: Tensor | None = None

    def __len__(self) -> int:
        return len(self.score)

    def select(self, index: Tensor) -> Data:
        """The rows at ``index``."""
        return Data(
            self.rows.select(index),
            self.score[index],
            self.known_sd[index],
            None if self.fixed is None else self.fixed[:, index],
            None if self.noise is None else self.noise[:, index],
        )


def loss_of(
    module: ScoreModule, outputs: Outputs, data: Data, prior_terms: Tensor, n_rows: int
) -> Tensor:
    """Loss to minimise, a scalar: summed over members, a mean over worlds of a posterior.

    With noise on the targets the weights see the perturbed ones, in the present standard deviation,
    and the noise is learned from the true ones. A second head is fitted to detached residuals, too
    (see :mod:`models.bayes.ensembles`).
    """
    learned, df = module.noise()
    scale = noise_scale(learned, data.known_sd)
    score = outputs.score if data.fixed is None else outputs.score + data.fixed
    residual = data.score - score
    apart = residual.detach()
    noise = student_log_density(apart, scale, df)
    if outputs.log_scale is not None:
        own = noise_scale(torch.exp(outputs.log_scale), data.known_sd)
        noise = noise + student_log_density(apart, own, df.detach())
    sd = (scale * torch.sqrt(df / (df - 2))).detach()
    shifted = residual if data.noise is None else residual + sd * data.noise
    fit = -(log_density(shifted, sd) + noise).mean(1)
    prior = (prior_terms + module.noise_penalty()) / n_rows
    if module.form.variational:
        return fit.mean() + prior.sum()
    return (fit + prior).sum()


def schedule_for(n: int, form: Form) -> Schedule:
    """The whole horizon for ``n`` rows: 400 steps, and one more for each fifteen rows.

    Twice that for families that prune, because they first remove what they later find useful.
    """
    horizon = min(400 + n // 15, 2400) * (2 if form.prunes else 1)
    return Schedule(horizon, horizon)


class Trainer:
    """One optimisation of one network. Deterministic under ``seed`` on one device.

    ``checkpoint``: asked for a state at the start of :meth:`run`, given one every ``SAVE_EVERY``
    steps; ``header``: tensors saved with it, which say what the fit is. ``health``: which of the
    channels of all members were active.
    """

    def __init__(
        self,
        module: ScoreModule,
        tables: InputTables,
        data: Data,
        schedule: Schedule,
        seed: int,
        checkpoint: Checkpoint | None = None,
        header: dict[str, Tensor] | None = None,
    ) -> None:
        self.module, self.tables, self.data, self.schedule = module, tables, data, schedule
        self.generator = torch.Generator().manual_seed(seed)
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(self.parameters, lr=1.0, fused=True)
        self.checkpoint, self.header = checkpoint, header or {}
        self.warm_up_steps = int(WARM_UP_SHARE * schedule.horizon)
        self.health = ChannelHealth()
        self.step = 0
        self.best, self.best_step = -math.inf, 0
        self.best_state = self._weights()

    def run(
        self,
        held_out: Callable[[], float] | None,
        on_progress: ProgressCallback,
        should_stop: StopCallback,
        state: dict[str, Tensor] | None = None,
    ) -> int:
        """Train; with ``held_out`` (higher is better) stop early and restore the best weights.

        ``state``: go on from there. Returns the number of steps behind the final weights.
        """
        if state is not None:
            self._restore(state)
        with self.health.watch():
            self._steps(held_out, on_progress, should_stop)
        if held_out is None:
            return self.schedule.steps
        self.module.load_state_dict(self.best_state)
        return self.best_step

    def _steps(
        self,
        held_out: Callable[[], float] | None,
        on_progress: ProgressCallback,
        should_stop: StopCallback,
    ) -> None:
        """Those that are left, or until held-out blocks have had enough."""
        while self.step < self.schedule.steps:
            if should_stop():
                raise Stopped
            self._train()
            if self.step % 10 == 1:
                on_progress("training", self.step - 1, self.schedule.steps)
            if held_out is not None and self._is_check() and not self._improves(held_out()):
                break
            if self.checkpoint is not None and self.step % SAVE_EVERY == 0:
                self.checkpoint.save(self.header | self._state())

    def _improves(self, value: float) -> bool:
        """Note the value; false when there has been no better one for too long.

        A posterior is guarded by its KL and runs to the end: its checks are noisy draws.
        """
        if value > self.best:
            self.best, self.best_step, self.best_state = value, self.step, self._weights()
            return True
        waited = self.step - self.best_step
        return self.module.form.variational or waited < shared.PATIENCE * shared.CHECK_EVERY

    def _is_check(self) -> bool:
        last = self.step == self.schedule.steps
        ready = self.step >= max(shared.MIN_STEPS, self.warm_up_steps)
        return last or (ready and self.step % shared.CHECK_EVERY == 0)

    def _train(self) -> None:
        """One step."""
        batch = self._batch()
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(self.step)
        outputs = self.module.training_outputs(batch.rows, self.tables, self.generator)
        terms = self.module.prior_terms(self.generator) * warm_up(self.step, self.warm_up_steps)
        loss = loss_of(self.module, outputs, batch, terms, len(self.data))
        self.step += 1
        if not math.isfinite(loss.item()):
            raise NonFiniteLossError(f"the loss is {loss.item()} at step {self.step} of training")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    def _batch(self) -> Data:
        """All rows if they are few, else a draw with replacement."""
        n = len(self.data)
        if n <= BATCH_ROWS:
            return self.data
        picked = torch.randint(n, (BATCH_ROWS,), generator=self.generator)
        return self.data.select(picked.to(self.data.score.device))

    def _weights(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.module.state_dict().items()}

    def _state(self) -> dict[str, Tensor]:
        """Everything that the next step depends on."""
        state = {f"network.{name}": tensor for name, tensor in self._weights().items()}
        state |= {f"best.{name}": tensor for name, tensor in self.best_state.items()}
        for number, parameter in enumerate(self.parameters):
            for key, tensor in self.optimizer.state[parameter].items():
                state[f"optimizer.{number}.{key}"] = tensor.detach().clone()
        state |= {f"channels.{name}": tensor for name, tensor in self.health.state().items()}
        state["generator"] = self.generator.get_state()
        state["progress"] = torch.tensor([self.step, self.best_step])
        state["best_value"] = torch.tensor([self.best], dtype=torch.float64)
        return {name: tensor.cpu() for name, tensor in state.items()}

    def _restore(self, state: dict[str, Tensor]) -> None:
        """Inverse of :meth:`_state`. :class:`ScreenError` for a state of another network."""
        device = self.module.log_noise.device
        try:
            self.module.load_state_dict(_under("network.", state))
        except RuntimeError as error:
            raise ScreenError(f"the checkpoint is of another network: {error}") from None
        self.best_state = {k: v.to(device).clone() for k, v in _under("best.", state).items()}
        for number, parameter in enumerate(self.parameters):
            self.optimizer.state[parameter] = {
                key: tensor.to(device).clone()
                for key, tensor in _under(f"optimizer.{number}.", state).items()
            }
        self.health.restore(_under("channels.", state))
        self.generator.set_state(state["generator"])
        self.step, self.best_step = (int(value) for value in state["progress"])
        self.best = float(state["best_value"])


def _under(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
