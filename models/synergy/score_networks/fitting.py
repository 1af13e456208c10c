"""One fit of a score network: search for the number of steps, then train again on all blocks."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.bayes.ensembles import target_noise
from models.bayes.training import one_thread, student_log_density
from models.screen import FloatArray, IntArray, ProgressCallback, ScreenError, StopCallback
from models.synergy.bnn import HELD_OUT_SHARE, MIN_HELD_OUT, MIN_ROWS, Scaling
from models.synergy.inputs import InputTables, ScoredBlocks, Training
from models.synergy.score_networks.architecture import Design, LinearPart, Rows, Shape
from models.synergy.score_networks.banks import Bank, Base
from models.synergy.score_networks.basis import Basis
from models.synergy.score_networks.network import Form, Functions, ScoreModule
from models.synergy.score_networks.posterior import NetworkPosterior
from models.synergy.score_networks.training import Checkpoint, Data, Trainer, schedule_for
from models.synergy.training import Schedule, noise_scale, require_rows

CHECK_DRAWS = 16
FIXED_ROWS = 2048
"""Rows at which the fixed networks are evaluated at once."""


@dataclass(frozen=True)
class Start:
    """What another screen has taught: bases of linear layers, the basis of inputs, the unit."""

    bases: Mapping[str, Base]
    prior_bases: Mapping[str, Base]
    basis: Basis
    scaling: Scaling
    log_noise: Tensor
    log_df: Tensor
    has_modules: bool = False

    @classmethod
    def of(cls, posterior: NetworkPosterior) -> Start:
        """Everything in a posterior that is addressed by features."""
        module = posterior.module
        return cls(
            _learned(module.bank),
            {} if module.prior is None else _learned(module.prior),
            posterior.basis,
            posterior.scaling,
            module.log_noise.detach().cpu(),
            module.log_df.detach().cpu(),
            posterior.tables.compounds.shape[1] > posterior.basis.fingerprints.directions.shape[1],
        )


@dataclass(frozen=True)
class Fit:
    """What all trainings of one fit share. ``training``: sorted."""

    name: str
    design: Design
    form: Form
    training: Training
    seed: int
    device: str
    on_progress: ProgressCallback
    should_stop: StopCallback
    checkpoint: Checkpoint | None = None
    start: Start | None = None

    def run(self, schedule: Schedule | None, refit: bool) -> NetworkPosterior:
        """The posterior; see :meth:`models.synergy.score_networks.model.ScoreNetwork.fit`."""
        blocks = self.training.blocks
        require_rows(len(blocks), MIN_ROWS)
        basis = Basis.of(self.training.features) if self.start is None else self.start.basis
        tables = self._tables(basis)
        held_out = round(HELD_OUT_SHARE * len(blocks))
        if schedule is None and held_out < MIN_HELD_OUT:
            schedule = schedule_for(len(blocks), self.form)
        identity = self._identity(tables, schedule, refit)
        state = self._saved(identity)
        if schedule is not None:
            return self._train(basis, tables, None, schedule, identity, state)
        if state is None or not int(state["stage"][0]):
            mask = np.zeros(len(blocks), dtype=bool)
            mask[np.random.default_rng(self.seed).permutation(len(blocks))[:held_out]] = True
            searched = self._train(basis, tables, mask, None, identity, state)
            if not refit:
                return searched
            chosen, state = searched.schedule, None
        else:
            chosen = Schedule(*(int(value) for value in state["stage"][1:]))
        return self._train(basis, tables, None, chosen, identity, state, refitting=True)

    def _tables(self, basis: Basis) -> InputTables:
        """Inputs of the screen, modules behind those of the basis."""
        features = self.training.features
        tables = basis.tables(features, torch.device(self.device))
        if self.design.merge == "plain":
            return tables
        if self.start is None:
            return tables.with_modules(features.modules)
        if self.start.has_modules or any(module.skill > 0 for module in features.modules):
            raise ScreenError(
                f"{self.name} cannot take modules from one screen to another; fit both without"
            )
        return tables

    def _train(
        self,
        basis: Basis,
        tables: InputTables,
        held_out: np.ndarray | None,
        schedule: Schedule | None,
        identity: Tensor,
        state: dict[str, Tensor] | None,
        *,
        refitting: bool = False,
    ) -> NetworkPosterior:
        """Train one network; with ``held_out`` (a mask) search for the number of steps."""
        blocks = self.training.blocks
        train = blocks if held_out is None else blocks.select(~held_out)
        plan = schedule or schedule_for(len(train), self.form)
        posterior = self._fresh(basis, tables, train, plan)
        data = self._data(posterior, train, for_training=True)
        stage = torch.tensor([int(refitting), plan.steps, plan.horizon])
        header = {"identity": identity, "stage": stage}
        trainer = Trainer(
            posterior.module, tables, data, plan, self.seed + 1, self.checkpoint, header
        )
        judge = None if held_out is None else self._judge(posterior, blocks.select(held_out))
        with one_thread():
            steps = trainer.run(judge, self.on_progress, self.should_stop, state)
            posterior.module.requires_grad_(False).eval()
            posterior.module.forget_unmeasured(data.rows)
            posterior.schedule = Schedule(steps, plan.horizon)
            posterior.forget_draws()
            posterior.measure(train.candidates, self.seed)
            posterior.report["channels"] = trainer.health.report()
        return posterior

    def _fresh(
        self, basis: Basis, tables: InputTables, train: ScoredBlocks, plan: Schedule
    ) -> NetworkPosterior:
        start, own = self.start, Scaling.of(train)
        module = ScoreModule(
            self.design,
            self.form,
            Shape.of(tables),
            self.seed,
            None if start is None else start.bases,
            None if start is None else start.prior_bases,
        )
        scaling = own
        if start is not None:
            scaling = dataclasses.replace(start.scaling, typical_sd=own.typical_sd)
            with torch.no_grad():
                module.log_noise.copy_(start.log_noise)
                module.log_df.copy_(start.log_df)
        module.to(tables.compounds.device)
        score = self.training.score
        return NetworkPosterior(self.name, module, tables, basis, scaling, plan, score)

    def _data(
        self, posterior: NetworkPosterior, blocks: ScoredBlocks, *, for_training: bool
    ) -> Data:
        """Blocks in standardised units on the device of the posterior."""
        tables, scaling, module = posterior.tables, posterior.scaling, posterior.module
        device = tables.compounds.device

        def on_device(values: FloatArray) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device)

        rows = Rows.of(blocks.candidates, tables.n_cell_lines, device)
        score = on_device((blocks.score - scaling.centre) / scaling.spread)
        data = Data(rows, score, on_device(blocks.noise_sd / scaling.spread))
        if module.prior is None or not for_training:
            return data
        keys = _distinct(blocks.candidates.keys(tables.n_compounds))
        noise = target_noise(self.seed, keys, self.form.members).to(device)
        parts = [
            module.fixed_scores(rows.select(index), tables)
            for index in _chunks(len(blocks), device)
        ]
        fixed = torch.cat([part for part in parts if part is not None], dim=1)
        return dataclasses.replace(data, fixed=fixed, noise=noise)

    def _judge(self, posterior: NetworkPosterior, held_out: ScoredBlocks) -> _Judge:
        data = self._data(posterior, held_out, for_training=False)
        return _Judge(posterior.module, posterior.tables, data, self.seed + 2)

    def _identity(self, tables: InputTables, schedule: Schedule | None, refit: bool) -> Tensor:
        """``(32,)`` bytes that tell this fit from any other."""
        blocks = self.training.blocks
        plan = None if schedule is None else dataclasses.asdict(schedule)
        said = (dataclasses.asdict(self.design), dataclasses.asdict(self.form), plan, refit)
        text = json.dumps([self.name, self.seed, *said], sort_keys=True)
        digest = hashlib.sha256(text.encode())
        arrays = (blocks.candidates.compounds, blocks.candidates.cell_line)
        for array in (*arrays, blocks.score, blocks.noise_sd):
            digest.update(np.ascontiguousarray(array).tobytes())
        for table in (tables.compounds, tables.cell_lines, tables.curves):
            digest.update(table.cpu().numpy().tobytes())
        for weight, bias in self.start.bases.values() if self.start else ():
            digest.update(weight.cpu().numpy().tobytes())
            digest.update(b"" if bias is None else bias.cpu().numpy().tobytes())
        return torch.tensor(list(digest.digest()), dtype=torch.uint8)

    def _saved(self, identity: Tensor) -> dict[str, Tensor] | None:
        state = None if self.checkpoint is None else self.checkpoint.load()
        if state is not None and not torch.equal(state["identity"].cpu(), identity):
            raise ScreenError(
                "the checkpoint belongs to another fit: other blocks, inputs, seed or settings"
            )
        return state


@dataclass(frozen=True)
class _Judge:
    """Held-out log likelihood of the ensemble of functions: mean over blocks of
    log mean_s p(y | f_s), nats, in standardised units."""

    module: ScoreModule
    tables: InputTables
    held_out: Data
    seed: int

    @torch.no_grad()
    def __call__(self) -> float:
        generator = torch.Generator().manual_seed(self.seed)
        count = CHECK_DRAWS if self.module.form.variational else self.module.form.members
        functions = Functions.of(self.module, count, generator)
        learned, df = self.module.noise()
        total, rows = 0.0, len(self.held_out)
        for index in _chunks(rows, learned.device):
            data = self.held_out.select(index)
            outputs = functions(data.rows, self.tables)
            own = learned if outputs.log_scale is None else torch.exp(outputs.log_scale)
            scale = noise_scale(own, data.known_sd)
            density = student_log_density(data.score - outputs.score, scale, df)
            total += float((torch.logsumexp(density, 0) - math.log(count)).sum())
        return total / rows


def _chunks(rows: int, device: torch.device) -> tuple[Tensor, ...]:
    return torch.split(torch.arange(rows, device=device), FIXED_ROWS)


def _learned(bank: Bank) -> dict[str, Base]:
    return {
        part.name: tuple(None if t is None else t.cpu() for t in bank.learned(part.name))  # type: ignore[misc]
        for part in bank.parts
        if isinstance(part, LinearPart)
    }


def _distinct(keys: IntArray) -> IntArray:
    """Sorted keys made different: the k-th row of one block has noise of its own."""
    first = np.searchsorted(keys, keys)
    return np.asarray(keys * 1024 + (np.arange(len(keys)) - first), dtype=np.int64)
