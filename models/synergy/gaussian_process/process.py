"""``gp_pairs``: a Gaussian process over pairs of compounds in cell lines, exact where it can be.

Hyperparameters: maximum of the marginal likelihood (Rasmussen & Williams 2006, eq. 5.8), by Adam on
subsets that change from step to step and are, in turn, random blocks, some pairs in all their
lines and some lines with all their pairs. Random blocks alone are too far from each other to
show what neighbours share.

Posterior: exact up to ``EXACT_ROWS`` blocks, above that by variational inducing blocks (Titsias
2009). Draws are whole functions by pathwise conditioning (Wilson et al. 2020): a draw of the
prior plus the kernel's correction of what it gets wrong at the data.

Observations: independent Gaussian noise of known standard error times a learned factor, plus a
learned part. A forecast is a Student-t whose tails, and a factor on its spread, come from
leave-one-out residuals of all data (:mod:`.tails`).
Blocks that failed (:mod:`.failures`) do not teach the process; a draw is what a measurement on the
screen's own plates would show, so where neighbours failed some draws fail.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.pharmacology.random_numbers import combine
from models.screen import (
    Candidates,
    FloatArray,
    ProgressCallback,
    ScreenError,
    StopCallback,
    Stopped,
    never_stop,
    no_progress,
)
from models.synergy.gaussian_process.failures import Failures, untreated_gap
from models.synergy.gaussian_process.kernel import Kernel, Rows, Tables
from models.synergy.gaussian_process.layout import block_means, compound_groups
from models.synergy.gaussian_process.learning import Learned, Standardised, learn
from models.synergy.gaussian_process.module_terms import ModuleTables, describe
from models.synergy.gaussian_process.prior_draws import PriorDraws
from models.synergy.gaussian_process.solving import CHUNK, Solver, exact_or_inducing
from models.synergy.gaussian_process.tails import PROBES, Tails, learn_tails
from models.synergy.inputs import ScoredBlocks, Training
from models.synergy.training import Schedule, require_rows

NAME = "gp_pairs"
PLAIN_NAME = "plain_gp"
VERSION = 2
MIN_ROWS = 5
STEPS = 36


@dataclass(frozen=True)
class Scale:
    """``score = centre + spread * standardised``. ``typical_sd``: median known error.
    ``per_gap``: score of a failed block divided by the gap that it leaves, percentage points."""

    centre: float
    spread: float
    typical_sd: float
    per_gap: float


@dataclass(frozen=True)
class GpSchedule(Schedule):
    """``learned``: hyperparameters of an earlier fit to most of the same data; a refit takes
    them as they are and only conditions on all of it."""

    learned: Learned | None = None


class GpPosterior:
    """Posterior of ``gp_pairs``; see :class:`models.screen.Posterior`.

    The factor of the covariance of the data is computed at the first call and kept.
    """

    def __init__(
        self,
        model: str,
        tables: Tables,
        training: Rows,
        target: Tensor,
        known: Tensor,
        learned: Learned,
        failures: Failures,
        scale: Scale,
        steps: int,
        tails: Tails | None = None,
    ) -> None:
        self.model = model
        self.tables, self.training, self.learned = tables, training, learned
        self.target, self.known, self.failures, self.scale = target, known, failures, scale
        self.schedule: Schedule = GpSchedule(steps, steps, learned)
        self._solver: Solver | None = None
        self.tails = tails or learn_tails(self._solved().left_out(PROBES).cpu().double().numpy())
        self._drawn: tuple[int, int, PriorDraws, Tensor] | None = None

    @torch.no_grad()
    def draws(self, candidates: Candidates, n: int, seed: int) -> Tensor:
        """``(n, len(candidates))`` float32 scores of ``n`` whole functions, on the CPU."""
        if n < 1:
            raise ScreenError(f"cannot draw {n} functions")
        order = np.argsort(candidates.cell_line, kind="stable")
        rows = self._rows(candidates.select(order))
        prior, weight = self._conditioned(n, seed)
        solver = self._solved()
        result = torch.empty((n, len(candidates)), dtype=torch.float32)
        for start in range(0, len(candidates), CHUNK):
            part = rows.select(slice(start, start + CHUNK))
            values = prior(part) + solver.cross(part) @ weight
            values = self.scale.centre + self.scale.spread * values.T.float().cpu()
            at = order[start : start + CHUNK]
            keys = candidates.select(at).keys(10**6)
            result[:, torch.as_tensor(at)] = self._failing(values, part, keys, seed)
        return result

    counted = (
        "hyperparameters of kernel and noise. The process itself keeps every block, so their "
        "count says nothing of what it could reproduce: permuted labels do"
    )

    @property
    def n_parameters(self) -> int:
        """Hyperparameters of the kernel, and the two of the noise."""
        return sum(p.numel() for p in self.learned.kernel.parameters()) + 2

    @property
    def noise_df(self) -> float:
        """Degrees of freedom of the Student-t observation noise."""
        return self.tails.df

    def noise_scale(self, candidates: Candidates) -> Tensor:
        """``(len(candidates),)`` scale of the Student-t noise of a measurement like the others."""
        known = np.full(len(candidates), self.scale.typical_sd)
        return torch.as_tensor(self.noise_scale_given(candidates, known), dtype=torch.float32)

    def noise_scale_given(self, candidates: Candidates, noise_sd: FloatArray) -> FloatArray:
        """``(m,)`` scale of the noise of measurements with these standard errors."""
        learned, spread = self.learned, self.scale.spread
        variance = learned.extra_variance * spread**2 + learned.known_factor * noise_sd**2
        return (
            np.asarray(np.sqrt(variance * (self.noise_df - 2) / self.noise_df)) * self.tails.spread
        )

    def noise_sd(self, candidates: Candidates) -> Tensor:
        """``(len(candidates),)`` standard deviation of a measured score around the true one."""
        return self.noise_scale(candidates) * math.sqrt(self.noise_df / (self.noise_df - 2))

    def failure_probability(self, candidates: Candidates) -> Tensor:
        """``(len(candidates),)`` probability that a block reads as untreated on these plates."""
        return self.failures.probability(self._rows(candidates), self.training, self.tables)

    def diagnostics(self) -> dict[str, Any]:
        """What was learned: steps, marginal likelihood a row, blocks left out as failed."""
        return {
            "kind": "marginal likelihood",
            "steps": self.schedule.steps,
            "log_evidence_per_block": round(self.learned.log_evidence, 4),
            "left_out_spread": round(self.tails.spread, 4),
            "left_out_judged": self.tails.judged,
            "failed_blocks": int((~self.failures.usable).sum()),
            "inference": "exact" if self._solved().is_exact else "inducing blocks",
            **self._modules(),
        }

    def _modules(self) -> dict[str, Any]:
        """What the modules came to weigh; nothing where there are none."""
        found = describe(self.tables.modules, self.learned.kernel.log_modules)
        return {"modules": found} if found else {}

    def _rows(self, candidates: Candidates) -> Rows:
        n, lines = self.tables.n_compounds, self.tables.n_cell_lines
        if len(candidates) and (
            candidates.compounds.min() < 0
            or candidates.compounds.max() >= n
            or candidates.cell_line.min() < 0
            or candidates.cell_line.max() >= lines
        ):
            raise ScreenError("a candidate points outside the tables that the model was fitted on")
        return Rows.of(candidates, lines, self.tables.lines.device)

    def _solved(self) -> Solver:
        if self._solver is None:
            usable = torch.as_tensor(self.failures.usable)
            at = torch.nonzero(usable)[:, 0].to(self.target.device)
            noise = self.learned.noise_variance(self.known[at])
            rows = self.training.select(at)
            self._solver = exact_or_inducing(
                self.learned.kernel, self.tables, rows, self.target[at], noise
            )
        return self._solver

    def _conditioned(self, n: int, seed: int) -> tuple[PriorDraws, Tensor]:
        """The prior functions of the last call and the weights that condition them."""
        if self._drawn is None or self._drawn[:2] != (n, seed):
            prior = PriorDraws(self.learned.kernel, self.tables, n, seed)
            self._drawn = (n, seed, prior, self._solved().weights(prior, seed + 1))
        return self._drawn[2], self._drawn[3]

    def _failing(self, values: Tensor, rows: Rows, keys: np.ndarray, seed: int) -> Tensor:
        """Let each block fail in its share of the draws; which ones depends on block and seed."""
        chance = self.failures.probability(rows, self.training, self.tables)
        address = combine(keys, np.full(len(keys), seed))
        offset = torch.as_tensor((address >> np.uint64(11)).astype(np.float64) * 2.0**-53)
        n = len(values)
        place = (torch.arange(n, dtype=torch.float64)[:, None] + 0.5) / n + offset
        fails = (place % 1.0).float() < chance
        failed = self.scale.per_gap * untreated_gap(rows, self.tables).cpu()
        return torch.where(fails, failed.expand_as(values), values)


class GpPairs:
    """The model; registered in :data:`models.synergy.registry.MODELS`.

    ``plain``: a reference to compare with, called "plain_gp": the kernel as it starts, nothing
    learned of its weights, of plates or of failed blocks.
    """

    def __init__(self, *, plain: bool = False) -> None:
        self.plain = plain
        self.name = PLAIN_NAME if plain else NAME
        self.reads_modules = not plain

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
    ) -> GpPosterior:
        """Fit to measured blocks; the order of rows does not matter, nothing is held out inside.

        Raises :class:`ScreenError` for fewer than 5 usable blocks, ``Stopped``, and
        :class:`models.bayes.training.NonFiniteLossError`.
        """
        training = training.sorted()
        if self.plain:
            training = replace(training, features=replace(training.features, modules=()))
        blocks = training.blocks
        require_rows(len(blocks), MIN_ROWS)
        groups = np.eye(len(training.features.compounds)) if self.plain else _groups(training)
        tables = Tables.of(training.features, groups, torch.device(device))
        rows = Rows.of(blocks.candidates, tables.n_cell_lines, tables.lines.device)
        unknown = np.full(len(blocks), np.nan)
        failures = Failures.find(rows, tables, unknown if self.plain else _viability(training))
        require_rows(int(failures.usable.sum()), MIN_ROWS)
        scale = _scale(blocks, failures, untreated_gap(rows, tables).cpu().numpy())
        target = _on(tables, (blocks.score - scale.centre) / scale.spread)
        known = _on(tables, (blocks.noise_sd / scale.spread) ** 2)
        usable = torch.nonzero(torch.as_tensor(failures.usable))[:, 0].to(rows.a.device)
        data = Standardised(rows.select(usable), target[usable], known[usable])
        steps = (0 if self.plain else STEPS) if schedule is None else schedule.steps
        learned = _earlier(schedule, tables)
        if learned is None:
            learned = learn(tables, data, steps, seed, on_progress, should_stop)
        if should_stop():
            raise Stopped
        on_progress("solving", 0, 1)
        return GpPosterior(self.name, tables, rows, target, known, learned, failures, scale, steps)

    def save(self, posterior: GpPosterior) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors for safetensors and metadata for JSON; :meth:`load` gives the same draws."""
        tensors = {f"kernel.{k}": v for k, v in posterior.learned.kernel.state_dict().items()}
        tables, modules = posterior.tables, posterior.tables.modules
        tensors |= {f"tables.{name}": getattr(tables, name) for name in _TABLES}
        for row, module in enumerate(modules):
            tensors[f"modules.{row}.compounds"] = module.compounds
            tensors[f"modules.{row}.pairs"] = module.pairs
        tensors |= {f"rows.{f.name}": getattr(posterior.training, f.name) for f in _fields(Rows)}
        tensors |= {
            "target": posterior.target,
            "known": posterior.known,
            "failed": posterior.failures.failed,
            "failed_weight": posterior.failures.weight,
        }
        metadata = {
            "model": posterior.model,
            "version": VERSION,
            "scale": dataclasses.asdict(posterior.scale),
            "learned": posterior.learned.numbers(),
            "tails": dataclasses.asdict(posterior.tails),
            "failed_base": posterior.failures.base,
            "steps": posterior.schedule.steps,
        }
        if modules:
            metadata["modules"] = [{"name": one.name, "skill": one.skill} for one in modules]
        return {k: v.detach().cpu().contiguous() for k, v in tensors.items()}, metadata

    def load(
        self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], device: str = "cpu"
    ) -> GpPosterior:
        """Rebuild a saved posterior. Raises :class:`ScreenError` for another model or version."""
        if (metadata.get("model"), metadata.get("version")) != (self.name, VERSION):
            found = f"{metadata.get('model')} version {metadata.get('version')}"
            raise ScreenError(f"cannot load {found} as {self.name} version {VERSION}")
        on = {key: value.to(device) for key, value in tensors.items()}
        modules = tuple(
            ModuleTables(
                said["name"],
                said["skill"],
                on[f"modules.{row}.compounds"],
                on[f"modules.{row}.pairs"],
            )
            for row, said in enumerate(metadata.get("modules", ()))
        )
        tables = Tables(**{name: on[f"tables.{name}"] for name in _TABLES}, modules=modules)
        kernel = Kernel(tables, torch.Generator().manual_seed(0))
        prefix = "kernel."
        kernel.load_state_dict(
            {k.removeprefix(prefix): v for k, v in on.items() if k.startswith(prefix)}
        )
        kernel.to(device).requires_grad_(False)
        failures = Failures(
            tensors["failed"], tensors["failed_weight"], float(metadata["failed_base"])
        )
        return GpPosterior(
            self.name,
            tables,
            Rows(*(on[f"rows.{f.name}"] for f in _fields(Rows))),
            on["target"],
            on["known"],
            Learned(kernel, **metadata["learned"]),
            failures,
            Scale(**metadata["scale"]),
            int(metadata["steps"]),
            Tails(**metadata["tails"]),
        )


def _fields(cls: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(cls)


_TABLES = tuple(field.name for field in _fields(Tables) if field.name != "modules")
"""The tensors among the tables."""


def _earlier(schedule: Schedule | None, tables: Tables) -> Learned | None:
    """What an earlier fit learned, where it has a place for everything in these tables."""
    learned = schedule.learned if isinstance(schedule, GpSchedule) else None
    if learned is None:
        return None
    fresh = Kernel(tables, torch.Generator().manual_seed(0))
    shapes = [{k: v.shape for k, v in own.state_dict().items()} for own in (fresh, learned.kernel)]
    return learned if shapes[0] == shapes[1] else None


def _on(tables: Tables, values: FloatArray) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=tables.lines.device)


def _groups(training: Training) -> FloatArray:
    features = training.features
    return compound_groups(training.blocks, len(features.compounds), len(features.cell_lines))


def _viability(training: Training) -> FloatArray:
    """Mean viability of each block, unknown where there are no wells or no single agents."""
    if training.wells is None or training.features.responses is None:
        return np.full(len(training.blocks), np.nan)
    return block_means(training.blocks, training.wells, len(training.features.compounds))


def _scale(blocks: ScoredBlocks, failures: Failures, gap: FloatArray) -> Scale:
    good, failed = failures.usable, failures.failed.numpy() > 0
    per_gap = 0.0  # never read: without a failed block none is expected
    if failed.any():
        per_gap = float((blocks.score * gap)[failed].sum() / np.square(gap[failed]).sum())
    spread = float(blocks.score[good].std())
    centre, typical = float(blocks.score[good].mean()), float(np.median(blocks.noise_sd[good]))
    return Scale(centre, spread if spread > 0 else 1.0, typical, per_gap)
