"""Training of the perturbation VAE: the loss, the schedule, and stopping where one left off.

Loss per cell, a mean over minibatches without replacement:
    -log p(x | z, shift, a) + KL(z) + sum_p w_ip KL_p + v_i KL_e + KL_rest / n
    + beta KL_counterfactual + weight |D S - change| + lambda |sigmoid(W)|_1 / (t m)
w and v are plate weights that sum to 1 over an epoch, so that every global is counted once. The
last line holds penalties: with any of them the loss is not a bound. All of them are means over
cells and do not depend on the size of the minibatch.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.bayes.channel_health import ChannelHealth
from models.bayes.training import NonFiniteLossError, one_thread
from models.perturbation.vae.alignment import Alignment, alignment_loss
from models.perturbation.vae.module import PerturbationVae
from models.perturbation.vae.prepared import Prepared, Rows
from models.perturbation.vae.reorient import reorient
from models.screen import (
    ProgressCallback,
    ScreenError,
    StopCallback,
    Stopped,
    never_stop,
    no_progress,
)


@dataclass(frozen=True)
class TrainingPlan:
    """How long and how hard to train.

    ``rate``: highest learning rate of the networks; ``mask_rate``: of masks, effects, interaction.
    ``sparsity``: lambda. ``counterfactual``: beta. ``warm_up``: share of the steps over which the
    learning rate rises. ``last_rate``: share of the rate at the end of the cosine. ``patience``:
    epochs without a better held-out loss after which training stops (0: never).
    ``warm_masks``: share of the steps over which the KL of masks and effects rises to its weight.
    """

    epochs: int
    batch_cells: int = 256
    rate: float = 3e-3
    mask_rate: float = 3e-2
    warm_up: float = 0.05
    last_rate: float = 0.02
    patience: int = 0
    sparsity: float = 0.0
    counterfactual: float = 0.0
    warm_masks: float = 0.0
    particles: int = 1
    dense: float = 0.0
    clip: float = 100.0

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch_cells, self.particles) < 1 or self.rate <= 0:
            raise ScreenError("epochs, cells of a minibatch, particles and rate must be positive")


@dataclass(frozen=True)
class LossParts:
    """Terms of the loss per cell, unweighted scalars in nats; :meth:`total` weighs them."""

    reconstruction: Tensor
    basal: Tensor
    plates: Tensor
    shared: Tensor
    counterfactual: Tensor
    alignment: Tensor
    sparsity: Tensor

    def total(self, plan: TrainingPlan, alignment: Alignment | None, warm: float = 1.0) -> Tensor:
        """The loss. ``warm``: weight of the plated KL."""
        weight = 0.0 if alignment is None else alignment.weight
        bound = self.reconstruction + self.basal + warm * self.plates + self.shared
        return (
            bound
            + plan.counterfactual * self.counterfactual
            + weight * self.alignment
            + plan.sparsity * self.sparsity
        )

    def worst(self) -> str:
        """Name of the first part that is not finite."""
        bad = [name for name, value in vars(self).items() if not math.isfinite(value.item())]
        return bad[0] if bad else "the sum"


@dataclass(frozen=True)
class Objective:
    """A model, the cells of an epoch and what is asked of them."""

    model: PerturbationVae
    data: Prepared
    plan: TrainingPlan
    alignment: Alignment | None
    row_of_column: Tensor

    def parts(
        self, rows: Rows, generator: torch.Generator, nominal: int, dense: bool = False
    ) -> LossParts:
        """Terms for a minibatch; sums over its cells are divided by ``nominal`` cells."""
        model = self.model
        draw = model.draw(generator, dense)
        shift = model.shift(rows.doses, draw.effects.shift(), draw.interaction, self.data.pairs)
        moments = model.encode(rows.inputs, shift, rows.flag, draw.artifact)
        z, basal_kl = model.basal(moments, generator)
        raw = model.decode(z, shift, rows.flag, draw.artifact)
        seen = model.observation.log_likelihood(raw, rows.values, rows.library)
        plates = (rows.plates @ draw.effects.kl).sum() + rows.artifact_plate.sum() * (
            model.artifact_kl()
        )
        shared = model.global_kl() * (len(rows) / len(self.data.rows))
        zero = seen.new_zeros(())
        other = zero
        if self.plan.counterfactual and draw.artifact is not None:
            chosen = rows.has_likeness
            away = model.counterfactual_kl(moments, rows.likeness, shift, draw)
            other = (chosen * away).sum() / chosen.sum().clamp(min=1)
        aligned = zero
        if self.alignment is not None:
            doses = model.doses.rows(model.doses.activity(rows.doses))
            aligned = alignment_loss(
                self.alignment.way,
                model.effects,
                self.row_of_column,
                self.alignment.hops,
                doses,
                rows.change,
            )
        return LossParts(
            -seen.sum() / nominal,
            basal_kl.sum() / nominal,
            plates / nominal,
            shared / nominal,
            other,
            aligned,
            model.effects.probabilities().mean(),
        )


class Trainer:
    """One optimisation; a checkpoint taken at any step continues to the same bits.

    ``health``: which channels of the networks were active.
    """

    def __init__(self, objective: Objective, seed: int, held_out: Prepared | None = None) -> None:
        self.objective, self.seed, self.held_out = objective, seed, held_out
        self.generator = torch.Generator().manual_seed(seed)
        plan = objective.plan
        effects = objective.model.effects
        masks = [effects.logits, effects.mean, effects.log_sd]
        if objective.model.interaction is not None:
            masks += list(objective.model.interaction.parameters())
        fast = {id(parameter) for parameter in masks}
        rest = [p for p in objective.model.parameters() if id(p) not in fast]
        self.optimizer = torch.optim.Adam(
            [{"params": rest, "height": plan.rate}, {"params": masks, "height": plan.mask_rate}],
            lr=plan.rate,
            fused=True,
        )
        self.health = ChannelHealth()
        self.step = 0
        self.history: list[float] = []
        self.best: dict[str, Tensor] | None = None

    @property
    def steps_an_epoch(self) -> int:
        """Minibatches that hold all cells once."""
        return math.ceil(len(self.objective.data.rows) / self.objective.plan.batch_cells)

    @property
    def n_steps(self) -> int:
        """Steps of the whole schedule."""
        return self.steps_an_epoch * self.objective.plan.epochs

    def run(
        self,
        on_progress: ProgressCallback = no_progress,
        should_stop: StopCallback = never_stop,
    ) -> None:
        """Train to the end of the schedule (or of patience); with held-out cells keep the best.

        Raises ``Stopped`` between two steps, after which :meth:`checkpoint` is good, and
        :class:`NonFiniteLossError`.
        """
        with one_thread(), self.health.watch(self.objective.model):
            while self.step < self.n_steps and not self._exhausted():
                if should_stop():
                    raise Stopped
                self._advance()
                on_progress("training", self.step, self.n_steps)
        if self.best is not None:
            self.objective.model.load_state_dict(self.best)

    def checkpoint(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that decides what comes next: tensors and JSON-able numbers."""
        tensors = {f"model.{k}": v for k, v in self.objective.model.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": v for k, v in state.items()}
        tensors |= {f"best.{k}": v for k, v in (self.best or {}).items()}
        tensors |= {f"channels.{k}": v for k, v in self.health.state().items()}
        tensors["generator"] = self.generator.get_state()
        numbers = {"step": self.step, "seed": self.seed, "history": list(self.history)}
        return {k: v.detach().clone() for k, v in tensors.items()}, numbers

    def resume(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Continue from a checkpoint of a trainer of the same data, plan and seed."""
        if numbers["seed"] != self.seed:
            raise ScreenError(f"the checkpoint is of seed {numbers['seed']}, not {self.seed}")
        self.objective.model.load_state_dict(_under("model.", tensors))
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in _under("optimizer.", tensors).items():
            index, key = name.split(".")
            state.setdefault(int(index), {})[key] = value.clone()
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.health.restore(_under("channels.", tensors))
        self.generator.set_state(tensors["generator"])
        self.best = {k: v.clone() for k, v in _under("best.", tensors).items()} or None
        self.step, self.history = int(numbers["step"]), list(numbers["history"])

    def held_out_loss(self) -> float:
        """Bound per held-out cell of z alone, nats: globals are what they are."""
        if self.held_out is None:
            raise ScreenError("no cells were held out")
        rows, model = self.held_out.rows, self.objective.model
        generator = torch.Generator().manual_seed(self.seed + 1)
        with torch.no_grad():
            draw = model.draw(generator)
            shift = model.shift(
                rows.doses, draw.effects.shift(), draw.interaction, self.held_out.pairs
            )
            z, kl = model.basal(
                model.encode(rows.inputs, shift, rows.flag, draw.artifact), generator
            )
            raw = model.decode(z, shift, rows.flag, draw.artifact)
            seen = model.observation.log_likelihood(raw, rows.values, rows.library)
            return float((kl - seen.sum(-1)).mean())

    def _advance(self) -> None:
        plan, model = self.objective.plan, self.objective.model
        if plan.dense and self.step == round(plan.dense * self.n_steps):
            reorient(model, self.seed)
            self.optimizer.state.clear()
        dense = self.step < round(plan.dense * self.n_steps)
        rows = self._batch()
        share = self._share()
        for group in self.optimizer.param_groups:
            group["lr"] = group["height"] * share
        warm = 1.0
        if plan.warm_masks:
            warm = min(1.0, self.step / (plan.warm_masks * self.n_steps))
        self.optimizer.zero_grad(set_to_none=True)
        for _ in range(plan.particles):
            nominal = min(plan.batch_cells, len(self.objective.data.rows))
            parts = self.objective.parts(rows, self.generator, nominal, dense)
            loss = parts.total(plan, self.objective.alignment, warm)
            if not math.isfinite(loss.item()):
                raise NonFiniteLossError(
                    f"the loss is {loss.item()} at step {self.step + 1}: {parts.worst()}"
                )
            (loss / plan.particles).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), plan.clip)
        self.optimizer.step()
        self.step += 1
        if self.held_out is not None and self.step % self.steps_an_epoch == 0:
            self._judge()

    def _batch(self) -> Rows:
        """The next cells of this epoch's order, which follows from seed and epoch alone."""
        epoch, position = divmod(self.step, self.steps_an_epoch)
        rows, size = self.objective.data.rows, self.objective.plan.batch_cells
        if len(rows) <= size:
            return rows
        if epoch != getattr(self, "_epoch", None):
            generator = torch.Generator().manual_seed(1_000_003 * (self.seed + 1) + epoch)
            self._order, self._epoch = torch.randperm(len(rows), generator=generator), epoch
        return rows.select(self._order[position * size : (position + 1) * size])

    def _share(self) -> float:
        """Part of the highest learning rate at this step: warm-up, then a cosine."""
        plan, done = self.objective.plan, self.step / self.n_steps
        warm = min(1.0, (self.step + 1) / (plan.warm_up * self.n_steps + 1))
        cosine = 0.5 * (1 + math.cos(math.pi * done))
        return warm * (plan.last_rate + (1 - plan.last_rate) * cosine)

    def _judge(self) -> None:
        loss = self.held_out_loss()
        if not self.history or loss < min(self.history):
            self.best = copy.deepcopy(self.objective.model.state_dict())
        self.history.append(loss)

    def _exhausted(self) -> bool:
        patience = self.objective.plan.patience
        if not patience or len(self.history) <= patience:
            return False
        return min(self.history[-patience:]) > min(self.history)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
