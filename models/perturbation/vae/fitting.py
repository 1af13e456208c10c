"""One call from cells to a fitted VAE, which can be saved and asked for effects and its network."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.perturbation.data import require_doses
from models.perturbation.vae.alignment import Alignment, changes, row_of_column
from models.perturbation.vae.cells import CellTable, Observation
from models.perturbation.vae.module import PerturbationVae, VaeSettings
from models.perturbation.vae.prepared import InputScaling, Prepared
from models.perturbation.vae.training import Objective, Trainer, TrainingPlan
from models.perturbation.vae.worlds import Scale, Worlds, effects, interaction_effects
from models.screen import (
    FloatArray,
    ProgressCallback,
    ScreenError,
    StopCallback,
    never_stop,
    no_progress,
)

VERSION = 1


@dataclass(frozen=True)
class Network:
    """The learned network: ``probability`` ``(t, m)`` of each edge and ``weight`` ``(t, m)``, the
    expected effect with its sign; ``targets`` name rows, ``columns`` coordinates."""

    targets: tuple[str, ...]
    columns: tuple[str, ...]
    probability: FloatArray
    weight: FloatArray


@dataclass(frozen=True)
class FittedVae:
    """A trained model and the names of what it knows. ``channels``: how active those of its
    networks were (:meth:`models.bayes.channel_health.ChannelHealth.report`), if known."""

    model: PerturbationVae
    perturbations: tuple[str, ...]
    targets: tuple[str, ...]
    readouts: tuple[str, ...]
    observation: Observation
    history: tuple[float, ...]
    channels: dict[str, Any] | None = None

    def network(self) -> Network:
        """Edges of all targets."""
        with torch.no_grad():
            probability = self.model.effects.probabilities().double().numpy()
            weight = self.model.effects.expected().double().numpy()
        return Network(self.targets, self.model.settings.columns, probability, weight)

    def effects(
        self, doses: FloatArray, n: int, seed: int, *, scale: Scale = "ratio", states: int = 32
    ) -> FloatArray:
        """``(n, c, g)`` draws of the effects of conditions ``(c, p)``; see :mod:`.worlds`."""
        checked = require_doses(doses, self.perturbations)
        return effects(self.model, checked, Worlds.of(self.model, n, seed, states), scale=scale)

    def mean_effects(self, doses: FloatArray, n: int = 64, seed: int = 0) -> FloatArray:
        """``(c, g)`` mean over ``n`` worlds and their mirror images, always the same ones."""
        checked = require_doses(doses, self.perturbations)
        worlds = Worlds.of(self.model, n, seed)
        both = [effects(self.model, checked, w) for w in (worlds, worlds.mirrored(self.model))]
        return np.asarray((both[0].mean(axis=0) + both[1].mean(axis=0)) / 2)

    def interactions(
        self, doses: FloatArray, n: int, seed: int, *, scale: Scale = "ratio", states: int = 32
    ) -> FloatArray:
        """``(n, c, g)`` draws of what the interaction term adds to each condition."""
        checked = require_doses(doses, self.perturbations)
        worlds = Worlds.of(self.model, n, seed, states)
        return interaction_effects(self.model, checked, worlds, scale=scale)

    def save(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors for safetensors and JSON-able metadata; :func:`load_vae` gives the same draws."""
        tensors = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        metadata = {
            "version": VERSION,
            "settings": dataclasses.asdict(self.model.settings),
            "perturbations": list(self.perturbations),
            "targets": list(self.targets),
            "readouts": list(self.readouts),
            "observation": self.observation,
            "history": list(self.history),
            "channels": self.channels,
        }
        return tensors, metadata


def load_vae(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> FittedVae:
    """Inverse of :meth:`FittedVae.save`. Raises :class:`ScreenError` for another version."""
    if metadata.get("version") != VERSION:
        raise ScreenError(f"cannot load version {metadata.get('version')} as version {VERSION}")
    settings = dict(metadata["settings"])
    settings["columns"] = tuple(settings["columns"])
    readouts = tuple(metadata["readouts"])
    model = PerturbationVae(
        VaeSettings(**settings),
        metadata["observation"],
        tensors["doses.affinity"],
        readouts,
        tensors["offset"],
        tensors["scale"],
        torch.Generator().manual_seed(0),
    )
    model.load_state_dict(dict(tensors))
    model.requires_grad_(False)
    names = tuple(metadata["perturbations"]), tuple(metadata["targets"])
    history = tuple(metadata["history"])
    return FittedVae(
        model, *names, readouts, metadata["observation"], history, metadata.get("channels")
    )


def trainer(
    cells: CellTable,
    settings: VaeSettings,
    plan: TrainingPlan,
    *,
    seed: int,
    alignment: Alignment | None = None,
    held_out: CellTable | None = None,
) -> Trainer:
    """A trainer at its start (or ready to resume); ``held_out`` cells choose the best epoch."""
    if settings.artifact and not cells.low_quality.any():
        raise ScreenError("no cell is of low quality: turn the artifact stream off")
    if held_out is not None and _names(held_out) != _names(cells):
        raise ScreenError("held-out cells must have the perturbations and readouts of the others")
    if not len(cells):
        raise ScreenError("there are no cells to learn from")
    scaling = InputScaling.of(cells)
    change = None
    if alignment is not None:
        change = changes(cells, settings.columns, alignment, seed)
    m = len(settings.columns)
    data = Prepared.of(cells, scaling, seed, change, m)
    generator = torch.Generator().manual_seed(seed)
    model = PerturbationVae(
        settings,
        cells.observation,
        torch.tensor(cells.affinity, dtype=torch.float32),
        cells.readouts,
        *_output_units(cells, scaling, settings),
        generator,
    )
    objective = Objective(
        model, data, plan, alignment, row_of_column(settings.columns, cells.targets)
    )
    judged = None if held_out is None else Prepared.of(held_out, scaling, seed, None, m)
    return Trainer(objective, seed, judged)


def fit_vae(
    cells: CellTable,
    settings: VaeSettings,
    plan: TrainingPlan,
    *,
    seed: int,
    alignment: Alignment | None = None,
    held_out: CellTable | None = None,
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> FittedVae:
    """Train to the end. Raises as :meth:`Trainer.run` does."""
    job = trainer(cells, settings, plan, seed=seed, alignment=alignment, held_out=held_out)
    job.run(on_progress, should_stop)
    return fitted(job, cells)


def fitted(job: Trainer, cells: CellTable) -> FittedVae:
    """What a trainer has learned; ends its training.

    Interactions of compounds that were in no pair follow the prior, their exact posterior.
    """
    model = job.objective.model
    if model.interaction is not None:
        model.interaction.forget_unpaired(job.objective.data.pairs)
    model.requires_grad_(False)
    names = cells.perturbations, cells.targets, cells.readouts
    return FittedVae(model, *names, cells.observation, tuple(job.history), job.health.report())


def _names(cells: CellTable) -> tuple[tuple[str, ...], ...]:
    return cells.perturbations, cells.targets, cells.readouts


def _output_units(
    cells: CellTable, scaling: InputScaling, settings: VaeSettings
) -> tuple[Tensor, Tensor]:
    """Offset and scale ``(g,)`` of the decoder's output.

    Continuous: mean and standard deviation (no offset where anchored). Counts: the log of the mean
    proportion, half a molecule added, in natural logarithms.
    """
    if cells.observation == "continuous":
        offset = np.zeros(len(cells.readouts)) if settings.anchored else scaling.centre
        scale = scaling.spread
    else:
        share = (cells.values.sum(axis=0) + 0.5) / cells.library.sum()
        offset, scale = np.log(share), np.ones(len(cells.readouts))
    return torch.tensor(offset, dtype=torch.float32), torch.tensor(scale, dtype=torch.float32)
