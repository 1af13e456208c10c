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
from models.synergy.modules import Module
from service.assays.repository import MeasurementRepository
from service.campaigns.repository import CampaignCellLineRepository, CampaignCompoundRepository
from service.cell_lines.repository import CellLineFeaturesRepository
from service.compounds.repository import CompoundRepository
from service.kit.artifacts import ArtifactStore
from service.kit.database import dump_json
from service.kit.unit import Unit
from service.learning.modules import (
    modules_from,
    modules_to_arrays,
    modules_to_json,
    read_modules,
)
from service.learning.origin import Origin, origin_of, source_names, strangers_in
from service.learning.plate_noise import (
    PlateNoise,
    control_noise,
    plates_from_json,
    plates_of,
    plates_to_json,
)


@dataclass(frozen=True)
class Snapshot:
    """A screen, what to call its compounds and cell lines, and the doses each compound has."""

    screen: Screen
    names: dict[str, str]
    doses_um: dict[str, list[float]]
    feature_names: tuple[str, ...]
    origin: Origin | None = None
    """Whose wells they are; nothing where all are the campaign's own."""
    modules: tuple[Module, ...] = ()
    """What attached data sets say of the compounds."""


def read_snapshot(unit: Unit, campaign_id: str) -> Snapshot:
    """The current wells of the campaign and of those that it learns from, and the features of all
    compounds and cell lines in them."""
    members = CampaignCompoundRepository(unit.session, unit.principal).members(campaign_id)
    lines = CampaignCellLineRepository(unit.session, unit.principal).members(campaign_id)
    sources = source_names(unit, campaign_id)
    rows = MeasurementRepository(unit.session, unit.principal).wells_of([campaign_id, *sources])
    names = {**{row[0]: row[1] for row in members}, **dict(lines)}
    strange = strangers_in(unit, rows, names)
    own = [row[0] for row in members], [row[0] for row in lines]
    compounds = _compound_table(unit, sorted([*own[0], *strange.compounds]))
    cell_lines, feature_names = _cell_line_table(unit, sorted([*own[1], *strange.lines]), own[1])
    names |= {**strange.compounds, **strange.lines}
    noise = {
        key: found
        for one in (campaign_id, *sources)
        for key, found in control_noise(unit, one, names).items()
    }
    wells = _wells(rows, compounds.ids, cell_lines.ids, noise)
    origin = origin_of([row[10] for row in rows], campaign_id, strange)
    return Snapshot(
        screen=Screen(compounds, cell_lines, wells),
        names=names if origin is None else {**names, **origin.names(sources)},
        doses_um={row[0]: row[2] for row in members},
        feature_names=feature_names,
        origin=origin,
        modules=read_modules(unit, campaign_id, compounds.ids),
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
    more: dict[str, Any] = {}
    # Without plates the content is that of snapshots from before there were any, and so the name.
    if screen.wells.plate is not None and screen.wells.plates is not None:
        arrays["plate"] = screen.wells.plate
        more["plates"] = plates_to_json(screen.wells.plates)
    if screen.compounds.targets:
        more["targets"] = screen.compounds.targets
    if snapshot.origin is not None:
        arrays["origin"] = snapshot.origin.well
        more["origin"] = snapshot.origin.to_json()
    form = 2 if more else 1
    if snapshot.modules:
        arrays |= modules_to_arrays(snapshot.modules)
        more["modules"], form = modules_to_json(snapshot.modules), 3
    tensors = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    description = {
        "format": f"nextround-snapshot/{form}",
        "arrays": artifacts.put(tensors, "safetensors"),
        "compounds": screen.compounds.ids,
        "cell_lines": screen.cell_lines.ids,
        "names": snapshot.names,
        "doses_um": snapshot.doses_um,
        "feature_names": snapshot.feature_names,
        **more,
    }
    return artifacts.put(dump_json(description).encode(), "json")


def load_snapshot(name: str, artifacts: ArtifactStore) -> Snapshot:
    """The snapshot that was stored as ``name``."""
    description: dict[str, Any] = json.loads(artifacts.get(name))
    arrays = load(artifacts.get(description["arrays"]))
    wells = Wells(
        cell_line=arrays["cell_line"],
        compounds=arrays["compounds"],
        doses_um=arrays["doses_um"],
        viability=arrays["viability"],
        plate=arrays.get("plate"),
        plates=plates_from_json(description["plates"]) if "plates" in description else None,
    )
    compounds = CompoundTable(
        tuple(description["compounds"]),
        arrays["fingerprints"],
        arrays["has_structure"],
        tuple(map(tuple, description.get("targets", ()))),
    )
    cell_lines = CellLineTable(
        tuple(description["cell_lines"]), arrays["features"], arrays["has_features"]
    )
    return Snapshot(
        screen=Screen(compounds, cell_lines, wells),
        names=description["names"],
        doses_um=description["doses_um"],
        feature_names=tuple(description["feature_names"]),
        origin=(
            Origin.of_json(description["origin"], arrays["origin"])
            if "origin" in description
            else None
        ),
        modules=modules_from(description.get("modules", ()), arrays),
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
    known = CompoundRepository(unit.session, unit.principal).targets(ids)
    targets = tuple(known.get(identifier, ()) for identifier in ids) if known else ()
    return CompoundTable(tuple(ids), fingerprints, has_structure, targets)


def _cell_line_table(
    unit: Unit, ids: Sequence[str], own: Sequence[str]
) -> tuple[CellLineTable, tuple[str, ...]]:
    """Features that all described lines of the campaign's ``own`` share: others take none away."""
    stored = CellLineFeaturesRepository(unit.session, unit.principal).of_lines(ids)
    described = [set(stored[identifier]) for identifier in own if stored.get(identifier)]
    shared = set.intersection(*described) if described else set[str]()
    values = {identifier: row for identifier, row in stored.items() if row and shared <= set(row)}
    names = tuple(sorted(shared))
    features = np.zeros((len(ids), len(names)))
    has_features = np.zeros(len(ids), dtype=bool)
    for row, identifier in enumerate(ids):
        if names and identifier in values:
            features[row] = [values[identifier][name] for name in names]
            has_features[row] = True
    return CellLineTable(tuple(ids), features, has_features), names


def _wells(
    rows: Sequence[Any], compounds: Sequence[str], lines: Sequence[str], noise: PlateNoise
) -> Wells:
    compound_index: dict[str | None, int] = {name: row for row, name in enumerate(compounds)}
    compound_index[None] = ABSENT
    line_index = {name: row for row, name in enumerate(lines)}
    n = len(rows)
    columns = list(zip(*rows, strict=True)) if rows else [()] * 11
    line, *rest = columns
    treatment, doses, viability = rest[:3], rest[3:6], rest[6]
    plate, plates = plates_of(list(zip(*rest[7:9], line, strict=True)), noise)
    indices = [[compound_index[identifier] for identifier in column] for column in treatment]
    amounts = [[0.0 if dose is None else dose for dose in column] for column in doses]
    return Wells(
        cell_line=np.array([line_index[identifier] for identifier in line], dtype=np.int64),
        compounds=np.array(indices, dtype=np.int64).reshape(3, n).T,
        doses_um=np.array(amounts, dtype=np.float64).reshape(3, n).T,
        viability=np.array(viability, dtype=np.float64),
        plate=plate,
        plates=plates,
    )
