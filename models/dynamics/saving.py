"""A fitted model as tensors and JSON, out and back; nothing is pickled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from models.dynamics.encoder import SeriesFeatures
from models.dynamics.model import DynamicModel
from models.dynamics.observation import Observation
from models.dynamics.solver import Solver
from models.dynamics.systems.protocol import System
from models.screen import ScreenError

FORMAT = 2
"""1 had a posterior of shared unknowns that did not bend with the spreads."""


def save(model: DynamicModel) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors, and facts that JSON can hold: the groups, and what the tensors belong to."""
    tensors = {f"model.{name}": t.detach().clone() for name, t in model.state_dict().items()}
    tensors |= {f"features.{name}": t for name, t in model.features.tensors().items()}
    facts = {
        "format": FORMAT,
        "system": model.system.name,
        "channels": list(model.system.channels),
        "labels": {factor: list(labels) for factor, labels in model.hierarchy.labels.items()},
        "elements": list(model.hierarchy.elements),
    }
    return tensors, facts


def load(
    tensors: Mapping[str, Tensor],
    facts: Mapping[str, Any],
    system: System,
    observation: Observation,
    solver: Solver,
) -> DynamicModel:
    """What :func:`save` gave, for a system and an observation built as they were then.

    Raises :class:`ScreenError` if they are others.
    """
    if facts.get("format") != FORMAT:
        raise ScreenError(f"a fit of format {facts.get('format')} is not read any more: fit again")
    if facts["system"] != system.name:
        raise ScreenError(f"a fit of {facts.get('system')!r} cannot be read as {system.name!r}")
    features = SeriesFeatures.from_tensors(
        {name[9:]: t for name, t in tensors.items() if name.startswith("features.")}
    )
    labels = {factor: tuple(found) for factor, found in facts["labels"].items()}
    start = torch.Generator().manual_seed(0)
    model = DynamicModel(system, observation, solver, labels, features, start)
    if list(model.hierarchy.elements) != facts["elements"]:
        raise ScreenError("the fit has other parameters than this system and observation")
    model.load_state_dict({n[6:]: t for n, t in tensors.items() if n.startswith("model.")})
    model.eval()
    return model
