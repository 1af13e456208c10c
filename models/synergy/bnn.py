"""``bnn_gaussian``: Bayes by backprop over all layers, for scores of pairs in cell lines.

The observation noise is a Student-t (synergy scores have heavy tails) whose squared scale is the
known squared standard error of each block plus a learned part.

How a fit ends. A share of the blocks is held out, training stops where the likelihood of these
under an ensemble of whole-function draws is best, and the network is then trained again on *all*
blocks for that number of steps of the same schedule.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.bayes.layers import GaussianWeight
from models.bayes.training import one_thread, student_log_density
from models.screen import (
    Candidates,
    FloatArray,
    ProgressCallback,
    ScreenError,
    StopCallback,
    never_stop,
    no_progress,
)
from models.synergy.inputs import InputTables, ScoredBlocks, Training
from models.synergy.network import Effects, Network, Sizes
from models.synergy.training import Schedule, Targets, Trainer, noise_scale, require_rows
from models.synergy.worlds import Worlds, nearby

NAME = "bnn_gaussian"
VERSION = 2
MIN_ROWS = 5
HELD_OUT_SHARE = 0.15
MIN_HELD_OUT = 6
"""With fewer held-out blocks than this the whole schedule is run: the KL is the only guard."""
CHECK_DRAWS = 32
ELEMENTS_PER_BLOCK = 1 << 22
"""Candidates times draws evaluated at once: bounds memory to some tens of megabytes."""


@dataclass(frozen=True)
class Scaling:
    """``score = centre + spread * standardised``; ``typical_sd`` is the median known error."""

    centre: float
    spread: float
    typical_sd: float

    @classmethod
    def of(cls, data: ScoredBlocks) -> Scaling:
        """From the training blocks."""
        spread = float(data.score.std())
        typical = float(np.median(data.noise_sd))
        return cls(float(data.score.mean()), spread if spread > 0 else 1.0, typical)


class BnnPosterior:
    """Posterior of ``bnn_gaussian``; see :class:`models.screen.Posterior`.

    ``schedule``: what the fit ran, for refits on more data. ``channels``: how active its channels
    were (:meth:`models.bayes.channel_health.ChannelHealth.report`), ``None`` where unknown.
    """

    model = NAME

    def __init__(
        self,
        network: Network,
        tables: InputTables,
        effects: Effects,
        scaling: Scaling,
        schedule: Schedule,
    ) -> None:
        self.network, self.tables, self.effects = network, tables, effects
        self.scaling, self.schedule = scaling, schedule
        self.channels: dict[str, Any] | None = None
        self._worlds: Worlds | None = None

    @torch.no_grad()
    def draws(self, candidates: Candidates, n: int, seed: int) -> Tensor:
        """``(n, len(candidates))`` float32 noise-free scores of ``n`` whole functions, on the CPU.

        Many candidates are evaluated block by block, neighbours together; order and chunking
        change values by rounding only.
        """
        if n < 1:
            raise ScreenError(f"cannot draw {n} functions")
        self._require_known(candidates)
        worlds, size = self._drawn(n, seed), max(1, ELEMENTS_PER_BLOCK // n)
        if len(candidates) <= size:
            return worlds(candidates).cpu()
        result = torch.empty((n, len(candidates)), dtype=torch.float32)
        order = nearby(candidates, size)
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            result[:, torch.as_tensor(rows)] = worlds(candidates.select(rows)).cpu()
        return result

    def diagnostics(self) -> dict[str, Any]:
        """Steps taken, how far the posterior moved from its prior (KL, nats) and ``channels``."""
        return {
            "kind": "variational",
            "steps": self.schedule.steps,
            "kl": round(float(self.network.kl()), 3),
            "channels": self.channels,
        }

    @property
    def n_parameters(self) -> int:
        """Weights of one drawn function: posterior means, not their spreads."""
        return sum(m.mean.numel() for m in self.network.modules() if isinstance(m, GaussianWeight))

    @property
    def noise_df(self) -> float:
        """Degrees of freedom of the Student-t observation noise."""
        return float(self.network.noise()[1].detach())

    def noise_scale(self, candidates: Candidates) -> Tensor:
        """``(len(candidates),)`` scale of the Student-t noise of a measurement like the others."""
        learned = float(self.network.noise()[0].detach()) * self.scaling.spread
        return torch.full((len(candidates),), math.hypot(learned, self.scaling.typical_sd))

    def noise_sd(self, candidates: Candidates) -> Tensor:
        """``(len(candidates),)`` standard deviation of a measured score around the true one."""
        df = self.noise_df
        return self.noise_scale(candidates) * math.sqrt(df / (df - 2))

    def _drawn(self, n: int, seed: int) -> Worlds:
        """The worlds of the last call are kept: a pool is streamed in many calls."""
        if self._worlds is None or (self._worlds.n, self._worlds.seed) != (n, seed):
            scaling = self.scaling
            self._worlds = Worlds(
                self.network,
                self.tables,
                self.effects,
                n,
                seed,
                centre=scaling.centre,
                spread=scaling.spread,
            )
        return self._worlds

    def _require_known(self, candidates: Candidates) -> None:
        sizes = self.network.sizes
        if len(candidates) and (
            candidates.compounds.min() < 0
            or candidates.compounds.max() >= sizes.n_compounds
            or candidates.cell_line.min() < 0
            or candidates.cell_line.max() >= sizes.n_cell_lines
        ):
            raise ScreenError("a candidate points outside the tables that the model was fitted on")


class BnnGaussian:
    """The model; registered in :data:`models.synergy.registry.MODELS`."""

    name = NAME
    reads_modules = True

    def fit(
        self,
        training: Training,
        *,
        seed: int,
        device: str = "cpu",
        on_progress: ProgressCallback = no_progress,
        should_stop: StopCallback = never_stop,
        schedule: Schedule | None = None,
        refit: bool = True,
    ) -> BnnPosterior:
        """Fit to measured blocks; the order of rows does not matter.

        ``schedule``: run exactly this, without a search. ``refit``: after the search train again
        on all blocks (else the posterior has not seen those that chose the number of steps).
        Raises :class:`ScreenError` for fewer than 5 blocks or values that are not finite,
        ``Stopped``, and :class:`models.bayes.training.NonFiniteLossError`.
        """
        blocks = training.sorted().blocks
        require_rows(len(blocks), MIN_ROWS)
        tables = InputTables.of(training.features, torch.device(device))
        job = _Fit(tables, seed, on_progress, should_stop)
        held_out = round(HELD_OUT_SHARE * len(blocks))
        if schedule is None and held_out < MIN_HELD_OUT:
            schedule = Schedule.for_rows(len(blocks))
        if schedule is not None:
            return job.run(blocks, None, schedule)
        mask = np.zeros(len(blocks), dtype=bool)
        mask[np.random.default_rng(seed).permutation(len(blocks))[:held_out]] = True
        searched = job.run(blocks.select(~mask), blocks.select(mask), None)
        return job.run(blocks, None, searched.schedule) if refit else searched

    def save(self, posterior: BnnPosterior) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors for safetensors and metadata for JSON; :meth:`load` gives the same draws."""
        tensors = {f"network.{k}": v for k, v in posterior.network.state_dict().items()}
        tensors |= {
            "tables.compounds": posterior.tables.compounds,
            "tables.cell_lines": posterior.tables.cell_lines,
            "tables.curves": posterior.tables.curves,
            "effects.singles": torch.from_numpy(posterior.effects.singles),
            "effects.pairs": torch.from_numpy(posterior.effects.pairs),
        }
        metadata = {
            "model": NAME,
            "version": VERSION,
            "sizes": dataclasses.asdict(posterior.network.sizes),
            "scaling": dataclasses.asdict(posterior.scaling),
            "schedule": dataclasses.asdict(posterior.schedule),
            "channels": posterior.channels,
        }
        return {k: v.detach().cpu().contiguous() for k, v in tensors.items()}, metadata

    def load(
        self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], device: str = "cpu"
    ) -> BnnPosterior:
        """Rebuild a saved posterior. Raises :class:`ScreenError` for another model or version."""
        if (metadata.get("model"), metadata.get("version")) != (NAME, VERSION):
            found = f"{metadata.get('model')} version {metadata.get('version')}"
            raise ScreenError(f"cannot load {found} as {NAME} version {VERSION}")
        network = Network(Sizes(**metadata["sizes"]), torch.Generator().manual_seed(0))
        prefix = "network."
        network.load_state_dict(
            {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        )
        names = ("compounds", "cell_lines", "curves")
        posterior = BnnPosterior(
            network.to(device),
            InputTables(*(tensors[f"tables.{name}"].to(device) for name in names)),
            Effects(tensors["effects.singles"].numpy(), tensors["effects.pairs"].numpy()),
            Scaling(**metadata["scaling"]),
            Schedule(**metadata["schedule"]),
        )
        posterior.channels = metadata.get("channels")
        return posterior


@dataclass(frozen=True)
class _Fit:
    """What all trainings of one fit share."""

    tables: InputTables
    seed: int
    on_progress: ProgressCallback
    should_stop: StopCallback

    def run(
        self, train: ScoredBlocks, held_out: ScoredBlocks | None, schedule: Schedule | None
    ) -> BnnPosterior:
        """Train one network; with ``held_out`` search for the number of steps."""
        plan = schedule or Schedule.for_rows(len(train))
        posterior = self._start(train, plan)
        generator = torch.Generator().manual_seed(self.seed + 1)
        targets = _targets(posterior, train)
        trainer = Trainer(posterior.network, self.tables, targets, plan, generator)
        judge = None if held_out is None else _Judge(posterior, held_out, self.seed + 2)
        with one_thread():
            steps = trainer.run(judge, self.on_progress, self.should_stop)
        posterior.network.forget_unmeasured(targets.rows)
        posterior.network.requires_grad_(False)
        posterior.schedule = Schedule(steps, plan.horizon)
        posterior.channels = trainer.health.report()
        posterior._worlds = None
        return posterior

    def _start(self, train: ScoredBlocks, plan: Schedule) -> BnnPosterior:
        tables = self.tables
        shape = (tables.n_compounds, tables.n_cell_lines)
        effects = Effects.of(train.candidates, *shape)
        sizes = Sizes(
            *shape,
            fingerprint=tables.compounds.shape[1],
            features=tables.cell_lines.shape[1],
            curve=tables.curves.shape[1],
            n_single_effects=len(effects.singles),
            n_pair_effects=len(effects.pairs),
        )
        network = Network(sizes, torch.Generator().manual_seed(self.seed))
        network.to(tables.compounds.device)
        return BnnPosterior(network, tables, effects, Scaling.of(train), plan)


@dataclass(frozen=True)
class _Judge:
    """Held-out log likelihood of an ensemble of whole functions: mean over blocks of
    log mean_s p(y | f_s), nats, in standardised units."""

    posterior: BnnPosterior
    held_out: ScoredBlocks
    seed: int

    @torch.no_grad()
    def __call__(self) -> float:
        posterior = self.posterior
        posterior._worlds = None
        targets = _targets(posterior, self.held_out)
        draws = posterior.draws(self.held_out.candidates, CHECK_DRAWS, self.seed)
        score = (draws.to(targets.score.device) - posterior.scaling.centre) / (
            posterior.scaling.spread
        )
        learned, df = posterior.network.noise()
        scale = noise_scale(learned, targets.known_sd)
        density = student_log_density(targets.score - score, scale, df)
        return float((torch.logsumexp(density, 0) - math.log(CHECK_DRAWS)).mean())


def _targets(posterior: BnnPosterior, blocks: ScoredBlocks) -> Targets:
    """Blocks in standardised units on the device of the posterior."""
    tables, scaling = posterior.tables, posterior.scaling
    device = tables.compounds.device

    def on_device(values: FloatArray) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=device)

    rows = posterior.effects.rows(
        blocks.candidates, tables.n_compounds, tables.n_cell_lines, device
    )
    score = on_device((blocks.score - scaling.centre) / scaling.spread)
    return Targets(rows, score, on_device(blocks.noise_sd / scaling.spread))
