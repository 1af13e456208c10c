"""Parameters of a drug-pair experiment at each of its levels: population, plates, wells.

Values are natural (rates an hour, doses in their own unit over the typical one), draws along the
first axis; elements of a parameter are named ``name[i]``: of the drugs' parameters [0] is the
first and [1] the second drug by name.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from models.dynamics.pair_posterior import DrugPairPosterior
from models.dynamics.systems.growth_death import CONDITION, CONTROL, PLATE
from models.screen import FloatArray, ScreenError

Draws = dict[str, FloatArray]


def population(posterior: DrugPairPosterior) -> Draws:
    """Values of the population, ``(S,)`` by element."""
    return _typical(posterior, {})


def of_plate(posterior: DrugPairPosterior, plate: str) -> Draws:
    """Values typical of a plate, ``(S,)`` by element that plates differ in; none if there is only
    one plate. Raises :class:`ScreenError` for a plate that was not fitted."""
    labels = posterior.model.data.plates
    if plate not in labels:
        raise ScreenError(f"the fit knows no plate {plate!r}, only {labels}")
    hierarchy = posterior.model.hierarchy
    differing = {
        element
        for parameter in hierarchy.parameters
        if any(effect.factor == PLATE for effect in parameter.groups)
        for element in parameter.elements()
    }
    if not differing:
        return {}
    found = _typical(posterior, {PLATE: labels.index(plate)})
    return {name: draws for name, draws in found.items() if name in differing}


def spreads(posterior: DrugPairPosterior) -> Draws:
    """By how much (standard deviation, inner scale) plates (``name.plate``), dose pairs
    (``name.condition``) and wells (``name``) differ, ``(S,)`` each; dose pairs' and wells' are at
    their best value (see :mod:`models.dynamics.pair_marginal`)."""
    names = posterior.model.names
    places = [(at, name) for at, name in enumerate(names) if name.endswith(".sd")]
    return {
        name.removesuffix(".sd"): torch.exp(posterior.shared[:, at]).numpy() for at, name in places
    }


def of_wells(posterior: DrugPairPosterior) -> Draws:
    """Values of each well fitted, ``(S, N)`` by element that wells differ in, in the order of
    ``posterior.well_names``."""
    model = posterior.model
    every = posterior.shared[:, None].expand(-1, posterior.own.shape[1], -1)
    location, sd = model.hierarchy.moments(every, model.groups)
    index = model.hierarchy.individual
    elements = location.index_add(2, index, sd * posterior.own)
    return _named(posterior, elements, set(model.hierarchy.individual_names()))


def _typical(posterior: DrugPairPosterior, groups: dict[str, int]) -> Draws:
    hierarchy = posterior.model.hierarchy
    every = {CONDITION: posterior.model.data.conditions.index(CONTROL), **groups}
    elements = hierarchy.typical(posterior.shared[:, None], every)
    found = _named(posterior, elements, set(hierarchy.elements))
    return {name: draws[:, 0] for name, draws in found.items() if np.ptp(draws) > 0}


def _named(posterior: DrugPairPosterior, elements: Tensor, wanted: set[str]) -> Draws:
    """Natural values of the ``wanted`` elements ``(S, n)`` from all of them ``(S, n, P)``."""
    hierarchy = posterior.model.hierarchy
    found: Draws = {}
    row = 0
    for parameter in hierarchy.parameters:
        for name in parameter.elements():
            if name in wanted:
                found[name] = parameter.prior.natural(elements[..., row]).numpy()
            row += 1
    return found
