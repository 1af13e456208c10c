"""What attached data sets say of a campaign's compounds, from their newest fits and back.

Imported by workers only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models.screen import ScreenError
from models.synergy.modules import Module, of_names
from service.compounds.repository import AliasRepository
from service.datasets.learning.learned import MODULE_FORMAT
from service.datasets.repository import DatasetFitRepository
from service.datasets.tables import DatasetFit
from service.kit.names import NameDirectory
from service.kit.unit import Unit


def read_modules(unit: Unit, campaign_id: str, compounds: Sequence[str]) -> tuple[Module, ...]:
    """One module of each attached data set that has a fit; perturbations are compounds by name.

    ``compounds``: ids in the order of the screen. Raises :class:`ScreenError` for a fit whose
    features cannot be used.
    """
    fits = DatasetFitRepository(unit.session, unit.principal).latest(campaign_id)
    if not fits:
        return ()
    aliases = AliasRepository(unit.session, unit.principal)
    directory = NameDirectory("compound", aliases.everything())
    row = {identifier: number for number, identifier in enumerate(compounds)}
    found: list[Module] = []
    for fit in fits:
        said: dict[str, Any] = json.loads(unit.parts.artifacts.get(fit.features))
        taken = {module.name for module in found}
        found.append(_module(fit, said, directory, row, taken))
    return tuple(found)


def _module(
    fit: DatasetFit,
    said: Mapping[str, Any],
    directory: NameDirectory,
    row: Mapping[str, int],
    taken: set[str],
) -> Module:
    if said.get("format") != MODULE_FORMAT:
        raise ScreenError(
            f"the features of {fit.id} are {said.get('format')!r}, not {MODULE_FORMAT!r}: fit the "
            "data set again"
        )
    names = said["perturbations"]
    identifiers = [directory.resolve(name) for name in names]
    table = np.array(said["compounds"], dtype=np.float64).reshape(len(names), len(said["columns"]))
    name = said["name"]
    return of_names(
        f"{name} ({fit.dataset_id})" if name in taken else name,
        said["skill"],
        [None if identifier is None else row.get(identifier) for identifier in identifiers],
        table,
        said["pairs"],
        len(said["pair_columns"]),
        len(row),
        fit.id,
    )


def modules_to_json(modules: Sequence[Module]) -> list[dict[str, Any]]:
    """All but the numbers."""
    return [{"name": one.name, "skill": one.skill, "source": one.source} for one in modules]


def modules_to_arrays(modules: Sequence[Module]) -> dict[str, np.ndarray]:
    """The numbers; of pairs only those that are known."""
    arrays: dict[str, np.ndarray] = {}
    for number, module in enumerate(modules):
        pairs = np.argwhere(np.triu(module.known_pairs, k=1)).astype(np.int64)
        arrays[f"module_{number}_compounds"] = module.compounds
        arrays[f"module_{number}_pairs"] = pairs
        arrays[f"module_{number}_values"] = module.pairs[pairs[:, 0], pairs[:, 1]]
    return arrays


def modules_from(
    said: Sequence[Mapping[str, Any]], arrays: Mapping[str, np.ndarray]
) -> tuple[Module, ...]:
    """Inverse of both."""
    found = []
    for number, one in enumerate(said):
        compounds = arrays[f"module_{number}_compounds"]
        first, second = arrays[f"module_{number}_pairs"].T
        values = arrays[f"module_{number}_values"]
        pairs = np.full((len(compounds), len(compounds), values.shape[1]), np.nan)
        pairs[first, second] = values
        pairs[second, first] = values
        found.append(Module(one["name"], compounds, pairs, one["skill"], one["source"]))
    return tuple(found)
