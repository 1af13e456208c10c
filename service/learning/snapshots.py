"""Rows to tensors: everything a campaign has measured, frozen as one content-addressed snapshot.

The snapshot's name is the hash of what the model saw, so "fitted on what" has an exact answer,
and a job that resumes on another machine sees the same screen even if rows were added meanwhile.
Imported by workers only: it needs torch through the models' types.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from models.chemistry.fingerprints import BITS, unpack
from models.screen import ABSENT, CellLineTable, CompoundTable, Screen, Wells
from service.assays.repository import MeasurementRepository
from service.campaigns.repository import CampaignCellLineRepository, CampaignCompoundRepository
from service.cell_lines.repository import CellLineFeaturesRepository
from service.compounds.repository import CompoundRepository
from service.kit.artifacts import ArtifactStore
from service.kit.database import dump_json
from service.kit.unit import Unit


@dataclass(frozen=True)
class Snapshot:
    """A screen, what to call its compounds and cell lines, and the doses each compound has."""

    screen: Screen
    names: dict[str, str]
    doses_um: dict[str, list[float]]
    feature_names: tuple[str, ...]


def read_snapshot(unit: Unit, campaign_id: str) -> Snapshot:
    """The campaign's current wells and the features of its compounds and cell lines."""
    members = CampaignCompoundRepository(unit.session, unit.principal).members(campaign_id)
    lines = CampaignCellLineRepository(unit.session, unit.principal).members(campaign_id)
    compounds = _compound_table(unit, [row[0] for row in members])
    cell_lines, feature_names = _cell_line_table(unit, [row[0] for row in lines])
    rows = MeasurementRepository(unit.session, unit.principal).wells(campaign_id)
    wells = _wells(rows, compounds.ids, cell_lines.ids)
    return Snapshot(
        screen=Screen(compounds, cell_lines, wells),
        names={**{row[0]: row[1] for row in members}, **dict(lines)},
        doses_um={row[0]: row[2] for row in members},
        feature_names=feature_names,
    )


def store_snapshot(snapshot: Snapshot, artifacts: ArtifactStore) -> str:
    """Store the snapshot and return the name of its description, which names its arrays."""
    screen = snapshot.screen
    arrays = {
        "fingerprints": screen.compounds.fingerprints,
        "has_structure": screen.compounds.has_structure,
        "features": screen.cell_lines.features,
        "has_features": screen.cell_lines.has_features,
        "cell_line": screen.wells.cell_line,
        "compounds": screen.wells.compounds,
        "doses_um": screen.wells.doses_um,
        "viability": screen.wells.viability,
    }
    tensors = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    description = {
        "format": "nextround-snapshot/1",
        "arrays": artifacts.put(tensors, "safetensors"),
        "compounds": screen.compounds.ids,
        "cell_lines": screen.cell_lines.ids,
        "names": snapshot.names,
        "doses_um": snapshot.doses_um,
        "feature_names": snapshot.feature_names,
    }
    return artifacts.put(dump_json(description).encode(), "json")


def load_snapshot(name: str, artifacts: ArtifactStore) -> Snapshot:
    """The snapshot that was stored as ``name``."""
    description: dict[str, Any] = json.loads(artifacts.get(name))
    arrays = load(artifacts.get(description["arrays"]))
    wells = Wells(arrays["cell_line"], arrays["compounds"], arrays["doses_um"], arrays["viability"])
    compounds = CompoundTable(
        tuple(description["compounds"]), arrays["fingerprints"], arrays["has_structure"]
    )
    cell_lines = CellLineTable(
        tuple(description["cell_lines"]), arrays["features"], arrays["has_features"]
    )
    return Snapshot(
        screen=Screen(compounds, cell_lines, wells),
        names=description["names"],
        doses_um=description["doses_um"],
        feature_names=tuple(description["feature_names"]),
    )


def artifacts_of(description: str, artifacts: ArtifactStore) -> list[str]:
    """All artifacts that a snapshot consists of."""
    return [description, json.loads(artifacts.get(description))["arrays"]]


def _compound_table(unit: Unit, ids: Sequence[str]) -> CompoundTable:
    packed = CompoundRepository(unit.session, unit.principal).fingerprints(ids)
    fingerprints = np.zeros((len(ids), BITS), dtype=np.uint8)
    has_structure = np.zeros(len(ids), dtype=bool)
    for row, identifier in enumerate(ids):
        content = packed.get(identifier)
        if content is not None:
            fingerprints[row], has_structure[row] = unpack(content), True
    return CompoundTable(tuple(ids), fingerprints, has_structure)


def _cell_line_table(unit: Unit, ids: Sequence[str]) -> tuple[CellLineTable, tuple[str, ...]]:
    stored = CellLineFeaturesRepository(unit.session, unit.principal).of_lines(ids)
    values = {identifier: row for identifier, row in stored.items() if row}
    shared = set.intersection(*(set(row) for row in values.values())) if values else set[str]()
    names = tuple(sorted(shared))
    features = np.zeros((len(ids), len(names)))
    has_features = np.zeros(len(ids), dtype=bool)
    for row, identifier in enumerate(ids):
        if names and identifier in values:
            features[row] = [values[identifier][name] for name in names]
            has_features[row] = True
    return CellLineTable(tuple(ids), features, has_features), names


def _wells(rows: Sequence[Any], compounds: Sequence[str], lines: Sequence[str]) -> Wells:
    compound_index: dict[str | None, int] = {name: row for row, name in enumerate(compounds)}
    compound_index[None] = ABSENT
    line_index = {name: row for row, name in enumerate(lines)}
    n = len(rows)
    columns = list(zip(*rows, strict=True)) if rows else [()] * 8
    line, *rest = columns
    treatment, doses, viability = rest[:3], rest[3:6], rest[6]
    indices = [[compound_index[identifier] for identifier in column] for column in treatment]
    amounts = [[0.0 if dose is None else dose for dose in column] for column in doses]
    return Wells(
        cell_line=np.array([line_index[identifier] for identifier in line], dtype=np.int64),
        compounds=np.array(indices, dtype=np.int64).reshape(3, n).T,
        doses_um=np.array(amounts, dtype=np.float64).reshape(3, n).T,
        viability=np.array(viability, dtype=np.float64),
    )
